"""How the hits of a query are read.

From the database by its indexes (`fetch`), and from the best sellers among what
is searched, whose texts are kept in the process (`best_sellers`): of every
query some thousand are looked through, which in memory takes a tenth of the time.
"""

import time
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import connection

from products.freshness import feed
from products.patterns import FTS
from products.search_query import Condition, Query, Texts
from shop.cache import Store, Tag
from shop.pages import Rows

# Best sellers that are looked through.
WALKED = 1000
# What decides which they are, and what is kept of them.
TAGS: tuple[Tag, ...] = ("members", "name", "category", "tree", "sold", "price")
# Bytes that are kept of best sellers: some six thousand.
_KEPT = 8 * 1024 * 1024
# Seconds that the size of a catalogue serves for estimates.
_SIZE_AGE = 60.0
# Bytes of shelves that are known; and of one's parameter, in its key and its SQL.
_SHELVES = 4 * 1024 * 1024
_PARAMETER = 50

_COLUMNS = ("pk", "sold_quantity", "price", "category_id", "name")
_SHOWN = ", ".join(f"p.{column}" for column in _COLUMNS)
_INDEX = "products_productsearch"


class Hit(NamedTuple):
    """A product that was found; the price in minor units."""

    pk: int
    sold: int
    price: int
    category: int | None
    name: str
    rank: int


@dataclass(frozen=True)
class Best:
    """The best sellers of a shelf, the first first.

    `is_all`: there are no others. `last` is the last one's sales and key.
    """

    rows: list[tuple[Any, ...]]
    texts: list[Texts]
    is_all: bool
    last: tuple[int, int]

    def matching(self, query: Query) -> list[Hit]:
        """Return those that a query finds."""
        fits, rank_of = query.matching.as_test(), query.rank_as_function()
        return [
            Hit._make((*row, rank_of(texts)))
            for row, texts in zip(self.rows, self.texts, strict=True)
            if fits(texts)
        ]

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        # Most texts have Hangul in them: two bytes a character. Measured.
        return sum(2 * (len(own.text) + len(own.initials)) + 600 for own in self.texts)


@dataclass(frozen=True)
class Shelf:
    """The products that are searched.

    `sql` selects `_COLUMNS` of them, in no order. `key` names them, `tags` are what decides
    which they are (shop.cache); of a shelf without a name nothing is kept.
    """

    rows: Rows
    sql: str
    params: tuple[Any, ...]
    key: Hashable
    tags: Collection[Tag]
    # When it was last counted, and how many there were.
    counted: list[tuple[float, int]] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, rows: Rows, key: Hashable = None, tags: Collection[Tag] = ()) -> "Shelf":
        """Compile `rows`, once for each key."""
        known = None if key is None else _shelves.get(key)
        if known is None:
            sql, params = rows().order_by().values_list(*_COLUMNS).query.sql_with_params()
            known = cls(rows, sql, params, key, {*tags, *TAGS})
            if key is not None:
                since = feed.knowledge.tags.now
                _shelves.put(key, known, tags=(), since=since, size=known.size)
        return known

    @property
    def size(self) -> int:
        """Bytes of memory, about: a category may have thousands below it, and each is named."""
        return 2 * len(self.sql) + _PARAMETER * len(self.params)

    def count(self) -> int:
        """Return how many products there are, or were a minute ago: for estimates."""
        now = time.monotonic()
        if not self.counted or now - self.counted[0][0] > _SIZE_AGE:
            self.counted[:] = [(now, self.rows().order_by().count())]
        return self.counted[0][1]


_shelves: Store[Hashable, Shelf] = Store(feed.knowledge.tags, _SHELVES)
# Some of them have long names: 1 or 2 MB.
_kept: Store[Hashable, Best] = Store(feed.knowledge.tags, _KEPT, share=2)


def best_sellers(shelf: Shelf) -> Best:
    """Return the best sellers of a shelf. One query where they are not kept, or may be stale."""
    if shelf.key is None or connection.in_atomic_block or not feed.knowledge.is_sure():
        return _read_best(shelf)
    since = feed.knowledge.tags.now
    best = _kept.get(shelf.key)
    if best is None:
        best = _read_best(shelf)
        _kept.put(shelf.key, best, tags=shelf.tags, since=since, size=best.size + shelf.size)
    return best


