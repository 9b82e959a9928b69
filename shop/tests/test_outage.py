"""Requests do not notice whether there is a broker."""

import os
import time

import pytest

from benchmarks.stats import percentile
from conftest import ADDRESS
from orders.models import Order
from shop.jobs import queue
from shop.jobs.models import Job
from shop.tests.rabbit import SERVER
from shop.tests.running import ask, running, token_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not SERVER, reason="no rabbitmq-server is installed"),
]

# How long the broker is there, hangs, and is away. By hand: 60.
SECONDS = float(os.environ.get("SHOP_OUTAGE_SECONDS", "1"))


class Callers:
    """Place orders over HTTP, and add a product now and then, which wakes the workers."""

    def __init__(self, port, buyer, clerk, product):
        self._port = port
        self._buyer, self._clerk = token_of(buyer), token_of(clerk)
        self._order = {
            "items": [{"product_id": str(product.pk), "quantity": 1}],
            "shipping_address": ADDRESS,
        }
        self.orders = self.products = 0

    def work(self, name):
        """Do so for a while; each request is answered with 201."""
        took = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            if len(took) % 20 == 0:
                body = {"name": f"{name} {len(took)}", "description": "", "price": 1000}
                body["stock_quantity"] = 1
                answer = ask(self._port, "POST", "/api/v2/products", body, token=self._clerk)
                assert answer.status == 201, answer.body
                self.products += 1
            began = time.perf_counter()
            answer = ask(self._port, "POST", "/api/v2/orders", self._order, token=self._buyer)
            took.append(time.perf_counter() - began)
            assert answer.status == 201, answer.body
            self.orders += 1
        took.sort()
        p50, p99 = (percentile(took, share) * 1000 for share in (0.5, 0.99))
        print(f"broker {name}: {len(took)} orders, p50 {p50:.1f} ms, p99 {p99:.1f} ms,", end=" ")
        print(f"most {took[-1] * 1000:.1f} ms")


def test_requests_are_answered_while_rabbitmq_hangs_and_while_it_is_away(
    rabbit, tmp_path, make_product, alice, clerk
):
    product = make_product(stock=1_000_000)
    Job.objects.all().delete()
    with running(1, tmp_path, CELERY_BROKER_URL=rabbit.url) as (server,):
        callers = Callers(server.port, alice, clerk, product)
        callers.work("there")
        rabbit.hang()
        callers.work("hangs")
        rabbit.kill()
        callers.work("away")
        rabbit.start()
        callers.work("back")
    assert Order.objects.count() == callers.orders
    # What they have wanted is written down, and done after.
    wanted = Job.objects.filter(task="products.write_seo")
    assert wanted.filter(state="queued").count() == callers.products
    queue.sweep()
    assert wanted.filter(state="finished").count() == callers.products
