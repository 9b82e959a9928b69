"""When a cached product may still be shown.

What is cached is at most `MAX_AGE` seconds old, counted from before it was
read from the database, so that no process shows anything older than that. In
the process that writes, the next read after the commit goes to the database.

The moments of writing are kept per process. A value in the cache carries the
moment before it was read; one that was read before the last write is not
believed, however late a slow reader put it there.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable

from django.db import transaction

MAX_AGE = 0.9
_REMEMBERED = 50_000

_lock = threading.Lock()
_written: OrderedDict[int, float] = OrderedDict()
_all_written = 0.0
_any_written = 0.0


def forget_after_commit(ids: Iterable[int]) -> None:
    """Have these products, and every count, read anew once the transaction is committed."""
    known = list(ids)
    transaction.on_commit(lambda: _forget(known))


def forget_all_after_commit() -> None:
    """Have everything read anew once the transaction is committed."""
    transaction.on_commit(_forget_all)


def _forget(ids: list[int]) -> None:
    global _any_written
    _any_written = now = time.time()
    with _lock:
        for pk in ids:
            _written.pop(pk, None)
            _written[pk] = now
        overflow = len(_written) > _REMEMBERED
        while len(_written) > _REMEMBERED:
            _written.popitem(last=False)
    if overflow:
        _forget_all()


def _forget_all() -> None:
    global _all_written
    _all_written = time.time()


def is_fresh(pk: int, read_at: float) -> bool:
    """Whether a value read from the database at `read_at` (Unix seconds) may be shown now."""
    now = time.time()
    return (
        # A clock that was set back must not keep old values for good.
        -1 < now - read_at < MAX_AGE and read_at > _all_written and read_at > _written.get(pk, 0.0)
    )


def is_fresh_for_lists(read_at: float) -> bool:
    """Whether a count or a list read at `read_at` (Unix seconds) may be shown now."""
    return -1 < time.time() - read_at < MAX_AGE and read_at > max(_all_written, _any_written)
