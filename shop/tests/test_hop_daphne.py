"""Our Daphne keeps no more of a body than it needs, and of an answer than the socket takes."""

import asyncio
from typing import Any, cast

import pytest
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher

from shop.daphne import Factory, Request
from shop.tests.hop_client import run

LIMIT = 1000


class Connection:
    """One connection without a socket, and without an application."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.protocol = Factory(self).buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        self.root_path = ""
        self.server_name = ""
        self.http_timeout = None
        self.proxy_forwarded_address_header = None
        self.request_buffer_size = 8192
        self.queues: list[asyncio.Queue[Any]] = []

    def protocol_connected(self, request: Request) -> None:
        self.requests.append(request)

    def protocol_disconnected(self, request: Request) -> None:
        pass

    def log_action(self, *args: Any) -> None:
        pass

    def create_application(self, request: Request, scope: Any) -> asyncio.Queue[Any]:
        self.queues.append(asyncio.Queue())
        return self.queues[-1]

    @property
    def producer(self) -> Any:
        """What the transport pauses and resumes."""
        return self.transport.producer

    def body(self) -> bytes:
        """What the application would get."""
        queue = self.queues[-1]
        return b"".join(queue.get_nowait()["body"] for _ in range(queue.qsize()))


@pytest.fixture
def connection(settings: Any) -> Connection:
    settings.BODY_MAX_BYTES = LIMIT
    return Connection()


def _post(connection: Connection, header: bytes) -> Request:
    connection.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % header)
    return connection.requests[-1]


def test_a_body_within_the_limit_is_passed_on(connection: Connection):
    _post(connection, b"Content-Length: 1000")
    for _ in range(10):
        connection.protocol.dataReceived(b"x" * 100)
    assert connection.body() == b"x" * LIMIT


def test_nothing_is_kept_of_a_body_whose_length_is_too_much(connection: Connection):
    request = _post(connection, b"Content-Length: 5000000")
    connection.protocol.dataReceived(b"x" * 4_999_999)
    assert request.content.tell() == 0
    connection.protocol.dataReceived(b"x")
    assert connection.body() == b""


def test_of_a_body_without_length_as_much_is_kept_as_shows_that_it_is_too_much(
    connection: Connection,
):
    request = _post(connection, b"Transfer-Encoding: chunked")
    for _ in range(10):
        connection.protocol.dataReceived(b"1f4\r\n%s\r\n" % (b"x" * 500))
    assert request.content.tell() == LIMIT + 1
    connection.protocol.dataReceived(b"0\r\n\r\n")
    assert connection.body() == b"x" * (LIMIT + 1)


def _start(connection: Connection) -> Request:
    connection.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    request = connection.requests[-1]
    request.handle_reply({"type": "http.response.start", "status": 200, "headers": []})
    request.handle_reply({"type": "http.response.body", "body": b"one", "more_body": True})
    return request


def _is_held_up(request: Request) -> bool:
    return request.waits_for is not None


def _held_up(request: Request) -> "asyncio.Future[None]":
    assert request.waits_for is not None
    return request.waits_for


def test_the_next_chunk_waits_while_the_connection_takes_nothing(connection: Connection):
    complaints: list[Any] = []

    def observer(event: Any) -> None:
        if "log_failure" in event:
            complaints.append(event)

    async def test() -> None:
        request = _start(connection)
        assert not _is_held_up(request)
        connection.producer.pauseProducing()
        waiting = _held_up(request)
        await asyncio.sleep(0)
        assert not waiting.done()
        connection.producer.resumeProducing()
        await waiting
        request.handle_reply({"type": "http.response.body", "body": b""})
        assert connection.transport.value().endswith(b"one\r\n0\r\n\r\n")

    globalLogPublisher.addObserver(cast(Any, observer))
    run(test())
    globalLogPublisher.removeObserver(cast(Any, observer))
    assert complaints == []


def test_a_lost_connection_keeps_nobody_waiting(connection: Connection):
    async def test() -> None:
        request = _start(connection)
        connection.producer.pauseProducing()
        waiting = _held_up(request)
        await asyncio.sleep(0)
        request.channel.connectionLost(Exception())
        await waiting

    run(test())


def test_an_answer_on_a_connection_that_is_still_busy_with_the_last_one_waits_too(
    connection: Connection,
):
    async def test() -> None:
        request = _start(connection)
        request.handle_reply({"type": "http.response.body", "body": b""})
        connection.producer.pauseProducing()
        second = _start(connection)
        waiting = _held_up(second)
        await asyncio.sleep(0)
        assert not waiting.done()
        connection.producer.resumeProducing()
        await waiting

    run(test())


def test_an_answer_that_fails_after_its_start_is_broken_off(connection: Connection):
    async def test() -> None:
        request = _start(connection)
        request.handle_exception(ValueError())
        assert connection.transport.disconnected or connection.transport.disconnecting
        assert not connection.transport.value().endswith(b"0\r\n\r\n")

    run(test())
