"""A RabbitMQ of the tests' own, to be killed; it touches nothing of the machine's."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from kombu import Connection, Exchange, Queue

from shop.tests.running import PATIENCE, free_port

# Debian's first is a wrapper that only runs the machine's own node.
_PLACES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server") or "")
SERVER = next((place for place in _PLACES if place and Path(place).exists()), "")


class Rabbit:
    """One node with a folder, ports and a name service of its own; it keeps its queues."""

    def __init__(self, folder: Path) -> None:
        self._port, distribution, names = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        for name in ("home", "data", "log"):
            (folder / name).mkdir()
        (folder / "plugins").write_text("[].")
        (folder / "environment").touch()
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "RABBITMQ_NODENAME": f"test{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._log = folder / "out"
        self._names = subprocess.Popen(
            ["epmd", "-port", str(names), "-address", "127.0.0.1"], env=self._environment
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node, unless it runs; it takes some seconds to be ready."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [SERVER],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def wait_until_ready(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            with suppress(Exception), Connection(self.url, connect_timeout=2) as client:
                client.connect()
                return
            time.sleep(0.1)
        raise AssertionError(f"RabbitMQ did not get ready:\n{self._log.read_text()[-4000:]}")

    def declare(self, *queues: str) -> None:
        """Have these queues, as the settings do, each with a leader.

        On a new node two who declare a quorum queue at once may leave it without one
        (RabbitMQ 3.10), which is no business of the tests.
        """
        with Connection(self.url, connect_timeout=2) as client:
            for name in queues:
                arguments = {"x-queue-type": "quorum"}
                queue = Queue(name, Exchange(name), routing_key=name, queue_arguments=arguments)
                queue(client.default_channel).declare()

    def consumers(self, queue: str) -> int:
        """Return how many processes take this queue's messages; 0 if there is no such queue."""
        with suppress(Exception), Connection(self.url, connect_timeout=2) as client:
            channel: Any = client.default_channel
            return int(channel.queue_declare(queue, passive=True).consumer_count)
        return 0

    def kill(self) -> None:
        """kill -9, with whatever it has started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Have it keep its connections, and say nothing more."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def close(self) -> None:
        """End all of it."""
        self.kill()
        self._names.kill()
        self._names.wait()
