"""Real servers of the shop on the test's own database, and callers from outside.

A test that uses them commits what it does: `django_db(transaction=True)`.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import connection, connections, transaction

from shop.accounts.models import AccessToken, User

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent
# Seconds that anything may take; longer than a test waits for anything.
PATIENCE = 60.0


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database_url(port: int | None = None) -> str:
    """Return the test database's URL; with `port`, by way of a proxy that listens there."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    parts = urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}")
    if port is not None:
        login = "".join(parts.netloc.rpartition("@")[:2])
        # A proxy can't read what is encrypted.
        parts = parts._replace(netloc=f"{login}127.0.0.1:{port}", query="sslmode=disable")
    return urlunsplit(parts)


class Server:
    """One `shop.daphne` process; started again, it listens on the same port."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self._log = folder / f"server-{self.port}.log"
        self._environment = environment
        self.start()

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shop.daphne", "-b", "127.0.0.1", "-p", str(self.port)],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Wait for /health/ready."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            with suppress(OSError, http.client.HTTPException):
                if ask(self.port, "GET", "/health/ready").status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the server did not get ready:\n{self.log()}")

    def log(self) -> str:
        """The end of what it has written, over all its starts."""
        return self._log.read_text("utf-8", "replace")[-4000:]

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, gently at first."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def running(number: int, folder: Path, **environment: str) -> Iterator[list[Server]]:
    """Run so many servers, without rate limits, on the test's database.

    `folder` holds their data; `environment` is set beside the process's own.
    """
    variables = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(folder / "data"),
        "METRICS_DIR": str(folder / "metrics"),
        "RATE_LIMITS": "0",
        **environment,
    }
    servers: list[Server] = []
    try:
        for _ in range(number):
            servers.append(Server(folder, variables))
        for server in servers:
            server.wait_until_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal; empty for any other answer."""
        problem = self.headers.get_content_type() == "application/problem+json"
        return str(self.json()["code"]) if problem else ""


def ask(
    port: int, method: str, path: str, data: Any = None, *, token: str = "", key: str = ""
) -> Answer:
    """Send one request over a connection of its own and return the answer.

    Raises:
        OSError, http.client.HTTPException: there was none.
    """
    headers = {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if key:
        headers["Idempotency-Key"] = key
    body = None
    if data is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(data).encode()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        client.request(method, path, body, headers)
        response = client.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        client.close()


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run each call in a thread of its own, all begun together; return what they return."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        try:
            barrier.wait(PATIENCE)
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def token_of(user: User) -> str:
    """Make a bearer token for a user."""
    return AccessToken.issue(user)[1]


def make_customers(number: int) -> list[str]:
    """Make so many customers; return a bearer token of each."""
    with transaction.atomic():
        people = User.objects.bulk_create(User(username=f"buyer{n}") for n in range(number))
        return [token_of(user) for user in people]
