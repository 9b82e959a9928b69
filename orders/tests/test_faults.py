"""Servers killed and the database gone in the middle of orders, and clients that try again.

Nothing that was answered 201 is lost, nothing is there twice, and the shop
comes back by itself.
"""

import http.client
import threading
import time
from contextlib import suppress
from itertools import cycle

import pytest
from django.db import connection

from conftest import ADDRESS
from orders.models import Order
from orders.tests.soundness import assert_sound
from products.models import Product
from shop.idempotency import IdempotencyKey
from shop.tests.proxy import Proxy
from shop.tests.running import PATIENCE, Answer, ask, at_once, database_url, make_customers, running

pytestmark = pytest.mark.django_db(transaction=True)


class Rush:
    """So many clients at once, each with an order and a key, that try until it is placed."""

    def __init__(self, product, number):
        self._product = product
        self._stock = Product.objects.get(pk=product.pk).stock_quantity
        self._tokens = make_customers(number)
        self._placed = threading.Semaphore(0)
        self.orders: list[str] = []
        # Every answer, in order; None where there was none.
        self.answers: list[Answer | None] = []

    def run(self, ports_of, fault):
        """Let them go; `ports_of(n)` is where client n asks in turn, `fault()` happens meanwhile.

        A fifth of the orders have been placed when it does.
        """

        def break_something():
            for _ in range(len(self._tokens) // 5):
                assert self._placed.acquire(timeout=PATIENCE)
            fault()
            return ""

        clients = [
            lambda n=n, token=token: self._insist(ports_of(n), n, token)
            for n, token in enumerate(self._tokens)
        ]
        self.orders = at_once([*clients, break_something])[:-1]

    def _insist(self, ports, n, token):
        body = {
            "items": [{"product_id": str(self._product.pk), "quantity": 1}],
            "shipping_address": ADDRESS,
        }
        deadline = time.monotonic() + PATIENCE
        for port in cycle(ports):
            assert time.monotonic() < deadline
            answer = None
            with suppress(OSError, http.client.HTTPException):
                answer = ask(port, "POST", "/api/v2/orders", body, token=token, key=f"order-{n}")
            self.answers.append(answer)
            if answer is not None and answer.status == 201:
                self._placed.release()
                return answer.json()["id"]
            time.sleep(0.1)

    def refusals(self):
        return [answer for answer in self.answers if answer is not None and answer.status != 201]

    def assert_each_is_there_once(self):
        number = len(self._tokens)
        assert len(set(self.orders)) == number
        assert set(self.orders) == {str(pk) for pk in Order.objects.values_list("pk", flat=True)}
        assert IdempotencyKey.objects.count() == number
        left = Product.objects.get(pk=self._product.pk).stock_quantity
        assert left == self._stock - number
        assert_sound()


def is_try_again(answer):
    """Whether it is how the shop says that the database is away."""
    return (
        answer.status == 503
        and answer.code == "database_unavailable"
        and int(answer.headers["Retry-After"]) > 0
    )


@pytest.fixture(scope="module")
def proxy(django_db_setup):
    """What the servers take for PostgreSQL; nothing on SQLite."""
    if connection.vendor == "sqlite":
        yield None
        return
    with Proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def servers(proxy, tmp_path_factory):
    """Two servers that reach PostgreSQL through the proxy, or one on SQLite."""
    folder = tmp_path_factory.mktemp("servers")
    if proxy is None:
        with running(1, folder) as servers:
            yield servers
    else:
        with running(2, folder, DATABASE_URL=database_url(proxy.port)) as servers:
            yield servers


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_a_server_killed_in_the_middle_loses_and_doubles_nothing(servers, make_product):
    rush = Rush(make_product(stock=1000), 200 if len(servers) > 1 else 60)
    victim = servers[0]

    def kill():
        victim.kill()
        victim.start()

    # Some clients know one server only, and wait until it is back.
    ports = [server.port for server in servers]
    known = [ports, ports[::-1], ports[:1], ports[-1:]]
    rush.run(lambda n: known[n % 4], kill)
    victim.wait_until_ready()

    assert None in rush.answers
    # A transaction may outlive its process for a moment.
    assert {answer.code for answer in rush.refusals()} <= {"idempotency_key_in_use"}
    rush.assert_each_is_there_once()


@pytest.mark.postgresql
def test_a_database_that_is_away_for_a_while_costs_time_only(proxy, servers, make_product):
    rush = Rush(make_product(stock=1000), 200)
    ports = [server.port for server in servers]
    while_away = []

    def cut():
        with proxy.away():
            while_away.extend(ask(ports[0], "GET", f"/health/{kind}") for kind in ("ready", "live"))
            # Long enough for the clients to have asked again, and again.
            until(lambda: len(rush.refusals()) > 500)

    rush.run(lambda n: ports if n % 2 else ports[::-1], cut)

    assert [answer.status for answer in while_away] == [503, 200]
    assert None not in rush.answers
    assert all(
        is_try_again(answer) or answer.code == "idempotency_key_in_use"
        for answer in rush.refusals()
    )
    rush.assert_each_is_there_once()
    for server in servers:
        assert server.process.poll() is None
        assert ask(server.port, "GET", "/health/ready").status == 200


@pytest.mark.postgresql
@pytest.mark.parametrize("part", ["request", "answer"])
def test_a_connection_lost_at_commit_is_one_order_in_the_end(proxy, servers, make_product, part):
    product = make_product(stock=10)
    (token,) = make_customers(1)
    body = {
        "items": [{"product_id": str(product.pk), "quantity": 1}],
        "shipping_address": ADDRESS,
    }

    def post():
        return ask(servers[0].port, "POST", "/api/v2/orders", body, token=token, key="k")

    proxy.lose_commit(part)
    lost = post()
    assert is_try_again(lost)
    assert proxy.has_lost_it
    # Nobody can tell from the answer.
    assert Order.objects.count() == (part == "answer")

    again = post()
    assert again.status == 201
    assert ("Idempotency-Replayed" in again.headers) == (part == "answer")
    assert str(Order.objects.get().pk) == again.json()["id"]
    assert Product.objects.get().stock_quantity == 9
    assert_sound()


@pytest.mark.postgresql
def test_a_database_that_says_nothing_holds_nobody_for_good(proxy, make_product, tmp_path):
    rush = Rush(make_product(stock=100), 40)
    environment = {"DATABASE_URL": database_url(proxy.port), "REQUEST_TIMEOUT": "1"}
    with running(1, tmp_path, **environment) as (server,):

        def stall():
            with proxy.silent():
                # All threads are stuck, and others have waited for one in vain.
                until(lambda: {"timeout", "overloaded"} <= {a.code for a in rush.refusals()})

        rush.run(lambda n: [server.port], stall)
        assert server.process.poll() is None

    assert None not in rush.answers
    assert {answer.status for answer in rush.refusals()} <= {409, 503, 504}
    rush.assert_each_is_there_once()