def _read_best(shelf: Shelf) -> Best:
    best = f"{shelf.sql} ORDER BY sold_quantity DESC, pk DESC LIMIT {WALKED}"
    found = _run(
        f"WITH p AS MATERIALIZED ({best}) "  # noqa: S608
        # A product that an older version of the code has written may have none yet.
        f"SELECT {_SHOWN}, COALESCE(s.text, ''), COALESCE(s.initials, '')"
        f" FROM p LEFT JOIN {_own()} ON s.product_id = p.pk"
        " ORDER BY p.sold_quantity DESC, p.pk DESC",
        shelf.params,
    )
    rows = [row[:-2] for row in found]
    texts = [Texts(*row[-2:]) for row in found]
    last = (rows[-1][1], rows[-1][0]) if rows else (0, 0)
    return Best(rows, texts, len(rows) < WALKED, last)


def _own() -> str:
    """Return the texts `s` of a product `p`, as what is joined: looked up for each by its key."""
    if connection.vendor == "sqlite":
        return f"{_INDEX} AS s"
    return f"LATERAL (SELECT * FROM {_INDEX} AS s WHERE s.product_id = p.pk OFFSET 0) AS s"  # noqa: S608


def fetch(query: Query, condition: Condition, shelf: Shelf, limit: int) -> list[Hit]:
    """Return up to `limit` products that fulfil `condition`, whichever they are. One query."""
    products, params = shelf.sql, shelf.params
    rank, rank_params = query.rank_as_sql()
    matches, match_params = condition.as_sql()
    if connection.vendor == "sqlite":
        # It joins from the left to the right: the index first.
        likely, source = condition.as_trigrams(), f"{_INDEX} AS s"
        if likely:
            source = (
                f"(SELECT rowid AS pk FROM {FTS} WHERE {FTS} MATCH %s) AS f "  # noqa: S608
                f"CROSS JOIN {_INDEX} AS s ON s.product_id = f.pk"
            )
            rank_params.append(likely)
        sql = f"{source} CROSS JOIN ({products}) AS p ON p.pk = s.product_id WHERE {matches}"
        params = (*params, *match_params)
    else:
        # OFFSET 0 keeps the planner from reading 100,000 products for a few hundred hits.
        sql = (
            f"(SELECT * FROM {_INDEX} AS s WHERE {matches} OFFSET 0) AS s CROSS JOIN LATERAL "  # noqa: S608
            f"(SELECT * FROM ({products}) AS p WHERE p.pk = s.product_id OFFSET 0) AS p"
        )
        params = (*match_params, *params)
    found = _run(
        f"SELECT {_SHOWN}, {rank} FROM {sql} LIMIT {limit}",  # noqa: S608
        [*rank_params, *params],
    )
    return [Hit(*row) for row in found]


def look_through(query: Query, shelf: Shelf, number: int, limit: int) -> list[Hit]:
    """Return up to `limit` hits among the `number` best sellers, for what no index finds.

    One query; each product costs some 3 microseconds.
    """
    rank, rank_params = query.rank_as_sql()
    matches, match_params = query.matching.as_sql()
    found = _run(
        f"SELECT {_SHOWN}, {rank} FROM"  # noqa: S608
        f" ({shelf.sql} ORDER BY sold_quantity DESC, pk DESC LIMIT {number}) AS p"
        f" CROSS JOIN {_own()} WHERE s.product_id = p.pk AND {matches} LIMIT {limit}",
        [*rank_params, *shelf.params, *match_params],
    )
    return [Hit(*row) for row in found]


def _run(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a query.

    PostgreSQL is told not to read whole tables: what it expects of a LIKE is
    often wrong by a hundred times. That holds for this statement alone, and
    costs no round trip of its own.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"SET LOCAL enable_seqscan = off; {sql}; SET LOCAL enable_seqscan = on", params
            )
            cursor.nextset()
        else:
            cursor.execute(sql, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found
