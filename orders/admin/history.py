"""What an order has gone through, on its page: its events, and its moves of stock."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from orders.models import Order, Payment
from orders.reading import event_name
from products.models import StockMovement
from shop.events.models import Event
from shop.money import written

# Of one order, on its page.
_SHOWN = 200


def timeline(order: Order) -> list[tuple[Event, str, str]]:
    """Return an order's events, oldest first, each with its name and what it tells."""
    events = Event.objects.filter(subject=order.subject).select_related("actor")
    return [
        (event, event_name(event.type), _details(event.data))
        for event in events.order_by("sequence")[:_SHOWN]
    ]


def _amount(text: str) -> str:
    amount = Decimal(text)
    return written(amount) if amount else ""


# What of an event's data is told beside its name, and how.
_DETAILS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "amount": (gettext_lazy("amount"), _amount),
    "method": (gettext_lazy("method"), lambda method: Payment.Method(method).label),
    "carrier": (gettext_lazy("carrier"), str),
    "tracking_number": (gettext_lazy("tracking number"), str),
    "reason": (gettext_lazy("reason"), str),
    "refund_due": (gettext_lazy("refund due"), _amount),
}


def _details(data: dict[str, Any]) -> str:
    facts = [
        (label, show(data[name])) for name, (label, show) in _DETAILS.items() if data.get(name)
    ]
    told = [f"{label}: {fact}" for label, fact in facts if fact]
    for item in data.get("items", ()):
        product = _("product %s") % item["product_id"]
        told.append(f"{item['quantity']} × {product}")
    return ", ".join(told)


def movements(request: HttpRequest, order: Order) -> QuerySet[StockMovement] | None:
    """Return what an order took from stock and gave back, for those who may see it."""
    if not request.user.has_perm("products.view_stockmovement"):
        return None
    rows = StockMovement.objects.filter(order_id=order.pk).select_related("product", "actor")
    return rows.order_by("pk")[:_SHOWN]
