"""Large bodies and slow clients: what they cost a server in memory.

The server runs the tests' application (`shop/tests/hop_asgi.py`) in a process
of its own, on a core of its own where there are two.
"""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.arena import Server, cores, free_port, get, on_cores

APPLICATION = "shop.tests.hop_asgi:application"
_MB = 1_000_000
_BLOCKS = 1600  # of 64 KB
_STREAM = f"/stream?count={_BLOCKS}&big"
_UPLOAD = 100 * _MB


@dataclass(frozen=True)
class Transfer:
    """What one case cost; memory in MB, time in seconds."""

    server: str
    case: str
    at_rest: float
    peak: float
    seconds: float
    note: str

    def row(self) -> str:
        """Return one line of a Markdown table."""
        return (
            f"| {self.server} | {self.case} | {self.at_rest:.0f} | {self.peak:.0f}"
            f" | {self.seconds:.1f} | {self.note} |"
        )


def _download(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return f"{answer.status}, {len(answer.read()) / _MB:.0f} MB"
    except (http.client.HTTPException, OSError) as error:
        return f"broken off: {type(error).__name__}"
    finally:
        connection.close()


def _open(port: int, path: str) -> socket.socket:
    # A small buffer of ours, so that what the server keeps is seen.
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client


def down(port: int) -> str:
    """Read 105 MB as fast as they come."""
    return _download(port, _STREAM)


def down_slow(port: int) -> str:
    """Read 2 MB a second for five seconds, then leave."""
    with _open(port, _STREAM) as client:
        got = 0
        for _ in range(100):
            got += len(client.recv(100_000))
            time.sleep(0.05)
    produced = (Path(os.environ["HOP_MARKS"]) / "produced").read_text()
    return f"{got / _MB:.1f} MB read, {produced} of {_BLOCKS} blocks produced"


def slow_beside_others(port: int) -> str:
    """Time 500 small requests beside a client that reads a byte now and then."""
    with _open(port, _STREAM) as client:
        times = []
        for number in range(500):
            if number % 50 == 0:
                client.recv(1)
            began = time.perf_counter()
            get(port, "/echo")
            times.append(time.perf_counter() - began)
    times.sort()
    return f"the others' p50 {times[250] * 1000:.1f} ms, p99 {times[495] * 1000:.1f} ms"


def file(port: int) -> str:
    """Read a file of 105 MB."""
    return _download(port, "/file")


def upload(port: int) -> str:
    """Send 100 MB; the view reads all of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/echo", body=b"u" * _UPLOAD)
        return str(connection.getresponse().status)
    except (http.client.HTTPException, OSError) as error:
        return f"closed: {type(error).__name__}"
    finally:
        connection.close()


# Case to what is done and the limits that the server has for it.
CASES: dict[str, tuple[Callable[[int], str], dict[str, str]]] = {
    "down": (down, {"STREAM_MAX_BYTES": "0"}),
    "down-slow": (down_slow, {"STREAM_MAX_BYTES": "0"}),
    "slow-beside-others": (slow_beside_others, {"STREAM_MAX_BYTES": "0"}),
    "down-over-limit": (down, {}),
    "file": (file, {}),
    "upload": (upload, {"BODY_MAX_BYTES": str(2 * _UPLOAD)}),
    "upload-over-limit": (upload, {}),
}
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "daphne": lambda port: ["daphne", "-v", "0", "-p", str(port), APPLICATION],
    "granian": lambda port: [
        *("granian", "--interface", "asgi", "--port", str(port), "--workers", "1"),
        *("--no-ws", APPLICATION),
    ],
}


@contextmanager
def _serving(
    name: str, folder: Path, limits: dict[str, str]
) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    environment = {**os.environ, **limits, "DATA_DIR": str(folder / "data"), "LOG_LEVEL": "ERROR"}
    log = folder / "server.log"
    with on_cores(cores()[0]), log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *SERVERS[name](port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, port, log)
    try:
        for _ in range(300):
            with suppress(OSError):
                if get(port, "/echo")[0] == 200:
                    break
            time.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        server.stop()


def measure(server: str, case: str) -> Transfer:
    """Run one case on one server and watch the memory of its processes."""
    act, limits = CASES[case]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        marks = folder / "marks"
        marks.mkdir()
        big = folder / "big"
        with big.open("wb") as out:
            out.truncate(_BLOCKS * 65536)
        os.environ.update(HOP_MARKS=str(marks), HOP_FILE=str(big))
        with _serving(server, folder, limits) as (port, top), on_cores(cores()[1]):
            peak = at_rest = _memory(top)
            over = threading.Event()

            def watch() -> None:
                nonlocal peak
                while not over.wait(0.01):
                    with suppress(psutil.Error):
                        peak = max(peak, _memory(top))

            watcher = threading.Thread(target=watch)
            watcher.start()
            began = time.perf_counter()
            try:
                note = act(port)
            finally:
                seconds = time.perf_counter() - began
                over.set()
                watcher.join()
    return Transfer(server, case, at_rest, peak, seconds, note)


def _memory(top: psutil.Process) -> float:
    """Return the MB of the largest of the server's processes."""
    family = [top, *top.children(recursive=True)]
    return max(float(process.memory_info().rss) for process in family) / _MB
