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
_stock_written = 0.0


def forget_after_commit(ids: Iterable[int], *, stock_only: bool = False) -> None:
    """Have these products read anew once the transaction is committed.

    Every count is too, or with `stock_only` those that depend on stock: a
    sale must not have the whole catalogue counted again.
    """
    known = list(ids)
    transaction.on_commit(lambda: _forget(known, stock_only))


def forget_all_after_commit() -> None:
    """Have everything read anew once the transaction is committed."""
    transaction.on_commit(_forget_all)


def _forget(ids: list[int], stock_only: bool) -> None:
    global _any_written, _stock_written
    now = time.time()
    _stock_written = now
    if not stock_only:
        _any_written = now
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


def is_fresh_count(read_at: float, *, of_stock: bool) -> bool:
    """Whether a count made at `read_at` (Unix seconds) may be shown now.

    `of_stock` says whether it depends on what is in stock.
    """
    written = max(_all_written, _any_written, _stock_written if of_stock else 0.0)
    return -1 < time.time() - read_at < MAX_AGE and read_at > written
