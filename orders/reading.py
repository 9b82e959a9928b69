"""Reading orders as the API shows them, in few queries."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Subquery
from django.utils.translation import gettext as _

from orders.actions import Placed
from orders.models import Order
from orders.states import Status, comes_next
from shop.accounts.models import User
from shop.events.models import Event
from shop.money import on_the_wire
from shop.pages import Order as ColumnOrder
from shop.pages import Slice, Source
from shop.rest import local

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


_ITEM_COLUMNS = ("product_id", "product_name", "sku", "quantity", "price", "line_total")


def read_orders(rows: QuerySet[Order]) -> list[dict[str, Any]]:
    """Return orders with their items as JSON-ready mappings: one query, whatever the number."""
    return _gather(_with_items(rows).values_list(*_COLUMNS, *_OF_ITEMS))


def _read_counted(wanted: Slice) -> tuple[list[dict[str, Any]], int]:
    rows = _with_items(wanted.queryset()).annotate(in_all=wanted.in_all())
    found = list(rows.values_list(*_COLUMNS, *_OF_ITEMS, "in_all"))
    return _gather(row[:-1] for row in found), found[0][-1] if found else 0


SOURCE = Source(
    model=Order,
    orders={"newest": ColumnOrder("pk", descending=True)},
    fetch=lambda wanted: read_orders(wanted.queryset()),
    value_of=lambda order, column: order["id"],
    fetch_counted=_read_counted,
)

_OF_ITEMS = tuple(f"items__{column}" for column in _ITEM_COLUMNS)


def _with_items(rows: QuerySet[Order]) -> QuerySet[Order]:
    """Return the orders of `rows`, which may be a slice, in its order and a row for each item."""
    order = rows.query.order_by or ("-pk",)
    return Order.objects.filter(pk__in=rows.values("pk")).order_by(*order, "items__pk")


def _gather(found: Iterable[tuple[Any, ...]]) -> list[dict[str, Any]]:
    orders: dict[UUID, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    width = len(_COLUMNS)
    for row in found:
        if row[0] not in orders:
            orders[row[0]] = dict(zip(_COLUMNS, row, strict=False)), []
        if row[width] is not None:
            orders[row[0]][1].append(_item_json(*row[width:]))
    return [_as_json(order, items) for order, items in orders.values()]


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


_TRACKED = ("status", "carrier", "tracking_number")


def read_tracking(pk: UUID, rows: QuerySet[Order]) -> dict[str, Any] | None:
    """Return an order's timeline, oldest first, and what comes next; None if it is not in `rows`.

    One query; two for an order that has no events.
    """
    rows = rows.filter(pk=pk).order_by()
    events = (
        Event.objects.filter(subject=Order(pk=pk).subject)
        .annotate(**{f"order_{name}": Subquery(rows.values(name)) for name in _TRACKED})
        .order_by("sequence")
        .values_list(
            *(f"order_{name}" for name in _TRACKED),
            "pk", "type", "sequence", "time", "actor__username", "data",
        )
    )  # fmt: skip
    found = list(events)
    facts = found[0][:3] if found else rows.values_list(*_TRACKED).first()
    if facts is None or facts[0] is None:
        return None
    following = comes_next(Status(facts[0]))
    return {
        "order_id": str(pk),
        **dict(zip(_TRACKED, facts, strict=True)),
        "next": following.value if following else None,
        "events": [_event_json(*event[3:]) for event in found],
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
    # A state that only newer code knows may come by while that is put in place.
    following = comes_next(Status(status)) if status in Status.values else None
    return {
        "type": "event",
        "event": told.pop("type"),
        **told,
        "status": status,
        "next": following.value if following else None,
    }


def read_snapshot(order: Order) -> dict[str, Any]:
    """Return the order and its timeline as the first message to who watches. Two queries."""
    (shown,) = read_orders(Order.objects.filter(pk=order.pk))
    tracking = read_tracking(order.pk, Order.objects.all())
    assert tracking is not None
    last = tracking["events"][-1]
    return {
        "type": "snapshot",
        "order": shown,
        "tracking": tracking,
        "last_event": last["id"],
        "sequence": last["sequence"],
    }


_PAYMENT_COLUMNS = (
    "pk", "kind", "method", "reference", "amount", "state", "note", "actor__username",
    "created_at", "settled_at",
)  # fmt: skip


def read_payments(rows: QuerySet[Order]) -> list[dict[str, Any]] | None:
    """Return the payments and refunds of the one order in `rows`, oldest first. One query.

    None if there is no order in `rows`.
    """
    found = list(
        rows.order_by("payments__pk").values_list(
            *(f"payments__{column}" for column in _PAYMENT_COLUMNS)
        )
    )
    return [_payment_json(*row) for row in found if row[0] is not None] if found else None


def _payment_json(
    pk: int,
    kind: str,
    method: str,
    reference: str,
    amount: Decimal,
    state: str,
    note: str,
    by: str | None,
    created: datetime,
    settled: datetime | None,
) -> dict[str, Any]:
    return {
        "id": str(pk),
        "kind": kind,
        "method": method,
        "reference": reference,
        "amount": on_the_wire(amount),
        "state": state,
        "note": note,
        "by": by,
        "created_at": local(created),
        "settled_at": local(settled) if settled else None,
    }


_RETURN_COLUMNS = (
    "pk", "reason", "restock", "refund_id", "refund__amount", "refund__state",
    "actor__username", "created_at",
)  # fmt: skip


def read_returns(rows: QuerySet[Order]) -> list[dict[str, Any]] | None:
    """Return what came back of the one order in `rows`, oldest first. One query.

    One return alone is had of `rows` that are filtered by it. None if there is no order in `rows`.
    """
    found = list(
        rows.order_by("returns__pk", "returns__items__pk").values_list(
            *(f"returns__{column}" for column in _RETURN_COLUMNS),
            "returns__items__item__product_id",
            "returns__items__quantity",
        )
    )
    if not found:
        return None
    returns: dict[int, dict[str, Any]] = {}
    for *values, product_id, quantity in found:
        if values[0] is None:
            continue
        made = returns.setdefault(values[0], _return_json(*values))
        made["items"].append({"product_id": str(product_id), "quantity": quantity})
    return list(returns.values())


def _return_json(
    pk: int,
    reason: str,
    restock: bool,
    refund_id: int | None,
    amount: Decimal,
    state: str,
    by: str | None,
    created: datetime,
) -> dict[str, Any]:
    return {
        "id": str(pk),
        "items": [],
        "reason": reason,
        "restock": restock,
        "refund": {"id": str(refund_id), "amount": on_the_wire(amount), "state": state}
        if refund_id is not None
        else None,
        "by": by,
        "created_at": local(created),
    }


EVENT_NAMES = {
    "order.created": lambda: _("order placed"),
    "order.payment_received": lambda: _("payment received"),
    "order.refunded": lambda: _("refund sent"),
    "order.returned": lambda: _("goods returned"),
}


def event_name(kind: str) -> str:
    """Return what people call an event."""
    if kind in EVENT_NAMES:
        return EVENT_NAMES[kind]()
    name = kind.removeprefix("order.")
    return str(Status(name).label) if name in Status.values else name
