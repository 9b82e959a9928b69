"""What was sold: exact aggregates from the orders' own rows.

An order counts on the day it was placed, a day of the shop (TIME_ZONE). It is
sold when it is paid for, that is in any state from `paid` to `completed`:

- `orders`, `revenue`: sold orders and the sum of their totals, VAT and shipping
  included, before refunds; `items`: the units in them.
- `average_order_value`: revenue by orders, rounded half up to the minor unit;
  None where there are none.
- `placed`: all orders; `pending`: those that wait for money; `cancelled`;
  `cancellation_rate`: cancelled by placed, to four decimals, None for none.
- With a category or product, only lines of these count: `revenue` is the sum of
  their line totals (shipping is nobody's), `orders` and the rest the orders
  that have such a line.

The totals are the sums of the series, so they agree with each other; the other
parts are read one after the other and may see an order more.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from orders.filters import start_of
from orders.models import Order, OrderItem
from orders.states import Status
from products.models import Category
from shop.money import from_minor, on_the_wire

Interval = Literal["day", "week", "month"]
SOLD = (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED, Status.COMPLETED)


@dataclass
class Figures:
    """What adds up over days."""

    revenue: Decimal = Decimal(0)
    orders: int = 0
    items: int = 0
    placed: int = 0
    pending: int = 0
    cancelled: int = 0

    def add(self, other: "Figures") -> None:
        """Take in another's."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def as_json(self) -> dict[str, Any]:
        """Return them with what follows from them."""
        average = rate = None
        if self.orders:
            exact = self.revenue / self.orders
            average = on_the_wire(exact.quantize(from_minor(1), ROUND_HALF_UP))
        if self.placed:
            rate = _ratio(Decimal(self.cancelled), Decimal(self.placed))
        return {
            "revenue": on_the_wire(self.revenue),
            "orders": self.orders,
            "items": self.items,
            "average_order_value": average,
            "placed": self.placed,
            "pending": self.pending,
            "cancelled": self.cancelled,
            "cancellation_rate": rate,
        }


@dataclass(frozen=True)
class Question:
    """What is asked: days are included; `category` is a path, `product` a key."""

    start: date
    end: date
    interval: Interval = "day"
    category: str | None = None
    product: int | None = None
    top: int = 10
    compare: bool = True

    @property
    def days(self) -> int:
        """How many days."""
        return (self.end - self.start).days + 1

    @property
    def before(self) -> tuple[date, date]:
        """The span of equal length that ends where this one begins."""
        return self.start - timedelta(days=self.days), self.start - timedelta(days=1)


def summarise(question: Question) -> dict[str, Any]:
    """Return the summary as JSON. Six queries, two fewer without a comparison."""
    by_day = _by_day(question, question.start, question.end)
    total = _sum(by_day.values())
    answer: dict[str, Any] = {
        "start_date": question.start,
        "end_date": question.end,
        "interval": question.interval,
        "currency": settings.CURRENCY,
        "totals": total.as_json(),
        "previous": None,
        "change": None,
    }
    if question.compare:
        first, last = question.before
        previous = _sum(_by_day(question, first, last).values())
        answer["previous"] = {"start_date": first, "end_date": last, **previous.as_json()}
        answer["change"] = {
            name: _change(getattr(total, name), getattr(previous, name))
            for name in ("revenue", "orders", "items", "cancelled")
        }
    answer["series"] = list(_series(question, by_day))
    answer["by_category"] = _by_category(question)
    answer["top_products"] = _top_products(question)
    return answer


def _ratio(part: Decimal, whole: Decimal) -> float:
    return float((part / whole).quantize(Decimal("0.0001"), ROUND_HALF_UP))


def _change(now: Any, before: Any) -> float | None:
    return _ratio(Decimal(now) - Decimal(before), Decimal(before)) if before else None


def _sum(parts: Iterable[Figures]) -> Figures:
    total = Figures()
    for part in parts:
        total.add(part)
    return total


def _within(prefix: str, start: date, end: date) -> Q:
    return Q(
        **{
            f"{prefix}created_at__gte": start_of(start),
            f"{prefix}created_at__lt": start_of(end + timedelta(days=1)),
        }
    )


