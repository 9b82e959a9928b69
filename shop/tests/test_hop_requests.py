"""What a view sees of a request, and the client of its answer, is what Django promises."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from django.core import signals
from django.db import connections
from django.dispatch import Signal

from shop.server import OneHop
from shop.tests.hop_client import Call, hop, in_thread, marked, run, until
from shop.tests.hop_urls import mark, variable


def test_a_request_arrives_whole():
    call = Call(
        "/shop/echo?a=1&b=%ED%95%9C",
        method="POST",
        body=b"hello",
        headers=[(b"cookie", b"k=v")],
        root_path="/shop",
    )
    with hop() as app:
        run(call.answer(app))
    assert call.status == 200
    assert call.complete
    assert json.loads(call.body) == {
        "method": "POST",
        "body": "hello",
        "query": {"a": "1", "b": "한"},
        "path_info": "/echo",
        "prefix": "/shop/",
        "cookies": {"k": "v"},
        "client": "192.0.2.1",
    }


def test_a_body_in_pieces_is_put_together():
    call = Call("/echo", method="POST", body=[b"a" * 40_000, b"", b"b" * 40_000, b"c"])
    with hop() as app:
        run(call.answer(app))
    assert json.loads(call.body)["body"] == 80_001


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_body_without_any_header_for_it_is_not_lost(version: str):
    call = Call("/echo", method="POST", http_version=version)
    call.incoming.get_nowait()
    call.incoming.put_nowait({"type": "http.request", "body": b"hello"})
    with hop() as app:
        run(call.answer(app))
    assert json.loads(call.body)["body"] == "hello"


@pytest.mark.parametrize(
    ("size", "kind"), [(1000, "InMemoryUploadedFile"), (300_000, "TemporaryUploadedFile")]
)
def test_a_file_is_uploaded(size: int, kind: str, settings: Any):
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 100_000
    form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\n\r\n'
    call = Call(
        "/upload",
        method="POST",
        body=form + b"y" * size + b"\r\n--x--\r\n",
        headers=[(b"content-type", b"multipart/form-data; boundary=x")],
    )
    with hop() as app:
        run(call.answer(app))
    assert json.loads(call.body) == {"f": [kind, size, size]}


def test_the_body_can_be_read_while_the_answer_is_sent():
    call = Call("/stream-body", method="POST", body=b"z" * 5000)
    with hop() as app:
        run(call.answer(app))
    assert call.body == b"z" * 5000


def test_each_cookie_has_a_header_of_its_own_and_names_are_lower_case():
    call = Call("/cookies")
    with hop() as app:
        run(call.answer(app))
    assert sorted(call.all(b"set-cookie")) == [b"one=1; HttpOnly; Path=/", b"two=2; Path=/"]
    assert all(name == name.lower() for name, _ in call.sent[0]["headers"])


def test_head_has_the_headers_and_no_body():
    call = Call("/echo", method="HEAD")
    with hop(middleware=("django.middleware.common.CommonMiddleware",)) as app:
        run(call.answer(app))
    assert int(call.all(b"content-length")[0]) > 0
    assert call.body == b""
    assert call.complete


@pytest.mark.parametrize(("path", "method"), [("/stream", "HEAD"), ("/not-modified", "GET")])
def test_a_stream_that_nobody_will_read_is_closed_unread(path: str, method: str, marks: Path):
    call = Call(path, method=method)
    with hop(stream_threads=1) as app:
        run(call.answer(app))
    assert call.body == b""
    assert call.complete
    assert marked("closed")
    assert not marked("produced")


def test_a_query_that_is_not_utf8_is_a_bad_request():
    call = Call("/echo")
    call.scope["query_string"] = b"a=\xff"
    with hop() as app:
        run(call.answer(app))
    assert call.status == 400


def test_a_query_of_too_many_parameters_is_a_bad_request():
    # With a charset Django looks into the query as soon as the request is made.
    call = Call(
        "/echo?" + "&".join(f"k{n}=1" for n in range(2000)),
        headers=[(b"content-type", b"application/json; charset=utf-8")],
    )
    with hop() as app:
        run(call.answer(app))
    assert call.status == 400


def _record(signal: Signal, into: list[tuple[str, Any]], name: str) -> Any:
    def receiver(sender: Any, **kwargs: Any) -> None:
        into.append((name, sender))

    signal.connect(receiver, weak=False)
    return lambda: signal.disconnect(receiver)


@pytest.fixture
def sent():
    """The signals of requests, in their order."""
    record: list[tuple[str, Any]] = []
    undo = [
        _record(signals.request_started, record, "started"),
        _record(signals.got_request_exception, record, "exception"),
        _record(signals.request_finished, record, "finished"),
    ]
    yield record
    for one in undo:
        one()


@pytest.mark.parametrize("path", ["/echo", "/stream", "/stream-async", "/file", "/not-modified"])
def test_started_and_finished_are_sent_once_each_by_the_handler(
    path: str, sent: list[tuple[str, Any]], marks: Path, tmp_path: Path, monkeypatch: Any
):
    (tmp_path / "file").write_bytes(b"f" * 1_000_000)
    monkeypatch.setenv("HOP_FILE", str(tmp_path / "file"))
    with hop() as app:
        run(Call(path).answer(app))
    assert sent == [("started", OneHop), ("finished", OneHop)]


@pytest.mark.parametrize("path", ["/leave", "/interrupt", "/bad-cookie"])
def test_a_view_can_not_end_the_process(path: str, sent: list[tuple[str, Any]], caplog: Any):
    call = Call(path)
    with hop() as app:
        run(call.answer(app))
    assert call.status == 500
    assert json.loads(call.body)["code"] == "internal_error"
    assert [name for name, _ in sent] == ["started", "exception", "finished"]
    assert "the stack failed" in caplog.text


def test_an_error_is_djangos_to_answer(sent: list[tuple[str, Any]]):
    call = Call("/fault")
    with hop() as app:
        run(call.answer(app))
    assert call.status == 500
    assert [name for name, _ in sent] == ["started", "exception", "finished"]


def test_context_variables_travel_in_and_out():
    call = Call("/variables?set=inside")
    seen = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        variable.set("outside")
        await app(scope, receive, send)
        seen.append(variable.get())

    with hop() as app:
        run(call.answer(outer))
    assert call.body == b"outside inside"
    assert seen == ["inside"]


def test_context_variables_of_requests_at_once_do_not_mix(marks: Path):
    async def test() -> list[bytes]:
        calls = [Call(f"/variables?set={n}&name={n}").start(app) for n in range(2)]
        await until(lambda: marked("0-began") and marked("1-began"))
        mark("1-go")
        mark("0-go")
        await asyncio.gather(*(c.task for c in calls if c.task))
        return [c.body for c in calls]

    with hop() as app:
        assert run(test()) == [b"unset 0", b"unset 1"]


def test_an_answer_that_finds_nobody_is_no_error():
    async def send(message: Any) -> None:
        raise BrokenPipeError

    call = Call("/echo", send=send)
    with hop() as app:
        run(call.answer(app))
    assert call.sent == []


@pytest.mark.django_db(transaction=True)
def test_a_thread_keeps_its_connection():
    with hop(threads=1) as app:
        first, second = Call("/database"), Call("/database")
        run(first.answer(app))
        run(second.answer(app))
        run(in_thread(app, connections.close_all))
    assert first.body == second.body


@pytest.mark.django_db(transaction=True)
def test_a_streams_connection_is_closed_with_it(marks: Path):
    call = Call("/database-stream")
    with hop(stream_threads=1) as app:
        run(call.answer(app))
        left = app._stream_pool.submit(lambda: connections["default"].connection).result()
    assert call.body == b"row"
    assert (marks / "stream-connection").read_text().startswith("stream")
    assert left is None
