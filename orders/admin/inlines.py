"""What belongs to an order, on its page: what was bought, paid and sent back."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from orders.models import OrderItem, Payment, Return


class ItemInline(admin.TabularInline):
    """What was bought."""

    model = OrderItem
    fields = readonly_fields = ("bought_as", "sku", "price", "quantity", "line_total")
    extra = 0
    can_delete = False

    @admin.display(description=gettext_lazy("product"))
    def bought_as(self, item: OrderItem) -> str:
        """Lead to the product by the name that it had."""
        url = reverse("admin:products_product_change", args=[item.product_id])
        return format_html('<a href="{}">{}</a>', url, item.product_name)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An order's lines are what was bought."""
        return False


class _ReadOnly(admin.TabularInline):
    """Rows that are written by actions alone."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Through the buttons."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books are not edited."""
        return False


class PaymentInline(_ReadOnly):
    """Money in and back."""

    model = Payment
    fields = readonly_fields = (
        "created_at", "kind", "method", "reference", "amount", "state", "note", "actor",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        """Fetch who booked them."""
        return super().get_queryset(request).select_related("actor")


class ReturnInline(_ReadOnly):
    """What came back."""

    model = Return
    fields = readonly_fields = ("created_at", "what", "reason", "restock", "refund", "actor")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Return]:
        """Fetch the lines as well."""
        rows = super().get_queryset(request).select_related("actor", "refund")
        return rows.prefetch_related("items__item")

    @admin.display(description=gettext_lazy("items"))
    def what(self, made: Return) -> str:
        """How much of what."""
        return ", ".join(f"{part.quantity} × {part.item.product_name}" for part in made.items.all())
