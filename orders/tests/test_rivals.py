"""Races that are met every time: a rival on a connection of its own, at a named point."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from conftest import ADDRESS
from orders import actions, books, tasks
from orders.actions import Line, cancel_order, move_order, place_order, record_payment
from orders.models import Order, Payment, Return
from orders.states import Status
from orders.tests.soundness import assert_sound
from products import stock
from products.models import Product
from shop.errors import ShopError
from shop.events.delivery import send_all
from shop.events.models import Event
from shop.idempotency import IdempotencyKey
from shop.jobs.models import Job

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

PATIENCE = 30


class Rival:
    """A call in a thread and on a connection of its own; its result may be a refusal's code."""

    def __init__(self, call):
        self._pid = 0
        self._connected = threading.Event()
        pool = ThreadPoolExecutor(1)
        self._future = pool.submit(self._run, call)
        pool.shutdown(wait=False)

    def _run(self, call):
        try:
            connection.ensure_connection()
            self._pid = connection.connection.info.backend_pid
            self._connected.set()
            return call()
        except ShopError as error:
            return error.code
        finally:
            connection.close()

    def until_it_waits(self):
        """Return when it waits for somebody's lock, or is through because there was none."""
        assert self._connected.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while not self._future.done():
            assert time.monotonic() < deadline
            with connection.cursor() as cursor:
                cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [self._pid])
                if cursor.fetchone()[0]:
                    return
            time.sleep(0.01)

    def result(self):
        return self._future.result(PATIENCE)


def meet(monkeypatch, owner, name, encounter):
    """Call `encounter` just before `owner.name` is called for the first time.

    Returns a list that grows by one with each call of it.
    """
    original = getattr(owner, name)
    calls = []

    def instead(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            encounter()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, instead)
    return calls


def meet_done(monkeypatch, owner, name, call):
    """Have the rival's call done just before `owner.name`."""
    return meet(monkeypatch, owner, name, lambda: Rival(call).result())


def order_of(product, quantity=1, **more):
    return {
        "items": [{"product_id": str(product.pk), "quantity": quantity, **more}],
        "shipping_address": ADDRESS,
    }


def stock_of(product):
    product.refresh_from_db()
    return product.stock_quantity


# --- Placing an order --------------------------------------------------------


def test_a_price_that_changes_before_the_lock_is_what_is_paid(
    alice, client_of, make_product, monkeypatch
):
    product = make_product(price=10000)
    calls = meet_done(
        monkeypatch,
        stock,
        "take",
        lambda: Product.objects.filter(pk=product.pk).update(price=15000),
    )
    response = client_of(alice).post("/api/v2/orders", order_of(product))
    assert response.status_code == 201
    assert response.json()["items"][0]["price"] == 15000
    assert len(calls) == 2
    # Nothing is left of the first try.
    assert [Order.objects.count(), Event.objects.count(), stock_of(product)] == [1, 1, 9]
    send_all()
    assert Job.objects.filter(task="orders.send_mail").count() == 1
    assert_sound()


def test_a_price_that_changes_before_the_lock_is_not_paid_by_who_saw_another(
    alice, client_of, make_product, monkeypatch
):
    product = make_product(price=10000)
    meet_done(
        monkeypatch,
        stock,
        "take",
        lambda: Product.objects.filter(pk=product.pk).update(price=15000),
    )
    response = client_of(alice).post("/api/v2/orders", order_of(product, price=10000))
    assert (response.status_code, response.json()["code"]) == (409, "price_changed")
    assert response.json()["items"] == [
        {"product_id": str(product.pk), "old_price": 10000, "new_price": 15000}
    ]
    assert not Order.objects.exists()
    assert stock_of(product) == 10
    assert_sound()


def test_stock_taken_before_the_lock_is_not_sold_again(
    alice, bob, client_of, make_product, make_order, monkeypatch
):
    product = make_product(stock=10)
    meet_done(monkeypatch, stock, "take", lambda: make_order(bob, (product, 8)).pk)
    response = client_of(alice).post("/api/v2/orders", order_of(product, 5))
    assert (response.status_code, response.json()["code"]) == (409, "insufficient_stock")
    assert response.json()["items"] == [
        {"product_id": str(product.pk), "requested": 5, "available": 2}
    ]
    assert Order.objects.get().customer == bob
    assert stock_of(product) == 2
    assert_sound()


