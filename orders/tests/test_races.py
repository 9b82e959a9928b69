"""Real threads on PostgreSQL: what two may not both win."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from rest_framework.test import APIClient

from conftest import ADDRESS
from orders.actions import Line, move_order, place_order
from orders.models import Order
from orders.states import Status
from products.models import StockMovement
from shop.errors import ShopError
from shop.events.models import Event

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def at_once(calls):
    """Run the calls in a thread each, all begun together; return results or refusals."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        try:
            connection.ensure_connection()
            barrier.wait(30)
            return call()
        except ShopError as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def ledger_is_right(product):
    product.refresh_from_db()
    changes = StockMovement.objects.filter(product=product).values_list("change", flat=True)
    assert sum(changes) == product.stock_quantity
    assert product.stock_quantity >= 0


def test_the_last_units_are_sold_once(alice, make_product):
    product = make_product(stock=5)

    def buy():
        return place_order(customer=alice, lines=[Line(product.pk, 1)], address=ADDRESS)

    results = at_once([buy] * 16)
    assert results.count("insufficient_stock") == 11
    assert Order.objects.count() == 5
    ledger_is_right(product)
    assert product.stock_quantity == 0


def test_opposite_orders_of_two_products_do_not_deadlock(alice, make_product):
    first, second = make_product("하나", stock=1000), make_product("둘", stock=1000)

    def buy(*products):
        return lambda: [
            place_order(
                customer=alice, lines=[Line(product.pk, 1) for product in products], address=ADDRESS
            )
            for _ in range(10)
        ]

    at_once([buy(first, second), buy(second, first)] * 4)
    assert Order.objects.count() == 80
    for product in (first, second):
        ledger_is_right(product)
        assert product.stock_quantity == 920


def test_one_key_at_once_is_one_order(alice, make_product):
    product = make_product(stock=100)

    def post():
        client = APIClient()
        client.force_authenticate(alice)
        return client.post(
            "/api/v2/orders",
            {
                "items": [{"product_id": str(product.pk), "quantity": 1}],
                "shipping_address": ADDRESS,
            },
            headers={"Idempotency-Key": "once"},
        )

    answers = at_once([post] * 12)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert Order.objects.count() == 1
    ledger_is_right(product)
    assert product.stock_quantity == 99


def test_an_order_cancelled_many_times_at_once_returns_its_stock_once(
    alice, make_product, make_order
):
    product = make_product(stock=10)
    order = make_order(alice, (product, 4))

    def cancel():
        return move_order(order_id=order.pk, to=Status.CANCELLED, actor=alice)

    results = at_once([cancel] * 12)
    assert results.count("illegal_transition") == 11
    ledger_is_right(product)
    assert product.stock_quantity == 10


def test_of_cancel_and_ship_one_wins(alice, make_product, make_order):
    product = make_product(stock=100)
    for _ in range(5):
        order = make_order(alice, (product, 1))
        Order.objects.filter(pk=order.pk).update(status="processing")
        results = at_once(
            [
                lambda to=to, pk=order.pk: move_order(order_id=pk, to=to, actor=alice)
                for to in (Status.CANCELLED, Status.SHIPPED)
            ]
        )
        assert results.count("illegal_transition") == 1
        assert Event.objects.filter(subject=order.subject).count() == 2
    ledger_is_right(product)
