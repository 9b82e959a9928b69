"""Real Celery workers run what the rows say, and may die at any moment."""

import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from django.conf import settings

from products.models import StockMovement
from shop.jobs import queue
from shop.jobs.models import Job
from shop.tests.running import database_url

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = ("--pool", "threads", "--concurrency", "3")
PROCESSES = ("--pool", "prefork", "--concurrency", "2")
# Nobody listens there.
NO_BROKER = "amqp://guest:guest@127.0.0.1:1//"
# Of a dozen jobs and a death each. More than a thousand jobs, by hand: 84.
ROUNDS = int(os.environ.get("SHOP_KILL_ROUNDS", "5"))
PHASES = ("claimed", "middle", "effect", "noted", "committed")


@pytest.fixture
def start(tmp_path):
    """Start Celery with the jobs of jobs_app, on the test's own database."""
    running = []

    def go(*arguments, lease=1.5, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "--quiet", "-A", "shop.tests.jobs_app", *arguments],
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "DATA_DIR": str(settings.DATA_DIR),
                "JOBS_FOLDER": str(tmp_path),
                "JOBS_LEASE": str(lease),
                **environment,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        return process

    yield go
    for process in running:
        # Those of processes have children, who are to end before the database is cleared.
        if process.poll() is None and "prefork" in process.args:
            process.terminate()
            process.wait(60)
        process.kill()
        process.wait()


def worker(*pool, name="test"):
    return (
        *("worker", "--queues", "jobs.default,jobs.long", "--without-mingle", "--without-gossip"),
        *("--hostname", f"{name}@%h", *pool),
    )


def add(task, lane="default", **arguments):
    return Job.objects.create(task=task, queue=lane, arguments=arguments)


def wait_for(true):
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    rows = Job.objects.exclude(state="finished").values_list("task", "state", "attempts", "error")
    raise AssertionError(f"it did not come to pass: {list(rows[:3])}")


def is_(job, state):
    return lambda: Job.objects.filter(pk=job.pk, state=state).exists()


def test_a_worker_runs_what_is_enqueued(start):
    process = start(*worker(*THREADS))
    job = queue.enqueue("shop.prune")
    wait_for(is_(job, "finished"))
    assert Job.objects.get().attempts == 1
    assert process.poll() is None


@pytest.mark.parametrize("pool", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_without_a_broker_jobs_are_run_all_the_same(start, pool):
    process = start(*worker(*pool), CELERY_BROKER_URL=NO_BROKER)
    job = queue.enqueue("shop.prune")
    wait_for(is_(job, "finished"))
    assert process.poll() is None


def test_a_broker_out_of_reach_costs_a_request_nothing(monkeypatch):
    """Whoever adds a job does not wait for the message, nor for its failure."""
    from shop.celery import Waker, wake_hands

    asked, gone = [], []

    def unreachable(*args, **kwargs):
        asked.append(kwargs["queue"])
        raise OSError("connection refused")

    monkeypatch.setattr(wake_hands, "apply_async", unreachable)
    monkeypatch.setattr("shop.celery.time", SimpleNamespace(sleep=gone.append))
    monkeypatch.setattr(queue, "_wake", Waker().wake)
    queue.enqueue("shop.prune")
    wait_for(lambda: gone)
    assert asked == ["jobs.default"]
    assert gone == [10.0]
    assert queue.sweep() == 1


@pytest.mark.parametrize("pool", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_a_worker_that_is_told_to_stop_gives_back_what_it_runs(start, pool):
    process = start(*worker(*pool), lease=60)
    job = add("test.slow", "long", tells=True)
    wait_for(lambda: Job.objects.filter(progress__gt=0).exists())
    process.terminate()
    process.wait(30)
    row = Job.objects.get(pk=job.pk)
    assert (row.state, row.attempts) == ("queued", 0)


def test_each_job_is_done_and_has_its_effect_once_whoever_dies(start, tmp_path, make_product):
    """Workers die in each phase, the broker goes away, and the clock dies."""
    product = make_product(stock=1)
    broker = {} if settings.BROKER_URL else {"DATA_DIR": str(tmp_path / "data")}
    workers = [worker(*THREADS, name="one"), worker(*THREADS, name="other")]
    processes = [start(*arguments, **broker) for arguments in workers]
    clock = start("beat", "--pidfile=", "--schedule", str(tmp_path / "schedule"), **broker)
    deaths = 0

    def over():
        nonlocal deaths
        for n, process in enumerate(processes):
            if process.poll() is not None:
                assert process.returncode == -signal.SIGKILL
                deaths += 1
                processes[n] = start(*workers[n], **broker)
        mine = Job.objects.filter(task__startswith="test.")
        return not any(tmp_path.glob("die-*")) and not mine.exclude(state="finished").exists()

    for n in range(ROUNDS):
        (tmp_path / f"die-{PHASES[n % len(PHASES)]}").touch()
        for number in range(n * 12, n * 12 + 12):
            task = ("test.once", "test.looks")[number % 2]
            add(task, number=number, product=product.pk)
        if n == 1:
            clock.kill()
            shutil.rmtree(tmp_path / "data" / "broker", ignore_errors=True)
        wait_for(over)
    # The last may not have been seen yet.
    wait_for(lambda: over() and deaths >= ROUNDS)
    notes = list(
        StockMovement.objects.filter(note__startswith="job ").values_list("note", flat=True)
    )
    assert sorted(notes) == sorted(f"job {number}" for number in range(ROUNDS * 12))