def test_a_product_retired_before_the_lock_is_not_sold(alice, make_product, monkeypatch):
    product = make_product(stock=10)
    meet_done(
        monkeypatch,
        stock,
        "take",
        lambda: Product.objects.filter(pk=product.pk).update(retired_at=timezone.now()),
    )
    with pytest.raises(ShopError) as refusal:
        place_order(customer=alice, lines=[Line(product.pk, 1)], address=ADDRESS)
    assert refusal.value.code == "unknown_product"
    assert not Order.objects.exists()
    assert stock_of(product) == 10
    assert_sound()


@pytest.mark.parametrize("keyed", [False, True])
def test_a_deadlock_is_run_again_and_the_caller_does_not_see_it(
    alice, client_of, make_product, monkeypatch, keyed
):
    first, second = make_product("하나", stock=100), make_product("둘", stock=100)
    body = {
        "items": [{"product_id": str(p.pk), "quantity": 1} for p in (first, second)],
        "shipping_address": ADDRESS,
    }
    takes = meet(monkeypatch, stock, "take", lambda: None)

    def lock(product):
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM products_product WHERE id = %s FOR UPDATE", [product.pk])

    def one_round(number):
        headers = {"Idempotency-Key": f"round-{number}"} if keyed else {}
        has_second, meets = threading.Event(), threading.Event()

        def against_the_order():
            with transaction.atomic():
                lock(second)
                has_second.set()
                assert meets.wait(PATIENCE)
                lock(first)

        rival = Rival(against_the_order)
        assert has_second.wait(PATIENCE)
        ours = Rival(lambda: client_of(alice).post("/api/v2/orders", body, headers=headers))
        ours.until_it_waits()
        meets.set()
        assert ours.result().status_code == 201
        rival.result()

    # Who has waited for a second ends a deadlock: ours, unless it took the
    # rival that long to come.
    rounds = 0
    while len(takes) == rounds:
        assert rounds < 20
        one_round(rounds)
        rounds += 1

    assert Order.objects.count() == rounds
    assert (stock_of(first), stock_of(second)) == (100 - rounds, 100 - rounds)
    assert_sound()


# --- Moving an order ---------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("cancel", {"reason": "too late"}, "illegal_transition"),
        ("transitions", {"status": "paid"}, "illegal_transition"),
        ("payments", {"amount": 13000, "method": "card"}, "order_cancelled"),
    ],
)
def test_an_order_cancelled_after_it_was_looked_up_stays_as_it_is(
    alice, clerk, client_of, make_product, make_order, monkeypatch, path, body, refusal
):
    product = make_product(stock=10)
    order = make_order(alice, (product, 1))
    meet_done(
        monkeypatch,
        actions,
        "_locked",
        lambda: cancel_order(order_id=order.pk, actor=alice, reason="first"),
    )
    response = client_of(clerk).post(f"/api/v2/orders/{order.pk}/{path}", body)
    assert (response.status_code, response.json()["code"]) == (409, refusal)
    order.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", "first")
    assert not Payment.objects.exists()
    assert stock_of(product) == 10
    assert_sound()


def test_an_order_paid_while_the_job_has_it_in_hand_is_not_cancelled(
    alice, clerk, make_product, make_order, monkeypatch
):
    product = make_product(stock=10)
    order = make_order(alice, (product, 1))
    long_ago = timezone.now() - timedelta(hours=settings.UNPAID_ORDER_HOURS + 1)
    Order.objects.update(created_at=long_ago)
    meet_done(
        monkeypatch,
        tasks,
        "cancel_order",
        lambda: record_payment(order_id=order.pk, amount=order.total, method="card", actor=clerk),
    )
    assert tasks.cancel_unpaid() == "0 cancelled"
    order.refresh_from_db()
    assert order.status == "paid"
    assert not Payment.objects.filter(kind="refund").exists()
    assert stock_of(product) == 9
    assert_sound()


@pytest.fixture
def delivered(alice, clerk, make_product, make_order):
    """Three chairs that have arrived."""
    order = make_order(alice, (make_product("의자", 10000), 3))
    for status in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
        move_order(order_id=order.pk, to=status, actor=clerk)
    return order


