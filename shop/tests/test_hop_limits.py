"""What is too much, too slow or too late is refused, and gives its place back."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shop.server import SLOWEST_BODY
from shop.tests.hop_client import Call, hop, marked, run, skip, until
from shop.tests.hop_urls import mark


def _problem(call: Call) -> tuple[int, str]:
    assert call.all(b"content-type") == [b"application/problem+json"]
    assert call.complete
    return call.status, json.loads(call.body)["code"]


def test_a_body_over_the_limit_is_refused_by_its_length():
    call = Call("/echo", method="POST", body=b"x" * 11)
    with hop(body_max_bytes=10) as app:
        run(call.answer(app))
    assert _problem(call) == (413, "request_too_large")
    assert call.incoming.qsize() == 1  # nothing of it was received


def test_a_body_over_the_limit_without_a_length_is_refused_at_the_limit():
    call = Call("/echo", method="POST", body=[b"x" * 6, b"x" * 6, b"x"])
    with hop(body_max_bytes=10) as app:
        run(call.answer(app))
    assert _problem(call) == (413, "request_too_large")
    assert call.incoming.qsize() == 1


def test_a_body_at_the_limit_is_taken():
    call = Call("/echo", method="POST", body=b"x" * 10)
    with hop(body_max_bytes=10) as app:
        run(call.answer(app))
    assert call.status == 200


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("pieces", [[], [b"x"]])
def test_a_body_that_stops_coming_is_refused(pieces: list[bytes], version: str):
    async def test() -> None:
        call = Call("/echo", method="POST", body=[*pieces, b"y", b"z"], http_version=version)
        if version == "2":
            call.headers.pop()  # transfer-encoding, which it does not have
        while call.incoming.qsize() > len(pieces):
            call.incoming._queue.pop()  # type: ignore[attr-defined]
        call.start(app)
        await until(call.incoming.empty)
        for _ in range(5):
            await asyncio.sleep(0)
        skip(31)
        assert call.task is not None
        await call.task
        assert _problem(call) == (408, "body_timeout")

    with hop(timeout=30) as app:
        run(test())


def test_a_body_that_comes_fast_enough_may_take_longer():
    async def test() -> None:
        call = Call("/echo", method="POST", body=[b"x" * SLOWEST_BODY * 10, b"y"])
        first, last = call.incoming.get_nowait(), call.incoming.get_nowait()
        call.incoming.put_nowait(first)
        call.start(app)
        await until(call.incoming.empty)
        skip(39)
        for _ in range(5):
            await asyncio.sleep(0)
        call.incoming.put_nowait(last)
        assert call.task is not None
        await call.task
        assert call.status == 200

    with hop(timeout=30) as app:
        run(test())


def test_slow_bodies_keep_nobody_out():
    async def test() -> None:
        slow = [Call("/echo", method="POST", body=[b"x", b"y"]) for _ in range(20)]
        last = []
        for call in slow:
            first = call.incoming.get_nowait()
            last.append(call.incoming.get_nowait())
            call.incoming.put_nowait(first)
            call.start(app)
        await until(lambda: all(call.incoming.empty() for call in slow))
        other = await Call("/echo", method="POST", body=b"quick").answer(app)
        assert other.status == 200
        for call, message in zip(slow, last, strict=True):
            call.incoming.put_nowait(message)
            assert call.task is not None
            await call.task
            assert call.status == 200

    with hop(threads=1, queue=1) as app:
        run(test())


def test_one_request_too_many_is_refused_at_once(marks: Path):
    async def test() -> None:
        held = [Call(f"/hold?name={n}").start(app) for n in range(3)]
        await until(lambda: marked("0-began") and app._in_flight == 3)
        refused = await Call("/echo", method="POST", body=b"x").answer(app)
        assert _problem(refused) == (503, "overloaded")
        assert refused.all(b"retry-after") == [b"1"]
        assert refused.incoming.qsize() == 1  # its body was not received
        for n in range(3):
            mark(f"{n}-go")
        await asyncio.gather(*(call.task for call in held if call.task))
        assert [call.status for call in held] == [200, 200, 200]
        await until(lambda: app._in_flight == 0)
        assert (await Call("/echo").answer(app)).status == 200

    with hop(threads=1, queue=2) as app:
        run(test())


def test_a_body_that_ends_when_the_queue_is_full_is_refused(marks: Path):
    async def test() -> None:
        late = Call("/echo", method="POST", body=[b"x", b"y"])
        first, last = late.incoming.get_nowait(), late.incoming.get_nowait()
        late.incoming.put_nowait(first)
        late.start(app)
        await until(late.incoming.empty)
        held = Call("/hold").start(app)
        await until(lambda: marked("hold-began"))
        late.incoming.put_nowait(last)
        assert late.task is not None and held.task is not None
        await late.task
        assert _problem(late) == (503, "overloaded")
        mark("hold-go")
        await held.task

    with hop(threads=1, queue=0) as app:
        run(test())


def test_a_request_that_runs_too_long_is_answered_504_and_counts_until_it_ends(marks: Path):
    async def test() -> None:
        call = Call("/hold").start(app)
        await until(lambda: marked("hold-began"))
        skip(31)
        assert call.task is not None
        await call.task
        assert _problem(call) == (504, "timeout")
        assert app._in_flight == 1
        mark("hold-go")
        await until(lambda: marked("hold-ended") and app._in_flight == 0)

    with hop(timeout=30) as app:
        run(test())


def test_a_stream_that_comes_after_its_504_is_closed(marks: Path):
    async def test() -> None:
        call = Call("/hold-then-stream").start(app)
        await until(lambda: marked("hold-began"))
        skip(31)
        assert call.task is not None
        await call.task
        assert call.status == 504
        mark("hold-go")
        await until(lambda: marked("closed"))
        assert app._streams == 0

    with hop(timeout=30) as app:
        run(test())
    assert not marked("produced")


def test_a_request_that_waits_too_long_is_answered_503_and_never_run(marks: Path):
    async def test() -> None:
        first = Call("/hold?name=first").start(app)
        await until(lambda: marked("first-began"))
        second = Call("/hold?name=second").start(app)
        await until(lambda: app._in_flight == 2)
        skip(31)
        assert first.task is not None and second.task is not None
        await asyncio.gather(first.task, second.task)
        assert first.status == 504
        assert _problem(second) == (503, "overloaded")
        assert second.all(b"retry-after") == [b"1"]
        mark("first-go")
        await until(lambda: app._in_flight == 0)

    with hop(threads=1, timeout=30) as app:
        run(test())
    assert not marked("second-began")


def test_threads_are_bounded(marks: Path):
    async def test() -> None:
        calls = [Call(f"/hold?name={n}").start(app) for n in range(6)]
        await until(lambda: marked("0-began") and marked("1-began"))
        for n in range(6):
            mark(f"{n}-go")
        await asyncio.gather(*(call.task for call in calls if call.task))

    with hop(threads=2) as app:
        run(test())
        names: set[Any] = {(marks / f"{n}-began").read_text() for n in range(6)}
    assert names <= {"request_0", "request_1"}
