"""Writing events."""

from typing import Any

from django.db import connection, transaction

from shop.accounts.models import User
from shop.context import correlation_id
from shop.events.models import Event
from shop.events.wake import wake
from shop.prepared import insert


def record(
    *, type: str, subject: str, sequence: int, actor: User | None, data: dict[str, Any]
) -> Event:
    """Write one event inside the caller's transaction.

    `sequence` is the subject's next number; the caller holds the lock on the
    subject's row that makes it so. `data` is plain JSON.

    Raises:
        RuntimeError: there is no open transaction. An event outside the
            transaction of its change could tell of something that never
            happened.
        IntegrityError: the sequence is taken.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("An event is recorded in the transaction of the change it tells of.")
    event = Event(
        type=type,
        subject=subject,
        sequence=sequence,
        actor=actor,
        data=data,
        correlation_id=correlation_id.get(),
    )
    insert([event])
    transaction.on_commit(lambda: wake(subject))
    return event
