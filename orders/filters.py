"""What an order list can be narrowed by."""

import re
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from orders.models import Order
from orders.states import Status
from shop.fields import FIRST_YEAR, LAST_YEAR, OTHER_YEAR, YEARS, Key, Whole
from shop.inputs import CONTRADICTION, ListQuery, StrictSerializer

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


@extend_schema_field(
    {"anyOf": [{"type": "string", "format": "date", "pattern": f"^{YEARS}-"}, {"const": ""}]}
)
class DayField(serializers.DateField):
    """A day of the shop; empty means none."""

    default_error_messages = {"year": OTHER_YEAR}

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """Take an empty string for an absent parameter."""
        return None if data == "" else super().run_validation(data)

    def to_internal_value(self, data: Any) -> date:
        """Return the day; ISO 8601 knows other ways to write one, which are refused."""
        if not (isinstance(data, str) and _DAY.match(data)):
            self.fail("invalid", format="YYYY-MM-DD")
        day: date = super().to_internal_value(data)
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            self.fail("year", first=FIRST_YEAR, last=LAST_YEAR)
        return day


def _check_span(start: date | None, end: date | None) -> None:
    if start and end and start > end:
        raise ValidationError({"end_date": [_("This is before start_date.")]}, CONTRADICTION)


class OrderQuery(ListQuery):
    """The parameters of an order list; both days are included."""

    status = serializers.ChoiceField(Status.values, allow_blank=True, required=False)
    start_date = DayField(required=False)
    end_date = DayField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a span that ends before it begins."""
        attrs = super().validate(attrs)
        _check_span(attrs.get("start_date"), attrs.get("end_date"))
        return {**attrs, "ordering": "newest"}


class ExportQuery(OrderQuery):
    """The list's filters, without its pages."""

    format = serializers.ChoiceField(["csv", "xlsx"], default="csv")
    page = per_page = cursor = None  # type: ignore[assignment]


MAX_DAYS = 3660


class SummaryQuery(StrictSerializer):
    """What the analytics are asked; both days are included, by default the last thirty."""

    start_date = DayField(required=False)
    end_date = DayField(required=False)
    interval = serializers.ChoiceField(["day", "week", "month"], default="day")
    category = serializers.SlugField(
        required=False,
        allow_blank=True,
        max_length=120,
        help_text=_("A category's slug; takes in all below it."),
    )
    product = Key(required=False)
    top = Whole(min_value=0, max_value=100, default=10)
    compare = serializers.ChoiceField(["true", "false"], default="true")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in the days, and refuse a span that is empty or endless."""
        end = attrs.get("end_date") or attrs.get("start_date") or timezone.localdate()
        if not attrs.get("end_date"):
            end = max(end, timezone.localdate())
        start = attrs.get("start_date") or end - timedelta(days=29)
        _check_span(start, end)
        if (end - start).days >= MAX_DAYS:
            raise ValidationError({"end_date": [_("At most %d days.") % MAX_DAYS]}, CONTRADICTION)
        return {**attrs, "start_date": start, "end_date": end}


def start_of(day: date) -> datetime:
    """Return the moment when a day of the shop begins."""
    return timezone.make_aware(datetime.combine(day, time.min))


def filter_orders(rows: QuerySet[Order], query: dict[str, Any]) -> QuerySet[Order]:
    """Return those of `rows` that `query` asks for."""
    if status := query.get("status"):
        rows = rows.filter(status=status)
    if start := query.get("start_date"):
        rows = rows.filter(created_at__gte=start_of(start))
    if end := query.get("end_date"):
        rows = rows.filter(created_at__lt=start_of(end + timedelta(days=1)))
    return rows
