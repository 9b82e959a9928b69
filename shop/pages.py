"""Lists of the API, cut into pages: by number or by cursor, in a total order.

A `Source` says how the rows of one list are ordered, fetched and counted, a
`Slice` which of them are wanted, a `Total` how many there are; `paginate` makes
a page of them for a request.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection
from django.db.models import (
    BooleanField,
    Expression,
    F,
    Func,
    IntegerField,
    Model,
    OrderBy,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.request import Request

from shop.inputs import NO_SUCH_THING, PAGE_MAX
from shop.rest import refuse_unstorable

# To count a million rows costs more than all else of a page: beyond this the
# database estimates.
COUNT_MAX = 10_000


@dataclass(frozen=True)
class Order:
    """A total order: one column, then the primary key, both in one direction."""

    column: str
    descending: bool = False

    # How the column's value is written in a cursor and read back.
    read: ClassVar[dict[type, Callable[[Any], Any]]] = {
        int: int,
        str: str,
        UUID: UUID,
        Decimal: Decimal,
        datetime: datetime.fromisoformat,
    }

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values place a row."""
        return ("pk",) if self.column == "pk" else (self.column, "pk")

    def fields(self, model: type[Model]) -> list[Any]:
        """Return the model's fields for these columns."""
        return [_field_of(model, column) for column in self.columns]


class _RowComparison(Func):
    """`(a, b) > (x, y)`: one range of one index, which OR-ed conditions are not."""

    output_field = BooleanField()
    conditional = True

    def __init__(
        self, left: Sequence[Expression | F], right: Sequence[Expression], *, operator: str
    ) -> None:
        super().__init__(*left, *right)
        self._width = len(left)
        self._operator = operator

    def as_sql(  # type: ignore[override]
        self, compiler: Any, connection: Any, **_: Any
    ) -> tuple[str, tuple[Any, ...]]:
        """Return the comparison of two row values."""
        parts: list[str] = []
        params: list[Any] = []
        for expression in self.get_source_expressions():
            sql, values = compiler.compile(expression)
            parts.append(sql)
            params.extend(values)
        left, right = ", ".join(parts[: self._width]), ", ".join(parts[self._width :])
        return f"({left}) {self._operator} ({right})", tuple(params)


