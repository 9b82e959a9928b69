"""A load generator: HTTP/1.1 with keep-alive over plain sockets.

Requests are bytes made beforehand, and of an answer only the status and the
length are read, so that what is measured is the server. Each client has one
connection and sends its next request when the last answer is complete.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

# Returns the bytes of a client's next request.
Source = Callable[[], bytes]

_END = b"\r\n\r\n"
# What is still under way when a window closes is waited for, so that it does
# not weigh on the next one; but not for ever.
_GRACE_SECONDS = 40.0
_MAX_HEAD = 64 * 1024


def request_bytes(method: str, target: str, *, token: str = "", body: bytes | None = None) -> bytes:
    """Return one complete request."""
    head = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if token:
        head.append(f"Authorization: Bearer {token}")
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + _END + (body or b"")


def with_query(path: str, **parameters: object) -> str:
    """Return `path?parameters`."""
    return f"{path}?{urlencode(parameters)}"


class BadAnswer(Exception):
    """Bytes that are no answer, or one whose end can't be told."""


def parse_head(head: bytes) -> tuple[int, int]:
    """Return status and Content-Length of an answer's head (without its empty line).

    Raises:
        BadAnswer: no status line, or no length.
    """
    line, _, fields = head.partition(b"\r\n")
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise BadAnswer(line[:80].decode("latin1"))
    status = int(rest[:3])
    at = (b"\r\n" + fields).lower().find(b"\r\ncontent-length:")
    if at < 0:
        if status in (204, 304):
            return status, 0
        raise BadAnswer("no Content-Length")
    # `at` counts from the line break that was put in front.
    value = fields[at + len(b"content-length:") :].partition(b"\r\n")[0].strip()
    if not value.isdigit():
        raise BadAnswer("Content-Length is no number")
    return status, int(value)


@dataclass
class Load:
    """What one window of load came to. Times are in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    # Of answers that were under way when the window closed.
    late: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    # Connections refused or lost, answers that never came or made no sense.
    broken: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    # The share of one core that the generator itself used.
    generator_share: float = 0.0
    # How many requests may still be sent; None: as many as fit in.
    left: int | None = None

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def errors(self) -> int:
        """Answers that are no success, and what is broken."""
        refused = sum(n for status, n in self.statuses.items() if not 200 <= status < 300)
        return refused + sum(self.broken.values())


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, source: Source, load: Load, deadline: float) -> None:
        self._source = source
        self._load = load
        self._deadline = deadline
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_at = 0.0
        self._waiting = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        now = time.perf_counter()
        if now >= self._deadline or self._transport is None or self._load.left == 0:
            self.close()
            return
        if self._load.left is not None:
            self._load.left -= 1
        self._waiting = True
        self._sent_at = now
        self._transport.write(self._source())

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(_END)
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                self._break("the head has no end")
            return
        try:
            status, length = parse_head(self._buffer[:end])
        except BadAnswer as error:
            self._break(str(error))
            return
        whole = end + len(_END) + length
        if len(self._buffer) < whole:
            return
        now = time.perf_counter()
        load = self._load
        load.statuses[status] += 1
        load.bytes_read += whole
        # Answers after the bell are waited for and looked at, but not counted
        # into the rate.
        (load.latencies if now < self._deadline else load.late).append(now - self._sent_at)
        self._buffer = self._buffer[whole:]
        self._waiting = False
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting:
            self._load.broken[str(error or "closed before the answer")] += 1
            self._waiting = False
        if not self.done.done():
            self.done.set_result(None)

    def _break(self, why: str) -> None:
        self._load.broken[why] += 1
        self._waiting = False
        self.close()

    def close(self) -> None:
        """End the connection; `done` follows."""
        if self._transport is not None:
            self._transport.abort() if self._waiting else self._transport.close()


async def _drive(port: int, sources: list[Source], seconds: float, most: int | None) -> Load:
    loop = asyncio.get_running_loop()
    load = Load(seconds=seconds, left=most)
    cpu, started = time.process_time(), time.perf_counter()
    deadline = started + seconds

    async def connect(source: Source) -> _Client | None:
        try:
            _transport, client = await loop.create_connection(
                lambda: _Client(source, load, deadline), "127.0.0.1", port
            )
        except OSError as error:
            load.broken[f"connecting: {error}"] += 1
            return None
        return client

    clients = [c for c in await asyncio.gather(*map(connect, sources)) if c is not None]
    if clients:
        left = deadline - time.perf_counter() + _GRACE_SECONDS
        _done, late = await asyncio.wait([client.done for client in clients], timeout=left)
        if late:
            for client in clients:
                client.close()
            await asyncio.wait([client.done for client in clients], timeout=5)
    if most is not None:
        load.seconds = min(seconds, time.perf_counter() - started)
    load.generator_share = (time.process_time() - cpu) / (time.perf_counter() - started)
    return load


def drive(port: int, sources: list[Source], seconds: float, most: int | None = None) -> Load:
    """Let one client a source send requests to 127.0.0.1:`port`.

    For `seconds`, or until `most` requests have been answered, whichever is first.
    """
    return asyncio.run(_drive(port, sources, seconds, most))
