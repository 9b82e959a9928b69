"""The clock goes on from the rows, whatever became of the last one."""

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from shop.celery import PERIODIC, app
from shop.jobs import queue
from shop.jobs.clock import Clock
from shop.jobs.models import Job
from shop.tests.running import database_url

# It closes connections, as processes that live long do.
pytestmark = pytest.mark.django_db(transaction=True)

NO_BROKER = "amqp://guest:guest@127.0.0.1:1//"


@pytest.fixture
def sent(monkeypatch):
    """Messages that the clock has sent."""
    names = []
    monkeypatch.setattr(
        app.tasks["shop.sample"], "apply_async", lambda *_, **options: names.append(options)
    )
    return names


def ring(clock):
    """Let the clock do all that is due now."""
    for _ in range(20):
        if clock.tick() > 0:
            return
    raise AssertionError("it rings without end")


def wanted():
    return sorted(Job.objects.values_list("task", flat=True))


def test_what_was_never_wanted_is_wanted_at_once_and_then_in_its_time(sent):
    clock = Clock(app)
    ring(clock)
    assert wanted() == sorted(PERIODIC)
    ring(clock)
    assert wanted() == sorted(PERIODIC)


def test_a_new_clock_goes_on_where_the_last_one_was(sent):
    ring(Clock(app))
    Job.objects.update(state="finished")
    ring(Clock(app))
    assert wanted() == sorted(PERIODIC)
    # The minute is over; the hour is not.
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    ring(Clock(app))
    assert wanted() == sorted([*PERIODIC, "orders.cancel_unpaid"])


def test_what_still_waits_is_not_wanted_twice(sent):
    ring(Clock(app))
    Job.objects.update(created_at=timezone.now() - timedelta(days=1))
    ring(Clock(app))
    assert wanted() == sorted(PERIODIC)


def test_a_row_from_the_future_stops_nothing(sent):
    """The computer's clock was put back."""
    ring(Clock(app))
    Job.objects.update(state="finished", created_at=timezone.now() + timedelta(days=300))
    clock = Clock(app)
    for name, seconds in PERIODIC.items():
        due = clock.schedule[name].is_due()
        assert 0 < due.next <= seconds


def test_a_job_that_could_not_be_added_is_due_again_soon(sent, monkeypatch):
    def away(*_, **__):
        raise OperationalError("gone")

    clock = Clock(app)
    with monkeypatch.context() as patch:
        patch.setattr(queue, "enqueue", away)
        ring(clock)
    assert wanted() == []
    for name in PERIODIC:
        assert clock.schedule[name].is_due().next <= 5
        clock.schedule[name].last_run_at -= timedelta(seconds=6)
    clock._heap = None
    ring(clock)
    assert wanted() == sorted(PERIODIC)


def test_a_broker_that_says_nothing_holds_up_no_job(monkeypatch):
    tried, end = [], threading.Event()

    def hang(*_, **options):
        tried.append(options["confirm_timeout"])
        end.wait(60)

    monkeypatch.setattr(app.tasks["shop.sample"], "apply_async", hang)
    clock = Clock(app)
    clock.schedule["sample"].last_run_at -= timedelta(hours=1)
    ring(clock)
    assert wanted() == sorted(PERIODIC)
    # And the next message does not queue up behind the one that hangs.
    clock.schedule["sample"].last_run_at -= timedelta(hours=1)
    clock._heap = None
    ring(clock)
    end.set()
    clock._threads["sample"].join(60)
    assert tried == [5.0]


@pytest.mark.parametrize("ending", ["", ".dat", ".dir", ".db"])
def test_a_clock_starts_without_a_broker_and_beside_a_torn_schedule(tmp_path, ending):
    """Celery's own would read such a file, and end."""
    (tmp_path / f"celerybeat-schedule{ending}").write_bytes(os.urandom(700))
    with (tmp_path / "log").open("wb") as log:
        clock = subprocess.Popen(
            [sys.executable, "-m", "celery", "--quiet", "-A", "shop", "beat", "--pidfile="],
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "DATA_DIR": str(tmp_path),
                "CELERY_BROKER_URL": NO_BROKER,
            },
            cwd=settings.BASE_DIR,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while wanted() != sorted(PERIODIC):
            assert clock.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        clock.kill()
        clock.wait()
