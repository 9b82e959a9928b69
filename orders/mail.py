"""Mail to the buyer: what is sent when, as jobs.

A sink of the event road leaves the job, so that nothing is sent for what was
rolled back and no request pays for it. If a worker dies between sending and
noting it, the mail is sent again: at least once.
"""

from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import override

from orders.models import Order
from shop.events.models import Event
from shop.events.sinks import Sink
from shop.jobs.queue import leave as leave_job

# What has a template in templates/orders/mail/.
KINDS = frozenset({"created", "shipped", "cancelled", "refunded"})


def _leave(event: Event) -> None:
    """Have the buyer told, if the shop sends mail."""
    if settings.ORDER_MAIL:
        order_id, kind = event.subject.removeprefix("order/"), event.type.removeprefix("order.")
        leave_job("orders.send_mail", order_id=order_id, kind=kind)


SINK = Sink("mail", _leave, types=frozenset(f"order.{kind}" for kind in KINDS), transactional=True)


def send(order_id: UUID, kind: str) -> str:
    """Send one mail; returns a line on what became of it."""
    order = (
        Order.objects.select_related("customer")
        .prefetch_related("items")
        .filter(pk=order_id)
        .first()
    )
    if order is None:
        return "no such order"
    to = order.email or (order.customer.email if order.customer else "")
    if not to:
        return "no address"
    with override(order.language or settings.LANGUAGE_CODE):
        compose(order, kind, to).send()
    return "sent"


def compose(order: Order, kind: str, to: str) -> EmailMultiAlternatives:
    """Return one mail as text and as HTML, in the language that is active."""
    subjects = {
        "created": _("We have received your order %s"),
        "shipped": _("Your order %s is on its way"),
        "cancelled": _("Your order %s was cancelled"),
        "refunded": _("Your refund for order %s"),
    }
    subject = f"[{settings.SHOP_NAME}] " + subjects[kind] % order.short_id
    context = {
        "order": order,
        "shop_name": settings.SHOP_NAME,
        "subject": subject,
        "sentence": f"orders/mail/{kind}.txt",
        # Whether something is still to be delivered.
        "to_come": kind in ("created", "shipped"),
        # Whoever is no user of ours could not open the page.
        "link": f"{settings.SHOP_URL}{reverse('order-track', args=[order.pk])}"
        if settings.SHOP_URL and order.customer
        else "",
    }
    message = EmailMultiAlternatives(
        subject=subject, body=render_to_string("orders/mail/mail.txt", context), to=[to]
    )
    message.attach_alternative(render_to_string("orders/mail/mail.html", context), "text/html")
    return message
