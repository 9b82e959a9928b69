"""The one hop from ASGI into Django's synchronous stack.

Django's own ASGI handler crosses between threads once for each synchronous
middleware hook; this one crosses once for the whole stack, onto a bounded
pool whose threads keep their database connections. See docs/performance.md
for the figures.

What it promises:

- the body is received before a thread is taken, on disk from 64 KB on, refused
  with 413 beyond a limit and with 408 when it comes too slowly;
- at most so many requests wait, the rest get 503 with Retry-After; one whose
  client has gone before its turn is not run;
- a request that takes too long is answered 504; its thread finishes alone;
- context variables travel in and out, Django's signals are sent, database
  connections are reused;
- a generator runs in one thread of a pool of its own, from its first chunk to
  its end, no further ahead than the server takes its chunks; it is closed
  there when the client has gone or stalls; when the pool is full: 503;
- a file takes a thread for each block only, so slow readers hold none;
- an error before the first byte of a stream is an answer, later it breaks the
  transfer off, so that no client takes half for the whole;
- when the server shuts down, running requests are finished and answered.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

from django.core.handlers import base
from django.http import StreamingHttpResponse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger(__name__)

# Bodies are received by the hundred at a time, slow ones too: what is held of
# each in memory must be small.
_BODY_IN_MEMORY = 64 * 1024
# Bytes a second: a body that comes slower than this, after a first grace, is
# somebody holding connections open.
_SLOWEST_BODY = 8 * 1024
# What is given to the server at once: about what a socket takes.
_CHUNK = 64 * 1024
_FILE_BLOCK = 256 * 1024


class _Gone(Exception):
    """The client went away before the answer began."""


class _Refused(Exception):
    """The request is answered without Django."""

    def __init__(self, status: int, code: str, detail: str, retry: int | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.retry = retry


class BrokenStream(Exception):
    """A streamed answer that can't be completed. The server breaks the connection off."""