def _lines(question: Question, start: date, end: date) -> QuerySet[OrderItem]:
    """The lines that the question is about, in orders of any state."""
    lines = OrderItem.objects.filter(_within("order__", start, end)).order_by()
    if question.product is not None:
        lines = lines.filter(product=question.product)
    if question.category is not None:
        branch = Category.objects.within(question.category).order_by().values("pk")
        lines = lines.filter(product__category__in=branch)
    return lines


def _by_day(question: Question, start: date, end: date) -> dict[date, Figures]:
    """Return figures by day of the shop. Two queries."""
    sold, pending, cancelled = (
        Q(status__in=SOLD),
        Q(status=Status.PENDING),
        Q(status=Status.CANCELLED),
    )
    found: dict[date, Figures] = {}
    lines = _lines(question, start, end)
    # Orders by the lines they have, where not every line counts.
    some = question.product is not None or question.category is not None
    orders = Order.objects.filter(_within("", start, end)).order_by()
    if some:
        orders = orders.filter(pk__in=lines.values("order"))
    counted = (
        orders.values(day=TruncDate("created_at"))
        .annotate(
            n=Count("pk"),
            sold=Count("pk", filter=sold),
            pending=Count("pk", filter=pending),
            cancelled=Count("pk", filter=cancelled),
            revenue=Sum("total", filter=sold),
        )
        .values_list("day", "n", "sold", "pending", "cancelled", "revenue")
    )
    for day, *counts, revenue in counted:
        placed, number, waiting, gone = counts
        found[day] = Figures(
            revenue=Decimal(0) if some else revenue or Decimal(0),
            orders=number,
            placed=placed,
            pending=waiting,
            cancelled=gone,
        )
    sold_lines = (
        lines.filter(order__status__in=SOLD)
        .values(day=TruncDate("order__created_at"))
        .annotate(units=Sum("quantity"), worth=Sum("line_total"))
        .values_list("day", "units", "worth")
    )
    for day, units, worth in sold_lines:
        figures = found.setdefault(day, Figures())
        figures.items = units
        if some:
            figures.revenue = worth
    return found


def _period_of(day: date, interval: Interval) -> date:
    """Return the first day of the period: Monday, or the first of the month."""
    if interval == "week":
        return day - timedelta(days=day.weekday())
    if interval == "month":
        return day.replace(day=1)
    return day


def _series(question: Question, by_day: dict[date, Figures]) -> Iterator[dict[str, Any]]:
    """Yield every period of the span, empty ones too; the first and last may be cut."""
    periods: dict[date, tuple[date, Figures]] = {}
    for number in range(question.days):
        day = question.start + timedelta(days=number)
        first = _period_of(day, question.interval)
        figures = periods[first][1] if first in periods else Figures()
        if day in by_day:
            figures.add(by_day[day])
        periods[first] = (day, figures)
    for first, (last, figures) in periods.items():
        yield {
            "start": max(first, question.start),
            "end": last,
            **figures.as_json(),
        }


def _by_category(question: Question) -> list[dict[str, Any]]:
    """Return what each category sold by itself, best first; products without one under None."""
    rows = (
        _lines(question, question.start, question.end)
        .filter(order__status__in=SOLD)
        .values(
            slug=F("product__category__slug"),
            en=F("product__category__name_en"),
            ko=F("product__category__name_ko"),
        )
        .annotate(
            revenue=Sum("line_total"), items=Sum("quantity"), orders=Count("order", distinct=True)
        )
        .order_by("-revenue", "slug")
    )
    return [
        {
            "category": row["slug"],
            "name": {"en": row["en"], "ko": row["ko"] or row["en"]} if row["slug"] else None,
            "revenue": on_the_wire(row["revenue"]),
            "items": row["items"],
            "orders": row["orders"],
        }
        for row in rows
    ]


def _top_products(question: Question) -> list[dict[str, Any]]:
    """Return what sold best, by revenue."""
    rows = (
        _lines(question, question.start, question.end)
        .filter(order__status__in=SOLD)
        .values("product_id", name=F("product__name"))
        # Every product is on a line of an order once: lines are orders.
        .annotate(revenue=Sum("line_total"), items=Sum("quantity"), orders=Count("pk"))
        .order_by("-revenue", "product_id")[: question.top]
    )
    return [
        {
            "product_id": str(row["product_id"]),
            "name": row["name"],
            "revenue": on_the_wire(row["revenue"]),
            "items": row["items"],
            "orders": row["orders"],
        }
        for row in rows
    ]
