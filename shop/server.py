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
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO, TypeVar, cast

from django.conf import settings
from django.core import signals
from django.core.exceptions import SuspiciousOperation
from django.core.handlers import base
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.db import close_old_connections
from django.http import FileResponse, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import set_script_prefix

from shop.errors import problem_bytes
from shop.middleware import BEFORE_DJANGO
from shop.streams import Pump, close, is_file, read_async
from shop.threads import Threads, Turn

T = TypeVar("T")
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
SLOWEST_BODY = 8 * 1024
# Seconds. Most answers are there before, and spared the price of listening for
# the client; where many wait longer, those that have gone must not be run.
_LISTEN_AFTER = 0.2
# What is given to the server at once: about what a socket takes.
_CHUNK = 64 * 1024
_FILE_BLOCK = 256 * 1024


class _Gone(Exception):
    """The client went away before the answer began."""


@dataclass(slots=True)
class _Answer:
    """What comes out of the stack: ready bytes, or a stream still to be run."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    # Whoever finds it here at the end closes it. Touched on the event loop only.
    stream: StreamingHttpResponse | None = None

    def start(self) -> Message:
        """Return the message that the answer begins with."""
        return {"type": "http.response.start", "status": self.status, "headers": self.headers}


class _Refused(Exception):
    """The request is answered without Django."""

    def __init__(self, status: int, code: str, detail: str, retry: int = 0) -> None:
        """`retry` is seconds for Retry-After."""
        self.status = status
        self.code = code
        self.detail = detail
        self.retry = retry

    def answer(self) -> _Answer:
        body = problem_bytes(self.status, self.code, self.detail)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            *BEFORE_DJANGO,
        ]
        if self.retry:
            headers.append((b"retry-after", str(self.retry).encode()))
        return _Answer(self.status, headers, body)


class BrokenStream(Exception):
    """A streamed answer that can't be completed. The server breaks the connection off."""


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
        self._pool = Threads(threads, "request")
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
            except _Refused:
                body.close()
                raise
            await self._answer(scope, body, receive, send)
        except _Gone:
            pass
        except _Refused as refusal:
            with suppress(_Gone):
                await _send_answer(send, refusal.answer())

    def _admit(self) -> None:
        if self._in_flight >= self._limit:
            raise _Refused(503, "overloaded", "Too many requests are waiting.", 1)

    async def _read_body(self, scope: Scope, receive: Receive) -> BinaryIO:
        limit = self._body_max_bytes
        # Without either header HTTP/1 has no body, and the empty one is there
        # at once. Of other versions nothing is known beforehand.
        expected: int | None = 0 if scope.get("http_version", "")[:1] == "1" else None
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                expected = int(value)
            elif name == b"transfer-encoding":
                expected = None
        if expected is not None and expected > limit:
            raise _too_large(limit)
        body: BinaryIO = BytesIO()
        size = 0
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None if expected == 0 else self._timeout) as patience:
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    chunk = message.get("body", b"")
                    if size <= _BODY_IN_MEMORY < size + len(chunk):
                        body = _on_disk(body)
                    size += len(chunk)
                    if size > limit:
                        raise _too_large(limit)
                    body.write(chunk)
                    more = message.get("more_body", False)
                    if more:
                        patience.reschedule(started + self._timeout + size / SLOWEST_BODY)
        except BaseException as error:
            body.close()
            if isinstance(error, TimeoutError):
                raise _Refused(408, "body_timeout", "The body came too slowly.") from None
            raise
        body.seek(0)
        return body

    async def _answer(self, scope: Scope, body: BinaryIO, receive: Receive, send: Send) -> None:
        context = contextvars.copy_context()
        turn = Turn(partial(context.run, self._run, scope, body))
        self._pool.post(turn)
        self._in_flight += 1
        turn.when_over(self._leave)
        listener: asyncio.Future[None] | None = None

        def listen() -> "asyncio.Future[None]":
            nonlocal listener
            if listener is None:
                listener = asyncio.ensure_future(_when_gone(receive, turn.cancel))
            return listener

        answer: _Answer | None = None
        try:
            answer = await self._wait_for(turn, listen)
            _bring_back(context)
            if answer.stream is None:
                await _send_answer(send, answer)
            else:
                await self._send_stream(answer, context, listen(), send)
        finally:
            if listener is not None:
                listener.cancel()
            if answer is None or answer.stream is not None:
                turn.when_over(partial(self._leave_nothing_open, context, body))

    def _leave(self, _: object) -> None:
        self._in_flight -= 1

    async def _wait_for(self, turn: "Turn[_Answer]", listen: Callable[[], object]) -> _Answer:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await turn.wait(began + min(_LISTEN_AFTER, self._timeout))
            if not turn.over:
                listen()
                await turn.wait(began + self._timeout)
        except asyncio.CancelledError:
            # The server is shutting down, or has given a lost client up; it
            # does not say which. What has not begun is dropped, what runs is
            # finished. A second cancellation ends the waiting.
            if turn.cancel():
                raise _Refused(503, "shutting_down", "The server is shutting down.", 1) from None
            await turn.wait(clock() + self._shutdown_timeout)
        if turn.cancelled:
            raise _Gone
        if turn.over:
            assert turn.result is not None  # _run raises nothing
            return turn.result
        if turn.cancel():
            raise _Refused(503, "overloaded", "No thread came free in time.", 1)
        logger.error("request timed out", extra={"timeout_s": self._timeout})
        raise _Refused(504, "timeout", "The request took too long.")

    def _leave_nothing_open(
        self, context: contextvars.Context, body: BinaryIO, answer: _Answer | None
    ) -> None:
        if answer is None:
            body.close()
        elif answer.stream is not None:
            # Never on the event loop: what closes is the view's code. A copy,
            # as a thread may still be in the context itself.
            self._pool.post(Turn(partial(context.copy().run, close, answer.stream)))

    async def _send_stream(
        self,
        answer: _Answer,
        context: contextvars.Context,
        listener: "asyncio.Future[None]",
        send: Send,
    ) -> None:
        """Send chunk by chunk until the stream ends or the client has gone."""
        stream = answer.stream
        assert stream is not None
        pump: Pump | None = None
        limit = self._stream_max_bytes
        if is_file(stream):
            limit = 0
            chunks = self._read_file(stream, context)
        else:
            if self._streams >= self._stream_threads:
                raise _Refused(503, "streams_busy", "Too many downloads are running.", 5)
            self._streams += 1
            if stream.is_async:
                chunks = read_async(stream)
            else:
                # From here on the pump's thread closes it.
                answer.stream = None
                pump = Pump(stream, 2 * self._timeout, self._leave_stream)
                self._stream_pool.submit(context.run, pump.run)
                chunks = pump.chunks()
        sending = asyncio.ensure_future(self._send_chunks(answer, chunks, limit, send))
        try:
            try:
                await asyncio.wait((sending, listener), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                # Shutting down. Asynchronous streams are those without an end.
                if not stream.is_async:
                    await asyncio.wait(
                        (sending, listener),
                        timeout=self._shutdown_timeout,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                raise
        finally:
            sending.cancel()
            if pump is not None:
                # It ends by itself, as soon as its generator lets it.
                pump.stop()
            elif stream.is_async:
                self._leave_stream()
            await asyncio.wait((sending,))
        if not sending.cancelled():
            sending.result()

    def _leave_stream(self) -> None:
        self._streams -= 1

    async def _send_chunks(
        self, answer: _Answer, chunks: AsyncGenerator[bytes, None], limit: int, send: Send
    ) -> None:
        sent = 0
        started = False
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    sent += len(chunk)
                    if limit and sent > limit:
                        raise ValueError(
                            f"over STREAM_MAX_BYTES ({limit}): this belongs in a job and a file"
                        )
                    for at in range(0, len(chunk), _CHUNK):
                        if not started:
                            started = True
                            await self._deliver(send, answer.start())
                        piece = chunk[at : at + _CHUNK]
                        await self._deliver(
                            send, {"type": "http.response.body", "body": piece, "more_body": True}
                        )
        except (_Gone, BrokenStream):
            raise
        except Exception as error:
            logger.exception("a stream failed", extra={"started": started})
            if started:
                raise BrokenStream("The stream failed.") from error
            raise _Refused(500, "internal_error", "Something went wrong on our side.") from None
        if not started:
            await self._deliver(send, answer.start())
        await self._deliver(send, {"type": "http.response.body", "body": b""})

    async def _deliver(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await send(message)
        except TimeoutError:
            raise BrokenStream("The client takes nothing.") from None
        except OSError:
            raise _Gone from None

    async def _read_file(
        self, stream: StreamingHttpResponse, context: contextvars.Context
    ) -> AsyncGenerator[bytes, None]:
        blocks = iter(cast(Iterator[bytes], stream))
        while True:
            turn = Turn(partial(context.run, next, blocks, b""))
            self._pool.post(turn)
            await turn.wait()
            if turn.error is not None:
                raise turn.error
            if not turn.result:
                return
            yield turn.result

    async def call(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread of the pool, among the requests; for WebSockets' database work.

        Raises:
            OverflowError: too many wait already.
            TimeoutError: no thread came free, or the work took too long.
        """
        if self._in_flight >= self._limit:
            raise OverflowError("Too many requests are waiting.")
        turn = Turn(partial(contextvars.copy_context().run, _with_fresh_connections, work))
        self._pool.post(turn)
        self._in_flight += 1
        turn.when_over(self._leave)
        try:
            await turn.wait(asyncio.get_running_loop().time() + self._timeout)
        except asyncio.CancelledError:
            turn.cancel()
            raise
        if not turn.over:
            turn.cancel()
            raise TimeoutError("The database work took too long.")
        if turn.error is not None:
            raise turn.error
        return cast(T, turn.result)

    # --- In a thread of the pool -------------------------------------------

    def _run(self, scope: Scope, body: BinaryIO) -> _Answer:
        """Run the whole stack for one request. Raises nothing: a view must not end the process."""
        set_script_prefix(get_script_prefix(scope))
        request: ASGIRequest | None = None
        response: HttpResponseBase | None = None
        try:
            signals.request_started.send(sender=self.__class__, scope=scope)
            request = ASGIRequest(scope, body)
            response = self.get_response(request)
            cast(Any, response)._handler_class = self.__class__
            _note(scope, request)
            return self._take(request, response)
        except BaseException as error:
            if request is None and isinstance(error, UnicodeDecodeError):
                refusal = _Refused(400, "invalid", "The query string is not valid UTF-8.")
            elif request is None and isinstance(error, SuspiciousOperation):
                refusal = _Refused(400, "invalid", "The query string has too many parameters.")
            else:
                logger.critical("the stack failed", exc_info=error)
                if request is not None:
                    signals.got_request_exception.send(sender=self.__class__, request=request)
                refusal = _Refused(500, "internal_error", "Something went wrong on our side.")
            if response is not None:
                close(response)
            else:
                body.close()
                signals.request_finished.send(sender=self.__class__)
            return refusal.answer()

    def _take(self, request: ASGIRequest, response: HttpResponseBase) -> _Answer:
        headers = [
            (name.encode("ascii").lower(), value.encode("latin1"))
            for name, value in response.items()
        ]
        headers += [
            (b"set-cookie", cookie.OutputString().encode("ascii"))
            for cookie in response.cookies.values()
        ]
        body = b""
        if request.method != "HEAD" and response.status_code not in (204, 304):
            if response.streaming:
                stream = cast(StreamingHttpResponse, response)
                length = response.get("Content-Length", "")
                if is_file(stream):
                    cast(FileResponse, stream).block_size = _FILE_BLOCK
                if not (is_file(stream) and length.isdigit() and int(length) <= _FILE_BLOCK):
                    return _Answer(response.status_code, headers, stream=stream)
                body = b"".join(cast(Iterator[bytes], stream))
            else:
                body = cast(HttpResponse, response).content
        close(response)
        return _Answer(response.status_code, headers, body)


def _too_large(limit: int) -> _Refused:
    return _Refused(413, "request_too_large", f"The body is larger than {limit} bytes.")


def _on_disk(body: BinaryIO) -> BinaryIO:
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
    file.write(cast(BytesIO, body).getbuffer())
    return file


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


def _bring_back(context: contextvars.Context) -> None:
    """Set in this task what the request set in its own context, as asgiref does."""
    for variable, value in context.items():
        if variable.get(None) is not value:
            variable.set(value)


async def _when_gone(receive: Receive, then: Callable[[], object]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    then()


async def _send_answer(send: Send, answer: _Answer) -> None:
    try:
        await send(answer.start())
        await send({"type": "http.response.body", "body": answer.body})
    except OSError:
        raise _Gone from None


def _with_fresh_connections(work: Callable[[], T]) -> T:
    """Run `work` as a request is run: with connections that are neither dead nor too old."""
    close_old_connections()
    try:
        return work()
    finally:
        close_old_connections()


def from_settings() -> OneHop:
    """Return the hop as the settings have it."""
    if "daphne.cli" in sys.modules:
        # Started by the `daphne` command, which asks for its server class
        # only after it has loaded the application.
        from shop.daphne import install

        install()
    return OneHop(
        threads=settings.REQUEST_THREADS,
        queue=settings.REQUEST_QUEUE,
        timeout=settings.REQUEST_TIMEOUT,
        shutdown_timeout=settings.SHUTDOWN_TIMEOUT,
        stream_threads=settings.STREAM_THREADS,
        stream_max_bytes=settings.STREAM_MAX_BYTES,
        body_max_bytes=settings.BODY_MAX_BYTES,
    )
