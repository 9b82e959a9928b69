"""A client that goes away, at any moment, leaves nothing running and nothing open."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shop.tests.hop_client import Call, hop, marked, run, skip, until
from shop.tests.hop_urls import mark


def test_while_the_body_arrives(marks: Path):
    async def test() -> None:
        call = Call("/hold", method="POST", body=[b"half", b"never"])
        call.incoming.get_nowait()
        call.incoming.get_nowait()
        call.incoming.put_nowait({"type": "http.request", "body": b"half", "more_body": True})
        call.disconnect()
        await call.answer(app)
        assert call.sent == []

    with hop() as app:
        run(test())
    assert not marked("hold-began")


def test_while_waiting_for_a_thread(marks: Path):
    async def test() -> None:
        first = Call("/hold?name=first").start(app)
        await until(lambda: marked("first-began"))
        second = Call("/hold?name=second", method="POST", body=b"x").start(app)
        await until(lambda: app._in_flight == 2)
        skip(1)
        second.disconnect()
        assert first.task is not None and second.task is not None
        await second.task
        await until(lambda: app._in_flight == 1)
        assert second.sent == []
        mark("first-go")
        await first.task
        assert first.body == b"held 0"

    with hop(threads=1) as app:
        run(test())
    assert not marked("second-began")


def test_while_the_view_runs(marks: Path):
    """The view is finished: what it does must not stop half way."""

    async def test() -> None:
        call = Call("/hold").start(app)
        await until(lambda: marked("hold-began"))
        call.disconnect()
        mark("hold-go")
        assert call.task is not None
        await call.task
        await until(lambda: app._in_flight == 0)

    with hop() as app:
        run(test())
    assert marked("hold-ended")


def test_a_server_that_gives_the_request_up(marks: Path):
    """Daphne cancels the application some time after a disconnect, again and again."""

    async def test() -> None:
        call = Call("/hold-then-stream").start(app)
        await until(lambda: marked("hold-began"))
        task = call.task
        assert task is not None
        call.disconnect()
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The thread is not free yet, and counts.
        assert app._in_flight == 1
        mark("hold-go")
        await until(lambda: marked("closed") and app._in_flight == 0)
        assert app._streams == 0
        assert call.sent == []

    with hop() as app:
        run(test())
    assert not marked("produced")


def test_between_two_chunks(marks: Path):
    async def test() -> None:
        taken = asyncio.Event()

        async def send(message: Any) -> None:
            if message.get("body"):
                taken.set()
                await asyncio.Event().wait()

        call = Call("/stream?count=100", send=send).start(app)
        await taken.wait()
        call.disconnect()
        assert call.task is not None
        await call.task
        await until(lambda: marked("closed") and app._streams == 0)
        assert not call.complete

    with hop() as app:
        run(test())
    assert (marks / "produced").read_text() == "1"
    assert (marks / "closed").read_text().startswith("stream")


def test_while_the_generator_is_busy(marks: Path):
    """The request ends at once; its thread when the generator lets it, and counts until then."""

    async def test() -> None:
        call = Call("/stream?hold_at=1").start(app)
        await until(lambda: marked("stream-held"))
        call.disconnect()
        assert call.task is not None
        await call.task
        assert app._streams == 1
        assert not marked("closed")
        mark("stream-go")
        await until(lambda: marked("closed") and app._streams == 0)
        assert call.body == b"chunk"
        assert not call.complete

    with hop() as app:
        run(test())


def test_while_an_asynchronous_stream_is_silent(marks: Path):
    async def test() -> None:
        call = Call("/stream-async?silent").start(app)
        await until(lambda: marked("silent"))
        call.disconnect()
        assert call.task is not None
        await call.task
        await until(lambda: marked("closed") and app._streams == 0)

    with hop() as app:
        run(test())


def test_between_two_chunks_of_an_asynchronous_stream(marks: Path):
    async def test() -> None:
        taken = asyncio.Event()

        async def send(message: Any) -> None:
            if message.get("body"):
                taken.set()
                await asyncio.Event().wait()

        call = Call("/stream-async", send=send).start(app)
        await taken.wait()
        call.disconnect()
        assert call.task is not None
        await call.task
        assert marked("closed")

    with hop() as app:
        run(test())


def test_while_a_file_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_bytes(b"f" * 3_000_000)
    monkeypatch.setenv("HOP_FILE", str(tmp_path / "file"))

    async def test() -> None:
        async def send(message: Any) -> None:
            if message.get("body"):
                await asyncio.Event().wait()

        call = Call("/file", send=send).start(app)
        await until(lambda: call.sent)
        call.disconnect()
        assert call.task is not None
        await call.task

    closed: list[bool] = []
    with hop() as app:
        from django.core.signals import request_finished

        def finished(**kwargs: Any) -> None:
            closed.append(True)

        request_finished.connect(finished)
        run(test())
        app._pool.shutdown()
        request_finished.disconnect(finished)
    assert closed == [True]


def test_a_server_whose_send_fails_then(marks: Path):
    async def test() -> None:
        async def send(message: Any) -> None:
            if message.get("body"):
                raise ConnectionResetError

        call = Call("/stream?count=100", send=send).start(app)
        assert call.task is not None
        await call.task
        await until(lambda: marked("closed") and app._streams == 0)

    with hop() as app:
        run(test())
