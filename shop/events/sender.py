"""Threads that give events to sinks for as long as a process runs.

A Celery worker brings a sender with it (shop/celery.py); `manage.py
send_events` is one by itself. Any number of them may run. Each thread asks the
database a few times a second, and at once when this process has news.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable

from django.db import connection

from shop.db import now
from shop.events import delivery, wake
from shop.events.models import SinkOffset
from shop.events.sinks import Sink, passing, standing

logger = logging.getLogger(__name__)

# Seconds between two looks, and after a failure.
EVERY = 0.4
_AFTER_FAILURE = 2.0
# Threads that all sinks share which come and go.
_SHARED = 8


class Sender:
    """One thread that puts events down, and one for each sink: a slow one holds up no other.

    Sinks that come and go share a few threads; one more hands them out to those that
    something is due to.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._sinks = standing()
        # What the shared threads are to work on; None ends one of them.
        self._turns: queue.SimpleQueue[Sink | None] = queue.SimpleQueue()
        # The names of passing sinks that are being worked on, or will be.
        self._busy: set[str] = set()
        self._passing = threading.Event()
        # A poke each: whoever has put something down wakes the sinks.
        self._news = threading.Event()
        self._put_down = [self._passing, *(threading.Event() for _ in self._sinks)]
        self._threads = [
            threading.Thread(
                target=self._repeat,
                args=(self._put_all_down, self._news),
                name="events",
                daemon=True,
            ),
            threading.Thread(
                target=self._repeat,
                args=(self._hand_out, self._passing),
                name="passing sinks",
                daemon=True,
            ),
            *(
                threading.Thread(
                    target=self._repeat,
                    args=(
                        lambda sink=sink: delivery.deliver(sink, self._stopping.is_set),
                        poke,
                    ),
                    name=f"sink {sink.name}",
                    daemon=True,
                )
                for sink, poke in zip(self._sinks, self._put_down[1:], strict=True)
            ),
            # Daemons, unlike a pool's: the end of the process waits for no receiver.
            *(
                threading.Thread(target=self._take_turns, name="passing sink", daemon=True)
                for _ in range(_SHARED)
            ),
        ]

    def start(self) -> None:
        """Begin; returns at once."""
        wake.listen(self._hear)
        for thread in self._threads:
            thread.start()

    def begin_to_stop(self) -> None:
        """Begin no further event; returns at once."""
        wake.stop_listening(self._hear)
        self._stopping.set()
        for poke in (self._news, *self._put_down):
            poke.set()
        for _ in range(_SHARED):
            self._turns.put(None)

    def stop(self, seconds: float) -> None:
        """End after the events that are being delivered, and wait so long for them at most.

        What was given is noted, and what was not is free for others. A delivery that
        takes longer than `seconds` is given again by another sender when its claim ends.
        """
        self.begin_to_stop()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _hear(self, _subject: str) -> None:
        self._news.set()

    def _put_all_down(self) -> int:
        put = delivery.put_down()
        if put:
            for poke in self._put_down:
                poke.set()
        return put

    def _hand_out(self) -> int:
        """Have the passing sinks worked on that something is due to."""
        at = now()
        idle = {
            sink.name: sink
            for sink in passing()
            if sink.name not in self._busy
            and (sink.paused_until is None or sink.paused_until <= at)
        }
        if idle:
            due = SinkOffset.objects.behind().filter(sink__in=idle, due_at__lte=at)
            for name in due.order_by("sink").values_list("sink", flat=True).distinct():
                self._busy.add(name)
                self._turns.put(idle[name])
        return 0

    def _take_turns(self) -> None:
        while (sink := self._turns.get()) is not None:
            self._work_on(sink)

    def _work_on(self, sink: Sink) -> None:
        """Give one passing sink what is due to it, for a turn; others wait for the thread."""
        took = 0
        try:
            if not self._stopping.is_set():
                took = delivery.deliver(sink, self._stopping.is_set)
        except Exception:
            logger.warning("events can't be sent just now", exc_info=True)
        finally:
            connection.close()
            self._busy.discard(sink.name)
            if took:
                self._passing.set()

    def _repeat(self, work: Callable[[], int], poke: threading.Event) -> None:
        """Work while there is some, look again when poked or after a while."""
        try:
            while not self._stopping.is_set():
                poke.clear()
                try:
                    if work():
                        continue
                except Exception:
                    # The database is away: what waits there waits on.
                    logger.warning("events can't be sent just now", exc_info=True)
                    connection.close()
                    self._stopping.wait(_AFTER_FAILURE)
                poke.wait(EVERY)
        finally:
            connection.close()
