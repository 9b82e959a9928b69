"""Threads that give events to sinks for as long as a process runs.

A Celery worker brings a sender with it (shop/celery.py); `manage.py
send_events` is one by itself. Any number of them may run. Each thread asks the
database a few times a second, and at once when this process has news.
"""

import logging
import threading
import time
from collections.abc import Callable

from django.db import connection

from shop.events import delivery, wake
from shop.events.sinks import registered

logger = logging.getLogger(__name__)

# Seconds between two looks, and after a failure.
EVERY = 0.4
_AFTER_FAILURE = 2.0


class Sender:
    """One thread that puts events down, and one for each sink: a slow one holds up no other."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._sinks = registered()
        # A poke each: whoever has put something down wakes the sinks.
        self._news = threading.Event()
        self._put_down = [threading.Event() for _ in self._sinks]
        self._threads = [
            threading.Thread(
                target=self._repeat,
                args=(self._put_all_down, self._news),
                name="events",
                daemon=True,
            ),
            *(
                threading.Thread(
                    target=self._repeat,
                    args=(lambda sink=sink: delivery.deliver(sink), poke),
                    name=f"sink {sink.name}",
                    daemon=True,
                )
                for sink, poke in zip(self._sinks, self._put_down, strict=True)
            ),
        ]

    def start(self) -> None:
        """Begin; returns at once."""
        wake.listen(self._hear)
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """End after what is being delivered, and wait so long for it at most."""
        wake.stop_listening(self._hear)
        self._stopping.set()
        for poke in (self._news, *self._put_down):
            poke.set()
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
