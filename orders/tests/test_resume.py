"""A client that is cut off again and again ends with every event, once and in order."""

import asyncio
import random
import threading
from contextlib import suppress

import pytest
from django.db import connection, transaction

from benchmarks.sockets import Client
from orders.actions import _tell
from orders.models import Order
from shop.events.models import Event
from shop.tests.running import running, token_of

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 500
CUTS = 50


class Cut(Exception):
    """The line went dead."""


class Listener(Client):
    """Notes the events, and breaks off after some of them."""

    def __init__(self, *args, after, **kwargs):
        super().__init__(*args, **kwargs)
        self.got = []
        self.after = after

    def hear(self, message, now):
        if message["type"] == "event":
            self.got.append((message["id"], message["sequence"]))
        if self.after is not None and len(self.got) >= self.after:
            raise Cut


async def follow(ports, order, token, first, dice):
    """Listen until the last event, by way of any of the servers; return ids and sequences."""
    got = [first]
    cuts = 0
    while got[-1][1] < EVENTS + 1:
        after = dice.randrange(0, 2 * EVENTS // CUTS) if cuts < CUTS else None
        # The last ones are awaited without a cut, but not beyond the end.
        left = EVENTS + 1 - got[-1][1]
        listener = Listener(
            dice.choice(ports), order, token, since=got[-1][0], after=min(after or left, left)
        )
        with suppress(Cut):
            async with asyncio.timeout(60):
                await listener.run()
        cuts += 1
        got += listener.got
    return got[1:], cuts


def tell(order_id, times, hold=0.0):
    """Write so many events, each in a transaction of its own that stays open for `hold` s."""
    try:
        for _ in range(times):
            with transaction.atomic():
                order = Order.objects.select_for_update(no_key=True).get(pk=order_id)
                _tell(order, "payment_received", actor=None, data={"amount": "1"})
                if hold:
                    threading.Event().wait(hold)
    finally:
        connection.close()


def test_fifty_breaks_in_five_hundred_events(alice, make_order, tmp_path):
    order, token, dice = make_order(alice), token_of(alice), random.Random(7)
    first = Event.objects.get(subject=order.subject)
    number = 2 if connection.vendor == "postgresql" else 1
    with running(number, tmp_path) as servers:
        writer = threading.Thread(target=tell, args=(order.pk, EVENTS))
        writer.start()
        ports = [server.port for server in servers]
        got, cuts = asyncio.run(follow(ports, str(order.pk), token, (str(first.pk), 1), dice))
        writer.join()
    assert cuts >= CUTS
    assert [sequence for _id, sequence in got] == list(range(2, EVENTS + 2))
    written = Event.objects.filter(subject=order.subject, sequence__gt=1).order_by("sequence")
    assert [pk for pk, _sequence in got] == [str(pk) for pk in written.values_list("pk", flat=True)]


@pytest.mark.postgresql
def test_what_commits_late_is_not_passed_over(alice, make_order, make_product, tmp_path):
    """While a transaction holds its order's event open, another's order goes on."""
    product, token = make_product(stock=10), token_of(alice)
    slow, quick = (make_order(alice, (product, 1)) for _ in range(2))
    first = {event.subject: str(event.pk) for event in Event.objects.all()}

    async def listen(port, order, events):
        since = first[order.subject]
        listener = Listener(port, str(order.pk), token, since=since, after=events)
        with suppress(Cut):
            async with asyncio.timeout(60):
                await listener.run()
        return [sequence for _id, sequence in listener.got]

    async def both(port):
        return await asyncio.gather(listen(port, slow, 5), listen(port, quick, 100))

    with running(1, tmp_path) as (server,):
        writers = [
            threading.Thread(target=tell, args=(slow.pk, 5, 0.2)),
            threading.Thread(target=tell, args=(quick.pk, 100)),
        ]
        for writer in writers:
            writer.start()
        of_slow, of_quick = asyncio.run(both(server.port))
        for writer in writers:
            writer.join()
    assert of_slow == list(range(2, 7))
    assert of_quick == list(range(2, 102))
