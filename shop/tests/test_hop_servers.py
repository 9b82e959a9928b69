"""The same promises on real servers: stock `daphne`, which gets our server class, and Granian."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shop.tests.hop_urls import BLOCK, PATIENCE, mark

ROOT = Path(__file__).resolve().parent.parent.parent
BODY_MAX = 300_000
COMMANDS = {
    "daphne": ["daphne", "-v", "0", "-b", "127.0.0.1", "-p", "{port}", "{app}"],
    "granian": [
        *["granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}"],
        *["--workers", "1", "--no-ws", "{app}"],
    ],
}


class Served:
    """One server process, and how to speak with it."""

    def __init__(self, command: list[str], marks: Path, folder: Path, **environment: str) -> None:
        self.marks = marks
        self.log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        words = [w.format(port=self.port, app="shop.tests.hop_asgi:application") for w in command]
        variables = {
            **{k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")},
            "DATA_DIR": str(folder / "data"),
            "HOP_MARKS": str(marks),
            "HOP_FILE": str(folder / "file"),
            "REQUEST_THREADS": "2",
            "STREAM_THREADS": "2",
            "STREAM_MAX_BYTES": "0",
            "BODY_MAX_BYTES": str(BODY_MAX),
            **environment,
        }
        (folder / "file").write_bytes(b"f" * 5_000_000)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._is_up)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/health/live")[0] == 200
        except OSError:
            return False

    def connect(self, *, small_window: bool = False) -> socket.socket:
        """Open a connection; with a small window little of an answer is under way at once."""
        sock = socket.socket()
        if small_window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def client(self) -> http.client.HTTPConnection:
        """Return a client of its own connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, bytes]:
        """Get one path over a new connection."""
        client = self.client()
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def ask(self, path: str, *, small_window: bool = False) -> socket.socket:
        """Send a request and leave the answer to be read."""
        sock = self.connect(small_window=small_window)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return sock

    def marked(self, name: str) -> bool:
        """Whether the view has left this mark."""
        return (self.marks / name).exists()

    def processes(self) -> list[psutil.Process]:
        """The server's processes."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def open_connections(self) -> int:
        """How many connections the server has not closed yet."""
        return sum(
            connection.status != "LISTEN"
            for process in self.processes()
            for connection in process.net_connections(kind="tcp")
        )

    def threads(self) -> int:
        """How many threads there are."""
        return sum(process.num_threads() for process in self.processes())

    def kill(self) -> None:
        """End it, however it is."""
        for process in reversed(self.processes() if self.process.poll() is None else []):
            process.kill()
        self.process.wait()


def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture(scope="module", params=list(COMMANDS))
def shared(request: Any, tmp_path_factory: Any) -> Iterator[Served]:
    """One process a kind of server, for the tests that leave it alive."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "marks").mkdir()
    served = Served(COMMANDS[request.param], folder / "marks", folder)
    yield served
    served.kill()


