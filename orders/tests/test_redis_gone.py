"""Redis goes away and comes back: orders go on, and so do live updates."""

import asyncio
import shutil
import subprocess
import threading
import time

import pytest
import redis

from benchmarks.sockets import Client
from orders.models import Order
from shop.tests.running import PATIENCE, ask, free_port, running, token_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.postgresql,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not here"),
]

_GROUP = b"shop__group__events"


class OwnRedis:
    """A server of the test's own, on a port of its own."""

    def __init__(self, folder):
        self.port = free_port()
        self.folder = folder
        self.client = redis.Redis(port=self.port)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        wait_for(self._answers)

    def _answers(self):
        try:
            return self.client.ping()
        except redis.ConnectionError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def listened_to(self):
        """Whether a web process has its ear here."""
        return dict(self.client.pubsub_numsub(_GROUP)).get(_GROUP, 0) > 0


def wait_for(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def own_redis(tmp_path):
    server = OwnRedis(tmp_path)
    yield server
    server.kill()


class Watch(Client):
    """Listens in a thread, and knows the last sequence that came."""

    def __init__(self, *args):
        super().__init__(*args)
        self.last = 1
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        try:
            asyncio.run(self.run())
        except (OSError, EOFError):
            self.last = -1

    def hear(self, message, now):
        assert message["sequence"] == self.last + (message["type"] == "event")
        self.last = message["sequence"]


def test_orders_and_live_updates_go_on(alice, admin, make_order, own_redis, tmp_path):
    order, desk = make_order(alice), token_of(admin)
    path = f"/api/v2/orders/{order.pk}/payments"

    def pay():
        answer = ask(here.port, "POST", path, {"amount": 1, "method": "cash"}, token=desk)
        assert answer.status == 201, answer.body

    with running(2, tmp_path, REDIS_URL=f"redis://127.0.0.1:{own_redis.port}/0") as (here, there):
        watch = Watch(there.port, str(order.pk), token_of(alice))
        wait_for(own_redis.listened_to)
        pay()
        wait_for(lambda: watch.last == 2)

        own_redis.kill()
        for _ in range(3):
            pay()
        wait_for(lambda: watch.last == 5)

        own_redis.start()
        pay()
        wait_for(lambda: watch.last == 6)
        # Not by polling alone: it is woken again.
        wait_for(own_redis.listened_to)
        assert watch.thread.is_alive()
    assert Order.objects.get().version == 6
