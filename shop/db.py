"""Transactions that are run again when the database, not the caller, was at fault."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection, transaction

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
