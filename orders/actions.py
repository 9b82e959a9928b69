"""What the shop does with orders.

Locks, in this order and no other: the order's row, then product rows in
primary-key order (products.stock), as the last thing before the commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring import metrics
from orders.models import Order, OrderItem
from orders.states import MOVES, Status
from products import stock
from products.catalogue import read_offers
from products.models import Reason
from shop.accounts.models import User
from shop.db import in_transaction
from shop.errors import ShopError
from shop.events.record import record
from shop.money import MAX_MINOR, from_minor, on_the_wire, to_minor
from shop.prepared import insert


class UnknownProducts(ShopError):
    """Lines that name no product on sale; `product_ids` lists them."""

    status = 400
    code = "unknown_product"
    title = "Unknown product"


class PriceChanged(ShopError):
    """What the buyer saw is not the price; `items` lists old and new."""

    code = "price_changed"
    title = "Price changed"


class AmountTooLarge(ShopError):
    """A total beyond what the shop counts."""

    status = 400
    code = "amount_too_large"
    title = "Amount too large"


class IllegalTransition(ShopError):
    """The order can't go there from where it is; `allowed` lists where it can."""

    code = "illegal_transition"
    title = "Illegal transition"


@dataclass(frozen=True)
class Line:
    """A product wanted, and the price that the buyer saw, if known."""

    product_id: int
    quantity: int
    price: Decimal | None = None


class _Moved(Exception):
    """A product changed between being read and being locked: begin again."""


@dataclass(frozen=True)
class Placed:
    """A new order with its items."""

    order: Order
    items: list[OrderItem]


def place_order(*, customer: User, lines: Sequence[Line], address: Mapping[str, str]) -> Placed:
    """Place an order and take its stock, all or nothing.

    `address` holds the text fields of an Order (street, city, postal_code
    and optionally recipient, phone, email, memo). Seven queries, however many
    lines.

    Raises:
        UnknownProducts, PriceChanged, stock.InsufficientStock, AmountTooLarge.
    """
    quantities: dict[int, int] = {}
    for line in lines:
        quantities[line.product_id] = quantities.get(line.product_id, 0) + line.quantity

    def work() -> Placed:
        return _place(customer, lines, quantities, address)

    for _attempt in range(5):
        try:
            return in_transaction(work)
        except _Moved:
            continue
    raise PriceChanged(_("Prices are changing just now; look again."), items=[])


def _place(
    customer: User,
    lines: Sequence[Line],
    quantities: Mapping[int, int],
    address: Mapping[str, str],
) -> Placed:
    offers = read_offers(quantities)
    unknown = [str(pk) for pk in quantities if pk not in offers or offers[pk].retired]
    if unknown:
        raise UnknownProducts(_("Some products are not on sale."), product_ids=unknown)
    changed = [
        {
            "product_id": str(line.product_id),
            "old_price": on_the_wire(line.price),
            "new_price": on_the_wire(offers[line.product_id].price),
        }
        for line in lines
        if line.price is not None and line.price != offers[line.product_id].price
    ]
    if changed:
        raise PriceChanged(_("Some prices have changed."), items=changed)

    items_total = sum(
        (offers[pk].price * quantity for pk, quantity in quantities.items()), start=Decimal(0)
    )
    if items_total > from_minor(MAX_MINOR):
        raise AmountTooLarge(_("The order's total is too large."))
    shipping_fee = shipping_fee_for(items_total)
    order = Order(
        customer=customer,
        currency=settings.CURRENCY,
        items_total=items_total,
        shipping_fee=shipping_fee,
        total=items_total + shipping_fee,
        **address,
    )
    items = [
        OrderItem(
            order=order,
            product_id=pk,
            product_name=offers[pk].name,
            sku=offers[pk].sku,
            price=offers[pk].price,
            quantity=quantity,
            line_total=offers[pk].price * quantity,
        )
        for pk, quantity in quantities.items()
    ]
    insert([order])
    insert(items)
    record(
        type="order.created",
        subject=order.subject,
        sequence=order.version,
        actor=customer,
        data={"status": order.status},
    )
    locked = stock.take(quantities, order_id=order.pk, actor=customer)
    if any(locked[pk].price != offers[pk].price or locked[pk].retired for pk in quantities):
        raise _Moved
    return Placed(order, items)


def shipping_fee_for(items_total: Decimal) -> Decimal:
    """Return the flat fee, or nothing from the free-shipping sum on."""
    if to_minor(items_total) >= settings.FREE_SHIPPING_FROM:
        return Decimal(0)
    return from_minor(settings.SHIPPING_FEE)


def move_order(
    *,
    order_id: UUID,
    to: Status,
    actor: User | None,
    carrier: str = "",
    tracking_number: str = "",
    reason: str = "",
) -> Order:
    """Move an order along the table of states; cancelling returns its stock.

    The row is locked, so of two moves at once the second sees what the first
    did and may be refused.

    Raises:
        Order.DoesNotExist: no such order.
        IllegalTransition: not from here; carries `status` as `current` and `allowed`.
    """

    def work() -> Order:
        order = Order.objects.select_for_update(no_key=True).get(pk=order_id)
        if to not in order.moves:
            raise _illegal(order, to)
        data: dict[str, Any] = {"status": to.value, "from": order.status}
        order.status = to
        order.version += 1
        order.updated_at = timezone.now()
        changed = ["status", "version", "updated_at"]
        if to is Status.SHIPPED:
            order.carrier, order.tracking_number = carrier, tracking_number
            changed += ["carrier", "tracking_number"]
            data |= {"carrier": carrier, "tracking_number": tracking_number}
        if to is Status.CANCELLED:
            order.cancel_reason = reason
            changed.append("cancel_reason")
            data["reason"] = reason
        order.save(update_fields=changed)
        record(
            type=f"order.{to.value}",
            subject=order.subject,
            sequence=order.version,
            actor=actor,
            data=data,
        )
        if to is Status.CANCELLED:
            stock.give_back(
                dict(order.items.values_list("product_id", "quantity")),
                order_id=order.pk,
                actor=actor,
                reason=Reason.CANCELLED,
            )
        transaction.on_commit(lambda: metrics.count_order_move(to.value))
        return order

    return in_transaction(work)


def _illegal(order: Order, to: Status) -> IllegalTransition:
    return IllegalTransition(
        _("An order that is %(current)s can't become %(to)s.")
        % {"current": order.status, "to": to.value},
        current=order.status,
        allowed=[status.value for status in MOVES[Status(order.status)]],
    )


def cancel_order(*, order_id: UUID, actor: User | None, reason: str) -> Order:
    """Cancel an order and return its stock, once.

    Raises:
        Order.DoesNotExist, IllegalTransition.
    """
    return move_order(order_id=order_id, to=Status.CANCELLED, actor=actor, reason=reason)
