"""A database, a data folder and server processes of their own, for as long as a run takes.

Nothing of the shop is touched: what happens in an arena goes away with it.
"""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import psutil
from django.conf import settings
from django.db import connection

from benchmarks.dataset import Dataset

START_SECONDS = 60.0
STOP_SECONDS = 30.0
PREPARE_SECONDS = 1800.0
# A worker lets its jobs end first, a sender what it gives.
END_SECONDS = 90.0


class ArenaError(Exception):
    """The arena could not be set up, or a process of it failed."""


def cores() -> tuple[set[int], set[int]]:
    """Return the cores for the server and those for all else; both empty where there is but one."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    mine = sorted(os.sched_getaffinity(0))
    return (set(mine[:1]), set(mine[1:])) if len(mine) > 1 else (set(), set())


@contextlib.contextmanager
def on_cores(chosen: set[int]) -> Iterator[None]:
    """Keep this process, and what it starts, on these cores for a while; empty means anywhere."""
    if not chosen:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def url_with_name(url: str, name: str) -> str:
    """Return a database's URL with another database name."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, target: str, *, timeout: float = 30.0) -> tuple[int, bytes]:
    """Fetch one answer; for set-up and checks, not for load."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        client.request("GET", target, headers={"Accept": "application/json, text/plain"})
        response = client.getresponse()
        return response.status, response.read()
    finally:
        client.close()


@dataclass(frozen=True)
class Usage:
    """What a process has used so far (CPU seconds) and holds now (bytes)."""

    cpu: float
    rss: int


_SERVERS: dict[str, Callable[[int], list[str]]] = {
    # Verbosity 0: the request layer logs each request already.
    "daphne": lambda port: ["-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port)],
    "granian": lambda port: [
        *("-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--no-access-log"),
    ],
}


class Server:
    """One server process; Granian's has a child that does the work."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self._process = process
        self._watched = psutil.Process(process.pid)
        self.port = port
        self._log = log

    def usage(self) -> Usage:
        """Look at the process."""
        cpu, rss = 0.0, 0
        for process in (self._watched, *self._watched.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu += times.user + times.system
                rss += process.memory_info().rss
        return Usage(cpu, rss)

    def wait_until_ready(self) -> None:
        """Wait for /health/ready.

        Raises:
            ArenaError: the process ended, or START_SECONDS went by.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if get(self.port, "/health/ready", timeout=5)[0] == 200:
                    return
            time.sleep(0.1)
        raise ArenaError(f"The server did not get ready:\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - 4000))
            return file.read().decode("utf-8", "replace")
        return ""

    def stop(self) -> None:
        """End the process, gently at first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS)
        with contextlib.suppress(OSError):
            self._log.unlink()


# Database names: this and the process id of whoever made it.
_PREFIX = "shop_ground_"


def _drop_orphans() -> None:
    """Drop the databases of runs whose process was killed."""
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [_PREFIX + "%"])
        for (name,) in cursor.fetchall():
            pid = name.removeprefix(_PREFIX)
            if pid.isdecimal() and not psutil.pid_exists(int(pid)):
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class Arena:
    """A context manager: the database is made at its beginning and dropped at its end."""

    def __init__(self, *, products: int, people: int, orders: int = 0) -> None:
        self._products = products
        self._people = people
        self._orders = orders
        self._name = f"{_PREFIX}{os.getpid()}"
        self._folder = Path()
        self.environment: dict[str, str] = {}
        self.data = Dataset(0, 0, [])
        self.server_cores, self.load_cores = cores()

    def __enter__(self) -> "Arena":
        self._folder = Path(tempfile.mkdtemp(prefix="shop-ground-"))
        try:
            self._prepare()
        except BaseException:
            self._clear()
            raise
        return self

    @property
    def folder(self) -> Path:
        """Where its data is."""
        return self._folder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()

    def _prepare(self) -> None:
        url = ""
        if connection.vendor == "postgresql":
            _drop_orphans()
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{self._name}"')
            url = url_with_name(settings.DATABASE_URL, self._name)
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "DATABASE_URL": url,
            "DATA_DIR": str(self._folder),
            "METRICS_DIR": "",
            "MEDIA_ROOT": "",
            "REDIS_URL": "",
            "CELERY_BROKER_URL": "",
            "RATE_LIMITS": "0",
            "SHOP_ENV": "local",
            "DEBUG": "0",
            "ALLOWED_HOSTS": "127.0.0.1",
        }
        self.run([str(settings.BASE_DIR / "manage.py"), "migrate", "--verbosity", "0"])
        numbers = {"products": self._products, "people": self._people, "orders": self._orders}
        options = [word for name, n in numbers.items() for word in (f"--{name}", str(n))]
        filled = self.run(["-m", "benchmarks.dataset", *options])
        self.data = Dataset.from_json(filled)
        if connection.vendor == "postgresql":
            # Otherwise autovacuum does so in the middle of a window.
            self.run(["-c", _VACUUM])

    def _clear(self) -> None:
        if connection.vendor == "postgresql":
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)')
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, arguments: list[str], *, timeout: float = PREPARE_SECONDS) -> str:
        """Run Python with `arguments` in the arena; return what it prints.

        Raises:
            ArenaError: it failed.
        """
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise ArenaError(done.stderr.decode("utf-8", "replace")[-4000:])
        return done.stdout.decode()

    def start(self, arguments: list[str], *, talk: bool = False) -> "subprocess.Popen[bytes]":
        """Start Python with `arguments` in the arena; with `talk` by its input and output.

        Whoever starts it ends it.
        """
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment,
            stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talk else subprocess.DEVNULL,
            stderr=None if talk else subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def server(
        self,
        application: str = "shop.asgi:application",
        *,
        kind: str = "daphne",
        **environment: str,
    ) -> Iterator[Server]:
        """Run a server, of the `kind` daphne or granian, with `application` for a while.

        It has a core of its own where there are two.
        """
        port = free_port()
        log = self._folder / f"server-{port}.log"
        with log.open("wb") as file, on_cores(self.server_cores):
            process = subprocess.Popen(
                [sys.executable, *_SERVERS[kind](port), application],
                cwd=settings.BASE_DIR,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        server = Server(process, port, log)
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()

    @contextlib.contextmanager
    def processes(self, commands: Sequence[Sequence[str]], **environment: str) -> Iterator[None]:
        """Run processes of Python with these arguments for a while."""
        running = [
            subprocess.Popen(
                [sys.executable, *command],
                cwd=settings.BASE_DIR,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]
        try:
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(END_SECONDS)

    def database_connections(self) -> int | None:
        """Return how many connections the arena's database has; None for SQLite."""
        if connection.vendor != "postgresql":
            return None
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = %s AND backend_type = 'client backend'",
                [self._name],
            )
            return int(cursor.fetchone()[0])


_VACUUM = """
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("VACUUM ANALYZE")
"""