@pytest.fixture
def server(shared: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The shared process, with no marks and no streams of the tests before."""
    monkeypatch.setenv("HOP_MARKS", str(shared.marks))
    yield shared
    until(lambda: not list(shared.marks.glob("open-*")))
    for one in shared.marks.iterdir():
        one.unlink()


@pytest.fixture(params=list(COMMANDS))
def own(request: Any, tmp_path: Path, marks: Path) -> Iterator[Served]:
    """A process of the test's own, to be ended."""
    served = Served(COMMANDS[request.param], marks, tmp_path)
    yield served
    served.kill()


def test_requests_share_a_connection(server: Served):
    client = server.client()
    client.request("GET", "/echo?a=1")
    assert json.loads(client.getresponse().read())["query"] == {"a": "1"}
    first = client.sock
    client.request("GET", "/echo?a=2")
    assert json.loads(client.getresponse().read())["query"] == {"a": "2"}
    assert client.sock is first
    client.close()


@pytest.mark.parametrize("size", [5, 200_000, BODY_MAX])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_arrives_whole(server: Served, size: int, chunked: bool):
    body = b"u" * size
    client = server.client()
    pieces = [body[at : at + 7000] for at in range(0, size, 7000)]
    client.request("POST", "/echo", body=iter(pieces) if chunked else body, encode_chunked=chunked)
    seen = json.loads(client.getresponse().read())["body"]
    assert seen in (size, body.decode())
    client.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(server: Served, chunked: bool):
    body = b"u" * (BODY_MAX + 1)
    sock = server.connect()
    head = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    sock.sendall(f"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n".encode() + body)
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    assert answer.status == 413
    assert json.loads(answer.read())["code"] == "request_too_large"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    # Granian names itself; neither tells its version.
    assert answer.getheader("Server") in (None, "granian")
    sock.close()
    assert server.get("/echo")[0] == 200


@pytest.mark.parametrize("path", ["/stream?count=100&big", "/stream?count=100&big&sized"])
def test_a_stream_is_received_whole(server: Served, path: str):
    status, body = server.get(path)
    assert status == 200
    assert body == BLOCK * 100


def test_a_file_is_received_whole(server: Served):
    assert server.get("/file") == (200, b"f" * 5_000_000)


def test_head_is_answered_without_a_body(server: Served):
    client = server.client()
    client.request("HEAD", "/echo")
    answer = client.getresponse()
    assert int(answer.headers["Content-Length"]) > 0
    assert answer.read() == b""
    client.request("GET", "/echo")
    assert client.getresponse().status == 200
    client.close()


@pytest.mark.parametrize("sized", ["", "&sized"])
def test_a_stream_that_fails_is_seen_to_be_broken(server: Served, sized: str):
    # Twice: Daphne's own checker, which breaks it off, must live on.
    for _ in range(2):
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            server.get(f"/stream?count=10&fail_at=5{sized}")
    until(lambda: "the view's own trouble" in server.log.read_text())
    assert server.get("/echo")[0] == 200


def test_a_stream_that_fails_before_its_first_chunk_is_a_500(server: Served):
    status, body = server.get("/stream?fail_at=0")
    assert status == 500
    assert json.loads(body)["code"] == "internal_error"


@pytest.mark.parametrize("path", ["/stream?count=1000000&big", "/stream-async?silent"])
def test_a_client_that_leaves_a_stream_has_it_closed(server: Served, path: str):
    sock = server.ask(path)
    assert sock.recv(1000)
    sock.close()
    until(lambda: server.marked("closed"))
    # Its place is free again, as many as there are.
    other = server.ask("/stream?count=1000000&big")
    until(lambda: server.get("/stream")[0] == 200)
    other.close()


def test_a_slow_reader_holds_back_its_stream_and_nobody_else(server: Served):
    sock = server.ask("/stream?count=2000&big", small_window=True)
    produced = before = -1
    # Until 50 requests of others have gone by without another chunk made.
    while produced != before or produced < 1:
        before = produced
        for _ in range(50):
            assert server.get("/echo")[0] == 200
            assert sock.recv(1)
        if server.marked("produced"):
            produced = int((server.marks / "produced").read_text())
    assert produced < 1000
    sock.close()
    until(lambda: server.marked("closed"))


def test_nothing_is_left_behind(server: Served):
    # As warm as it gets: both pools have all their threads.
    streams = [server.ask("/stream?count=1000000&big") for _ in range(2)]
    assert all(sock.recv(100) for sock in streams)
    assert server.get("/stream")[0] == 503
    held = [server.ask(f"/hold?name={n}") for n in range(2)]
    until(lambda: server.marked("0-began") and server.marked("1-began"))
    threads = server.threads()
    # Gone: in the middle of a stream and of a body, while the view runs,
    # while waiting for a thread.
    waiting = [server.ask("/hold?name=waiting") for _ in range(3)]
    half = server.connect()
    half.sendall(b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nhalf")
    for sock in (*streams, half, *held, *waiting):
        sock.close()
    for name in ("0", "1", "waiting"):
        mark(f"{name}-go")
    until(lambda: server.open_connections() == 0)
    until(lambda: server.get("/stream")[0] == 200)
    until(lambda: server.threads() <= threads)


def test_a_running_request_is_finished_at_sigterm(own: Served):
    held = own.ask("/hold")
    until(lambda: own.marked("hold-began"))
    # Another that is still arriving must not spoil the end.
    half = own.connect()
    half.sendall(b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nhalf")
    until(lambda: own.open_connections() == 2)
    own.process.send_signal(signal.SIGTERM)

    def refused() -> bool:
        try:
            own.connect().close()
        except ConnectionError:
            return True
        return False

    until(refused)
    half.close()
    mark("hold-go")
    answer = http.client.HTTPResponse(held)
    answer.begin()
    assert answer.status == 200
    assert answer.read() == b"held 0"
    assert own.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_a_body_that_stops_coming_is_cut_off(kind: str, tmp_path: Path, marks: Path):
    served = Served(COMMANDS[kind], marks, tmp_path, REQUEST_TIMEOUT="1")
    try:
        half = served.connect()
        half.sendall(b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nhalf")
        try:
            answer = half.recv(1000)
        except ConnectionResetError:
            answer = b""
        assert answer[:13] in (b"", b"HTTP/1.1 408 ")
        assert served.get("/echo")[0] == 200
    finally:
        served.kill()


def test_the_shops_own_command_starts_daphne(tmp_path: Path, marks: Path):
    served = Served(["shop.daphne", "-b", "127.0.0.1", "-p", "{port}"], marks, tmp_path)
    try:
        assert served.get("/health/live") == (200, b'{"status":"ok"}')
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE) == 0
    finally:
        served.kill()
