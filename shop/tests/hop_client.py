"""A server's side of ASGI, by hand: each message is seen and each wait is bounded."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from django.test.utils import override_settings

from shop.server import OneHop
from shop.tests.hop_urls import PATIENCE
from shop.threads import Turn

T = TypeVar("T")
DISCONNECT = {"type": "http.disconnect"}


@contextmanager
def hop(*, middleware: tuple[str, ...] = (), **options: Any) -> Iterator[OneHop]:
    """Make a hop with these options in front of the tests' own views."""
    defaults: dict[str, Any] = {
        "threads": 2,
        "queue": 10,
        # Longer than a test waits for anything.
        "timeout": 3 * PATIENCE,
        "shutdown_timeout": 3 * PATIENCE,
        "stream_threads": 2,
        "stream_max_bytes": 0,
        "body_max_bytes": 1_000_000,
    }
    with override_settings(
        ROOT_URLCONF="shop.tests.hop_urls",
        MIDDLEWARE=list(middleware),
        ALLOWED_HOSTS=["*"],
        FORCE_SCRIPT_NAME=None,
    ):
        made = OneHop(**{**defaults, **options})
        yield made
        made._pool.shutdown()
        made._stream_pool.shutdown()


async def in_thread(app: OneHop, call: Callable[[], object]) -> None:
    """Run `call` in a thread of the pool and wait for its end."""
    turn = Turn(call)
    app._pool.post(turn)
    await turn.wait()


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run one test's coroutine. The bound is real time, whatever `skip` makes of the loop's."""

    async def bounded() -> T:
        task = asyncio.ensure_future(test)
        loop = asyncio.get_running_loop()
        bitten = threading.Event()

        def bite() -> None:
            bitten.set()
            loop.call_soon_threadsafe(task.cancel)

        watchdog = threading.Timer(2 * PATIENCE, bite)
        watchdog.start()
        try:
            return await task
        finally:
            watchdog.cancel()
            assert not bitten.is_set(), "the test took too long"

    return asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.005)


def skip(seconds: float) -> None:
    """Let time pass on the event loop, at once: what waits for less than this is over."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds  # type: ignore[method-assign]
    # The loop may be asleep for as long as it thought that nothing is due.
    loop.call_soon(lambda: None)


def marked(name: str) -> bool:
    """Whether a view has left this mark."""
    return (Path(os.environ["HOP_MARKS"]) / name).exists()


class Call:
    """One request and what came of it."""

    def __init__(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | list[bytes] | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
        send: Callable[[Any], Awaitable[None]] | None = None,
        **scope: Any,
    ) -> None:
        """A list of bytes is a body that comes in pieces, without its length."""
        path, _, query = path.partition("?")
        self.headers = [(b"host", b"testserver"), *(headers or [])]
        pieces = body if isinstance(body, list) else [body or b""]
        if isinstance(body, bytes):
            self.headers.append((b"content-length", str(len(body)).encode()))
        elif body is not None:
            self.headers.append((b"transfer-encoding", b"chunked"))
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": self.headers,
            "client": ["192.0.2.1", 4000],
            "server": ["testserver", 80],
            **scope,
        }
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, piece in enumerate(pieces, start=1):
            self.incoming.put_nowait(
                {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            )
        self.sent: list[dict[str, Any]] = []
        self._on_send = send
        self.task: asyncio.Task[None] | None = None

    async def _send(self, message: Any) -> None:
        if self._on_send is not None:
            await self._on_send(message)
        self.sent.append(message)

    def start(self, app: Any) -> "Call":
        """Begin; `self.task` is the application's task."""
        self.task = asyncio.create_task(app(self.scope, self.incoming.get, self._send))
        return self

    async def answer(self, app: Any) -> "Call":
        """Run to the end."""
        self.start(app)
        assert self.task is not None
        await self.task
        return self

    def disconnect(self) -> None:
        """The client goes away."""
        self.incoming.put_nowait(DISCONNECT)

    @property
    def status(self) -> int:
        """The status, once it is sent."""
        starts = [m for m in self.sent if m["type"] == "http.response.start"]
        assert len(starts) == 1, self.sent
        return int(starts[0]["status"])

    @property
    def complete(self) -> bool:
        """Whether the client was told that this is all."""
        ends = [
            m
            for m in self.sent
            if m["type"] == "http.response.body" and not m.get("more_body", False)
        ]
        assert len(ends) <= 1
        return bool(ends)

    @property
    def body(self) -> bytes:
        """All that was sent."""
        return b"".join(m.get("body", b"") for m in self.sent)

    def all(self, name: bytes) -> list[bytes]:
        """All the values of one response header."""
        return [v for k, v in self.sent[0]["headers"] if k == name]
