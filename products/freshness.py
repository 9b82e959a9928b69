"""How a process learns what has changed in the catalogue.

Triggers in the database (products.triggers) write a row for each change, in its
transaction: what changed of which product, whoever wrote it and however. A process
that shows what it has kept asks for new rows four times a second, after each of its
own writes, and after each reading that it means to keep. So it shows its own writes at
once, everybody's within a second, and never less than it has shown before. When it
can't ask, it shows nothing that is kept.

Ids are given out before the commit, so "greater than the last one seen" would miss
what commits late. On PostgreSQL a change therefore carries its transaction's id, and
asked for are those of transactions that ran at the last look and of those that began
since: however long one runs, no others are read twice. When the oldest that runs is
`horizon`, all changes below it are known. On SQLite transactions that write come one
after the other, and the row's id does.
"""

import logging
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import Error, close_old_connections, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from products.models import Change, ProductChange
from shop.cache import Knowledge, Tag

logger = logging.getLogger(__name__)

# Seconds: how old what is shown may be; how often changes are asked for; after how long
# what sells best isn't left to the thread; for how long changes are asked for after
# somebody last wanted to know; how long one look waits for another.
MAX_AGE = 0.9
_EVERY = 0.25
_SETTLED_FOR = 2 * _EVERY
_REST_AFTER = 10.0
_PATIENCE = 2.0
# Changes are kept for an hour. A process that has not asked for half of that begins anew.
KEPT_FOR = 3600.0
_LONGEST_GAP = KEPT_FOR / 2
# At once. More mean that all has changed.
_MOST_ROWS = 5000
# Products whose last change is remembered.
_POSITIONS = 100_000

# What was committed since a snapshot; see the module's docstring for `horizon`. `beyond`
# lies above all that the new snapshot sees. The time is the one that changes carry: how
# long ago somebody has asked is not told by a clock that rests while its machine does.
_POSTGRESQL = (
    "SELECT pg_snapshot_xmin(now.snapshot)::text::bigint,"
    " pg_snapshot_xmax(now.snapshot)::text::bigint, now.snapshot::text,"
    " EXTRACT(epoch FROM clock_timestamp())::bigint, c.position, c.product_id, c.changed"
    " FROM (SELECT pg_current_snapshot() AS snapshot) AS now"
    " LEFT JOIN products_productchange c ON c.position >= %s OR c.position = ANY (%s::bigint[])"
    " LIMIT %s"
)
_SQLITE = (
    "SELECT now.horizon, now.horizon, '', CAST(strftime('%%s', 'now') AS INTEGER),"
    " c.id, c.product_id, c.changed FROM"
    " (SELECT COALESCE(MAX(seq), 0) + 1 AS horizon FROM sqlite_sequence"
    "  WHERE name = 'products_productchange') AS now"
    " LEFT JOIN products_productchange c ON c.id >= %s LIMIT %s"
)
# Nothing was committed since.
_NO_SNAPSHOT = f"{2**62}:{2**62}:"