@dataclass(slots=True)
class _Answer:
    """What comes out of the stack: ready bytes, or a stream still to be run."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    stream: StreamingHttpResponse | None = None


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
        requests may wait for a thread; `stream_max_bytes` is what a generator
        may yield, 0 for no limit.
        """
        super().__init__()
        self.load_middleware(is_async=False)
        self._threads = threads
        self._limit = threads + queue
        self._timeout = timeout
        self._shutdown_timeout = shutdown_timeout
        self._stream_threads = stream_threads
        self._stream_max_bytes = stream_max_bytes
        self._body_max_bytes = body_max_bytes
        # Both are touched on the event loop only. What runs on after its 504
        # still counts: its thread is not free.
        self._in_flight = 0
        self._streams = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._stream_pool = ThreadPoolExecutor(stream_threads, thread_name_prefix="stream")

    # --- On the event loop -------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            self._admit()
            body = await self._read_body(scope, receive)
            try:
                # Receiving may have taken long, and does not count: slow
                # senders must not keep the others out.
                self._admit()
                await self._answer(scope, body, receive, send)
            except _Refused:
                body.close()
                raise
        except _Refused as refusal:
            await _send_problem(send, refusal)
        except _Gone:
            pass

    def _admit(self) -> None:
        if self._in_flight >= self._limit:
            raise _Refused(503, "overloaded", "Too many requests are waiting.", retry=1)

    async def _read_body(self, scope: Scope, receive: Receive) -> BinaryIO:
        limit = self._body_max_bytes
        too_large = _Refused(413, "request_too_large", f"The body is larger than {limit} bytes.")
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                raise too_large
        body: BinaryIO = BytesIO()
        size = 0
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._timeout) as patience:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    chunk = message.get("body", b"")
                    if chunk:
                        if size <= _BODY_IN_MEMORY < size + len(chunk):
                            body = _on_disk(body)
                        size += len(chunk)
                        if size > limit:
                            raise too_large
                        body.write(chunk)
                    if not message.get("more_body", False):
                        break
                    patience.reschedule(started + self._timeout + size / _SLOWEST_BODY)
        except TimeoutError:
            body.close()
            raise _Refused(408, "body_timeout", "The body came too slowly.") from None
        except BaseException:
            body.close()
            raise
        body.seek(0)
        return body

    async def _answer(self, scope: Scope, body: BinaryIO, receive: Receive, send: Send) -> None:
        context = contextvars.copy_context()
        work = self._pool.submit(context.run, self._run, scope, body)
        waiting = asyncio.wrap_future(work)
        self._in_flight += 1
        waiting.add_done_callback(self._leave)
        listener: asyncio.Future[None] | None = None
        if self._in_flight > self._threads:
            # It has to wait. (One that starts at once can't be stopped, and
            # is spared the price of listening.)
            listener = asyncio.ensure_future(_when_gone(receive, work.cancel))
        try:
            answer = await self._wait_for(work, waiting)
            _bring_back(context)
            if answer.stream is None:
                await _send_answer(send, answer)
            else:
                listener = listener or asyncio.ensure_future(_when_gone(receive))
                await self._send_stream(answer, context, listener, send)
        except BaseException:
            # Nobody takes the answer any more; what it holds open is closed
            # as soon as it is there.
            work.add_done_callback(partial(self._discard, context))
            raise
        finally:
            if listener is not None:
                listener.cancel()

    def _leave(self, _: object) -> None:
        self._in_flight -= 1

    async def _wait_for(
        self, work: "Future[_Answer]", waiting: "asyncio.Future[_Answer]"
    ) -> _Answer:
        try:
            await asyncio.wait((waiting,), timeout=self._timeout)
        except asyncio.CancelledError:
            # The server is shutting down, or has given a lost client up; it
            # does not say which. What has not begun is dropped, what runs is
            # finished. A second cancellation ends the waiting.
            if work.cancel():
                raise _Refused(
                    503, "shutting_down", "The server is shutting down.", retry=1
                ) from None
            await asyncio.wait((waiting,), timeout=self._shutdown_timeout)
        if waiting.cancelled():
            raise _Gone
        if waiting.done():
            return waiting.result()
        if work.cancel():
            raise _Refused(503, "overloaded", "No thread came free in time.", retry=1)
        logger.error("request timed out", extra={"timeout_s": self._timeout})
        raise _Refused(504, "timeout", "The request took too long.")

    def _discard(self, context: contextvars.Context, work: "Future[_Answer]") -> None:
        if not work.cancelled() and (stream := work.result().stream) is not None:
            self._close(context, stream)

    def _close(self, context: contextvars.Context, stream: StreamingHttpResponse) -> None:
        # Never on the event loop: closers are the views' code. A pool that
        # takes no more belongs to a process that is ending.
        try:
            self._pool.submit(context.run, _close_response, stream)
        except RuntimeError:
            logger.warning("a stream was left open at exit")

    async def _send_stream(
        self,
        answer: _Answer,
        context: contextvars.Context,
        listener: "asyncio.Future[None]",
        send: Send,
    ) -> None:
        """Send chunk by chunk until the stream ends or the client has gone."""
        sending = asyncio.ensure_future(self._send_chunks(answer, context, send))
        try:
            await asyncio.wait((sending, listener), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Closing takes no time here: generators are told, not waited for.
            # Shutting down, too: a download is broken off.
            if not sending.done():
                sending.cancel()
                await asyncio.wait((sending,))
        if not sending.cancelled():
            sending.result()

    async def _send_chunks(self, answer: _Answer, context: contextvars.Context, send: Send) -> None:
        started = False
        start = {
            "type": "http.response.start",
            "status": answer.status,
            "headers": answer.headers,
        }
        try:
            async with aclosing(self._chunks(answer, context)) as chunks:
                async for chunk in chunks:
                    for at in range(0, len(chunk), _CHUNK):
                        if not started:
                            await send(start)
                            started = True
                        piece = chunk[at : at + _CHUNK]
                        async with asyncio.timeout(self._timeout):
                            await send(
                                {"type": "http.response.body", "body": piece, "more_body": True}
                            )
            if not started:
                await send(start)
            await send({"type": "http.response.body", "body": b""})
        except OSError as error:
            # What servers raise from `send` when the client has gone; also
            # TimeoutError, when it takes nothing.
            if isinstance(error, TimeoutError):
                logger.warning("a client stalled in its download and is dropped")
                raise BrokenStream("The client takes nothing.") from None
        except _Refused:
            raise
        except Exception as error:
            logger.exception("a stream failed", extra={"started": started})
            if started:
                raise BrokenStream("The stream failed.") from error
            raise _Refused(500, "internal_error", "Something went wrong on our side.") from None

    def _chunks(self, answer: _Answer, context: contextvars.Context) -> "AsyncIterator[bytes]": ...
