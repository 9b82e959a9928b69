"""Senders that are killed at the worst moments: every event arrives, under its one id."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from shop.events import sinks
from shop.events.models import Event, SinkOffset
from shop.events.record import record

pytestmark = pytest.mark.django_db(transaction=True)

SINKS = ("webhook", "broker", "mail")


def of_the_test():
    """Return the environment in which a process works on the test's database."""
    name = str(connection.settings_dict["NAME"])
    url = f"sqlite:///{name}"
    if connection.vendor == "postgresql":
        url = f"{settings.DATABASE_URL.rsplit('/', 1)[0]}/{name}"
    return {**os.environ, "DATABASE_URL": url, "DATA_DIR": str(settings.DATA_DIR)}


@pytest.fixture
def start(tmp_path):
    """Start a sender whose sinks write into files; `kill` says after how many lines it dies."""
    running = []

    def go(**kill):
        for name, lines in kill.items():
            (tmp_path / f"kill-{name}").write_text(str(lines))
        process = subprocess.Popen(
            [sys.executable, "-m", "shop.tests.sender_process", str(tmp_path), *SINKS],
            env=of_the_test(),
        )
        running.append(process)
        return process

    yield go
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def lines(tmp_path, name):
    file = tmp_path / name
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def expire_claims():
    """What a dead sender held is given again when its claim has ended."""
    SinkOffset.objects.filter(claim__isnull=False).update(
        due_at=timezone.now() - timedelta(seconds=1)
    )


def all_told():
    # In this order: what is put down between the two looks is behind by then.
    pending = Event.objects.pending().exists()
    return not pending and not SinkOffset.objects.behind().exists()


def wait_for(true):
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def tell(sequences, subjects=10):
    for sequence in sequences:
        for n in range(subjects):
            with transaction.atomic():
                record(
                    type="order.paid", subject=f"order/{n}", sequence=sequence, actor=None, data={}
                )


def in_order_and_complete(tmp_path, deaths):
    """Each sink has had every event, in order within its subject, under the one id."""
    ids = {(e.subject, str(e.sequence)): str(e.pk) for e in Event.objects.all()}
    for name in SINKS:
        got = lines(tmp_path, name)
        assert {(subject, sequence) for _pk, subject, sequence in got} == set(ids)
        assert all(ids[subject, sequence] == pk for pk, subject, sequence in got)
        for subject in {subject for subject, _sequence in ids}:
            seen = [int(sequence) for _pk, found, sequence in got if found == subject]
            first = list(dict.fromkeys(seen))
            assert first == sorted(first)
        if not deaths:
            assert len(got) == len(ids)


def test_nothing_is_doubled_where_nobody_dies(start, tmp_path):
    tell(range(1, 4))
    start()
    start()
    wait_for(all_told)
    in_order_and_complete(tmp_path, deaths=False)


def test_killed_between_sending_and_noting(start, tmp_path):
    for n, kill in enumerate(({"webhook": 1}, {"broker": 7}, {"mail": 3})):
        tell(range(2 * n + 1, 2 * n + 3))
        process = start(**kill)
        process.wait(60)
        assert process.returncode == -signal.SIGKILL
        expire_claims()
    start()
    wait_for(all_told)
    in_order_and_complete(tmp_path, deaths=True)


_COMMIT_AND_DIE = """
import os, signal
import django
django.setup()
from django.db import transaction
from shop.events.record import record
with transaction.atomic():
    # Before whatever record() has to do after the commit.
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    record(type="order.paid", subject="order/0", sequence=1, actor=None, data={})
"""


def test_killed_right_after_the_commit(start, tmp_path):
    died = subprocess.run(
        [sys.executable, "-c", _COMMIT_AND_DIE],
        env={**of_the_test(), "DJANGO_SETTINGS_MODULE": "shop.settings"},
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    start()
    wait_for(lambda: len(lines(tmp_path, "mail")) == 1)
    wait_for(all_told)
    in_order_and_complete(tmp_path, deaths=False)


def test_the_command_sends_until_it_is_told_to_stop(monkeypatch):
    from orders.mail import SINK

    monkeypatch.setattr(sinks, "_sinks", {SINK.name: SINK})
    tell([1], subjects=1)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "send_events"],
        cwd=settings.BASE_DIR,
        env=of_the_test(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "Sending events to: mail.\n"
        wait_for(all_told)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
