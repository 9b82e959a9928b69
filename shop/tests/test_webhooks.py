"""Webhooks: signed, in order, tried again over a day, and no receiver can harm the shop."""

import json
import socket
import time
from datetime import timedelta

import pytest
import standardwebhooks
from django.contrib.auth.models import Group
from django.core import mail
from django.db import transaction
from django.utils import timezone

from monitoring import health, system
from shop import outgoing
from shop.accounts.models import User
from shop.events import delivery, sinks
from shop.events.models import Event, SinkOffset
from shop.events.record import record
from shop.events.sender import Sender
from shop.jobs.housekeeping import prune
from shop.jobs.models import Job
from shop.jobs.queue import run
from shop.tests.receiver import Receiver, answer, drip, flood, hang
from shop.webhooks import sending
from shop.webhooks.models import Attempt, Webhook

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def only_webhooks(monkeypatch):
    monkeypatch.setattr(sinks, "_sinks", {})
    sinks.forget()
    yield
    sinks.forget()


@pytest.fixture
def receive():
    made = []

    def go():
        made.append(Receiver())
        return made[-1]

    yield go
    for receiver in made:
        receiver.close()


def subscribe(receiver, **fields):
    webhook = Webhook.objects.create(
        **{"name": "books", "url": receiver.url, "secret": outgoing.new_secret(), **fields}
    )
    sinks.forget()
    return webhook


def tell(subject, sequence, type="order.paid"):
    with transaction.atomic():
        return record(type=type, subject=subject, sequence=sequence, actor=None, data={})


def due_now():
    SinkOffset.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    Webhook.objects.filter(paused_until__isnull=False).update(paused_until=timezone.now())
    sinks.forget()


def run_jobs():
    for pk in Job.objects.filter(state="queued").values_list("pk", flat=True):
        run(pk)


def accepts(secret, headers, body):
    """Whether the reference library of Standard Webhooks takes it, as a receiver would."""
    try:
        standardwebhooks.Webhook(secret).verify(body, headers)
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


def test_what_arrives_is_the_signed_cloud_event_and_the_log_tells(receive):
    receiver = receive()
    webhook = subscribe(receiver)
    event = tell("order/a", 1)
    assert delivery.send_all() == 1
    ((headers, body),) = receiver.got
    assert json.loads(body) == json.loads(json.dumps(sinks.cloud_event(event)))
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-id"] == str(event.pk)
    assert accepts(webhook.secret, headers, body)
    row = Attempt.objects.get()
    assert (row.event_id, row.number, row.status, row.taken) == (event.pk, 1, 204, True)
    assert row.body == body.decode()
    assert row.headers["webhook-id"] == str(event.pk)
    assert webhook.secret not in json.dumps(row.headers)


def test_a_wrong_old_or_altered_message_is_refused(receive):
    receiver = receive()
    webhook = subscribe(receiver)
    tell("order/a", 1)
    delivery.send_all()
    ((headers, body),) = receiver.got
    assert not accepts(outgoing.new_secret(), headers, body)
    assert not accepts(webhook.secret, headers, body + b" ")
    assert not accepts(webhook.secret, {**headers, "webhook-id": "other"}, body)
    stranger = Webhook(secret=outgoing.new_secret())
    forged = sending.signatures(
        stranger, headers["webhook-id"], int(headers["webhook-timestamp"]), body
    )
    assert not accepts(webhook.secret, {**headers, "webhook-signature": forged}, body)
    # Another time is another signature, and an old one is refused with its right one.
    for seconds, taken in ((0, True), (-200, True), (-400, False), (400, False)):
        timestamp = int(time.time()) + seconds
        moved = {**headers, "webhook-timestamp": str(timestamp)}
        assert not seconds or not accepts(webhook.secret, moved, body)
        moved["webhook-signature"] = sending.signatures(
            webhook, headers["webhook-id"], timestamp, body
        )
        assert accepts(webhook.secret, moved, body) is taken


def test_we_sign_as_the_reference_library_does():
    secret, body, moment = outgoing.new_secret(), '{"name": "노트북"}'.encode(), timezone.now()
    reference = standardwebhooks.Webhook(secret).sign("msg_1", moment, body.decode())
    assert outgoing.sign(secret, "msg_1", int(moment.timestamp()), body) == reference


def test_after_rotation_both_secrets_sign_until_the_old_one_ends(receive):
    receiver = receive()
    webhook = subscribe(receiver)
    old, new = webhook.secret, sending.rotate_secret(webhook, hours=24)
    tell("order/a", 1)
    delivery.send_all()
    headers, body = receiver.got[-1]
    assert old != new
    assert accepts(old, headers, body) and accepts(new, headers, body)
    Webhook.objects.update(previous_until=timezone.now())
    tell("order/a", 2)
    delivery.send_all()
    headers, body = receiver.got[-1]
    assert accepts(new, headers, body) and not accepts(old, headers, body)


