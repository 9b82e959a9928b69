"""What the list of orders is narrowed by."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy, ngettext

from orders.models import Order


class RefundFilter(admin.SimpleListFilter):
    """Orders for which money has to go back."""

    title = gettext_lazy("refund due")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The one choice."""
        return [("yes", gettext_lazy("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Narrow the list."""
        return queryset.filter(refund_due__gt=0) if self.value() else queryset


class UnpaidFilter(admin.SimpleListFilter):
    """Orders that have waited for their money."""

    title = gettext_lazy("unpaid for more than")
    parameter_name = "unpaid"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Hours, up to those after which an order is cancelled."""
        return [
            (str(hours), ngettext("%d hour", "%d hours", hours) % hours)
            for hours in sorted({1, 6, 24, settings.UNPAID_ORDER_HOURS})
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Narrow the list."""
        if self.value() not in {value for value, _title in self.lookup_choices}:
            return queryset
        waited = timedelta(hours=int(str(self.value())))
        # The whole list is of this queryset's class.
        return queryset.unpaid_since(timezone.now() - waited)  # type: ignore[attr-defined, no-any-return]
