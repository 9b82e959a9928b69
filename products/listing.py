"""How a list of products is cut out of a million.

The keys of a page are found in one index, of which each holds what lists are
filtered by; the rows are read by these keys. Which index that is can't be left
to the database. Among few products that pass the filters those that come first
are found by reading all of them; among many, by walking along the order and
passing over the others until the page is full. Each in the other's place takes
seconds, and the planner chooses by guesses, on SQLite without any statistics.
Here it is known how many there are: lists count, to a limit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import BigIntegerField, Func, IntegerField, QuerySet

from products.models import Product
from shop.pages import COUNT_MAX, Order, Slice, Total, hidden
from shop.prepared import Prepared

Row = tuple[Any, ...]

# So many are sorted in less time than it takes to walk past a hundred times as many.
GATHER_MAX = 2_000

# In the SQL itself: SQLite takes a partial index only for what it can read there.
_NONE_LEFT = Func(template="0", output_field=IntegerField())


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to; called, it builds the queryset.

    `branch` are the keys of the category `slug` and all below it, empty for any.
    """

    slug: str
    branch: tuple[int, ...]
    low: Decimal | None
    high: Decimal | None
    in_stock: bool | None

    def __call__(self) -> QuerySet[Product]:
        """Return the products on sale that pass, in no order."""
        return self._narrow(Product.objects.on_sale(), "category_id", "price", "price")

    def along(self, order: Order, *, behind: bool = False) -> QuerySet[Product]:
        """Return the same for a walk along `order`: no index serves any other column.

        `behind` a cursor, a limit of the price is no place to begin either: of two,
        a database might take the one that is further away.
        """
        rows = Product.objects.on_sale().alias(
            any_category=hidden("category_id", BigIntegerField()), any_price=hidden("price")
        )
        low = high = "price" if order.column == "price" else "any_price"
        if behind and order.descending:
            high = "any_price"
        elif behind:
            low = "any_price"
        return self._narrow(rows, "any_category", low, high)

    def _narrow(
        self, rows: QuerySet[Product], category: str, low: str, high: str
    ) -> QuerySet[Product]:
        if self.in_stock is not None:
            name = "stock_quantity__gt" if self.in_stock else "stock_quantity"
            rows = rows.filter(**{name: _NONE_LEFT})
        if self.branch:
            rows = rows.filter(**{f"{category}__in": self.branch})
        if self.low is not None:
            rows = rows.filter(**{f"{low}__gte": self.low})
        if self.high is not None:
            rows = rows.filter(**{f"{high}__lte": self.high})
        return rows

    @property
    def key(self) -> str:
        """A name for these filters with their values.

        With the branch: it may have been read before the tree changed, and what is
        found in it must not be taken for what is found by its slug since.
        """
        return f"{self.slug}|{hash(self.branch)}|{self.low}|{self.high}|{self.in_stock}"

    @property
    def shape(self) -> tuple[Any, ...]:
        """What the SQL depends on; the rest are `values`."""
        return len(self.branch), self.low is None, self.high is None, self.in_stock

    @property
    def values(self) -> list[Any]:
        """The query's parameters as the database takes them."""
        field = Product._meta.get_field("price")
        prices = [price for price in (self.low, self.high) if price is not None]
        return [*self.branch, *(field.get_db_prep_value(price, connection) for price in prices)]


_BRANCH = """
WITH RECURSIVE branch(id) AS (
 SELECT id FROM products_category WHERE slug = %s
 UNION ALL
 SELECT child.id FROM products_category child JOIN branch ON child.parent_id = branch.id
)
SELECT id FROM branch ORDER BY id
"""


def read_branch(slug: str) -> tuple[int, ...]:
    """Return the keys of a category and all below it; none if there is no such. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_BRANCH, [slug])
        return tuple(pk for (pk,) in cursor.fetchall())


def is_gathered(chosen: Filter, wanted: Slice, count: Callable[[], Total]) -> bool:
    """Whether to read all that passes and sort it, rather than walk along the order.

    `count` is asked only where it matters.
    """
    if chosen.in_stock is False and wanted.offset >= COUNT_MAX:
        # What is sold out has an index of its own. Far down the list, sorting all of
        # it costs less than to look at the stock of all products above.
        return True
    bounded = chosen.low is not None or chosen.high is not None
    # Few of those that pass may lie anywhere along the order.
    scattered = chosen.branch or chosen.in_stock is False
    scattered = scattered or (bounded and wanted.order.column != "price")
    if not scattered:
        return False
    total = count()
    return not total.is_estimate and total.rows <= GATHER_MAX


_PREPARED = 1000
_prepared: dict[tuple[Any, ...], Prepared] = {}


def read_keys(chosen: Filter, wanted: Slice, *, gather: bool) -> list[Row]:
    """Return primary key and ordered column's value of a slice. One query.

    `gather` (see `is_gathered`) decides how they are looked for, not which are found.
    """
    shape = ("keys", gather, chosen.shape, wanted.shape)
    keys = _prepared.get(shape)
    if keys is None:
        if len(_prepared) >= _PREPARED:
            _prepared.clear()
        keys = _prepared[shape] = Prepared(keys_of(chosen, wanted, gather=gather))
    values = [*chosen.values, *wanted.last]
    if _has_ties(wanted, gather):
        values += [*chosen.values, wanted.last[0]]
    return keys.fetch(*values, limit=wanted.limit, offset=wanted.offset)


def keys_of(chosen: Filter, wanted: Slice, *, gather: bool) -> QuerySet[Any, Any]:
    """Return the query behind `read_keys`, not yet cut."""
    rows = chosen() if gather else chosen.along(wanted.order, behind=bool(wanted.after))
    columns = ("pk", wanted.order.column)
    if not _has_ties(wanted, gather):
        return wanted.ordered(rows, unindexed=gather).values_list(*columns)
    (value, pk), side = wanted.after, "lt" if wanted.order.descending else "gt"
    # One after the other: the values are put in their places.
    equal = rows.filter(**{wanted.order.column: value}).filter(**{f"pk__{side}": pk})
    beyond = rows.filter(**{f"{wanted.order.column}__{side}": value})
    found = (
        equal.order_by()
        .values_list(*columns)
        .union(beyond.order_by().values_list(*columns), all=True)
    )
    return found.order_by(*(f"{'-' * wanted.order.descending}{name}" for name in columns[::-1]))


def _has_ties(wanted: Slice, gather: bool) -> bool:
    """Whether the rows with the cursor's own value are to be looked for apart.

    SQLite finds no place in an index by its row id: it would begin with the first
    of a hundred thousand products that were sold once.
    """
    return (
        connection.vendor == "sqlite"
        and not gather
        and bool(wanted.after)
        and wanted.order.column != "pk"
    )


def value_of_key(row: Row, column: str) -> Any:
    """Read a column of what `read_keys` returns, for cursors."""
    return row[0] if column == "pk" else row[1]