def test_types_are_filtered(receive):
    receiver = receive()
    subscribe(receiver, types=["order.shipped"])
    tell("order/a", 1, "order.created")
    tell("order/a", 2, "order.shipped")
    delivery.send_all()
    assert receiver.sequences == [("order/a", 2)]


def test_a_500_is_tried_again_with_the_same_id_and_holds_up_its_subject_alone(receive):
    receiver = receive()
    receiver.answers = [answer(500), answer(204)]
    subscribe(receiver)
    for sequence in (1, 2):
        tell("order/a", sequence)
    delivery.put_down()
    tell("order/b", 1)
    delivery.send_all()
    assert receiver.sequences == [("order/a", 1), ("order/b", 1)]
    due_now()
    delivery.send_all()
    assert receiver.sequences[2:] == [("order/a", 1), ("order/a", 2)]
    assert receiver.got[0][0]["webhook-id"] == receiver.got[2][0]["webhook-id"]
    assert list(Attempt.objects.order_by("pk").values_list("number", "status")) == [
        (1, 500), (1, 204), (2, 204), (1, 204),
    ]  # fmt: skip


def test_pauses_cover_about_a_day(receive):
    subscribe(receive())
    (sink,) = sinks.registered()
    total = sum(sink.pause(n).total_seconds() for n in range(1, sink.attempts))
    assert 18 * 3600 < total < 36 * 3600
    assert sink.pause(1).total_seconds() < 7


def test_after_the_last_try_it_is_switched_off_and_staff_are_told_once(receive, admin):
    User.objects.filter(pk=admin.pk).update(email="admin@example.com")
    porter = User.objects.create_user("ops", email="ops@example.com", is_staff=True)
    porter.groups.add(Group.objects.get(name="Operations"))
    User.objects.create_user("other", email="other@example.com", is_staff=True)
    receiver = receive()
    receiver.answers = [answer(500)]
    webhook = subscribe(receiver)
    for subject in ("order/a", "order/b"):
        tell(subject, 1)
    for _ in range(len(sending.PAUSES) + 2):
        delivery.send_all()
        due_now()
    webhook.refresh_from_db()
    assert not webhook.enabled
    assert "500" in webhook.reason and webhook.switched_off_at and webhook.failing_since
    assert SinkOffset.objects.dead().exists()
    run_jobs()
    assert sorted(message.to[0] for message in mail.outbox) == [
        "admin@example.com",
        "ops@example.com",
    ]
    assert "books" in mail.outbox[0].subject
    got = len(receiver.got)
    due_now()
    delivery.send_all()
    assert len(receiver.got) == got
    tomorrow = timezone.now() + timedelta(days=1)
    assert (delivery.lag(tomorrow), delivery.passing_lag(tomorrow)) == (0, 0)


def test_410_switches_off_at_once(receive):
    receiver = receive()
    receiver.answers = [answer(410)]
    webhook = subscribe(receiver)
    for subject in ("order/a", "order/b"):
        tell(subject, 1)
    delivery.send_all()
    webhook.refresh_from_db()
    assert not webhook.enabled and "410" in webhook.reason
    assert len(receiver.got) == 1


def test_what_happens_while_it_is_off_is_not_sent_later(receive):
    receiver = receive()
    webhook = subscribe(receiver)
    tell("order/a", 1)
    delivery.send_all()
    sending.switch_off(webhook, "by hand")
    tell("order/a", 2)
    assert delivery.send_all() == 0
    assert sending.switch_on(webhook) and not sending.switch_on(webhook)
    tell("order/a", 3)
    delivery.send_all()
    assert receiver.sequences == [("order/a", 1), ("order/a", 3)]


def test_one_that_is_down_costs_one_try_and_others_go_on(receive):
    dead, well = receive(), receive()
    dead.close()
    webhook = subscribe(dead, name="dead")
    subscribe(well, name="well")
    for n in range(20):
        tell(f"order/{n}", 1)
    delivery.send_all()
    assert len(well.got) == 20
    (row,) = webhook.attempts.all()
    assert row.status is None and "ConnectError" in row.error
    tell("order/new", 1)
    delivery.send_all()
    assert webhook.attempts.count() == 1
    waits = SinkOffset.objects.filter(sink=webhook.sink, due_at__gt=timezone.now())
    assert waits.count() == 20
    due_now()
    delivery.send_all()
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.attempts.count()) == (2, 2)
    assert webhook.paused_until > timezone.now() + timedelta(seconds=20)


def test_one_that_is_down_is_no_trouble_of_the_shops(receive):
    dead = receive()
    dead.close()
    subscribe(dead)
    event = tell("order/a", 1)
    later = event.time + timedelta(hours=1)
    # Until it is put down, it waits for us.
    assert (delivery.lag(later), delivery.passing_lag(later)) == (3600, 0)
    delivery.send_all()
    assert (delivery.lag(later), delivery.passing_lag(later)) == (0, 3600)
    Event.objects.update(time=timezone.now() - timedelta(hours=1))
    SinkOffset.objects.update(waiting_since=timezone.now() - timedelta(hours=1))
    readings = system.read_events()
    assert readings["event.lag"] == 0
    assert 3600 <= readings["webhook.lag"] < 3700
    assert health._check_events() == "ok"


