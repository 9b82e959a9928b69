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
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from monitoring import metrics
from orders import books
from orders.models import Order, OrderItem, Payment, Return, ReturnItem
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
    title = gettext_noop("Unknown product")


class PriceChanged(ShopError):
    """What the buyer saw is not the price; `items` lists old and new."""

    code = "price_changed"
    title = gettext_noop("Price changed")


class AmountTooLarge(ShopError):
    """A total beyond what the shop counts."""

    status = 400
    code = "amount_too_large"
    title = gettext_noop("Amount too large")


class IllegalTransition(ShopError):
    """The order can't go there from where it is; `allowed` lists where it can."""

    code = "illegal_transition"
    title = gettext_noop("Illegal transition")


class OrderCancelled(ShopError):
    """The order was cancelled; nothing is paid for it any more."""

    code = "order_cancelled"
    title = gettext_noop("Order cancelled")


class NotDelivered(ShopError):
    """Nothing can come back before it has arrived."""

    code = "not_delivered"
    title = gettext_noop("Not delivered")


class ReturnExceedsOrder(ShopError):
    """More than was bought and has not come back; `items` says how much that is."""

    code = "return_exceeds_order"
    title = gettext_noop("Return exceeds order")


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
    and optionally recipient, phone, email, memo, language). Seven queries,
    however many lines.

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
    sold = sum(quantities.values())
    transaction.on_commit(lambda: metrics.PRODUCT_SOLD.inc(sold))
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
    only_from: Status | None = None,
) -> Order:
    """Move an order along the table of states.

    Cancelling returns its stock and leaves a refund due for what was paid.
    Moving it to `paid` by hand books what was open as a payment. `only_from`
    is for whoever decided by the state that it saw: from any other the order
    does not move, whatever the table allows.

    The row is locked, so of two moves at once the second sees what the first
    did and may be refused.

    Raises:
        Order.DoesNotExist: no such order.
        IllegalTransition: not from here; carries `status` as `current` and `allowed`.
    """

    def work() -> Order:
        order = _locked(order_id)
        if to not in order.moves or only_from not in (None, order.status):
            raise _illegal(order, to)
        details: dict[str, Any] = {}
        if to is Status.PAID and (rest := books.open_amount(order)):
            books.book_payment(order, amount=rest, method=Payment.Method.OTHER, actor=actor)
            details["amount"] = str(rest)
        if to is Status.SHIPPED:
            order.carrier, order.tracking_number = carrier, tracking_number
            order.save(update_fields=["carrier", "tracking_number"])
            details = {"carrier": carrier, "tracking_number": tracking_number}
        if to is Status.CANCELLED:
            order.cancel_reason = reason
            order.save(update_fields=["cancel_reason"])
            details["reason"] = reason
            if refund := books.owe_refund(order, order.paid, note=reason, actor=actor):
                details["refund_due"] = str(refund.amount)
        _move(order, to, actor=actor, **details)
        return order

    return in_transaction(work)


def _locked(order_id: UUID) -> Order:
    return Order.objects.select_for_update(no_key=True).get(pk=order_id)


def _tell(order: Order, kind: str, *, actor: User | None, data: dict[str, Any]) -> None:
    """Write the next event of a locked order."""
    order.version += 1
    order.updated_at = timezone.now()
    order.save(update_fields=["version", "updated_at"])
    record(
        type=f"order.{kind}",
        subject=order.subject,
        sequence=order.version,
        actor=actor,
        data=data,
    )


def _move(order: Order, to: Status, *, actor: User | None, **details: Any) -> None:
    """Move a locked order to a state that it may go to, and tell of it; stock comes last."""
    data = {"status": to.value, "from": order.status, **details}
    order.status = to
    order.save(update_fields=["status"])
    _tell(order, to.value, actor=actor, data=data)
    if to is Status.CANCELLED:
        stock.give_back(
            dict(order.items.values_list("product_id", "quantity")),
            order_id=order.pk,
            actor=actor,
            reason=Reason.CANCELLED,
        )
    transaction.on_commit(lambda: metrics.count_order_move(to.value))


def _illegal(order: Order, to: Status) -> IllegalTransition:
    return IllegalTransition(
        _("An order that is %(current)s can't become %(to)s.")
        % {"current": Status(order.status).label, "to": to.label},
        current=order.status,
        allowed=[status.value for status in MOVES[Status(order.status)]],
    )


