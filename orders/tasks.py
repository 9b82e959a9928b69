"""The orders' background jobs."""

import logging
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from orders import mail
from orders.actions import IllegalTransition, cancel_order
from orders.models import Order
from orders.states import Status
from products.stock import StockLimit
from shop.jobs.queue import job

logger = logging.getLogger(__name__)


@job("orders.cancel_unpaid")
def cancel_unpaid() -> str:
    """Cancel orders that nobody paid in time; their stock returns."""
    limit = timezone.now() - timedelta(hours=settings.UNPAID_ORDER_HOURS)
    cancelled = 0
    overdue = Order.objects.unpaid_since(limit).order_by("created_at")
    for order_id in overdue.values_list("pk", flat=True)[:1000]:
        try:
            cancel_order(order_id=order_id, actor=None, reason="not_paid", only_from=Status.PENDING)
        except IllegalTransition:
            # Paid or cancelled by somebody in this very moment.
            logger.info("order moved before it could be cancelled", extra={"order": order_id})
        except StockLimit:
            # Staff see it on the product; the others must not wait for that.
            logger.warning("no room for the stock of an order", extra={"order": order_id})
        else:
            cancelled += 1
    return f"{cancelled} cancelled"


@job("orders.send_mail")
def send_mail(order_id: str, kind: str) -> str:
    """Tell the buyer what became of an order."""
    return mail.send(UUID(order_id), kind)
