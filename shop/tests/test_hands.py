"""The threads of a worker: what they take, how they live and how they stop."""

import threading
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.utils import timezone

from shop.jobs import hands, queue
from shop.jobs.hands import Hands
from shop.jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)

BOTH = ("default", "long")


@pytest.fixture
def start(monkeypatch):
    """Start hands; they are stopped in the end."""
    running = []
    monkeypatch.setattr(hands, "PULSE", 0.05)
    monkeypatch.setattr(queue, "_wake", None)

    def go(queues=BOTH, number=3, **options):
        made = Hands(queues, number, **options)
        made.start()
        running.append(made)
        return made

    yield go
    for made in running:
        made.stop(30)


@pytest.fixture
def register(monkeypatch):
    def add(name, function, lane="default", attempts=5):
        monkeypatch.setitem(queue._registry, name, queue._Registered(function, lane, attempts))

    return add


def wait_for(true):
    for _ in range(1000):
        if true():
            return
        time.sleep(0.03)
    raise AssertionError(list(Job.objects.values_list("task", "state", "error")))


def states(task):
    return sorted(Job.objects.filter(task=task).values_list("state", flat=True))


def test_long_work_takes_one_of_the_hands_and_holds_up_nothing(start, register):
    end = threading.Event()
    register("test.long", lambda: end.wait(30) and None, "long")
    register("test.short", lambda: None)
    for _ in range(3):
        queue.enqueue("test.long")
    start()
    wait_for(lambda: states("test.long") == ["queued", "queued", "running"])
    for _ in range(5):
        queue.enqueue("test.short")
    wait_for(lambda: states("test.short") == ["finished"] * 5)
    assert states("test.long") == ["queued", "queued", "running"]
    end.set()
    wait_for(lambda: states("test.long") == ["finished"] * 3)


def test_long_work_gets_its_hand_however_much_short_work_there_is(start, register):
    done = []

    def short():
        done.append("short")
        # There is always one more.
        if "long" not in done:
            queue.enqueue("test.short")

    register("test.short", short)
    register("test.long", lambda: done.append("long"), "long")
    for _ in range(20):
        queue.enqueue("test.short")
    start()
    wait_for(lambda: len(done) > 20)
    queue.enqueue("test.long")
    wait_for(lambda: states("test.long") == ["finished"])
    wait_for(lambda: set(states("test.short")) == {"finished"})


def test_one_hand_for_both_does_short_work_first(start, register):
    done = []
    register("test.short", lambda: done.append("short"))
    register("test.long", lambda: done.append("long"), "long")
    for name in ("test.long", "test.long", "test.short"):
        queue.enqueue(name)
    start(number=1)
    wait_for(lambda: len(done) == 3)
    assert done == ["short", "long", "long"]


def test_hands_take_what_is_of_their_queues(start, register):
    register("test.long", lambda: None, "long")
    register("test.short", lambda: None)
    queue.enqueue("test.long")
    queue.enqueue("test.short")
    start(["default"], 1)
    wait_for(lambda: states("test.short") == ["finished"])
    assert states("test.long") == ["queued"]


def test_a_wake_in_the_process_is_heard(start, register, monkeypatch):
    """They would not look by themselves before the test is over."""
    monkeypatch.setattr(hands, "LOOK", 3600)
    register("test.short", lambda: None)
    start()
    queue.leave("test.short")
    wait_for(lambda: states("test.short") == ["finished"])


def test_a_lease_is_renewed_for_as_long_as_its_job_runs(start, register):
    end = threading.Event()
    register("test.short", lambda: end.wait(30) and None)
    job = queue.enqueue("test.short")
    start(number=1)
    wait_for(lambda: states("test.short") == ["running"])
    past = timezone.now() - timedelta(seconds=1)
    for _ in range(3):
        Job.objects.filter(pk=job.pk).update(lease_until=past + timedelta(hours=1))
        wait_for(lambda: Job.objects.get().lease_until < past + timedelta(minutes=1))
    end.set()
    wait_for(lambda: states("test.short") == ["finished"])
    assert Job.objects.get().attempts == 1


def test_what_a_dead_worker_ran_is_taken_back(start, register):
    register("test.short", lambda: None)
    Job.objects.create(
        task="test.short",
        state="running",
        attempts=1,
        claim=uuid4(),
        lease_until=timezone.now() - timedelta(seconds=1),
    )
    start()
    wait_for(lambda: states("test.short") == ["finished"])
    assert Job.objects.get().attempts == 2


def test_a_hand_that_is_lost_in_a_job_is_replaced(start, register, monkeypatch):
    end = threading.Event()
    monkeypatch.setitem(queue.TIME_LIMITS, "long", 0)
    register("test.stuck", lambda: end.wait(30) and None, "long", attempts=1)
    register("test.short", lambda: None)
    queue.enqueue("test.stuck")
    start(number=1)
    wait_for(lambda: states("test.stuck") == ["failed"])
    queue.enqueue("test.short")
    wait_for(lambda: states("test.short") == ["finished"])
    end.set()
    # The next long one finds a free place as well.
    monkeypatch.setitem(queue.TIME_LIMITS, "long", 60)
    queue.enqueue("test.stuck")
    wait_for(lambda: states("test.stuck") == ["failed", "finished"])


def test_a_lost_hand_is_replaced_though_the_database_is_away(start, register, monkeypatch):
    end = threading.Event()
    monkeypatch.setitem(queue.TIME_LIMITS, "default", 0)
    register("test.stuck", lambda: end.wait(300) and None)
    register("test.short", lambda: None)

    def away(row):
        monkeypatch.setitem(queue.TIME_LIMITS, "default", 60)
        raise OperationalError("gone")

    monkeypatch.setattr(queue, "overdue", away)
    queue.enqueue("test.stuck")
    start(number=1)
    wait_for(lambda: queue.TIME_LIMITS["default"] == 60)
    queue.enqueue("test.short")
    try:
        wait_for(lambda: states("test.short") == ["finished"])
    finally:
        end.set()


def test_a_run_that_ends_as_it_is_given_up_ends_once(start, register, monkeypatch):
    """Its hand goes on, and long work has no second place by it."""
    hand = Hands(BOTH, 3)
    monkeypatch.setitem(queue.TIME_LIMITS, "long", 0)
    run = []

    def work():
        run.extend(queue.running.items())

    register("test.long", work, "long")
    queue.enqueue("test.long")
    assert hand._do(hand._claim())
    # The pulse had seen it run.
    queue.running.update(run)
    hand._renew()
    queue.running.clear()
    assert not hand._threads
    assert states("test.long") == ["finished"]
    assert hand._long.acquire(blocking=False)
    assert not hand._long.acquire(blocking=False)


def test_what_does_not_end_in_time_is_given_back(register):
    end = threading.Event()
    register("test.short", lambda: end.wait(30) and None)
    queue.enqueue("test.short")
    made = Hands(BOTH, 1)
    made.start()
    wait_for(lambda: states("test.short") == ["running"])
    made.stop(0.1)
    job = Job.objects.get()
    assert (job.state, job.attempts) == ("queued", 0)
    end.set()
    made.stop(30)
    job.refresh_from_db()
    assert (job.state, job.result) == ("queued", "")
