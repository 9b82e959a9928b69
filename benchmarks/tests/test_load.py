"""What the load generator reads of an answer, and what it sends."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from benchmarks.load import BadAnswer, drive, parse_head, request_bytes, with_query


def test_a_request_is_complete() -> None:
    assert request_bytes("GET", "/a") == (
        b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n"
    )
    with_body = request_bytes("POST", "/a", token="t", body=b"{}")
    assert b"\r\nAuthorization: Bearer t\r\n" in with_body
    assert with_body.endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
    assert with_query("/a", q="노트", page=1) == "/a?q=%EB%85%B8%ED%8A%B8&page=1"


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12", (200, 12)),
        (b"HTTP/1.1 503 Busy\r\nX: y\r\ncontent-LENGTH:7\r\nZ: 1", (503, 7)),
        (b"HTTP/1.1 204 No Content\r\nX: y", (204, 0)),
    ],
)
def test_status_and_length_are_read(head: bytes, told: tuple[int, int]) -> None:
    assert parse_head(head) == told


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"SSH-2.0",
        b"HTTP/1.1 abc",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nX-Content-Length: 5",
        b"HTTP/1.1 200 OK\r\nContent-Length: many",
    ],
)
def test_other_bytes_are_no_answer(head: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse_head(head)


@pytest.fixture
def port() -> Iterator[int]:
    """Serve one answer a request, in pieces; every third has another status."""
    loop = asyncio.new_event_loop()
    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                count += 1
                status = b"503 Busy" if count % 3 == 0 else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Le")
                await writer.drain()
                await asyncio.sleep(0.001)
                writer.write(b"ngth: 5\r\n\r\nhello")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def end() -> None:
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield int(server.sockets[0].getsockname()[1])
    asyncio.run_coroutine_threadsafe(end(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_a_window_counts_what_came(port: int) -> None:
    load = drive(port, [lambda: request_bytes("GET", "/")] * 3, 0.3)
    assert load.statuses[200] > 10
    assert load.errors == load.statuses[503] > 3
    assert not load.broken
    assert 0 < len(load.latencies) <= load.statuses.total()
    assert len(load.latencies) + len(load.late) == load.statuses.total()
    assert all(0 < seconds < 0.3 for seconds in load.latencies)


def test_a_server_that_is_not_there_is_an_error() -> None:
    load = drive(1, [lambda: b""], 0.1)
    assert load.errors == 1
    assert load.rate == 0