def encode_cursor(order_name: str, backwards: bool, values: Sequence[Any]) -> str:
    text = json.dumps(
        [
            order_name,
            int(backwards),
            *(value if isinstance(value, int) else str(value) for value in values),
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _decode_cursor(cursor: str, order_name: str, types: Sequence[type]) -> tuple[bool, list[Any]]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        data = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        name, backwards, *raw = data
        if name != order_name or backwards not in (0, 1) or len(raw) != len(types):
            raise ValueError("of another list")
        # Of another list's cursor nothing is certain, not even the types.
        values = [
            Order.read[kind](value if kind is int else str(value))
            for kind, value in zip(types, raw, strict=True)
        ]
        for value in values:
            refuse_unstorable(value)
            if isinstance(value, int) and abs(value) >= 2**63:
                raise ValueError("out of range")
            if isinstance(value, datetime) and timezone.is_naive(value):
                raise ValueError("no offset")
    except (ValueError, TypeError, ArithmeticError, ParseError, RecursionError, binascii.Error):
        raise ValidationError(
            {"cursor": [_("This is not a cursor of this list.")]}, NO_SUCH_THING
        ) from None
    return bool(backwards), values


@dataclass(frozen=True)
class Window:
    """One page of rows, and what the client needs to go on."""

    rows: list[Any]
    envelope: dict[str, Any]


Rows = Callable[[], QuerySet[Any]]


@dataclass(frozen=True)
class Total:
    """How many rows a list has; beyond COUNT_MAX it is an estimate, never below what is known."""

    rows: int
    is_estimate: bool = False

    def knowing(self, start: int, shown: int, more: bool) -> "Total":
        """Return it in the light of a page: `shown` rows from `start` on, then more or not."""
        end = start + shown
        if more:
            return replace(self, rows=max(self.rows, end + 1))
        if shown or not start:
            return Total(end)
        # Past the end; nobody counted where that is.
        return replace(self, rows=min(self.rows, start))


def count_rows(rows: Rows) -> Total:
    """Count what `rows` builds as far as COUNT_MAX; one query, two beyond it."""
    return total_of(rows().order_by()[: COUNT_MAX + 1].count(), rows)


def total_of(counted: int, rows: Rows) -> Total:
    """Return the total for a count that ended behind COUNT_MAX; one query if it got so far."""
    if counted <= COUNT_MAX:
        return Total(counted)
    return Total(max(counted, connection.estimated_rows(rows())), True)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Slice:
    """Which rows of a list are wanted: `limit` of `rows` in this order.

    Those from `offset` on, or those behind the row that has the values `after`
    in the columns of the order. `shape` is equal for slices whose SQL differs
    in values alone: those in `last`, as the database takes them and in the
    query's order, and `limit` and `offset`.
    """

    rows: Rows
    order: Order
    after: tuple[Any, ...]
    limit: int
    offset: int = 0

    @property
    def shape(self) -> tuple[Any, ...]:
        """What the SQL depends on."""
        return self.order, bool(self.after)

    @property
    def last(self) -> tuple[Any, ...]:
        """The values of `after` as the database takes them."""
        if not self.after:
            return ()
        fields = self.order.fields(self.rows().model)
        return tuple(
            field.get_db_prep_value(value, connection)
            for field, value in zip(fields, self.after, strict=True)
        )

    def ordered(self, rows: QuerySet[Any], *, unindexed: bool = False) -> QuerySet[Any]:
        """Return those of `rows` that lie behind `after`, in order, not yet cut.

        With `unindexed` the database can't use an index for the order: for few
        rows among many it would walk along it and look at all others.
        """
        columns = [hidden(name) if unindexed else F(name) for name in self.order.columns]
        if self.after:
            values = zip(self.after, self.order.fields(rows.model), strict=True)
            rows = rows.filter(
                _RowComparison(
                    columns,
                    [Value(value, output_field=field) for value, field in values],
                    operator="<" if self.order.descending else ">",
                )
            )
        return rows.order_by(*(OrderBy(c, descending=self.order.descending) for c in columns))

    def queryset(self) -> QuerySet[Any]:
        """Return the slice as a queryset."""
        return self.ordered(self.rows())[self.offset : self.offset + self.limit]

    def in_all(self) -> Subquery:
        """Return how many rows there are, to COUNT_MAX and one more, to be read with each row."""
        counted = self.rows().order_by().values(one=Value(1))[: COUNT_MAX + 1]
        return Subquery(
            counted,
            output_field=IntegerField(),
            template="(SELECT COUNT(*) FROM (%(subquery)s) AS counted)",
        )


def hidden(column: str, output_field: Any = None) -> Coalesce:
    """Return a column as an expression that no index serves."""
    return Coalesce(F(column), F(column), output_field=output_field)


@dataclass(frozen=True)
class Source:
    """How the rows of one list are ordered, fetched and counted.

    `value_of(row, column)` reads a column of a fetched row, for cursors.
    `fetch_counted` returns the rows with their number in all as far as
    `Slice.in_all` counts, from one query; where there is none, they are counted
    beforehand. `rows_of` makes what is shown, in order, of what was fetched,
    which may be keys alone.
    """

    model: type[Model]
    orders: Mapping[str, Order]
    fetch: Callable[[Slice], list[Any]]
    value_of: Callable[[Any, str], Any]
    count: Callable[[Rows], Total] = count_rows
    fetch_counted: Callable[[Slice], tuple[list[Any], int]] | None = None
    rows_of: Callable[[list[Any]], list[Any]] = lambda found: found


def newest_first(model: type[Model]) -> Source:
    """Return how instances of a model are listed where nothing is hot: by their keys."""
    return Source(
        model=model,
        orders={"newest": Order("pk", descending=True)},
        fetch=lambda wanted: list(wanted.queryset()),
        value_of=lambda row, column: row.pk,
        fetch_counted=_fetch_counted,
    )


def _fetch_counted(wanted: Slice) -> tuple[list[Any], int]:
    """Return a slice of instances, and how many rows there are as far as they are counted."""
    found = list(wanted.queryset().annotate(in_all=wanted.in_all()))
    return found, found[0].in_all if found else 0


def _link(request: Request, **changes: Any) -> str:
    # In one order, whatever the request's: answers to both are one.
    params = dict(sorted({**request.query_params.dict(), **changes}.items()))
    if "cursor" in changes:
        params.pop("page", None)
    # A path, not an absolute address: true behind any proxy, and the same for all.
    return f"{request.path}?{urlencode(params)}"


def paginate(request: Request, query: Mapping[str, Any], rows: Rows, source: Source) -> Window:
    """Cut one page out of what `rows` builds, by number or by cursor.

    `query` is the validated ListQuery with an `ordering` that is a key of
    `source.orders`. A page past the end is empty.

    Raises:
        ValidationError: the cursor is not one of this list in this order.
    """
    if "cursor" in query:
        return _cursor_page(request, query, rows, source)
    name = query["ordering"]
    order = source.orders[name]
    page, per_page = query.get("page", 1), query["per_page"]
    start = (page - 1) * per_page
    # One row more than is shown says whether there is a next page: a total may be an estimate.
    wanted = Slice(rows, order, (), per_page + 1, start)
    if source.fetch_counted is not None:
        found, counted = source.fetch_counted(wanted)
        # Past the end there is no row to carry the number.
        total = source.count(rows) if not found and page > 1 else total_of(counted, rows)
    else:
        total = source.count(rows)
        found = source.fetch(wanted) if total.is_estimate or start < total.rows else []
    more = len(found) > per_page
    found = found[:per_page]
    envelope = numbered(request, total.knowing(start, len(found), more), page, per_page, more=more)
    if more and page == PAGE_MAX:
        # Whoever follows the links goes on without numbers.
        envelope["next"] = _behind(request, name, source, found[-1])
    return Window(source.rows_of(found), envelope)


def numbered(
    request: Request, total: Total, page: int, per_page: int, *, more: bool | None = None
) -> dict[str, Any]:
    """Return what surrounds the results of a page by number.

    `more` says whether a row follows the page; without it the total does.
    """
    pages = -(-total.rows // per_page)
    if more is None:
        more = page < pages
    return {
        "total": total.rows,
        "total_is_estimate": total.is_estimate,
        "page": page,
        "per_page": per_page,
        "pages": pages,
        "next": _link(request, page=page + 1) if more and page < PAGE_MAX else None,
        "previous": _link(request, page=page - 1) if page > 1 else None,
    }


def _behind(
    request: Request, name: str, source: Source, row: Any, *, backwards: bool = False
) -> str:
    """Return the link to what follows a row, or backwards to what comes before it."""
    values = [source.value_of(row, column) for column in source.orders[name].columns]
    return _link(request, cursor=encode_cursor(name, backwards, values))


def _cursor_page(request: Request, query: Mapping[str, Any], rows: Rows, source: Source) -> Window:
    name, cursor, per_page = query["ordering"], query["cursor"], query["per_page"]
    order = source.orders[name]
    backwards = False
    after: list[Any] = []
    if cursor:
        types = [_python_type(field) for field in order.fields(source.model)]
        backwards, after = _decode_cursor(cursor, name, types)
    direction = Order(order.column, order.descending != backwards)
    found = source.fetch(Slice(rows, direction, tuple(after), per_page + 1))
    more = len(found) > per_page
    found = found[:per_page]
    if backwards:
        found.reverse()
    has_next = bool(found) and (more or backwards)
    has_previous = bool(found) and bool(cursor) and (more or not backwards)
    return Window(
        source.rows_of(found),
        {
            "next": _behind(request, name, source, found[-1]) if has_next else None,
            "previous": _behind(request, name, source, found[0], backwards=True)
            if has_previous
            else None,
        },
    )


def _field_of(model: type[Model], column: str) -> Any:
    return model._meta.pk if column == "pk" else model._meta.get_field(column)


def _python_type(field: Any) -> type:
    kind = field.get_internal_type() if field is not None else ""
    if kind == "UUIDField":
        return UUID
    if "DateTime" in kind:
        return datetime
    if "Char" in kind or "Text" in kind:
        return str
    if type(field).__name__ == "MoneyField":
        return Decimal
    return int
