"""Who is told of events: the roads on which they leave.

A sink is registered when its app is ready. `shop.events.delivery` gives it
each event that it wants after the commit, at least once, and those of one
subject in order; an exception means "not now", and it is tried again.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings

from shop.events.models import Event

# Seconds: the longest pause between two tries.
_LONGEST_PAUSE = 3600


@dataclass(frozen=True)
class Sink:
    """One road.

    `types` are the event types that it wants, none for all. `deliver` gives
    it one event; it may take half a minute at most. A `transactional` sink
    writes to the database only: it runs in the transaction that notes the
    delivery, so its effect is had exactly once. After `attempts` tries an
    event is given up until staff say otherwise.
    """

    name: str
    deliver: Callable[[Event], None]
    types: frozenset[str] = frozenset()
    transactional: bool = False
    attempts: int = 12

    def wants(self, type: str) -> bool:
        """Whether it is told of events of this type."""
        return not self.types or type in self.types

    @staticmethod
    def pause(attempts: int) -> timedelta:
        """Return how long to wait after so many failures in a row: 2, 4, 8 … s, about."""
        seconds = min(2.0 ** min(attempts, 20), _LONGEST_PAUSE)
        return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311


_sinks: dict[str, Sink] = {}


def register(sink: Sink) -> None:
    """Add a sink; it gets what is recorded from now on.

    Raises:
        ValueError: the name is taken.
    """
    if sink.name in _sinks:
        raise ValueError(f"Two sinks are named {sink.name}.")
    _sinks[sink.name] = sink


def registered() -> list[Sink]:
    """Return every sink."""
    return list(_sinks.values())


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
