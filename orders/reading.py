"""Reading orders as the API shows them, in few queries."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from orders.actions import Placed
from orders.models import Order, OrderItem, Return
from orders.states import Status, comes_next
from shop.accounts.models import User
from shop.events.models import Event
from shop.money import on_the_wire
from shop.rest import Order as ColumnOrder
from shop.rest import Source, local

_COLUMNS = (
    "pk",
    "customer__username",
    "status",
    "currency",
    "items_total",
    "shipping_fee",
    "total",
    "paid",
    "refunded",
    "refund_due",
    "street",
    "city",
    "postal_code",
    "recipient",
    "phone",
    "email",
    "memo",
    "carrier",
    "tracking_number",
    "cancel_reason",
    "created_at",
    "updated_at",
)


def read_orders(rows: QuerySet[Order]) -> list[dict[str, Any]]:
    """Return orders with their items as JSON-ready mappings: two queries, whatever the number."""
    found = list(rows.values(*_COLUMNS))
    items = _items_of([row["pk"] for row in found])
    return [_as_json(row, items.get(row["pk"], [])) for row in found]


SOURCE = Source(
    model=Order,
    orders={"newest": ColumnOrder("pk", descending=True)},
    fetch=lambda wanted: read_orders(wanted.queryset()),
    value_of=lambda order, column: order["id"],
)


_ITEM_COLUMNS = ("product_id", "product_name", "sku", "quantity", "price", "line_total")


def _items_of(ids: Iterable[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    items: dict[UUID, list[dict[str, Any]]] = {}
    rows = OrderItem.objects.filter(order__in=ids).order_by("pk")
    for order_id, *values in rows.values_list("order_id", *_ITEM_COLUMNS):
        items.setdefault(order_id, []).append(_item_json(*values))
    return items


def _item_json(
    product_id: int, name: str, sku: str, quantity: int, price: Decimal, line_total: Decimal
) -> dict[str, Any]:
    return {
        "product_id": str(product_id),
        "name": name,
        "sku": sku,
        "quantity": quantity,
        "price": on_the_wire(price),
        "line_total": on_the_wire(line_total),
    }


def placed_json(placed: Placed, customer: User) -> dict[str, Any]:
    """Return an order that was placed just now, without asking the database for it again."""
    row = {column: getattr(placed.order, column) for column in _COLUMNS if "__" not in column}
    row["customer__username"] = customer.username
    items = [
        _item_json(*(getattr(item, column) for column in _ITEM_COLUMNS)) for item in placed.items
    ]
    return _as_json(row, items)


def _as_json(row: dict[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": str(row["pk"]),
        "customer": row["customer__username"],
        "status": row["status"],
        "items": items,
        "currency": row["currency"],
        "items_total": on_the_wire(row["items_total"]),
        "shipping_fee": on_the_wire(row["shipping_fee"]),
        "total": on_the_wire(row["total"]),
        "paid": on_the_wire(row["paid"]),
        "refunded": on_the_wire(row["refunded"]),
        "refund_due": on_the_wire(row["refund_due"]),
        "shipping_address": {name: row[name] for name in ("street", "city", "postal_code")},
        **{
            name: row[name]
            for name in (
                "recipient",
                "phone",
                "email",
                "memo",
                "carrier",
                "tracking_number",
                "cancel_reason",
            )
        },
        "created_at": local(row["created_at"]),
        "updated_at": local(row["updated_at"]),
    }


def read_tracking(order: Order) -> dict[str, Any]:
    """Return an order's timeline, oldest first, and what comes next."""
    events = (
        Event.objects.filter(subject=order.subject)
        .order_by("sequence")
        .values_list("pk", "type", "sequence", "time", "actor__username", "data")
    )
    following = comes_next(Status(order.status))
    return {
        "order_id": str(order.pk),
        "status": order.status,
        "carrier": order.carrier,
        "tracking_number": order.tracking_number,
        "next": following.value if following else None,
        "events": [_event_json(*event) for event in events],
    }


def _event_json(
    pk: UUID, kind: str, sequence: int, time: datetime, by: str | None, data: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": str(pk),
        "type": kind,
        "sequence": sequence,
        "time": local(time),
        "by": by,
        "data": data,
    }


def event_message(event: tuple[Any, ...]) -> dict[str, Any]:
    """Return an event as it is sent to who watches: with where the order stands after it.

    `event` is key, type, sequence, time, user name and data. `status` and
    `next` are None for an event that did not move the order.
    """
    told = _event_json(*event)
    status = told["data"].get("status")
    following = comes_next(Status(status)) if status else None
    return {
        "type": "event",
        "event": told.pop("type"),
        **told,
        "status": status,
        "next": following.value if following else None,
    }


def read_snapshot(order: Order) -> dict[str, Any]:
    """Return the order and its timeline as the first message to who watches. Three queries."""
    (shown,) = read_orders(Order.objects.filter(pk=order.pk))
    tracking = read_tracking(order)
    last = tracking["events"][-1]
    return {
        "type": "snapshot",
        "order": shown,
        "tracking": tracking,
        "last_event": last["id"],
        "sequence": last["sequence"],
    }


def read_payments(order: Order) -> list[dict[str, Any]]:
    """Return an order's payments and refunds, oldest first. One query."""
    return [
        {
            "id": str(payment.pk),
            "kind": payment.kind,
            "method": payment.method,
            "reference": payment.reference,
            "amount": on_the_wire(payment.amount),
            "state": payment.state,
            "note": payment.note,
            "by": payment.actor.username if payment.actor else None,
            "created_at": local(payment.created_at),
            "settled_at": local(payment.settled_at) if payment.settled_at else None,
        }
        for payment in order.payments.select_related("actor")
    ]


def read_returns(order: Order) -> list[dict[str, Any]]:
    """Return an order's returns, oldest first. Two queries."""
    returns = order.returns.select_related("actor", "refund").prefetch_related("items__item")
    return [return_json(made) for made in returns]


def return_json(made: Return) -> dict[str, Any]:
    """Return one return as the API shows it."""
    return {
        "id": str(made.pk),
        "items": [
            {"product_id": str(part.item.product_id), "quantity": part.quantity}
            for part in made.items.all()
        ],
        "reason": made.reason,
        "restock": made.restock,
        "refund": {
            "id": str(made.refund.pk),
            "amount": on_the_wire(made.refund.amount),
            "state": made.refund.state,
        }
        if made.refund
        else None,
        "by": made.actor.username if made.actor else None,
        "created_at": local(made.created_at),
    }
