"""The ledger of stock in the admin: of all products, and a page of one's."""

import contextlib
import re
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from products.models import Product, StockMovement
from products.search import meant_by
from shop.lists import DaysFilter, ReadOnly

# On a page of a product's ledger.
_MOVEMENTS = 100
# Products that a word may mean in a search of the ledger.
_PRODUCTS = 50
_FOUND = 1000


def _order_link(movement: StockMovement) -> str:
    if movement.order_id is None:
        return ""
    # An address and no import: orders know products, not the other way round.
    url = reverse("admin:orders_order_change", args=[movement.order_id])
    return format_html('<a href="{}">{}</a>', url, str(movement.order_id)[-12:])


def ledger_page(product: Product, before: str) -> dict[str, Any]:
    """Return a page of a product's movements, newest first: those older than `before`."""
    rows = product.movements.select_related("actor").order_by("-pk")
    if re.fullmatch("[0-9]{1,18}", before):
        rows = rows.filter(pk__lt=int(before))
    found = list(rows[: _MOVEMENTS + 1])
    return {
        "movements": [(row, _order_link(row)) for row in found[:_MOVEMENTS]],
        "older": found[_MOVEMENTS - 1].pk if len(found) > _MOVEMENTS else None,
        "newest": not before,
    }


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnly):
    """The ledger, to be read."""

    list_display = [
        "created_at", "product_link", "change", "reason", "balance_after", "order_link", "actor",
        "note",
    ]  # fmt: skip
    list_filter = ["reason", ("created_at", DaysFilter)]
    list_select_related = ["product", "actor"]
    sortable_by = ["created_at"]
    days = "created_at"
    # Without this there is no box to type into.
    search_fields = ["product"]
    search_help_text = gettext_lazy("SKU or words of the product, or the number of an order.")

    @admin.display(description=gettext_lazy("product"))
    def product_link(self, movement: StockMovement) -> str:
        """Lead to the product's own ledger."""
        url = reverse("admin:products_product_stock", args=[movement.product_id])
        return format_html('<a href="{}">{}</a>', url, movement.product)

    @admin.display(description=gettext_lazy("order"))
    def order_link(self, movement: StockMovement) -> str:
        """Lead to the order that it was for."""
        return _order_link(movement)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StockMovement], search_term: str
    ) -> tuple[QuerySet[StockMovement], bool]:
        """Find by order or product: keys first, since a join would read the whole ledger."""
        text = search_term.strip()
        if not text:
            return queryset, False
        with contextlib.suppress(ValueError):
            return queryset.filter(order_id=UUID(text)), False
        best = meant_by(Product.objects.all(), text).order_by("-sold_quantity", "-pk")
        products = list(best.values_list("pk", flat=True)[: _PRODUCTS + 1])
        rows = queryset.filter(product__in=products[:_PRODUCTS])
        # Not by the key itself: the database would walk down all of the ledger.
        newest = rows.order_by((F("pk") + 0).desc()).values_list("pk", flat=True)
        pks = list(newest[: _FOUND + 1])
        if (len(products) > _PRODUCTS or len(pks) > _FOUND) and request.method == "GET":
            text = _("More match than are looked through; write more of what you look for.")
            self.message_user(request, text, messages.WARNING)
        return queryset.filter(pk__in=pks[:_FOUND]), False
