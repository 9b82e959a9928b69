"""A server that ends cancels what it runs: what has begun is finished, the rest told so."""

import asyncio
import json
from pathlib import Path

import pytest

from shop.tests.hop_client import Call, hop, marked, run, skip, until
from shop.tests.hop_urls import mark


def test_a_running_request_is_finished_and_answered(marks: Path):
    async def test() -> None:
        call = Call("/hold").start(app)
        await until(lambda: marked("hold-began"))
        assert call.task is not None
        call.task.cancel()
        await asyncio.sleep(0)
        mark("hold-go")
        await call.task
        assert call.body == b"held 0"
        assert call.complete

    with hop() as app:
        run(test())


def test_one_that_has_not_begun_is_told_so(marks: Path):
    async def test() -> None:
        first = Call("/hold?name=first").start(app)
        await until(lambda: marked("first-began"))
        second = Call("/hold?name=second").start(app)
        await until(lambda: app._in_flight == 2)
        assert first.task is not None and second.task is not None
        second.task.cancel()
        await second.task
        assert second.status == 503
        assert json.loads(second.body)["code"] == "shutting_down"
        assert second.all(b"retry-after") == [b"1"]
        mark("first-go")
        await first.task

    with hop(threads=1) as app:
        run(test())
    assert not marked("second-began")


def test_one_that_does_not_end_is_not_waited_for_forever(marks: Path):
    async def test() -> None:
        call = Call("/hold").start(app)
        await until(lambda: marked("hold-began"))
        assert call.task is not None
        call.task.cancel()
        await asyncio.sleep(0)
        skip(21)
        await call.task
        assert call.status == 504
        mark("hold-go")

    with hop(shutdown_timeout=20) as app:
        run(test())


def test_a_running_download_is_finished(marks: Path):
    async def test() -> None:
        call = Call("/stream?hold_at=1").start(app)
        await until(lambda: marked("stream-held"))
        assert call.task is not None
        call.task.cancel()
        await asyncio.sleep(0)
        mark("stream-go")
        await asyncio.wait({call.task})
        assert call.body == b"chunk" * 3
        assert call.complete
        await until(lambda: marked("closed") and app._streams == 0)

    with hop() as app:
        run(test())


def test_a_download_that_does_not_end_is_broken_off(marks: Path):
    async def test() -> None:
        call = Call("/stream?hold_at=1").start(app)
        await until(lambda: marked("stream-held"))
        assert call.task is not None
        call.task.cancel()
        await asyncio.sleep(0)
        skip(21)
        with pytest.raises(asyncio.CancelledError):
            await call.task
        assert app._streams == 1  # the generator is still where it was
        assert not call.complete
        mark("stream-go")
        await until(lambda: marked("closed") and app._streams == 0)

    with hop(shutdown_timeout=20) as app:
        run(test())


def test_an_asynchronous_stream_is_not_waited_for(marks: Path):
    async def test() -> None:
        call = Call("/stream-async?silent").start(app)
        await until(lambda: marked("silent"))
        assert call.task is not None
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.task
        assert not call.complete
        assert marked("closed")

    with hop() as app:
        run(test())
