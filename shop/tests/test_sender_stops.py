"""A sender that is told to stop breaks off: what was given is noted, the rest is free at once."""

import socket
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings

from shop import outgoing
from shop.events import delivery, sinks
from shop.events.models import SinkOffset
from shop.events.sender import Sender
from shop.events.sinks import Sink
from shop.tests.receiver import Receiver, drip
from shop.tests.test_sender import all_told, of_the_test, tell, wait_for
from shop.webhooks.models import Webhook

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECTS = 60


@pytest.fixture
def receiver(monkeypatch):
    """A webhook, and no other sink."""
    monkeypatch.setattr(sinks, "_sinks", {})
    made = Receiver()
    Webhook.objects.create(name="books", url=made.url, secret=outgoing.new_secret())
    sinks.forget()
    yield made
    made.close()
    sinks.forget()


def drip_to_the_end(link):
    """Take a third of a second over each answer."""
    for byte in b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n":
        link.sendall(bytes([byte]))
        time.sleep(0.01)


def claims():
    return SinkOffset.objects.filter(claim__isnull=False).count()


def noted():
    return set(SinkOffset.objects.filter(delivered=1).values_list("subject", flat=True))


def test_a_process_breaks_off_the_batch_of_a_slow_receiver(receiver):
    receiver.answers = [drip_to_the_end]
    tell([1], SUBJECTS)

    def start():
        return subprocess.Popen(
            [sys.executable, "manage.py", "send_events"],
            cwd=settings.BASE_DIR, env=of_the_test(), stdout=subprocess.DEVNULL,
        )  # fmt: skip

    process = start()
    try:
        wait_for(lambda: len(receiver.got) >= 2)
        assert claims() >= SUBJECTS - 2
        process.terminate()
        before = len(receiver.got)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(30)
    given = {subject for subject, _sequence in receiver.sequences}
    # The one under way, and what was begun before the signal was heard.
    assert len(receiver.got) == len(given) <= before + 10
    assert noted() == given
    assert claims() == 0
    receiver.answers = [b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n"]
    process = start()
    try:
        wait_for(all_told)
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert len(receiver.got) == len(set(receiver.sequences)) == SUBJECTS


def test_one_that_drips_for_ever_holds_up_the_end_until_the_deadline_alone(receiver, monkeypatch):
    monkeypatch.setattr(outgoing, "SECONDS", 1.0)
    receiver.answers = [drip]
    tell([1], SUBJECTS)
    sender = Sender()
    sender.start()
    try:
        wait_for(lambda: receiver.got)
    finally:
        sender.stop(30)
    assert not any(thread.is_alive() for thread in sender._threads)
    assert len(receiver.got) == 1
    assert (noted(), claims()) == (set(), 0)


def test_a_sender_waits_no_longer_than_it_is_told_to(receiver):
    may_end = threading.Event()
    receiver.answers = [lambda link: may_end.wait(60)]
    tell([1], SUBJECTS)
    sender = Sender()
    sender.start()
    try:
        wait_for(lambda: receiver.got)
        sender.stop(0.2)
        late = [thread for thread in sender._threads if thread.is_alive()]
        # The end of the process does not wait for them either.
        assert late and all(thread.daemon for thread in late)
    finally:
        may_end.set()
        sender.stop(60)
    assert claims() == 0


def test_the_events_of_one_subject_are_broken_off_as_well(monkeypatch):
    got = []
    sink = Sink("slow", lambda event: got.append(event.sequence))
    monkeypatch.setattr(sinks, "_sinks", {"slow": sink})
    tell([1, 2, 3, 4], subjects=1)
    delivery.put_down()
    assert delivery.deliver(sink, lambda: len(got) == 2) == 2
    offset = SinkOffset.objects.get(sink="slow")
    assert (got, offset.delivered, offset.claim) == ([1, 2], 2, None)
    wait_for(lambda: delivery.deliver(sink))
    assert got == [1, 2, 3, 4]


def test_a_silent_name_server_holds_up_nobody_beyond_the_deadline(monkeypatch):
    monkeypatch.setattr(outgoing, "SECONDS", 0.3)
    may_answer = threading.Event()

    def silent(*args, **kwargs):
        may_answer.wait(60)
        raise socket.gaierror("no such host")

    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(outgoing.socket, "getaddrinfo", silent)
        with pytest.raises(TimeoutError):
            outgoing.post("http://silent.example/", b"{}", {})
    assert time.monotonic() - began < 30
    may_answer.set()
