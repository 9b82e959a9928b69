"""Each event committed after a webhook was created, switched on or widened reaches it."""

import threading

import pytest
from django.db import connection, transaction

from shop.events import delivery, sinks
from shop.events.models import Event, SinkOffset
from shop.events.record import record
from shop.outgoing import new_secret
from shop.webhooks import sending
from shop.webhooks.models import Webhook

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def only_webhooks(monkeypatch):
    """What the sources said a moment ago is believed for the whole test."""
    monkeypatch.setattr(sinks, "_sinks", {})
    monkeypatch.setattr(sinks, "_BELIEVED", 3600.0)
    sinks.forget()
    yield
    sinks.forget()


@pytest.fixture
def posted(monkeypatch):
    """Have nothing leave the process; return the subjects and sequences that would have."""
    sent = []

    def attempt(webhook, event):
        sent.append((event.subject, event.sequence))
        return sending.Attempt(webhook=webhook, status=204)

    monkeypatch.setattr(sending, "attempt", attempt)
    return sent


def tell(subject, sequence, type="order.paid"):
    with transaction.atomic():
        record(type=type, subject=subject, sequence=sequence, actor=None, data={})


def subscribe(**fields):
    """Create a webhook as another process does: this one is told nothing."""
    return Webhook.objects.create(
        **{"name": "books", "url": "https://hook.example", "secret": new_secret(), **fields}
    )


def deliver(posted):
    """Give what has been put down, once the sender has asked anew; return what was posted."""
    sinks.forget()
    delivery.send_all()
    return posted


def test_one_that_this_process_has_not_heard_of(posted):
    assert sinks.passing() == []
    subscribe()
    tell("order/a", 1)
    assert delivery.put_down() == 1
    assert sinks.passing() == []
    assert deliver(posted) == [("order/a", 1)]


def test_one_that_was_switched_on_elsewhere(posted):
    webhook = subscribe(enabled=False)
    assert sinks.passing() == []
    Webhook.objects.filter(pk=webhook.pk).update(enabled=True)
    tell("order/a", 1)
    delivery.put_down()
    assert deliver(posted) == [("order/a", 1)]


def test_types_that_were_added_elsewhere_are_given_by_one_who_does_not_know_it(posted):
    webhook = subscribe(types=["order.created"])
    (stale,) = sinks.passing()
    Webhook.objects.filter(pk=webhook.pk).update(types=["order.created", "order.paid"])
    tell("order/a", 1)
    delivery.put_down()
    assert not stale.wants("order.paid")
    assert delivery.deliver(stale) == 1
    assert posted == [("order/a", 1)]


def test_one_that_was_deleted_or_paused_elsewhere_is_given_nothing(posted):
    webhook = subscribe()
    (stale,) = sinks.passing()
    tell("order/a", 1)
    delivery.put_down()
    Webhook.objects.update(enabled=False)
    assert delivery.deliver(stale) == 0
    offset = SinkOffset.objects.get(sink=webhook.sink)
    assert (posted, offset.claim, offset.attempts, offset.delivered) == ([], None, 0, 0)


def in_thread(work):
    """Run `work` in a thread with a connection of its own."""

    def run():
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
class TestInterleavings:
    """A sender is stopped at a named point, and a webhook and an event are committed there."""

    @pytest.fixture
    def stopped(self, monkeypatch):
        """Run put_down in a thread up to the question who is there: before it, or after it."""
        threads = []

        def go(*, asked):
            reached, go_on = threading.Event(), threading.Event()
            original = sinks.now_registered

            def stop_here():
                said = original() if asked else None
                reached.set()
                assert go_on.wait(20)
                return original() if said is None else said

            monkeypatch.setattr(sinks, "now_registered", stop_here)
            thread = in_thread(delivery.put_down)
            threads.append(thread)
            assert reached.wait(20)
            monkeypatch.setattr(sinks, "now_registered", original)

            def finish():
                go_on.set()
                thread.join(20)

            return finish

        yield go
        for thread in threads:
            thread.join(20)

    @pytest.mark.parametrize("asked", [False, True])
    @pytest.mark.parametrize("subject", ["order/a", "order/b"])
    def test_created_while_a_sender_puts_down(self, stopped, posted, asked, subject):
        tell("order/a", 1)
        finish = stopped(asked=asked)
        subscribe()
        tell(subject, 2 if subject == "order/a" else 1)
        finish()
        # Of the event before it, nothing is promised.
        got = [key for key in deliver(posted) if key != ("order/a", 1)]
        assert got == [(subject, 2 if subject == "order/a" else 1)]
        assert posted == sorted(posted)
        assert not Event.objects.pending().exists()

    def test_a_creation_that_commits_late_gets_what_commits_after_it(self, posted):
        began, may_end = threading.Event(), threading.Event()

        def create():
            with transaction.atomic():
                subscribe()
                began.set()
                assert may_end.wait(20)

        thread = in_thread(create)
        assert began.wait(20)
        tell("order/a", 1)
        delivery.put_down()
        may_end.set()
        thread.join(20)
        tell("order/a", 2)
        assert deliver(posted) == [("order/a", 2)]

    @pytest.mark.parametrize("asked", [False, True])
    def test_switched_off_and_on_while_a_sender_puts_down(self, stopped, posted, asked):
        webhook = subscribe()
        tell("order/a", 1)
        deliver(posted)
        tell("order/a", 2)
        finish = stopped(asked=asked)
        sending.switch_off_by_hand(webhook)
        sending.switch_on(webhook)
        tell("order/a", 3)
        finish()
        # What happened before it was switched on may come or not; never out of order.
        got = deliver(posted)
        assert got[-1] == ("order/a", 3)
        assert got == sorted(set(got))

    def test_everything_after_the_creation_while_senders_run(self, posted):
        """Senders at full speed: who was created at some moment misses nothing after it."""
        stop = threading.Event()

        def send():
            while not stop.is_set():
                delivery.put_down()

        senders = [in_thread(send) for _ in range(2)]
        try:
            expected = {}
            for n in range(1, 31):
                webhook = subscribe(name=str(n))
                expected[webhook.sink] = n
                tell("order/a", n)
        finally:
            stop.set()
            for thread in senders:
                thread.join(20)
        delivery.put_down()
        found = dict(SinkOffset.objects.values_list("sink", "delivered"))
        assert set(found) == set(expected)
        for sink, first in expected.items():
            assert found[sink] < first
        assert set(SinkOffset.objects.values_list("newest", flat=True)) == {30}
