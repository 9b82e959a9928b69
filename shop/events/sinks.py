"""Who is told of events: the roads on which they leave.

A sink is registered when its app is ready; those that come and go while the shop
runs are named by a source. `shop.events.delivery` gives a sink
each event that it wants after the commit, at least once, and those of one
subject in order; an exception means "not now", and it is tried again.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from shop.events.models import Event

# Seconds: the longest pause between two tries.
_LONGEST_PAUSE = 3600
# Seconds for which what the sources say is believed.
_BELIEVED = 1.0


class SinkDown(Exception):
    """The sink can take nothing just now: all of its subjects wait for `pause`."""

    def __init__(self, text: str, pause: timedelta) -> None:
        super().__init__(text)
        self.pause = pause


@dataclass(frozen=True)
class Sink:
    """One road.

    `types` are the event types that it wants, none for all. `deliver` gives
    it one event; it may take half a minute at most. A `transactional` sink
    writes to the database only: it runs in the transaction that notes the
    delivery, so its effect is had exactly once. After `attempts` tries an
    event is given up until staff say otherwise; `given_up` is told of it in the
    transaction that notes it, and writes to the database only. `pauses` are seconds
    after the first failure, the second …; none: 2, 4, 8 to an hour. Until
    `paused_until`, by the database's clock, it is given nothing.
    """

    name: str
    deliver: Callable[[Event], None]
    types: frozenset[str] = frozenset()
    transactional: bool = False
    attempts: int = 12
    pauses: Sequence[float] = ()
    paused_until: datetime | None = None
    given_up: Callable[[Event, Exception], None] | None = None

    def wants(self, type: str) -> bool:
        """Whether it is told of events of this type."""
        return not self.types or type in self.types

    def pause(self, attempts: int) -> timedelta:
        """Return how long to wait after so many failures in a row, about."""
        if self.pauses:
            seconds = float(self.pauses[min(attempts, len(self.pauses)) - 1])
        else:
            seconds = min(2.0 ** min(attempts, 20), _LONGEST_PAUSE)
        return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311


_sinks: dict[str, Sink] = {}
_sources: list[Callable[[], Iterable[Sink]]] = []
# When the sources were asked, and what they said.
_said: tuple[float, list[Sink]] | None = None


def register(sink: Sink) -> None:
    """Add a sink; it gets what is recorded once every sender knows it.

    Until then, while a new version is put in place, an old one that puts an event
    down leaves it out. Those of a source are rows, which all senders read.

    Raises:
        ValueError: the name is taken.
    """
    if sink.name in _sinks:
        raise ValueError(f"Two sinks are named {sink.name}.")
    _sinks[sink.name] = sink


def add_source(source: Callable[[], Iterable[Sink]]) -> None:
    """Add what names sinks that come and go; it is asked about once a second."""
    _sources.append(source)


def forget() -> None:
    """Ask the sources anew: in this process something has changed."""
    global _said
    _said = None


def standing() -> list[Sink]:
    """Return the sinks that are there for as long as the process runs."""
    return list(_sinks.values())


def passing() -> list[Sink]:
    """Return the sinks that the sources name, as of a second ago at most."""
    global _said
    said = _said
    if said is None or time.monotonic() - said[0] > _BELIEVED:
        said = (time.monotonic(), ask())
        _said = said
    return said[1]


def ask() -> list[Sink]:
    """Return the sinks that the sources name at this moment."""
    return [sink for source in _sources for sink in source()]


def registered() -> list[Sink]:
    """Return every sink, those of the sources as of a second ago at most."""
    return [*standing(), *passing()]


def now_registered() -> list[Sink]:
    """Return every sink at this moment, by a query a source."""
    return [*standing(), *ask()]


def as_it_is_now(sink: Sink) -> Sink | None:
    """Return a sink as it is at this moment; None if it is gone."""
    if _sinks.get(sink.name) is sink:
        return sink
    return next((found for found in ask() if found.name == sink.name), None)


def cloud_event(event: Event) -> dict[str, Any]:
    """Return an event as JSON by CloudEvents 1.0, with its extension for sequences."""
    return {
        "specversion": "1.0",
        "id": str(event.pk),
        "type": event.type,
        "source": settings.EVENT_SOURCE,
        "subject": event.subject,
        "time": event.time.isoformat(),
        "datacontenttype": "application/json",
        "data": event.data,
        "sequence": str(event.sequence),
        "correlationid": event.correlation_id,
    }
