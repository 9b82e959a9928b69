"""Races over HTTP: many clients at once against the processes that serve the shop.

Two processes on PostgreSQL; one on SQLite, as the embedded shop has it.
"""

from collections import Counter
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from conftest import ADDRESS
from orders.actions import move_order
from orders.models import Order, Payment
from orders.states import Status
from orders.tasks import cancel_unpaid
from orders.tests.soundness import assert_sound
from products.models import StockMovement
from shop.events.models import Event
from shop.idempotency import IdempotencyKey
from shop.tests.running import ask, at_once, make_customers, running, token_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def ports(django_db_setup, tmp_path_factory):
    """Where the shop is served; its processes outlive the single test."""
    number = 2 if connection.vendor == "postgresql" else 1
    with running(number, tmp_path_factory.mktemp("servers")) as servers:
        yield [server.port for server in servers]


@pytest.fixture
def desk(clerk):
    """The clerk's token."""
    return token_of(clerk)


def order_of(*products):
    return {
        "items": [{"product_id": str(product.pk), "quantity": 1} for product in products],
        "shipping_address": ADDRESS,
    }


def buy(port, token, *products, key=""):
    return lambda: ask(port, "POST", "/api/v2/orders", order_of(*products), token=token, key=key)


def spread(ports, number):
    """Return so many ports, the processes in turn."""
    return [ports[n % len(ports)] for n in range(number)]


def codes(answers):
    return Counter((answer.status, answer.code) for answer in answers)


def stock_of(product):
    product.refresh_from_db()
    return product.stock_quantity


def test_of_64_buyers_of_the_last_40_each_of_40_gets_one(ports, make_product):
    product = make_product(stock=40)
    buyers = make_customers(64)

    answers = at_once(
        [buy(port, token, product) for port, token in zip(spread(ports, 64), buyers, strict=True)]
    )

    assert codes(answers) == {(201, ""): 40, (409, "insufficient_stock"): 24}
    orders = {answer.json()["id"] for answer in answers if answer.status == 201}
    assert orders == {str(pk) for pk in Order.objects.values_list("pk", flat=True)}
    assert len(orders) == 40
    assert stock_of(product) == 0
    sold = StockMovement.objects.filter(product=product, reason="sold")
    assert sorted(sold.values_list("balance_after", flat=True)) == list(range(40))
    assert_sound()


@pytest.mark.postgresql
def test_200_orders_of_two_products_in_opposite_order_are_all_placed(ports, make_product):
    first, second = make_product("하나", stock=1000), make_product("둘", stock=1000)
    pairs = [(first, second), (second, first)]

    answers = at_once(
        [
            # Both orders of the products in both processes.
            buy(port, token, *pairs[n // len(ports) % 2])
            for n, (port, token) in enumerate(
                zip(spread(ports, 200), make_customers(200), strict=True)
            )
        ]
    )

    assert codes(answers) == {(201, ""): 200}
    assert Order.objects.count() == 200
    assert (stock_of(first), stock_of(second)) == (800, 800)
    assert_sound()


def test_one_key_16_times_at_once_is_one_order(ports, make_product):
    product = make_product(stock=100)
    (token,) = make_customers(1)

    answers = at_once([buy(port, token, product, key="once") for port in spread(ports, 16)])

    seen = codes(answers)
    assert set(seen) <= {(201, ""), (409, "idempotency_key_in_use")}
    placed = [answer for answer in answers if answer.status == 201]
    assert len({answer.body for answer in placed}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in placed) == 1
    assert str(Order.objects.get().pk) == placed[0].json()["id"]
    assert IdempotencyKey.objects.count() == 1
    assert stock_of(product) == 99
    assert_sound()


def test_an_order_cancelled_16_times_at_once_returns_its_stock_once(
    ports, alice, make_product, make_order
):
    product = make_product(stock=10)
    order = make_order(alice, (product, 4))
    token = token_of(alice)
    url = f"/api/v2/orders/{order.pk}/cancel?reason=changed_my_mind"

    answers = at_once(
        [lambda port=port: ask(port, "POST", url, token=token) for port in spread(ports, 16)]
    )

    assert codes(answers) == {(200, ""): 1, (409, "illegal_transition"): 15}
    assert {tuple(a.json()["allowed"]) for a in answers if a.status == 409} == {()}
    assert stock_of(product) == 10
    assert StockMovement.objects.filter(reason="cancelled").count() == 1
    assert Event.objects.filter(type="order.cancelled").count() == 1
    assert_sound()


@pytest.mark.postgresql
def test_of_cancel_and_ship_one_wins(ports, alice, clerk, desk, make_product, make_order):
    product = make_product(stock=100)
    orders = [make_order(alice, (product, 1)) for _ in range(12)]
    for order in orders:
        for status in (Status.PAID, Status.PROCESSING):
            move_order(order_id=order.pk, to=status, actor=clerk)
    token = token_of(alice)

    def cancel(port, order):
        return lambda: ask(
            port, "POST", f"/api/v2/orders/{order.pk}/cancel?reason=late", token=token
        )

    def ship(port, order):
        url = f"/api/v2/orders/{order.pk}/transitions"
        return lambda: ask(port, "POST", url, {"status": "shipped"}, token=desk)

    calls = []
    for n, order in enumerate(orders):
        # Neither of the two is always asked first, or always in the same process.
        pair = [cancel(ports[n % 2], order), ship(ports[(n + 1) % 2], order)]
        calls += pair if n % 4 < 2 else pair[::-1]
    answers = at_once(calls)

    cancelled = 0
    for n, order in enumerate(orders):
        both = answers[2 * n : 2 * n + 2]
        assert codes(both) == {(200, ""): 1, (409, "illegal_transition"): 1}
        (won,) = [answer.json()["status"] for answer in both if answer.status == 200]
        order.refresh_from_db()
        assert order.status == won
        cancelled += won == "cancelled"
    assert stock_of(product) == 100 - 12 + cancelled
    assert Payment.objects.filter(kind="refund").count() == cancelled
    assert_sound()


@pytest.mark.postgresql
def test_of_expiry_and_payment_one_wins(ports, alice, desk, make_product, make_order):
    product = make_product(stock=100)
    orders = [make_order(alice, (product, 1)) for _ in range(24)]
    long_ago = timezone.now() - timedelta(hours=settings.UNPAID_ORDER_HOURS + 1)
    Order.objects.update(created_at=long_ago)

    def pay(port, order):
        url = f"/api/v2/orders/{order.pk}/payments"
        data = {"amount": int(order.total), "method": "card", "reference": order.short_id}
        return lambda: ask(port, "POST", url, data, token=desk)

    # The job goes from the oldest on, the payments come in from the newest.
    payments = [pay(port, order) for port, order in zip(spread(ports, 24), orders, strict=True)]
    said, *answers = at_once([cancel_unpaid, *payments[::-1]])

    assert set(codes(answers)) <= {(201, ""), (409, "order_cancelled")}
    paid = codes(answers)[201, ""]
    assert said == f"{24 - paid} cancelled"
    for order, answer in zip(orders, answers[::-1], strict=True):
        order.refresh_from_db()
        assert order.status == ("paid" if answer.status == 201 else "cancelled")
    assert Payment.objects.count() == paid
    assert stock_of(product) == 100 - paid
    assert_sound()
