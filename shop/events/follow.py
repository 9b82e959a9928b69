"""Following the event table from an event loop.

One follower a process, whatever the number of watchers: it asks the database
for all watched subjects together a few times a second, and at once for those
that it is woken for. Sequences within a subject have no gap and are given out
under the lock of the subject's row, so "greater than the last one seen" finds
every event once and in order, also one whose transaction committed late.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from channels.layers import get_channel_layer
from django.conf import settings
from django.db.models import Max

from shop.events import wake
from shop.events.models import Event

logger = logging.getLogger(__name__)

# Seconds between two looks at the table, and after a failure.
EVERY = 0.4
_AFTER_FAILURE = 2.0
_SUBJECTS_A_QUERY = 500
EVENT_COLUMNS = ("subject", "pk", "type", "sequence", "time", "actor__username", "data")

Row = tuple[Any, ...]
# Runs a synchronous function in a bounded pool of threads.
Call = Callable[[Callable[[], Any]], Awaitable[Any]]


class Watcher(Protocol):
    """Somebody who wants a subject's events after the one with the sequence `last`."""

    last: int

    def deliver(self, rows: list[Row]) -> None:
        """Take events, as EVENT_COLUMNS; called on the event loop and never waits.

        `last` becomes the sequence of the last one taken; the rest is brought again.
        """


def read_news(last_seen: Mapping[str, int]) -> dict[str, list[Row]]:
    """Return the events after the given sequence of each subject, oldest first.

    One query per 500 subjects, and one more where there is news.
    """
    news: dict[str, list[Row]] = {}
    subjects = list(last_seen)
    for start in range(0, len(subjects), _SUBJECTS_A_QUERY):
        part = subjects[start : start + _SUBJECTS_A_QUERY]
        newest = (
            Event.objects.filter(subject__in=part)
            .order_by()
            .values_list("subject")
            .annotate(newest=Max("sequence"))
        )
        changed = [subject for subject, sequence in newest if sequence > last_seen[subject]]
        if not changed:
            continue
        least = min(last_seen[subject] for subject in changed)
        rows = Event.objects.filter(subject__in=changed, sequence__gt=least)
        for row in rows.order_by("subject", "sequence").values_list(*EVENT_COLUMNS):
            if row[3] > last_seen[row[0]]:
                news.setdefault(row[0], []).append(row)
    return news


class Follower:
    """Brings the watchers of one process their events."""

    def __init__(self, call: Call) -> None:
        """`call` is where database work is done."""
        self._call = call
        self._watchers: dict[str, set[Watcher]] = {}
        self._woken: set[str] = set()
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ear: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, subject: str, watcher: Watcher) -> None:
        """Bring `watcher` the events of `subject` from now on."""
        self._watchers.setdefault(subject, set()).add(watcher)
        # What came between its snapshot and now is found at once.
        self._woken.add(subject)
        self._poke.set()
        if self._task is None or self._task.done():
            self._loop = asyncio.get_running_loop()
            wake.listen(self._hear)
            self._task = self._loop.create_task(self._follow())
        if settings.REDIS_URL and (self._ear is None or self._ear.done()):
            self._ear = asyncio.get_running_loop().create_task(self._listen())

    def remove(self, subject: str, watcher: Watcher) -> None:
        """Stop that; with the last watcher all asking ends."""
        watchers = self._watchers.get(subject)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[subject]
        if not self._watchers:
            self._rest()

    def stop(self) -> None:
        """End the asking, and the listening to other processes."""
        self._rest()
        if self._ear is not None:
            self._ear.cancel()
            self._ear = None

    def _rest(self) -> None:
        # The ear stays: a new channel whenever somebody comes would leave one
        # behind in the layer whenever the last one goes.
        wake.stop_listening(self._hear)
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _hear(self, subject: str) -> None:
        # Called by whichever thread has committed.
        loop = self._loop
        if loop is not None:
            # An event loop that has ended has no watchers either.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self.look, subject)

    def look(self, subject: str) -> None:
        """Ask for a subject's news now rather than in a moment; on the event loop."""
        if subject in self._watchers:
            self._woken.add(subject)
            self._poke.set()

    async def _listen(self) -> None:
        """Be woken by other processes; without the channel layer, polling goes on."""
        me = asyncio.current_task()
        assert me is not None
        channel = ""
        while True:
            try:
                layer = get_channel_layer()
                if layer is None:
                    return
                channel = channel or await layer.new_channel()
                await layer.group_add(wake.GROUP, channel)
                if me.cancelling():
                    # The Redis client gets here by asyncio.wait_for, which may
                    # swallow a cancellation (python/cpython#86296).
                    me.cancel()
                while True:
                    message = await layer.receive(channel)
                    self.look(message["subject"])
            except Exception:
                logger.warning("channel layer out of reach, polling goes on", exc_info=True)
                await asyncio.sleep(_AFTER_FAILURE)

    async def _follow(self) -> None:
        clock = asyncio.get_running_loop().time
        next_round = clock() + EVERY
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_round):
                    await self._poke.wait()
            self._poke.clear()
            woken, self._woken = self._woken, set()
            if clock() >= next_round:
                woken = set(self._watchers)
                next_round = clock() + EVERY
            try:
                await self._bring(woken)
            except Exception:
                # The database is away, or too busy: what was missed is there afterwards.
                logger.warning("can't read the events just now", exc_info=True)
                await asyncio.sleep(_AFTER_FAILURE)
                next_round = clock()

    async def _bring(self, subjects: Iterable[str]) -> None:
        last_seen = {
            subject: min(watcher.last for watcher in self._watchers[subject])
            for subject in subjects
            if subject in self._watchers
        }
        if not last_seen:
            return
        news = await self._call(lambda: read_news(last_seen))
        for subject, rows in news.items():
            for watcher in list(self._watchers.get(subject, ())):
                # Whoever came while the database was asked may lack what was not
                # asked for; it has been woken for, and is asked for next.
                if watcher.last < last_seen[subject]:
                    continue
                fresh = [row for row in rows if row[3] > watcher.last]
                if not fresh:
                    continue
                try:
                    watcher.deliver(fresh)
                except Exception:
                    # One's trouble is not the others'.
                    logger.exception("a watcher can't be told", extra={"subject": subject})
