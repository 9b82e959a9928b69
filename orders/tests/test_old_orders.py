"""Orders from before there were payments."""

from importlib import import_module
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command

from orders.actions import move_order, record_payment
from orders.models import Order, Payment
from orders.states import Status

pytestmark = pytest.mark.django_db


def test_what_they_had_been_paid_is_booked_once(alice, clerk, make_order) -> None:
    pending, booked, paid, shipped = (make_order(alice) for _ in range(4))
    record_payment(order_id=booked.pk, amount=booked.total, method="card", actor=clerk)
    for order, steps in ((paid, 1), (shipped, 3)):
        for status in (Status.PAID, Status.PROCESSING, Status.SHIPPED)[:steps]:
            move_order(order_id=order.pk, to=status, actor=clerk)
    Payment.objects.filter(order__in=[paid, shipped]).delete()
    Order.objects.filter(pk__in=[paid.pk, shipped.pk]).update(paid=0)

    migration = import_module("orders.migrations.0005_payments_of_paid_orders")
    for _time in range(2):
        migration.book_payments(apps, None)

    assert {
        (payment.order_id, payment.amount, payment.method) for payment in Payment.objects.all()
    } == {
        (booked.pk, booked.total, "card"),
        (paid.pk, paid.total, "other"),
        (shipped.pk, shipped.total, "other"),
    }
    pending.refresh_from_db()
    assert pending.paid == 0
    call_command("check_orders", stdout=StringIO(), skip_checks=True)
