"""Daphne with flow control, a bound on bodies and an end in good order.

What Daphne 4.2 lacks, and the hop relies on:

- `send` waits while the socket takes nothing, so a slow client holds back its
  answer instead of piling it up in memory;
- query and body are parsed once, by Django;
- of a body over BODY_MAX_BYTES nothing is kept (the hop answers 413 when it
  has passed by), and one that comes too slowly is cut off;
- an error in the middle of an answer breaks the connection off (Daphne's own
  checker dies of it and cleans up nothing from then on);
- a WebSocket whose client takes nothing is dropped at a megabyte;
- at shutdown it stops listening, asks what runs to finish, and ends when the
  last bytes are out (Daphne raises KeyError if a request is still arriving,
  and everything that runs is lost).

`daphne shop.asgi:application` and `python -m shop.daphne` both get it.
"""

import asyncio
import sys
import time
from functools import partial
from typing import Any, cast

import daphne.server
from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketProtocol
from django.conf import settings
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from shop.server import SLOWEST_BODY

# Seconds that the last bytes of the answers get at shutdown.
_FLUSH = 5.0


class Request(WebRequest):
    """One request; also the producer that its connection pauses and resumes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._began = time.time()
        self._received = 0
        self._keep = settings.BODY_MAX_BYTES + 1
        # Over when the connection takes more; None while it does.
        self.waits_for: asyncio.Future[None] | None = None

    # As any object: Daphne's own, in Python, are asked a dozen times a request.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    # The body, while it arrives.

    def gotLength(self, length: int | None) -> None:
        """Know how long the body will be."""
        if length is not None and length >= self._keep:
            # The header alone will have it refused.
            length = self._keep = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Keep no more than what it takes to see that it is too much."""
        self._received += len(data)
        super().handleContentChunk(data[: max(0, self._keep - self.content.tell())])

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Go on to the application, which reads query and body itself.

        Twisted would parse both here first, multipart bodies included.
        """
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.args: dict[bytes, list[bytes]] = {}
        self.process()

    def check_timeouts(self) -> None:
        """Cut off who takes too long to say what he wants; called every two seconds."""
        allowed = settings.REQUEST_TIMEOUT + self._received / SLOWEST_BODY
        if not hasattr(self, "request_start") and time.time() - self._began > allowed:
            self.transport.abortConnection()
        super().check_timeouts()

    # The answer, on its way out.

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Pass on one message of the application."""
        if message.get("more_body") and not self.finished and self.channel and not self.producer:
            self.registerProducer(self, True)
            if self.channel._waitingForTransport:
                self.pauseProducing()
        super().handle_reply(message)

    def pauseProducing(self) -> None:
        """The connection's buffer is full."""
        if self.waits_for is None:
            self.waits_for = asyncio.get_event_loop().create_future()

    def resumeProducing(self) -> None:
        """The buffer is empty, or there is no connection any more."""
        if self.waits_for is not None:
            if not self.waits_for.done():
                self.waits_for.set_result(None)
            self.waits_for = None

    stopProducing = resumeProducing

    def finish(self) -> None:
        """End the answer."""
        if self.producer:
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        """The client has gone."""
        self.resumeProducing()
        super().connectionLost(reason)

    def handle_exception(self, exception: BaseException) -> None:
        """The application has failed."""
        if self._response_started:
            self.transport.abortConnection()
        else:
            super().handle_exception(exception)


class Factory(HTTPFactory):
    """Makes connections whose requests are ours."""

    def buildProtocol(self, addr: Any) -> Any:
        """Return the protocol of a new connection."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol

    def log(self, request: Any) -> None:
        """Write nothing: Twisted would make a line for each request, and throw it away."""


# Bytes that may wait for the client of a WebSocket, and that it may send at once.
_SOCKET_BACKLOG = 1024 * 1024
_SOCKET_INPUT = 64 * 1024


def _drop_if_slow(protocol: WebSocketProtocol) -> None:
    """Break off a client that takes nothing, before its messages fill the memory."""
    transport = protocol.transport
    waiting = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    if waiting > _SOCKET_BACKLOG:
        transport.abortConnection()


class Server(daphne.server.Server):
    """Waits for room after each chunk, and ends in good order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ours = {
            "websocket_max_message_size": _SOCKET_INPUT,
            "websocket_max_frame_size": _SOCKET_INPUT,
            # Whoever asks need not know what serves them.
            "server_name": "",
            # Its access log would have paths and queries; ours has neither.
            "action_logger": None,
        }
        super().__init__(*args, **{**kwargs, **ours})
        self._ports: list[Any] = []

    def listen_success(self, port: Any) -> None:
        """Remember what is to be closed at the end."""
        self._ports.append(port)
        super().listen_success(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Begin with a request, and let go of it when it is answered.

        Daphne does so once a second, and until then holds some ten kilobytes of each.
        """
        queue = super().create_application(protocol, scope)
        if queue is not None and isinstance(protocol, Request):
            task = self.connections[protocol]["application_instance"]
            task.add_done_callback(partial(self._let_go, protocol))
        return queue

    def protocol_disconnected(self, protocol: Any) -> None:
        """Note that a request is over, unless it has been let go of."""
        if protocol in self.connections:
            super().protocol_disconnected(protocol)

    def _let_go(self, protocol: Request, task: "asyncio.Task[None]") -> None:
        details = self.connections.get(protocol)
        if details is None or "disconnected" not in details:
            return
        # Of a failure Daphne's own round tells.
        if not task.cancelled() and task.exception() is None:
            del self.connections[protocol]

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Send one message; returns when there is room for the next."""
        await super().handle_reply(protocol, message)
        if isinstance(protocol, Request):
            # Most have room at once; a coroutine to say so costs more than it tells.
            if protocol.waits_for is not None:
                await protocol.waits_for
        elif isinstance(protocol, WebSocketProtocol):
            _drop_if_slow(protocol)

    def kill_all_applications(self) -> Any:
        """Called once, before the reactor ends; it waits for what this returns."""
        return Deferred.fromFuture(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        for port in self._ports:
            port.stopListening()
        # Connections that are still open may bring new requests meanwhile.
        while running := [
            task
            for details in self.connections.values()
            if (task := details.get("application_instance")) and not task.done()
        ]:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
        deadline = time.monotonic() + _FLUSH
        while cast(Any, reactor).getWriters() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)


def install() -> None:
    """Have Daphne's command line start this server."""
    daphne.server.HTTPFactory = Factory
    CommandLineInterface.server_class = Server


def main() -> None:
    """Run `daphne` with the shop's application and without its access log."""
    CommandLineInterface().run(["--verbosity", "0", *sys.argv[1:], "shop.asgi:application"])


if __name__ == "__main__":
    main()