def cancel_order(
    *, order_id: UUID, actor: User | None, reason: str, only_from: Status | None = None
) -> Order:
    """Cancel an order and return its stock, once; `only_from` as in `move_order`.

    Raises:
        Order.DoesNotExist, IllegalTransition.
    """
    return move_order(
        order_id=order_id, to=Status.CANCELLED, actor=actor, reason=reason, only_from=only_from
    )


def record_payment(
    *,
    order_id: UUID,
    amount: Decimal,
    method: str,
    reference: str = "",
    note: str = "",
    actor: User | None,
) -> Order:
    """Write down money that came in; an order whose total is covered becomes `paid`.

    Raises:
        Order.DoesNotExist, OrderCancelled.
        books.Overpaid: more than what is open.
        books.DuplicatePayment: it was booked before.
    """

    def work() -> Order:
        order = _locked(order_id)
        if order.status == Status.CANCELLED:
            raise OrderCancelled(_("The order was cancelled."))
        rest = books.open_amount(order)
        if amount > rest:
            raise books.Overpaid(_("More than what is open."), open=on_the_wire(rest))
        payment = books.book_payment(
            order, amount=amount, method=method, reference=reference, note=note, actor=actor
        )
        _tell(
            order,
            "payment_received",
            actor=actor,
            data={"amount": str(payment.amount), "method": method},
        )
        if order.status == Status.PENDING and not books.open_amount(order):
            _move(order, Status.PAID, actor=actor)
        return order

    return in_transaction(work)


def settle_refund(*, order_id: UUID, refund_id: int, reference: str, actor: User | None) -> Order:
    """Write down that a refund was sent.

    Raises:
        Order.DoesNotExist, Payment.DoesNotExist, books.AlreadySettled.
    """

    def work() -> Order:
        order = _locked(order_id)
        refund = books.settle(order, refund_id, reference=reference)
        _tell(order, "refunded", actor=actor, data={"amount": str(refund.amount)})
        return order

    return in_transaction(work)


def return_items(
    *, order_id: UUID, quantities: Mapping[int, int], reason: str, restock: bool, actor: User | None
) -> Return:
    """Take goods back after delivery; what they cost becomes a refund that is due.

    `quantities` maps product ids to positive numbers. The shipping fee is not
    given back.

    Raises:
        Order.DoesNotExist, NotDelivered.
        UnknownProducts: not of this order.
        ReturnExceedsOrder: more than was bought and has not come back.
    """

    def work() -> Return:
        order = _locked(order_id)
        if order.status not in (Status.DELIVERED, Status.COMPLETED):
            raise NotDelivered(_("The order has not been delivered."))
        items = {item.product_id: item for item in order.items.all()}
        unknown = [str(pk) for pk in quantities if pk not in items]
        if unknown:
            raise UnknownProducts(_("Not of this order."), product_ids=unknown)
        back = dict(
            ReturnItem.objects.filter(parent__order=order)
            .values_list("item__product_id")
            .annotate(total=Sum("quantity"))
        )
        left = {pk: items[pk].quantity - back.get(pk, 0) for pk in quantities}
        over = [
            {"product_id": str(pk), "requested": quantities[pk], "returnable": left[pk]}
            for pk in quantities
            if quantities[pk] > left[pk]
        ]
        if over:
            raise ReturnExceedsOrder(_("More than can come back."), items=over)
        worth = sum(
            (items[pk].price * quantity for pk, quantity in quantities.items()), start=Decimal(0)
        )
        refund = books.owe_refund(order, worth, note=reason, actor=actor)
        made = Return.objects.create(
            order=order, reason=reason, restock=restock, refund=refund, actor=actor
        )
        ReturnItem.objects.bulk_create(
            ReturnItem(parent=made, item=items[pk], quantity=quantity)
            for pk, quantity in quantities.items()
        )
        _tell(
            order,
            "returned",
            actor=actor,
            data={
                "items": [
                    {"product_id": str(pk), "quantity": quantity}
                    for pk, quantity in quantities.items()
                ],
                "reason": reason,
                "refund_due": str(refund.amount) if refund else "0",
            },
        )
        if restock:
            stock.give_back(quantities, order_id=order.pk, actor=actor, reason=Reason.RETURNED)
        return made

    return in_transaction(work)
