"""The one hop from ASGI into Django's synchronous stack.

Django's own ASGI handler crosses between threads once for each synchronous
middleware hook; this one crosses once for the whole stack, onto a bounded
pool whose threads keep their database connections. See docs/architecture.md
for the figures.

What it promises:

- the body is received before a thread is taken, on disk from 1 MB on, and
  refused with 413 beyond a limit;
- at most so many requests wait, the rest get 503 with Retry-After;
- a request that takes too long is answered 504; its thread finishes alone;
- context variables travel in and out, Django's signals are sent, database
  connections are reused;
- a streamed answer is produced on a pool of its own, chunk by chunk as the
  server takes them, and its generator is closed in its own thread when the
  client has gone; when that pool is full the answer is 503;
- when the server shuts down, running requests are finished and answered.
"""

import asyncio
import contextvars
import logging
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.core import signals
from django.core.handlers import base
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.http import HttpResponseBase, StreamingHttpResponse
from django.urls import set_script_prefix

from shop.errors import problem_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger(__name__)

_SPOOL_IN_MEMORY = 1024 * 1024
# A file of up to this size is read in the request's thread: a page's scripts
# and pictures must not compete for the few threads of long streams.
_SMALL_FILE = 4 * 1024 * 1024


class _Disconnected(Exception):
    """The client went away before the answer began."""


class _BodyTooLarge(Exception):
    """The body is over the limit."""


