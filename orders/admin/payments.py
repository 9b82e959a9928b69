"""Payments and refunds in the admin, to be read."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from orders.models import SHORT_ID, Order, Payment
from orders.search import by_number
from shop.lists import DaysFilter, ReadOnly


class DueFilter(admin.SimpleListFilter):
    """What has to be sent back."""

    title = gettext_lazy("refund due")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The one choice."""
        return [("yes", gettext_lazy("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        """Narrow the list."""
        return queryset.filter(state=Payment.State.DUE) if self.value() else queryset


@admin.register(Payment)
class PaymentAdmin(ReadOnly):
    """Payments and refunds, to be read; booked on the order's page."""

    list_display = ["created_at", "kind", "order_link", "method", "amount", "state", "reference"]
    list_filter = [DueFilter, "kind", "method", ("created_at", DaysFilter)]
    sortable_by = ["created_at"]
    days = "created_at"
    # Without this there is no box to type into.
    search_fields = ["reference"]
    search_help_text = gettext_lazy(
        "The provider's reference, or the order's number or its last 12 characters."
    )
    list_display_links = None
    ordering = ["-id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        """Find by what the provider or the shop calls it."""
        text = search_term.strip()
        if not text:
            return queryset, False
        of_orders = list(by_number(Order.objects.all(), text).values_list("pk", flat=True)[:10])
        if of_orders:
            return queryset.filter(order__in=of_orders), False
        return queryset.exclude(reference="").filter(reference=text), False

    @admin.display(description=gettext_lazy("order"))
    def order_link(self, payment: Payment) -> str:
        """Where it can be booked."""
        url = reverse("admin:orders_order_change", args=[payment.order_id])
        return format_html('<a href="{}">{}</a>', url, str(payment.order_id)[-SHORT_ID:])