class Feed:
    """The changes of the catalogue, as far as this process has read them."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.knowledge = Knowledge(self.catch_up, self.follow, lambda: tell_all())
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._begun = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.forget()

    def forget(self) -> None:
        """Know nothing any more, and show nothing."""
        # All changes below it are known, and of those from it on what the snapshot sees.
        self.horizon: int | None = None
        self._snapshot = _NO_SNAPSHOT
        # Seconds by the database's clock.
        self._asked_at = 0
        # Of what was read below the floor nothing is known.
        self._floor = 0
        self._positions: dict[int, int] = {}
        # Whether there were sales since what sells best was settled, and when that was.
        self._sold = False
        self._settled_at = 0.0
        self.knowledge.tags.sure_until = 0.0
        self.knowledge.tags.everything_changed()

    # --- Reading ------------------------------------------------------------

    def catch_up(self) -> bool:
        """Learn of all that is committed by now; returns whether it could. One query, or none.

        Where many want it at once, one that begins after they asked does for all.
        """
        if connection.in_atomic_block:
            # It would be told of what is not committed.
            return False
        asked = self._begun
        if not self._lock.acquire(timeout=_PATIENCE):
            self.knowledge.tags.sure_until = 0.0
            return False
        try:
            if self._begun > asked and time.monotonic() < self.knowledge.tags.sure_until:
                return True
            self._begun += 1
            return self._look()
        finally:
            self._lock.release()

    def _look(self, *, sold: bool = False) -> bool:
        now = time.monotonic()
        try:
            rows = self._read()
        except Error:
            self.knowledge.tags.sure_until = 0.0
            logger.warning("can't read what has changed just now", exc_info=True)
            return False
        horizon, beyond, self._snapshot, asked_at = rows[0][:4]
        # It never goes back, but where a backup was put in place or a table emptied.
        is_lost = self.horizon is None or horizon < self.horizon
        is_too_much = len(rows) > _MOST_ROWS or asked_at - self._asked_at > _LONGEST_GAP
        if is_lost or is_too_much:
            self._begin(beyond)
        else:
            self._learn([row[4:] for row in rows if row[4] is not None])
        self.horizon = horizon
        # By whoever looks first where the thread has rested, or the process has.
        if sold or now - self._settled_at > _SETTLED_FOR:
            self._settled_at = now
            if self._sold:
                self._sold = False
                self.knowledge.tags.changed(["sold"])
        self._asked_at = asked_at
        self.knowledge.tags.sure_until = now + MAX_AGE
        return True

    def _read(self) -> list[tuple[Any, ...]]:
        params: list[Any]
        if connection.vendor == "postgresql":
            _oldest, next_one, running = self._snapshot.split(":")
            ran = [int(each) for each in running.split(",") if each]
            sql, params = _POSTGRESQL, [int(next_one), ran, _MOST_ROWS + 1]
        else:
            since = 2**62 if self.horizon is None else self.horizon
            sql, params = _SQLITE, [since, _MOST_ROWS + 1]
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _begin(self, beyond: int) -> None:
        """Know nothing of what was read when the horizon was below `beyond`."""
        self._positions.clear()
        self._floor = beyond
        self.knowledge.tags.everything_changed()

    def _learn(self, rows: list[tuple[int, int | None, int]]) -> None:
        tags: set[Tag] = set()
        for position, product_id, changed in rows:
            if product_id is not None:
                tags.update(_tags_of(product_id, changed))
                self._positions.pop(product_id, None)
                self._positions[product_id] = position
            elif changed & Change.SHOWN:
                self._floor = max(self._floor, position + 1)
                self.knowledge.tags.everything_changed()
            tags.update(name for bit, name in _LISTS if changed & bit)
            self._sold = self._sold or bool(changed & Change.SOLD)
        while len(self._positions) > _POSITIONS:
            oldest = next(iter(self._positions))
            self._floor = max(self._floor, self._positions.pop(oldest) + 1)
        self.knowledge.tags.changed(tags)

    def believes(self, product_id: int, position: int) -> bool:
        """Whether what was read of a product when `horizon` was `position` is still true.

        What comes from beyond our own horizon may be from before a backup was put in place.
        """
        last = self._positions.get(product_id, -1)
        return max(self._floor, last + 1) <= position <= (self.horizon or 0)

    # --- Following ------------------------------------------------------------

    def follow(self) -> None:
        """Keep asking, in a thread, until nobody has wanted to know for a while."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._stop.clear()
                self._thread = threading.Thread(
                    target=self._follow, name="catalogue-changes", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        thread = self._thread
        if thread is not None:
            self._stop.set()
            thread.join()
            self._thread = None

    def _follow(self) -> None:
        # It asks four times a second for nobody: what requests ask is counted without it.
        connection.counted_as = "changes"  # type: ignore[attr-defined]
        try:
            while not self._stop.wait(_EVERY):
                if time.monotonic() - self.knowledge.asked > _REST_AFTER:
                    return
                close_old_connections()
                with self._lock:
                    self._begun += 1
                    # What sells best is settled here: by each sale, all searches
                    # and many lists would be made anew.
                    self._look(sold=True)
        finally:
            connection.close()


# What lists are tagged by.
_LISTS: tuple[tuple[Change, str], ...] = (
    (Change.MEMBERS, "members"),
    (Change.PRICE, "price"),
    (Change.NAME, "name"),
    (Change.CATEGORY, "category"),
    (Change.IN_STOCK, "in_stock"),
    (Change.TREE, "tree"),
)


def _tags_of(product_id: int, changed: int) -> Iterable[Tag]:
    if changed & Change.SHOWN:
        yield product_id
    if changed & (Change.SHOWN | Change.DETAIL):
        yield ("detail", product_id)


feed = Feed()


def look() -> None:
    """Learn of what this process has just committed, if it shows anything that it keeps."""
    if feed.horizon is not None:
        feed.catch_up()


def tell_all() -> None:
    """Have every process forget what it keeps, within a second; for staff who doubt it."""
    position = "pg_current_xact_id()::text::bigint" if connection.vendor == "postgresql" else "0"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO products_productchange (product_id, position, changed, at)"  # noqa: S608
            f" VALUES (NULL, {position}, %s, %s)",
            [
                int(Change.SHOWN),
                connection.ops.adapt_datetimefield_value(timezone.now()),
            ],
        )
    transaction.on_commit(look)


def prune() -> int:
    """Delete changes that every process knows by now, or has given up on; returns how many."""
    # By the clock of the database, which those who ask go by.
    old = Now() - timedelta(seconds=KEPT_FOR)
    return ProductChange.objects.filter(at__lt=old).delete()[0]
