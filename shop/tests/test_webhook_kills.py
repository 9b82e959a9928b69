"""Senders of webhooks that are killed at the worst moments: each event arrives, under its id."""

import signal
import subprocess
import sys
from collections import Counter

import pytest

from shop.events import sinks
from shop.events.models import Event, SinkOffset
from shop.outgoing import new_secret
from shop.tests.receiver import Receiver
from shop.tests.test_sender import all_told, expire_claims, of_the_test, tell, wait_for
from shop.tests.webhook_process import POINTS
from shop.webhooks.models import Attempt, Webhook

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECTS, EACH = 5, 3


@pytest.fixture
def receiver():
    made = Receiver()
    Webhook.objects.create(name="books", url=made.url, secret=new_secret())
    yield made
    made.close()
    sinks.forget()


@pytest.fixture
def start():
    """Start a sender; it dies where it is told to."""
    running = []

    def go(*kill):
        process = subprocess.Popen(
            [sys.executable, "-m", "shop.tests.webhook_process", *map(str, kill)],
            env=of_the_test(),
        )
        running.append(process)
        return process

    yield go
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def noted():
    """Return how far the sink has got in each subject, as the database has it."""
    return dict(SinkOffset.objects.values_list("subject", "delivered"))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_post(start, receiver, point):
    tell(range(1, EACH + 1), SUBJECTS)
    deaths = []
    for number in (1, 4):
        posted = len(receiver.got)
        process = start(point, number)
        process.wait(60)
        assert process.returncode == -signal.SIGKILL
        # The receiver's thread may still be writing down what it has answered.
        expected = number - (point == "before")
        wait_for(lambda n=posted + expected: len(receiver.got) == n)
        rows = Attempt.objects.count()
        deaths.append((receiver.sequences[posted:], noted(), rows))
        expire_claims()
    start()
    wait_for(all_told)

    # Every one, in order within its subject, under its one id.
    ids = {(e.subject, e.sequence): str(e.pk) for e in Event.objects.all()}
    assert set(receiver.sequences) == set(ids)
    for key, (headers, _body) in zip(receiver.sequences, receiver.got, strict=True):
        assert headers["webhook-id"] == ids[key]
    for subject in {subject for subject, _sequence in ids}:
        seen = [sequence for found, sequence in receiver.sequences if found == subject]
        first = list(dict.fromkeys(seen))
        assert first == sorted(first)

    # Twice came just what a sender gave and did not live to note.
    lost = Counter(
        key for given, offsets, _rows in deaths for key in given if key[1] > offsets[key[0]]
    )
    doubles = Counter(receiver.sequences) - Counter(ids.keys())
    assert doubles == lost
    if point != "before":
        assert lost
    # The log has each post but those between whose answer and row somebody died.
    untold = len(deaths) if point == "answered" else 0
    assert Attempt.objects.count() == len(receiver.got) - untold


def test_two_that_are_not_killed_post_each_event_once(start, receiver):
    tell(range(1, EACH + 1), SUBJECTS)
    start()
    start()
    wait_for(all_told)
    assert len(receiver.got) == SUBJECTS * EACH
    assert len(set(receiver.sequences)) == SUBJECTS * EACH