def test_one_that_stays_down_is_switched_off_and_one_that_comes_back_is_forgiven(receive):
    gone = receive()
    gone.close()
    webhook = subscribe(gone)
    tell("order/a", 1)
    for _ in range(len(sending.PAUSES) + 1):
        delivery.send_all()
        due_now()
    webhook.refresh_from_db()
    assert not webhook.enabled and "ConnectError" in webhook.reason
    sending.switch_on(webhook)
    Webhook.objects.update(failures=3, failing_since=timezone.now(), url=receive().url)
    sinks.forget()
    tell("order/a", 2)
    assert delivery.send_all() == 1
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.failing_since, webhook.paused_until) == (0, None, None)


@pytest.mark.parametrize("harm", [hang, drip])
def test_one_that_hangs_or_drips_is_given_up_in_bounded_time(receive, monkeypatch, harm):
    monkeypatch.setattr(outgoing, "SECONDS", 0.4)
    receiver = receive()
    receiver.answers = [harm]
    webhook = subscribe(receiver)
    for n in range(5):
        tell(f"order/{n}", 1)
    delivery.send_all()
    (row,) = webhook.attempts.all()
    assert row.status is None and "TimeoutError" in row.error
    assert 400 <= row.milliseconds < 5000


def test_of_a_gigabyte_only_the_beginning_is_read(receive):
    receiver = receive()
    receiver.answers = [flood]
    subscribe(receiver)
    tell("order/a", 1)
    delivery.send_all()
    row = Attempt.objects.get()
    assert (row.status, len(row.answer)) == (200, outgoing.ANSWER)


def test_a_redirect_is_not_followed(receive):
    inside, receiver = receive(), receive()
    receiver.answers = [answer(307, f"Location: {inside.url}")]
    subscribe(receiver)
    tell("order/a", 1)
    delivery.send_all()
    assert Attempt.objects.get().status == 307
    assert inside.got == []


def test_an_address_inside_is_never_connected_to(receive, settings):
    settings.PRIVATE_TARGETS = False
    receiver = receive()
    subscribe(receiver)
    tell("order/a", 1)
    delivery.send_all()
    assert "inside our own network" in Attempt.objects.get().error
    assert receiver.got == []


def test_a_name_that_changes_after_the_check_changes_nothing(receive, monkeypatch):
    receiver = receive()
    port = receiver.server.getsockname()[1]
    asked = []

    def lookup(host, *args, **kwargs):
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    subscribe(receiver, url=f"http://hook.example:{port}/")
    tell("order/a", 1)
    with monkeypatch.context() as patch:
        patch.setattr(outgoing.socket, "getaddrinfo", lookup)
        webhook = Webhook.objects.get()
        assert sending.attempt(webhook, Event.objects.get()).taken
    assert asked == ["hook.example"]


def test_attempts_and_positions_of_what_is_gone_are_pruned(receive):
    webhook = subscribe(receive())
    tell("order/a", 1)
    delivery.put_down()
    sending.attempt(webhook, Event.objects.get())
    long_ago = timezone.now() - timedelta(days=400)
    Attempt.objects.update(time=long_ago)
    SinkOffset.objects.update(updated_at=long_ago)
    prune()
    assert not Attempt.objects.exists()
    assert SinkOffset.objects.count() == 1
    webhook.delete()
    sinks.forget()
    prune()
    assert not SinkOffset.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_sender_serves_webhooks_that_come_and_go(receive):
    """In order within each subject, and nothing twice, however many share the threads."""
    receivers = [receive() for _ in range(10)]
    sender = Sender()
    sender.start()
    try:
        hooks = [subscribe(receiver, name=str(n)) for n, receiver in enumerate(receivers)]
        for sequence in (1, 2, 3):
            for n in range(3):
                tell(f"order/{n}", sequence)
        wait_for(lambda: all(len(receiver.got) == 9 for receiver in receivers))
        wait_for(lambda: not SinkOffset.objects.behind().exists())
        hooks[0].delete()
        sinks.forget()
        tell("order/0", 4)
        wait_for(lambda: all(len(receiver.got) == 10 for receiver in receivers[1:]))
        wait_for(lambda: not SinkOffset.objects.behind().exists())
    finally:
        sender.stop(30)
    assert len(receivers[0].got) == 9
    for receiver in receivers[1:]:
        for subject in ("order/0", "order/1", "order/2"):
            seen = [n for name, n in receiver.sequences if name == subject]
            assert seen == sorted(set(seen))


def wait_for(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")
