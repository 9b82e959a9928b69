"""Streams come chunk by chunk, as fast as they are taken, and never half as the whole."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shop.server import BrokenStream
from shop.tests.hop_client import Call, hop, marked, run, skip, until
from shop.tests.hop_urls import BLOCK, mark


def test_a_generator_is_sent_and_closed_in_its_own_thread(marks: Path):
    call = Call("/stream?count=3")
    with hop() as app:
        run(call.answer(app))
    assert call.status == 200
    assert call.body == b"chunk" * 3
    assert call.complete
    assert (marks / "closed").read_text().startswith("stream")


def test_a_generator_sees_the_context_variables_of_its_view(marks: Path):
    with hop() as app:
        run(Call("/stream").answer(app))
    assert (marks / "ended").read_text() == "of the stream"


def test_a_chunk_is_made_when_the_one_before_is_taken(marks: Path):
    async def test() -> None:
        room = asyncio.Semaphore(0)

        def produced(count: int) -> bool:
            return (marks / "produced").read_text() == str(count)

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await room.acquire()

        call = Call("/stream?count=5", send=send).start(app)
        await until(lambda: marked("produced"))
        for taken in range(4):
            assert len([m for m in call.sent if m.get("body")]) == taken
            assert produced(taken + 1)
            room.release()
            await until(partial(produced, taken + 2))
        room.release()
        room.release()
        assert call.task is not None
        await call.task
        assert call.complete

    with hop() as app:
        run(test())


def test_a_big_chunk_is_given_to_the_server_in_pieces(marks: Path):
    call = Call("/stream?count=2&big")
    with hop() as app, pytest.MonkeyPatch.context() as patch:
        patch.setattr("shop.server._CHUNK", 10_000)
        run(call.answer(app))
    assert call.body == BLOCK * 2
    assert max(len(m.get("body", b"")) for m in call.sent) == 10_000


def test_an_error_before_the_first_chunk_is_an_answer(marks: Path, caplog: Any):
    call = Call("/stream?fail_at=0")
    with hop() as app:
        run(call.answer(app))
    assert call.status == 500
    assert json.loads(call.body)["code"] == "internal_error"
    assert marked("closed")
    assert "a stream failed" in caplog.text
    assert "the view's own trouble" in caplog.text


@pytest.mark.parametrize("path", ["/stream?fail_at=2", "/stream-exit"])
def test_an_error_after_it_breaks_the_transfer_off(path: str, marks: Path, caplog: Any):
    call = Call(path)
    with hop(stream_threads=1) as app:
        with pytest.raises(BrokenStream):
            run(call.answer(app))
        assert call.status == 200
        assert not call.complete
        assert "a stream failed" in caplog.text
        again = Call("/stream")
        run(again.answer(app))
    assert again.complete


def test_a_generator_may_not_yield_more_than_the_limit(marks: Path, caplog: Any):
    call = Call("/stream?count=100")
    with hop(stream_max_bytes=20) as app, pytest.raises(BrokenStream):
        run(call.answer(app))
    assert call.body == b"chunk" * 4
    assert not call.complete
    assert marked("closed")
    assert "STREAM_MAX_BYTES" in caplog.text


def test_an_asynchronous_stream_is_sent_and_closed(marks: Path):
    call = Call("/stream-async?count=3")
    with hop() as app:
        run(call.answer(app))
    assert call.body == b"chunk" * 3
    assert call.complete
    assert marked("closed")


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_a_file_is_no_stream_and_has_no_limit(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = bytes(range(250)) * (size // 250)
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setenv("HOP_FILE", str(tmp_path / "file"))
    call = Call("/file")
    with hop(stream_max_bytes=10) as app:
        app._streams = app._stream_threads  # no thread for a stream is free
        run(call.answer(app))
    assert call.body == content
    assert call.all(b"content-length") == [str(size).encode()]
    assert call.complete


def test_a_file_that_fails_is_an_error_or_broken_off(caplog: Any):
    with hop() as app:
        at_once = Call("/file-fails?blocks=0")
        run(at_once.answer(app))
        assert at_once.status == 500
        later = Call("/file-fails?blocks=2")
        with pytest.raises(BrokenStream):
            run(later.answer(app))
    assert later.body == b"block" * 2
    assert not later.complete
    assert "the disk's trouble" in caplog.text


def test_a_slow_reader_of_a_file_holds_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_bytes(b"f" * 3_000_000)
    monkeypatch.setenv("HOP_FILE", str(tmp_path / "file"))

    async def test() -> None:
        room = asyncio.Event()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await room.wait()

        slow = [Call("/file", send=send).start(app) for _ in range(5)]
        await until(lambda: all(call.sent for call in slow))
        other = await Call("/echo").answer(app)
        assert other.status == 200
        room.set()
        await asyncio.gather(*(call.task for call in slow if call.task))
        assert all(len(call.body) == 3_000_000 for call in slow)

    with hop(threads=1) as app:
        run(test())


@pytest.mark.parametrize("path", ["/stream?hold_at=1", "/stream-async?silent"])
def test_a_stream_too_many_is_refused_and_closed(path: str, marks: Path):
    async def test() -> None:
        first = Call(path).start(app)
        await until(lambda: marked("stream-held") or marked("silent"))
        second = await Call("/stream").answer(app)
        assert second.status == 503
        assert second.all(b"retry-after") == [b"5"]
        await until(lambda: marked("closed"))
        # Not in the stream's thread, which is busy, and not on the event loop.
        assert (marks / "closed").read_text().startswith("request")
        mark("stream-go")
        first.disconnect()
        assert first.task is not None
        await first.task
        await until(lambda: app._streams == 0)
        assert (await Call("/stream").answer(app)).complete

    with hop(stream_threads=1) as app:
        run(test())


def test_a_client_that_takes_nothing_is_dropped(marks: Path):
    async def test() -> None:
        stuck = asyncio.Event()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                stuck.set()
                await asyncio.Event().wait()

        call = Call("/stream", send=send).start(app)
        await stuck.wait()
        skip(31)
        assert call.task is not None
        with pytest.raises(BrokenStream):
            await call.task
        await until(lambda: marked("closed") and app._streams == 0)

    with hop(timeout=30) as app:
        run(test())
