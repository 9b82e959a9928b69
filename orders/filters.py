"""What an order list can be narrowed by."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from orders.models import Order
from orders.states import Status
from shop.rest import ListQuery


class DayField(serializers.DateField):
    """A day of the shop; empty means none."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """Take an empty string for an absent parameter."""
        if data == "":
            return None
        day = super().run_validation(data)
        # A day before or after the calendar has no midnight in every zone.
        if isinstance(day, date) and not 1900 <= day.year <= 9000:
            raise ValidationError(_("A year between 1900 and 9000."))
        return day


class OrderQuery(ListQuery):
    """The parameters of an order list; both days are included."""

    status = serializers.ChoiceField(["", *Status.values], required=False)
    start_date = DayField(required=False)
    end_date = DayField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a span that ends before it begins."""
        attrs = super().validate(attrs)
        start, end = attrs.get("start_date"), attrs.get("end_date")
        if start and end and start > end:
            raise ValidationError({"end_date": [_("This is before start_date.")]})
        return {**attrs, "ordering": "newest"}


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
