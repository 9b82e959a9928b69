"""Moving many orders at once in the admin: what each move asks, shows and does."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.db.models import Sum
from django.urls import reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from orders import books
from orders.actions import move_order
from orders.models import Order, OrderItem
from orders.states import Status
from shop.accounts.models import User
from shop.bulk import Line, Work
from shop.money import written


class ShipForm(forms.Form):
    """Who carries the parcels; each has a number of its own."""

    carrier = forms.CharField(label=gettext_lazy("Carrier"), max_length=60, required=False)


class CancelForm(forms.Form):
    """Why they are cancelled."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=100)


_FORMS: dict[Status, type[forms.Form]] = {
    Status.SHIPPED: ShipForm,
    Status.CANCELLED: CancelForm,
}
# What the button of a move says, for one order and for many.
BUTTONS = {
    Status.PAID: gettext_lazy("Mark as paid"),
    Status.PROCESSING: gettext_lazy("Begin processing"),
    Status.SHIPPED: gettext_lazy("Ship"),
    Status.DELIVERED: gettext_lazy("Mark as delivered"),
    Status.COMPLETED: gettext_lazy("Complete"),
    Status.CANCELLED: gettext_lazy("Cancel and restock"),
}


def move_title(to: Status) -> Any:
    """Return what the move is called, in the language of whoever reads it."""
    return format_lazy("{}: {}", gettext_lazy("Move to"), to.label)


def move_work(to: Status) -> Work:
    """Return the bulk work that moves orders to `to`."""
    return Work(
        name=f"move_to_{to.value}",
        title=move_title(to),
        button=BUTTONS[to],
        look=_look(to),
        do=_do(to),
        columns=[
            gettext_lazy("status"), gettext_lazy("placed"), gettext_lazy("customer"),
            gettext_lazy("recipient"), gettext_lazy("total"),
        ],
        form=_FORMS.get(to, forms.Form),
        own=forms.CharField(
            label=gettext_lazy("Tracking number"), max_length=60, required=False
        )
        if to is Status.SHIPPED
        else None,
    )  # fmt: skip


def _look(to: Status) -> Callable[[Sequence[UUID]], list[Line]]:
    def look(pks: Sequence[UUID]) -> list[Line]:
        orders = Order.objects.select_related("customer").in_bulk(pks)
        units: dict[UUID, int] = {}
        if to is Status.CANCELLED:
            items = OrderItem.objects.filter(order__in=pks).order_by().values_list("order")
            units = dict(items.annotate(Sum("quantity")))
        return [
            _line(orders[pk], to, units.get(pk, 0)) for pk in dict.fromkeys(pks) if pk in orders
        ]

    return look


def _line(order: Order, to: Status, units: int) -> Line:
    status = Status(order.status)
    return Line(
        pk=order.pk,
        label=order.short_id,
        url=reverse("admin:orders_order_change", args=[order.pk]),
        facts=[status.label, order.created_at, order.customer, order.recipient, order.total],
        effect=_effect(order, to, units),
        refusal=""
        if to in order.moves
        else _("From “%(state)s” it can't go there.") % {"state": status.label},
    )


def _effect(order: Order, to: Status, units: int) -> str:
    """Say what the move brings with it."""
    told = [f"{Status(order.status).label} → {to.label}"]
    if to is Status.PAID and (rest := books.open_amount(order)):
        told.append(_("%(amount)s is booked as paid") % {"amount": written(rest, order.currency)})
    if to is Status.CANCELLED:
        text = ngettext("%d piece back into stock", "%d pieces back into stock", units)
        told.append(text % units)
        if due := order.paid - order.refunded - order.refund_due:
            amount = written(due, order.currency)
            told.append(_("a refund of %(amount)s is due") % {"amount": amount})
    if to in (Status.SHIPPED, Status.CANCELLED) and settings.ORDER_MAIL:
        told.append(_("mail to the buyer"))
    return ", ".join(told)


def _do(to: Status) -> Callable[[UUID, User, dict[str, Any]], str]:
    def do(pk: UUID, user: User, data: dict[str, Any]) -> str:
        order = move_order(
            order_id=pk,
            to=to,
            actor=user,
            carrier=data.get("carrier", ""),
            tracking_number=data.get("own", ""),
            reason=data.get("reason", ""),
        )
        came_of_it = Status(order.status).label
        if to is Status.CANCELLED and order.refund_due:
            return _("%(state)s, a refund of %(amount)s is due") % {
                "state": came_of_it,
                "amount": written(order.refund_due, order.currency),
            }
        return str(came_of_it)

    return do
