"""The threads that the event loop hands its work to.

`concurrent.futures` and `asyncio.wrap_future` do the same, and cost a request
some 100 microseconds more, in locks, conditions and chained callbacks that
one event loop handing work to its own threads has no need of.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Turn(Generic[T]):
    """One piece of work that waits for a thread, runs in it, and is over.

    Made and used on the event loop; only `run` is called by a thread.
    """

    __slots__ = (
        "_after", "_loop", "_ticket", "_waiter", "_work", "cancelled", "error", "over", "result",
    )  # fmt: skip

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        # Whoever takes it decides: the thread that it runs, the loop that it
        # does not. list.pop is atomic.
        self._ticket = [True]
        self._waiter: asyncio.Future[None] | None = None
        self._after: list[Callable[[T | None], object]] = []
        self.result: T | None = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.over = False

    def cancel(self) -> bool:
        """Keep it from running; returns False where a thread has it already, or had."""
        try:
            self._ticket.pop()
        except IndexError:
            return False
        self.cancelled = True
        self._end(None, None)
        return True

    def when_over(self, call: Callable[[T | None], object]) -> None:
        """Have `call` called on the event loop with the result (None where there is none)."""
        if self.over:
            call(self.result)
        else:
            self._after.append(call)

    async def wait(self, until: float | None = None) -> None:
        """Return when it is over, or at `until` of the loop's clock: see `over`."""
        if self.over:
            return
        waiter = self._waiter = self._loop.create_future()
        timer = None
        if until is not None:
            timer = self._loop.call_at(until, _wake, waiter)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()

    def run(self) -> None:
        """Run in a thread, unless it was cancelled."""
        try:
            self._ticket.pop()
        except IndexError:
            return
        result: T | None = None
        error: BaseException | None = None
        try:
            result = self._work()
        except BaseException as raised:
            error = raised
        # An event loop that has ended raises; nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, result, error)

    def _end(self, result: T | None, error: BaseException | None) -> None:
        self.result, self.error, self.over = result, error, True
        if self._waiter is not None:
            _wake(self._waiter)
        for call in self._after:
            call(result)
        self._after.clear()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class Threads:
    """So many threads; the first turns start one each.

    They are daemons: at the end of the process nobody waits for a view that
    has outlived its time-out.
    """

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._name = name
        self._queue: SimpleQueue[Turn[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def post(self, turn: Turn[Any]) -> None:
        """Have a thread run `turn`; in order, as threads come free."""
        if len(self._threads) < self._number:
            name = f"{self._name}_{len(self._threads)}"
            thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queue.put(turn)

    def shutdown(self) -> None:
        """Wait until all that was posted is done, and end the threads."""
        for _thread in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            turn = self._queue.get()
            if turn is None:
                return
            turn.run()
            # Nothing of a request outlives it here.
            del turn
