"""The order's money: rows of payments and refunds, and their sums on the order.

Everything here works on an order whose row the caller has locked, inside the
caller's transaction, and writes the order's sums with the rows. An order that
is paid, or was before it went on, has payments of at least its total: moving
it to `paid` by hand books what was open.
"""

from decimal import Decimal

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from orders.models import Order, Payment
from shop.accounts.models import User
from shop.errors import ShopError


class Overpaid(ShopError):
    """More than what is open; `open` says how much that is."""

    code = "overpaid"
    title = gettext_noop("Overpaid")


class DuplicatePayment(ShopError):
    """This payment, known by its method and reference, has been booked already."""

    code = "duplicate_payment"
    title = gettext_noop("Duplicate payment")


class AlreadySettled(ShopError):
    """The refund has been sent already."""

    code = "already_settled"
    title = gettext_noop("Already settled")


def open_amount(order: Order) -> Decimal:
    """Return what is still to be paid."""
    return max(order.total - order.paid, Decimal(0))


def book_payment(
    order: Order,
    *,
    amount: Decimal,
    method: str,
    reference: str = "",
    note: str = "",
    actor: User | None,
) -> Payment:
    """Write down money that came in.

    Raises:
        DuplicatePayment: the reference is known.
    """
    try:
        with transaction.atomic():
            payment = Payment.objects.create(
                order=order,
                kind=Payment.Kind.PAYMENT,
                method=method,
                reference=reference,
                amount=amount,
                state=Payment.State.SETTLED,
                note=note,
                actor=actor,
                settled_at=timezone.now(),
            )
    except IntegrityError:
        raise DuplicatePayment(
            _("This payment has been booked already."), method=method, reference=reference
        ) from None
    order.paid += amount
    order.save(update_fields=["paid"])
    return payment


def owe_refund(order: Order, amount: Decimal, *, note: str, actor: User | None) -> Payment | None:
    """Write down money that has to go back; None where that is nothing.

    No more than what was paid and is not on its way back already.
    """
    amount = min(amount, order.paid - order.refunded - order.refund_due)
    if amount <= 0:
        return None
    # The way it came is the way it goes back.
    method = (
        order.payments.filter(kind=Payment.Kind.PAYMENT)
        .order_by("-id")
        .values_list("method", flat=True)
        .first()
    )
    refund = Payment.objects.create(
        order=order,
        kind=Payment.Kind.REFUND,
        method=method or Payment.Method.OTHER,
        amount=amount,
        state=Payment.State.DUE,
        note=note,
        actor=actor,
    )
    order.refund_due += amount
    order.save(update_fields=["refund_due"])
    return refund


def settle(order: Order, refund_id: int, *, reference: str) -> Payment:
    """Write down that a refund was sent.

    Raises:
        Payment.DoesNotExist: the order has no such refund.
        AlreadySettled: it was sent before.
    """
    refund = order.payments.get(pk=refund_id, kind=Payment.Kind.REFUND)
    if refund.state != Payment.State.DUE:
        raise AlreadySettled(_("This refund has been settled already."))
    refund.state, refund.reference = Payment.State.SETTLED, reference
    refund.settled_at = timezone.now()
    refund.save(update_fields=["state", "reference", "settled_at"])
    order.refund_due -= refund.amount
    order.refunded += refund.amount
    order.save(update_fields=["refund_due", "refunded"])
    return refund