def test_of_two_returns_of_one_line_one_is_too_many(delivered, clerk, monkeypatch):
    chair = delivered.items.get().product

    def give_back():
        return actions.return_items(
            order_id=delivered.pk,
            quantities={chair.pk: 2},
            reason="too small",
            restock=True,
            actor=clerk,
        )

    rivals = []

    def encounter():
        # What may still come back has been counted, nothing is written yet.
        rivals.append(Rival(give_back))
        rivals[0].until_it_waits()

    meet(monkeypatch, books, "owe_refund", encounter)
    give_back()
    assert rivals[0].result() == "return_exceeds_order"
    assert Return.objects.count() == 1
    assert Payment.objects.get(kind="refund").amount == 20000
    assert stock_of(chair) == 9
    assert_sound()


def test_of_two_who_settle_one_refund_one_is_told(delivered, clerk, monkeypatch):
    chair = delivered.items.get().product
    refund = actions.return_items(
        order_id=delivered.pk, quantities={chair.pk: 2}, reason="x", restock=False, actor=clerk
    ).refund
    assert refund is not None

    def settle(reference):
        return actions.settle_refund(
            order_id=delivered.pk, refund_id=refund.pk, reference=reference, actor=clerk
        )

    rivals = []

    def encounter():
        # The refund has been read and is still due.
        rivals.append(Rival(lambda: settle("R-2")))
        rivals[0].until_it_waits()

    meet(monkeypatch, Payment, "save", encounter)
    settle("R-1")
    assert rivals[0].result() == "already_settled"
    refund.refresh_from_db()
    assert (refund.state, refund.reference) == ("settled", "R-1")
    order = Order.objects.get()
    assert (order.refund_due, order.refunded) == (0, 20000)
    assert Event.objects.filter(type="order.refunded").count() == 1
    send_all()
    assert Job.objects.filter(arguments__kind="refunded").count() == 1
    assert_sound()


# --- The same key ------------------------------------------------------------


class Held:
    """The first order with the key, held up just before it takes its stock."""

    def __init__(self, monkeypatch, post):
        self._reached, self._go = threading.Event(), threading.Event()
        self._refuse = False
        meet(monkeypatch, stock, "take", self._hold)
        self._rival = Rival(post)
        assert self._reached.wait(PATIENCE)

    def _hold(self):
        self._reached.set()
        assert self._go.wait(PATIENCE)
        if self._refuse:
            raise stock.InsufficientStock("Sold meanwhile.")

    def commit(self):
        """Let it end well; returns its answer."""
        self._go.set()
        return self._rival.result()

    def roll_back(self):
        """Let it be refused; returns its answer."""
        self._refuse = True
        return self.commit()


@pytest.fixture
def post(alice, client_of, make_product):
    """Post the same order with the same key, again and again."""
    body = order_of(make_product(stock=10))

    def call():
        return client_of(alice).post("/api/v2/orders", body, headers={"Idempotency-Key": "k"})

    return call


def assert_one_order():
    assert Order.objects.count() == IdempotencyKey.objects.count() == 1
    assert stock_of(Product.objects.get()) == 9
    assert_sound()


def test_a_key_whose_first_request_commits_meanwhile_gets_its_answer(post, monkeypatch):
    first = Held(monkeypatch, post)
    ours = Rival(post)
    ours.until_it_waits()
    answer = first.commit()
    again = ours.result()
    assert answer.status_code == again.status_code == 201
    assert answer.content == again.content
    assert again["Idempotency-Replayed"] == "true"
    assert_one_order()


def test_a_key_whose_first_request_is_rolled_back_meanwhile_is_free(post, monkeypatch):
    first = Held(monkeypatch, post)
    ours = Rival(post)
    ours.until_it_waits()
    assert first.roll_back().status_code == 409
    answer = ours.result()
    assert answer.status_code == 201
    assert not answer.has_header("Idempotency-Replayed")
    assert_one_order()


def test_a_key_whose_first_request_goes_on_and_on_is_in_use(post, monkeypatch):
    first = Held(monkeypatch, post)

    def impatient():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        return post()

    refused = Rival(impatient).result()
    assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_in_use")
    assert not Order.objects.exists()
    answer = first.commit()
    again = Rival(impatient).result()
    assert answer.status_code == again.status_code == 201
    assert answer.content == again.content
    assert_one_order()
