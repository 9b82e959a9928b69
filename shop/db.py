"""Transactions that are run again when the database was at fault; snapshots; one clock for all."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from django.db import OperationalError, connection, transaction
from django.utils import timezone

T = TypeVar("T")

_ATTEMPTS = 5
# Seconds after the first beginning within which a transaction may begin again.
# SQLite calls it a conflict, too, when somebody has waited 20 s (`timeout` in
# the settings) for the others to finish: that is no reason to wait as long
# again, four times more. What was lost at once, or after a deadlock was found,
# has its five attempts; and all of them together are over before the hop
# answers 504 for them (REQUEST_TIMEOUT, 30 s).
_AGAIN_WITHIN = 8.0
# PostgreSQL: serialization_failure, deadlock_detected.
_TRY_AGAIN = {"40001", "40P01"}


def _conflicted(error: OperationalError) -> bool:
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) in _TRY_AGAIN:
        return True
    return getattr(cause, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def in_transaction(work: Callable[[], T]) -> T:
    """Run `work` in one transaction, again when it lost a conflict with another.

    Inside a transaction that is open already, `work` joins it: only the
    outermost one can be run again. `work` must have no effect outside the
    database. On SQLite waiting ends within 28 seconds.

    Raises:
        OperationalError: the database is out of reach, or the conflict went on.
    """
    if connection.in_atomic_block:
        with transaction.atomic():
            return work()
    until = time.monotonic() + _AGAIN_WITHIN
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return work()
        except OperationalError as error:
            if attempt == _ATTEMPTS or not _conflicted(error) or time.monotonic() >= until:
                raise
        # Jitter keeps two rivals from meeting again and again.
        time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
    raise AssertionError("unreachable: the last attempt returns or raises")


def now() -> datetime:
    """Return the time by the database's clock, which all hosts share; one short query.

    For what one process writes and another compares with: leases and pauses. An SQLite
    file lies on the host of all who use it, and their clock is its clock.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    assert isinstance(moment, datetime)
    return moment


@contextmanager
def snapshot() -> Iterator[None]:
    """Show all queries inside the database as it was at one moment, and hold up no writer.

    For reading alone, and for as long as that takes: the limit on statements
    is off. Inside a transaction that is open already, one sees what that one sees.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET LOCAL statement_timeout = 0")
                # Nor must one go on whose reader was killed.
                cursor.execute("SET LOCAL client_connection_check_interval = '5s'")
                # Who reads through a cursor reads to its end: plan for that,
                # and not for the first rows.
                cursor.execute("SET LOCAL cursor_tuple_fraction = 1")
            yield
    else:
        # Not atomic(), which would take the lock of writers (transaction_mode).
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
