"""Events reach every sink that wants them: at least once, in order, whatever fails between."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.utils import timezone

from shop import bulk, outgoing
from shop.accounts.models import User
from shop.db import now
from shop.events import delivery, sinks
from shop.events.models import Event, SinkOffset
from shop.events.record import record
from shop.events.sinks import Sink, cloud_event
from shop.jobs.housekeeping import prune
from shop.jobs.models import Job
from shop.jobs.queue import enqueue

pytestmark = pytest.mark.django_db


class Receiver:
    """What a sink was given; it fails as often as it is told to."""

    def __init__(self, name="receiver", **fields):
        self.got = []
        self.fails = 0
        self.sink = Sink(name, self.take, **fields)

    def take(self, event):
        if self.fails:
            self.fails -= 1
            raise OSError("not now")
        self.got.append((event.subject, event.sequence))


@pytest.fixture
def add(monkeypatch):
    """Have no sinks but those of the test."""
    monkeypatch.setattr(sinks, "_sinks", {})
    monkeypatch.setattr(sinks, "_sources", [])
    sinks.forget()

    def register(name="receiver", **fields):
        receiver = Receiver(name, **fields)
        sinks.register(receiver.sink)
        return receiver

    return register


def tell(subject, sequence, type="order.paid", **data):
    with transaction.atomic():
        return record(type=type, subject=subject, sequence=sequence, actor=None, data=data)


def due_now():
    SinkOffset.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_each_event_once_and_in_order(add):
    receiver, other = add("one"), add("two")
    for sequence in (1, 2, 3):
        tell("order/a", sequence)
        tell("order/b", sequence)
    assert delivery.send_all() == 12
    assert delivery.send_all() == 0
    for got in (receiver.got, other.got):
        for subject in ("order/a", "order/b"):
            assert [n for name, n in got if name == subject] == [1, 2, 3]
    tell("order/a", 4)
    delivery.send_all()
    assert receiver.got[-1] == ("order/a", 4)
    assert not Event.objects.pending().exists()


def test_a_sink_gets_what_it_wants(add):
    receiver = add(types=frozenset({"order.shipped"}))
    for sequence, kind in enumerate(("created", "paid", "shipped", "delivered"), 1):
        tell("order/a", sequence, f"order.{kind}")
    tell("order/b", 1, "order.created")
    assert delivery.send_all() == 1
    assert receiver.got == [("order/a", 3)]
    assert not SinkOffset.objects.filter(subject="order/b").exists()


def test_what_was_rolled_back_is_never_sent(add):
    receiver = add()
    with pytest.raises(RuntimeError, match="changed my mind"), transaction.atomic():
        record(type="order.paid", subject="order/a", sequence=1, actor=None, data={})
        raise RuntimeError("changed my mind")
    assert delivery.send_all() == 0
    assert receiver.got == []


def test_a_failure_is_tried_again_after_a_pause_and_holds_up_its_subject_alone(add):
    receiver = add()
    tell("order/a", 1)
    receiver.fails = 1
    assert delivery.send_all() == 0
    offset = SinkOffset.objects.get()
    assert (offset.delivered, offset.attempts, offset.error) == (0, 1, "OSError: not now")
    assert timezone.now() < offset.due_at < timezone.now() + timedelta(seconds=5)
    tell("order/a", 2)
    tell("order/b", 1)
    assert delivery.send_all() == 1
    assert receiver.got == [("order/b", 1)]
    due_now()
    delivery.send_all()
    assert receiver.got[1:] == [("order/a", 1), ("order/a", 2)]
    offset = SinkOffset.objects.get(subject="order/a")
    assert (offset.delivered, offset.newest, offset.attempts, offset.error) == (2, 2, 0, "")


def test_pauses_grow_up_to_an_hour():
    for attempts, seconds in ((1, 2), (4, 16), (11, 2048), (12, 3600), (99, 3600)):
        pause = Sink("x", print).pause(attempts).total_seconds()
        assert 0.75 * seconds <= pause <= 1.25 * seconds


def give_up(receiver, subject="order/a"):
    receiver.fails = receiver.sink.attempts
    for _ in range(receiver.sink.attempts):
        delivery.send_all()
        due_now()


def test_what_was_tried_too_often_waits_for_staff_who_try_again(add):
    receiver = add(attempts=3)
    tell("order/a", 1)
    give_up(receiver)
    tell("order/a", 2)
    due_now()
    assert delivery.send_all() == 0
    offset = SinkOffset.objects.dead().get()
    assert (offset.delivered, offset.newest, offset.attempts) == (0, 2, 3)
    assert delivery.try_again(offset.pk)
    assert not delivery.try_again(offset.pk)
    offset.refresh_from_db()
    assert (offset.delivered, offset.attempts, offset.state) == (0, 0, "open")
    # All of its tries are before it again.
    receiver.fails = receiver.sink.attempts - 1
    for _ in range(receiver.sink.attempts - 1):
        delivery.send_all()
        due_now()
    offset.refresh_from_db()
    assert (offset.state, offset.attempts) == ("open", 2)
    delivery.send_all()
    assert receiver.got == [("order/a", 1), ("order/a", 2)]


def test_or_pass_over_the_event(add):
    receiver = add(attempts=2, types=frozenset({"order.shipped"}))
    tell("order/a", 1, "order.created")
    tell("order/a", 2, "order.shipped")
    tell("order/a", 3, "order.shipped")
    give_up(receiver)
    assert delivery.skip(SinkOffset.objects.dead().get().pk)
    assert not delivery.skip(SinkOffset.objects.get().pk)
    offset = SinkOffset.objects.get()
    assert (offset.delivered, offset.attempts, offset.error) == (2, 0, "")
    # What was passed over waits no more.
    assert offset.waiting_since == Event.objects.get(sequence=3).time
    delivery.send_all()
    assert receiver.got == [("order/a", 3)]


def test_what_a_sender_held_when_it_died_is_given_again_with_the_same_id(add):
    receiver = add()
    event = tell("order/a", 1)
    delivery.put_down()
    at = now()
    (held,) = delivery._claim(receiver.sink, at, event.pk)
    assert delivery.send_all() == 0
    assert delivery._claim(receiver.sink, at, event.pk) == []
    (again,) = delivery._claim(receiver.sink, at + delivery.LEASE, event.pk)
    assert (again.pk, again.delivered) == (held.pk, 0)
    assert [e.pk for e in delivery._events_of([again])["order/a"]] == [event.pk]


def test_a_sender_that_lost_its_claim_overwrites_nothing(add):
    receiver = add()
    tell("order/a", 1)
    delivery.put_down()
    stolen = []

    def slow(event):
        if not stolen:
            stolen.append(event)
            due_now()
            delivery.deliver(receiver.sink)
            tell("order/a", 2)
            delivery.put_down()
            delivery.deliver(receiver.sink)

    object.__setattr__(receiver.sink, "deliver", slow)
    delivery.deliver(receiver.sink)
    offset = SinkOffset.objects.get()
    assert (offset.delivered, offset.newest) == (2, 2)


def test_when_time_is_up_the_rest_is_anybodys_again(add, monkeypatch):
    receiver = add()
    for subject in ("order/a", "order/b"):
        tell(subject, 1)
    delivery.put_down()
    monkeypatch.setattr(delivery, "_WORK", -1)
    assert delivery.deliver(receiver.sink) == 0
    monkeypatch.setattr(delivery, "_WORK", 20)
    assert delivery.deliver(receiver.sink) == 2


class Clock:
    """What delivery takes for the time module: it moves when it is told to."""

    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        return self.seconds


def test_delivery_stops_in_the_middle_of_a_subject_when_its_time_is_up(add, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(delivery, "time", clock)
    receiver = add()

    def slow(event):
        receiver.take(event)
        clock.seconds += 8

    object.__setattr__(receiver.sink, "deliver", slow)
    events = [tell("order/a", sequence) for sequence in (1, 2, 3, 4, 5)]
    tell("order/b", 1)
    delivery.put_down()
    # Begun at 0, 8 and 16 seconds; at 24 no more: the claim must not lapse under it.
    assert delivery.deliver(receiver.sink) == 3
    assert receiver.got == [("order/a", 1), ("order/a", 2), ("order/a", 3)]
    cut = SinkOffset.objects.get(subject="order/a")
    assert (cut.delivered, cut.newest, cut.claim) == (3, 5, None)
    assert (cut.attempts, cut.error, cut.waiting_since) == (0, "", events[3].time)
    # Who was not begun comes before who has had a turn.
    rest = SinkOffset.objects.get(subject="order/b")
    assert rest.claim is None and rest.due_at < cut.due_at
    due_now()
    assert delivery.deliver(receiver.sink) == 3
    assert receiver.got[3:] == [("order/a", 4), ("order/a", 5), ("order/b", 1)]


def test_a_claim_outlives_the_slowest_delivery():
    slowest = timedelta(seconds=delivery._WORK + outgoing.SECONDS)
    assert 2 * slowest < delivery.LEASE


@pytest.mark.postgresql
def test_hosts_whose_clocks_are_wrong_take_nothing_from_each_other(add, monkeypatch):
    """What one host holds is held for a host that is an hour ahead, and for one behind.

    All who use an SQLite file are on one host, with one clock.
    """
    receiver = add()
    tell("order/a", 1)
    delivery.put_down()
    delivery._claim(receiver.sink, now(), uuid4())
    real = timezone.now
    for hours in (1, -1):
        with monkeypatch.context() as patch:
            patch.setattr(timezone, "now", lambda h=hours: real() + timedelta(hours=h))
            assert delivery.deliver(receiver.sink) == 0
    assert receiver.got == []
    due_now()
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: real() - timedelta(hours=1))
        assert delivery.deliver(receiver.sink) == 1
    assert abs(SinkOffset.objects.get().due_at - now()) < timedelta(minutes=5)


def test_a_transactional_sink_and_its_note_are_one(add, monkeypatch):
    def leave(event):
        enqueue("shop.prune", unique_key=f"{event.pk}")

    sinks.register(Sink("jobs", leave, transactional=True))
    for subject in ("order/a", "order/b"):
        tell(subject, 1)

    def dies(*args):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_note", dies)
        with pytest.raises(OSError, match="killed"):
            delivery.send_all()
    assert not Job.objects.exists()
    due_now()
    delivery.send_all()
    assert Job.objects.count() == 2


def test_a_transactional_sink_that_lost_its_claim_does_nothing(add, monkeypatch):
    got = []
    sink = Sink("jobs", lambda event: got.append(event.subject), transactional=True)
    sinks.register(sink)
    for subject in ("order/a", "order/b"):
        tell(subject, 1)
    delivery.put_down()
    original = delivery._events_of
    rival = uuid4()

    def lapses(offsets):
        """Another sender claims one of them, before this one has begun."""
        SinkOffset.objects.filter(subject="order/a").update(claim=rival)
        return original(offsets)

    monkeypatch.setattr(delivery, "_events_of", lapses)
    assert delivery.deliver(sink) == 1
    assert got == ["order/b"]
    lost = SinkOffset.objects.get(subject="order/a")
    assert (lost.delivered, lost.newest, lost.claim, lost.attempts) == (0, 1, rival, 0)


def test_what_was_given_up_is_told_with_the_note_or_not_at_all(add, monkeypatch):
    told = []
    sink = Sink("x", add("unused").take, attempts=1, given_up=lambda e, _: told.append(e.subject))

    def refuse(event):
        raise OSError("never")

    object.__setattr__(sink, "deliver", refuse)
    sinks._sinks.clear()
    sinks.register(sink)
    tell("order/a", 1)

    def dies(event, error):
        enqueue("shop.prune", unique_key="told")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sinks, "_sinks", {})
        dying = Sink("x", refuse, attempts=1, given_up=dies)
        sinks.register(dying)
        with pytest.raises(KeyboardInterrupt):
            delivery.send_all()
    # The process died while it told: neither is noted, so it is given and told again.
    assert not Job.objects.exists()
    offset = SinkOffset.objects.get()
    assert (offset.state, offset.attempts) == ("open", 0)
    due_now()
    delivery.send_all()
    assert told == ["order/a"]
    assert SinkOffset.objects.get().state == "dead"


def test_one_that_lost_its_claim_gives_nothing_up(add):
    told = []
    rival = uuid4()

    def refuse(event):
        SinkOffset.objects.update(claim=rival)
        raise OSError("never")

    sinks.register(Sink("x", refuse, attempts=1, given_up=lambda *_: told.append(1)))
    tell("order/a", 1)
    delivery.put_down()
    delivery.deliver(sinks.standing()[0])
    offset = SinkOffset.objects.get()
    assert (told, offset.state, offset.claim, offset.attempts) == ([], "open", rival, 0)


def test_a_failure_in_a_transactional_sink_undoes_its_event_alone(add):
    def leave(event):
        enqueue("shop.prune", unique_key=f"{event.pk}")
        if event.subject == "order/a" and event.sequence == 2:
            raise OSError("not now")

    sinks.register(Sink("jobs", leave, transactional=True))
    for subject in ("order/a", "order/b"):
        for sequence in (1, 2):
            tell(subject, sequence)
    delivery.send_all()
    assert Job.objects.count() == 3
    found = dict(SinkOffset.objects.values_list("subject", "delivered"))
    assert found == {"order/a": 1, "order/b": 2}


def test_passing_over_an_event_of_a_transactional_sink_loses_no_other(add):
    got = []

    def leave(event):
        if event.sequence == 2:
            raise OSError("never")
        got.append(event.sequence)

    sinks.register(Sink("jobs", leave, transactional=True, attempts=2))
    for sequence in (1, 2, 3):
        tell("order/a", sequence)
    for _ in range(2):
        delivery.send_all()
        due_now()
    assert delivery.skip(SinkOffset.objects.dead().get().pk)
    delivery.send_all()
    assert got == [1, 3]


def long_history(subject, events):
    Event.objects.bulk_create(
        Event(type="order.paid", subject=subject, sequence=n, data={}, pending=False)
        for n in range(1, events + 1)
    )
    SinkOffset.objects.create(
        sink="receiver", subject=subject, delivered=events, newest=events,
        due_at=timezone.now(), waiting_since=timezone.now(),
    )  # fmt: skip


def test_a_long_history_holds_up_nobody(add, monkeypatch):
    monkeypatch.setattr(delivery, "_READ", 50)
    receiver = add()
    long_history("order/a", 60)
    tell("order/a", 61)
    tell("order/b", 1)
    delivery.send_all()
    assert sorted(receiver.got) == [("order/a", 61), ("order/b", 1)]


def test_what_there_was_no_time_for_comes_first_and_forgets_no_failure(add, monkeypatch):
    receiver = add(attempts=5)
    tell("order/b", 1)
    receiver.fails = 2
    for _ in range(2):
        delivery.send_all()
        due_now()
    monkeypatch.setattr(delivery, "_READ", 1)
    tell("order/a", 1)
    delivery.put_down()
    due_now()
    delivery.deliver(receiver.sink)
    assert receiver.got == [("order/a", 1)]
    offset = SinkOffset.objects.get(subject="order/b")
    assert (offset.attempts, offset.error) == (2, "OSError: not now")


def test_lag_is_the_age_of_the_oldest_that_waits(add):
    receiver = add()
    assert delivery.lag(timezone.now()) == 0
    event = tell("order/a", 1)
    later = event.time + timedelta(seconds=50)
    assert delivery.lag(later) == 50
    receiver.fails = 1
    delivery.send_all()
    assert delivery.lag(later) == 50
    due_now()
    delivery.send_all()
    assert delivery.lag(later) == 0


def test_waiting_since_is_the_time_of_the_first_that_was_not_taken(add):
    receiver = add(attempts=9)
    first, second = tell("order/a", 1), tell("order/a", 2)
    assert first.time < second.time

    def waits():
        return SinkOffset.objects.get().waiting_since

    receiver.fails = 1
    delivery.send_all()
    assert waits() == first.time
    due_now()

    def one_only(event):
        if event.sequence == 2:
            raise OSError("not now")

    object.__setattr__(receiver.sink, "deliver", one_only)
    delivery.send_all()
    assert waits() == second.time
    object.__setattr__(receiver.sink, "deliver", receiver.take)
    due_now()
    delivery.send_all()
    # At rest; what comes next waits from its own time.
    third = tell("order/a", 3)
    delivery.put_down()
    assert waits() == third.time


def test_what_is_put_down_during_a_delivery_has_not_waited_longer_than_it(add):
    receiver = add()
    old = timezone.now() - timedelta(days=1)
    tell("order/a", 1)
    Event.objects.update(time=old)

    def meanwhile(event):
        if event.sequence == 1:
            tell("order/a", 2)
            delivery.put_down()

    object.__setattr__(receiver.sink, "deliver", meanwhile)
    delivery.put_down()
    began = timezone.now()
    delivery.deliver(receiver.sink)
    offset = SinkOffset.objects.get()
    assert (offset.delivered, offset.newest) == (1, 2)
    assert abs(offset.waiting_since - began) < timedelta(minutes=1)


def test_offsets_long_at_rest_are_pruned_and_begin_anew_where_the_subject_stands(add):
    receiver = add(attempts=1)
    tell("order/a", 1)
    tell("order/b", 1)
    delivery.send_all()
    receiver.fails = 1
    tell("order/b", 2)
    delivery.send_all()
    SinkOffset.objects.update(updated_at=timezone.now() - timedelta(days=400))
    prune()
    assert SinkOffset.objects.get().subject == "order/b"
    tell("order/a", 2)
    delivery.send_all()
    assert receiver.got == [("order/a", 1), ("order/b", 1), ("order/a", 2)]


def test_an_event_is_a_cloud_event(settings):
    settings.EVENT_SOURCE = "https://shop.example"
    event = tell("order/a", 7, "order.paid", amount="1")
    told = cloud_event(event)
    assert told == {
        "specversion": "1.0",
        "id": str(event.pk),
        "type": "order.paid",
        "source": "https://shop.example",
        "subject": "order/a",
        "time": event.time.isoformat(),
        "datacontenttype": "application/json",
        "data": {"amount": "1"},
        "sequence": "7",
        "correlationid": event.correlation_id,
    }


@pytest.mark.parametrize("number", [3, 60])
def test_the_number_of_queries_does_not_grow_with_the_events(
    add, number, django_assert_max_num_queries
):
    add()
    for n in range(number):
        tell(f"order/{n}", 1)
    # In each transaction: savepoint and release, since the test's is the outer one.
    # PostgreSQL is asked for its clock once a step; SQLite's is this host's.
    clock = connection.vendor == "postgresql"
    with django_assert_max_num_queries(7 + clock):
        assert delivery.put_down() == number
    with django_assert_max_num_queries(13 + clock):
        assert delivery.deliver(sinks.registered()[0]) == number


def test_staff_see_what_was_given_up_and_decide(add, client, admin, clerk):
    receiver = add(attempts=1)
    tell("order/a", 1)
    give_up(receiver)
    url = "/admin/shop/sinkoffset/"
    client.force_login(clerk)
    assert client.get(url).status_code == 403
    client.force_login(admin)
    page = client.get(f"{url}?delivery=dead").content.decode()
    assert "OSError: not now" in page
    offset = SinkOffset.objects.get()
    client.post(url, {"action": "try_again", "_selected_action": [offset.pk]})
    assert delivery.send_all() == 1


@pytest.mark.parametrize("action", ["try_again", "skip"])
def test_who_may_only_look_decides_nothing(add, client, action):
    receiver = add(attempts=1)
    tell("order/a", 1)
    give_up(receiver)
    looker = User.objects.create_user("looker", password=None, is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_sinkoffset"))
    client.force_login(looker)
    url = "/admin/shop/sinkoffset/"
    assert client.get(url).status_code == 200
    before = SinkOffset.objects.values().get()
    client.post(url, {"action": action, "_selected_action": [before["id"]]})
    assert SinkOffset.objects.values().get() == before
    assert delivery.send_all() == 0
    looker.user_permissions.add(Permission.objects.get(codename="change_sinkoffset"))
    client.post(url, {"action": action, "_selected_action": [before["id"]]})
    assert SinkOffset.objects.values().get() != before


def test_staff_decide_about_a_bounded_number_at_once(add, client, admin):
    SinkOffset.objects.bulk_create(
        SinkOffset(
            sink="x", subject=f"order/{n}", delivered=0, newest=1, state="dead",
            due_at=timezone.now(), waiting_since=timezone.now(),
        )
        for n in range(bulk.MOST + 1)
    )  # fmt: skip
    client.force_login(admin)
    url = "/admin/shop/sinkoffset/?delivery=dead"
    one = SinkOffset.objects.values_list("pk", flat=True)[0]
    all_of_them = {"select_across": "1", "_selected_action": [one]}
    page = client.post(url, {"action": "skip", **all_of_them}, follow=True).content.decode()
    assert str(bulk.MOST) in page
    assert SinkOffset.objects.dead().count() == bulk.MOST + 1
    SinkOffset.objects.filter(pk=one).delete()
    other = SinkOffset.objects.values_list("pk", flat=True)[0]
    client.post(url, {"action": "skip", **all_of_them, "_selected_action": [other]})
    assert SinkOffset.objects.dead().count() == 0


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
class TestRivals:
    """Real threads on PostgreSQL."""

    def test_an_event_that_commits_late_is_found(self, add):
        receiver = add()
        began, may_end = threading.Event(), threading.Event()

        def slow():
            with transaction.atomic():
                record(type="x", subject="order/slow", sequence=1, actor=None, data={})
                began.set()
                may_end.wait(20)
            connection.close()

        thread = threading.Thread(target=slow)
        thread.start()
        began.wait(20)
        for n in range(3):
            tell(f"order/{n}", 1)
        assert delivery.send_all() == 3
        may_end.set()
        thread.join()
        assert delivery.send_all() == 1
        assert receiver.got[-1] == ("order/slow", 1)

    def test_two_that_put_down_lose_no_event_of_a_subject(self, add):
        """The second event must not be put down while the first is in another's hands."""
        receiver = add()
        tell("order/a", 1)
        inside, go_on = threading.Event(), threading.Event()
        original = delivery._want

        def stop_here(wanted):
            inside.set()
            go_on.wait(20)
            original(wanted)

        def first():
            try:
                with transaction.atomic():
                    delivery._put_down()
            finally:
                connection.close()

        delivery._want = stop_here
        try:
            thread = threading.Thread(target=first)
            thread.start()
            inside.wait(20)
            delivery._want = original
            tell("order/a", 2)
            second = ThreadPoolExecutor(1)
            rival = second.submit(lambda: (delivery.put_down(), connection.close()))
            go_on.set()
            thread.join()
            rival.result(20)
        finally:
            delivery._want = original
        delivery.send_all()
        assert receiver.got == [("order/a", 1), ("order/a", 2)]

    def test_many_senders_claim_nothing_twice(self, add):
        receivers = [add("one"), add("two")]
        for n in range(40):
            for sequence in (1, 2, 3):
                tell(f"order/{n}", sequence)

        def send(_):
            try:
                return delivery.send_all()
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            sent = sum(pool.map(send, range(4)))
        delivery.send_all()
        assert sent == 240
        for receiver in receivers:
            assert len(receiver.got) == 120
            for n in range(40):
                assert [s for name, s in receiver.got if name == f"order/{n}"] == [1, 2, 3]