@dataclass
class _Answer:
    """What comes out of the stack: ready bytes, or a stream still to be run."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    stream: StreamingHttpResponse | None = None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class OneHop(base.BaseHandler):
    """An ASGI application for `http` scopes around Django's synchronous stack."""

    def __init__(
        self,
        *,
        threads: int,
        queue: int,
        timeout: float,
        shutdown_timeout: float,
        stream_threads: int,
        stream_max_bytes: int,
        body_max_bytes: int,
    ) -> None:
        """Load the middleware; threads start with the first request.

        `timeout` and `shutdown_timeout` are seconds; `queue` is how many
        requests may wait for a thread; `stream_max_bytes` 0 means no limit.
        """
        super().__init__()
        self.load_middleware(is_async=False)
        self._threads = threads
        self._limit = threads + queue
        self._timeout = timeout
        self._shutdown_timeout = shutdown_timeout
        self._stream_max_bytes = stream_max_bytes
        self._body_max_bytes = body_max_bytes
        self._in_flight = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._stream_slots = threading.BoundedSemaphore(stream_threads)
        self._stream_pool = ThreadPoolExecutor(stream_threads, thread_name_prefix="stream")

    # --- On the event loop -------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._in_flight >= self._limit:
            await _refuse(send, 503, "overloaded", "Too many requests are waiting.", retry=1)
            return
        self._in_flight += 1
        try:
            try:
                body = await self._read_body(scope, receive)
            except _BodyTooLarge:
                await _refuse(
                    send,
                    413,
                    "request_too_large",
                    f"The body is larger than {self._body_max_bytes} bytes.",
                )
                return
            except _Disconnected:
                return
            await self._answer(scope, body, receive, send)
        finally:
            self._in_flight -= 1

    async def _read_body(self, scope: Scope, receive: Receive) -> BinaryIO:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._body_max_bytes:
                raise _BodyTooLarge
        body = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY))
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Disconnected
                chunk = message.get("body", b"")
                if chunk:
                    size += len(chunk)
                    if size > self._body_max_bytes:
                        raise _BodyTooLarge
                    body.write(chunk)
                if not message.get("more_body", False):
                    break
        except BaseException:
            body.close()
            raise
        body.seek(0)
        return body

    async def _answer(self, scope: Scope, body: BinaryIO, receive: Receive, send: Send) -> None:
        context = contextvars.copy_context()
        work = self._pool.submit(context.run, self._run, scope, body)
        answer = await self._wait_for(work, receive, send)
        if answer is None:
            return
        _bring_back(context)
        if answer.stream is not None:
            await self._send_stream(answer, receive, send)
            return
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _wait_for(
        self, work: "Future[_Answer]", receive: Receive, send: Send
    ) -> _Answer | None:
        """Wait for a thread's answer; None where there is nothing more to send."""
        waiting = asyncio.wrap_future(work)
        try:
            done, _ = await asyncio.wait({waiting}, timeout=self._timeout)
        except asyncio.CancelledError:
            # The server is shutting down (or has given the client up, and
            # then nobody hears the answer). What runs is finished, what has
            # not begun is told so.
            if work.cancel():
                await _refuse(send, 503, "shutting_down", "The server is shutting down.", retry=1)
                return None
            done, _ = await asyncio.wait({waiting}, timeout=self._shutdown_timeout)
        if done:
            return waiting.result()
        if work.cancel():
            await _refuse(send, 503, "overloaded", "No thread came free in time.", retry=1)
            return None
        logger.error("request timed out", extra={"timeout_s": self._timeout})
        # The thread can't be stopped; whatever it answers is closed there.
        work.add_done_callback(self._discard)
        await _refuse(send, 504, "timeout", "The request took too long.")
        return None

    def _discard(self, work: "Future[_Answer]") -> None:
        if not work.cancelled() and work.exception() is None:
            stream = work.result().stream
            if stream is not None:
                self._pool.submit(work.result().context.run, stream.close)

    async def _send_stream(self, answer: _Answer, receive: Receive, send: Send) -> None:
        stream = answer.stream
        assert stream is not None
        if not self._stream_slots.acquire(blocking=False):
            await self._close_in_pool(answer)
            await _refuse(send, 503, "streams_busy", "Too many downloads are running.", retry=5)
            return
        try:
            await send(
                {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
            )
            gone = threading.Event()
            listener = asyncio.ensure_future(_wait_for_disconnect(receive, gone))
            try:
                if stream.is_async:
                    await self._send_async(stream, gone, send)
                    await self._close_in_pool(answer)
                else:
                    await self._send_sync(answer, gone, send)
            finally:
                listener.cancel()
        finally:
            self._stream_slots.release()
        if not gone.is_set():
            await send({"type": "http.response.body", "body": b""})

    async def _send_async(
        self, stream: StreamingHttpResponse, gone: threading.Event, send: Send
    ) -> None:
        sent = 0
        async for chunk in stream:
            if gone.is_set():
                return
            sent = self._count(sent, chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _send_sync(self, answer: _Answer, gone: threading.Event, send: Send) -> None:
        """Run the generator in one thread from its first chunk to its end.

        The thread waits for the server to take each chunk, so a slow client
        holds back the generator and nothing piles up here.
        """
        loop = asyncio.get_running_loop()

        async def deliver(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        def pump() -> None:
            stream = answer.stream
            assert stream is not None
            sent = 0
            try:
                for chunk in cast(Iterator[bytes], stream):
                    if gone.is_set():
                        return
                    sent = self._count(sent, chunk)
                    asyncio.run_coroutine_threadsafe(deliver(chunk), loop).result()
            finally:
                # Closes the generator and sends request_finished, here where
                # its database connection is.
                stream.close()

        running = loop.run_in_executor(self._stream_pool, answer.context.run, pump)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            # Shutting down: a download is not waited for, but its generator is closed.
            gone.set()
            await asyncio.wait({running}, timeout=self._shutdown_timeout)
            raise

    def _count(self, sent: int, chunk: bytes) -> int:
        sent += len(chunk)
        if self._stream_max_bytes and sent > self._stream_max_bytes:
            raise RuntimeError(
                f"A stream went over STREAM_MAX_BYTES ({self._stream_max_bytes}): what is larger"
                " belongs in a background job and a file."
            )
        return sent

    async def _close_in_pool(self, answer: _Answer) -> None:
        stream = answer.stream
        assert stream is not None
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, answer.context.run, stream.close)

    # --- In a thread of the pool -------------------------------------------

    def _run(self, scope: Scope, body: BinaryIO) -> _Answer:
        """Run the whole stack for one request."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            request = ASGIRequest(scope, body)
        except UnicodeDecodeError:
            body.close()
            signals.request_finished.send(sender=self.__class__)
            return _Answer(
                400,
                [(b"content-type", b"application/problem+json")],
                problem_bytes(400, "invalid", "The query string is not valid UTF-8."),
            )
        response = self.get_response(request)
        # Django's handlers close what the request left open with the response.
        response._resource_closers.append(request.close)
        _note(scope, request)
        headers = [
            (name.encode("ascii").lower(), value.encode("latin1"))
            for name, value in response.items()
        ]
        headers += [
            (b"set-cookie", cookie.OutputString().encode("ascii"))
            for cookie in response.cookies.values()
        ]
        return self._finish(request, response, headers)

    def _finish(
        self, request: ASGIRequest, response: HttpResponseBase, headers: list[tuple[bytes, bytes]]
    ) -> _Answer:
        if response.streaming:
            stream = cast(StreamingHttpResponse, response)
            if not _is_small_file(response):
                return _Answer(response.status_code, headers, stream=stream)
            body = b"".join(cast(Iterable[bytes], stream))
        else:
            body = cast(Any, response).content
        response.close()
        if request.method == "HEAD":
            body = b""
        return _Answer(response.status_code, headers, body)


def _note(scope: Scope, request: ASGIRequest) -> None:
    """Leave what the request layer wants to know: the route's template, and who asked."""
    notes = scope.setdefault("shop", {})
    match = request.resolver_match
    if match is not None:
        notes["route"] = match.route
    # Only a user that the request has already looked up: asking here would
    # cost a query.
    user = request.__dict__.get("_cached_user") or request.__dict__.get("user")
    pk = getattr(user, "pk", None) if type(user).__name__ == "User" else None
    if pk is not None:
        notes["user_id"] = pk


def _is_small_file(response: HttpResponseBase) -> bool:
    length = response.get("Content-Length", "")
    return (
        getattr(response, "file_to_stream", None) is not None
        and length.isdigit()
        and int(length) <= _SMALL_FILE
    )


def _bring_back(context: contextvars.Context) -> None:
    """Set in this task what the request set in its own context, as asgiref does."""
    for variable, value in context.items():
        if variable.get(None) is not value:
            variable.set(value)


async def _wait_for_disconnect(receive: Receive, gone: threading.Event) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            gone.set()
            return


async def _refuse(
    send: Send, status: int, code: str, detail: str, *, retry: int | None = None
) -> None:
    body = problem_bytes(status, code, detail)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if retry is not None:
        headers.append((b"retry-after", str(retry).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def from_settings() -> OneHop:
    """Return the hop as the settings have it."""
    return OneHop(
        threads=settings.REQUEST_THREADS,
        queue=settings.REQUEST_QUEUE,
        timeout=settings.REQUEST_TIMEOUT,
        shutdown_timeout=settings.SHUTDOWN_TIMEOUT,
        stream_threads=settings.STREAM_THREADS,
        stream_max_bytes=settings.STREAM_MAX_BYTES,
        body_max_bytes=settings.BODY_MAX_BYTES,
    )
