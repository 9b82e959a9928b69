"""Real workers run what the rows say; they, the clock and the broker may die at any moment."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db.models import Q

from products.models import StockMovement
from shop.jobs import queue
from shop.jobs.models import Job
from shop.tests.rabbit import SERVER
from shop.tests.running import database_url

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = ("--pool", "threads", "--concurrency", "3")
PROCESSES = ("--pool", "prefork", "--concurrency", "2")
# Nobody listens there.
NO_BROKER = "amqp://guest:guest@127.0.0.1:1//"
# Of a dozen jobs, and of these deaths. More than a thousand jobs, by hand: 84.
ROUNDS = int(os.environ.get("SHOP_KILL_ROUNDS", "3"))
PHASES = (
    ("claimed", "middle", "clock-ringing", "clock-starting"),
    ("effect", "noted", "clock-rung", "clock-started"),
    ("committed", "claimed", "clock-between"),
)
# Rounds between two deaths of the broker, and seconds that it is away the second time.
BROKER_ROUNDS = 3
AWAY = 60.0


@pytest.fixture
def start(tmp_path):
    """Start Celery, or a module, with the jobs of jobs_app, on the test's own database."""
    running = []

    def go(*arguments, lease=1.5, module=None, **environment):
        celery = ("celery", "--quiet", "-A", "shop.tests.jobs_app")
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *((module,) if module else celery), *arguments],
                env={
                    **os.environ,
                    "DATABASE_URL": database_url(),
                    "DATA_DIR": str(settings.DATA_DIR),
                    "JOBS_FOLDER": str(tmp_path),
                    "JOBS_LEASE": str(lease),
                    **environment,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
                bufsize=1,
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
        process.stdin.close()
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


class Mortals:
    """Workers, a clock and whoever adds jobs; those who were killed are started again."""

    def __init__(self, start, folder, product, environment):
        self._start = start
        self._environment = environment
        self.folder = folder
        self._arguments = {
            "one": worker(*THREADS, name="one"),
            "other": worker(*THREADS, name="other"),
            "clock": ("beat", "--pidfile="),
        }
        self._processes = {name: self._begin(name) for name in self._arguments}
        self._adder = start(str(product), module="shop.tests.jobs_app", **environment)
        self.deaths = dict.fromkeys(self._arguments, 0)

    def _begin(self, name):
        return self._start(*self._arguments[name], **self._environment)

    def add(self, numbers):
        assert self._adder.poll() is None
        self._adder.stdin.writelines(f"{number}\n" for number in numbers)

    def doom(self, phases):
        for phase in phases:
            (self.folder / f"die-{phase}").touch()

    def end(self, name):
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def raise_the_dead(self):
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = (self.folder / "log").read_text()
                assert process.returncode == -signal.SIGKILL, f"{name} ended:\n{log[-4000:]}"
                self.deaths[name] += 1
                self._processes[name] = self._begin(name)

    def wait_for(self, true):
        wait_for(lambda: self.raise_the_dead() or true())

    def wait_until_over(self, jobs):
        """Wait until whoever was to die has died, and so many jobs are done."""
        done = Job.objects.filter(task__in=["test.once", "test.looks"], state="finished")
        self.wait_for(lambda: not any(self.folder.glob("die-*")) and done.count() == jobs)


def ticks(state):
    return Job.objects.filter(task="test.tick", state=state)


def booked():
    notes = StockMovement.objects.filter(note__startswith="job ")
    return sorted(notes.values_list("note", flat=True))


def survive(mortals, harm):
    """Have so many rounds of jobs done, with deaths and what `harm` does; look at the books."""
    for n in range(ROUNDS):
        mortals.doom(PHASES[n % len(PHASES)])
        mortals.add(range(n * 12, n * 12 + 12))
        harm(n)
        mortals.wait_until_over(n * 12 + 12)
    before = ticks("finished").count()
    mortals.wait_for(lambda: ticks("finished").count() > before + 1)
    mortals.end("clock")
    mortals.wait_for(lambda: not Job.objects.filter(state__in=["queued", "running"]).exists())

    wanted = sum(len(PHASES[n % len(PHASES)]) for n in range(ROUNDS))
    assert sum(mortals.deaths.values()) == wanted
    assert mortals.deaths["clock"] > 0
    rows = ticks("finished").values_list("pk", flat=True)
    assert booked() == sorted(
        [*(f"job {number}" for number in range(ROUNDS * 12)), *(f"job tick {pk}" for pk in rows)]
    )
    assert Job.objects.filter(task="test.hourly").count() == 1
    # A tick whose worker died while the next one waited already is left to that.
    assert not Job.objects.exclude(Q(state="finished") | Q(task="test.tick", state="cancelled"))
    print(f"{ROUNDS * 12} jobs and {len(rows)} of the clock, deaths: {mortals.deaths}")


def test_each_job_is_done_and_has_its_effect_once_whoever_dies(start, tmp_path, make_product):
    """Workers and the clock die in each phase; a broker of files is torn, and taken away."""
    broker = {} if settings.BROKER_URL else {"DATA_DIR": str(tmp_path / "data")}
    mortals = Mortals(start, tmp_path, make_product(stock=1).pk, broker)

    def harm(n):
        if settings.BROKER_URL:
            return
        folder = tmp_path / "data" / "broker"
        if n == 1:
            shutil.rmtree(folder, ignore_errors=True)
        for name in ("control/jobs.default.exchange", f"messages/{n}_torn.jobs.default.msg"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(random.choice([b"", b'{"body": "W1', b'[["jo', b"5"]))

    survive(mortals, harm)


@pytest.mark.skipif(not SERVER, reason="no rabbitmq-server is installed")
def test_each_job_is_done_and_has_its_effect_once_when_rabbitmq_dies_too(
    start, tmp_path, make_product, rabbit
):
    """RabbitMQ dies with messages under way, at rest, while it starts, and for long."""
    mortals = Mortals(start, tmp_path, make_product(stock=1).pk, {"CELERY_BROKER_URL": rabbit.url})
    mortals.wait_for(lambda: rabbit.consumers("jobs.long") == 2)
    # It writes down half a second late that there is a queue. Killed before that it
    # has one that nobody can use: jobs are done all the same, but this looks for wakes.
    time.sleep(2)
    deaths, back_at = 0, 0.0

    def harm(n):
        nonlocal deaths, back_at
        if n % BROKER_ROUNDS == 0:
            if deaths % 3 == 1:
                mortals.wait_until_over(n * 12 + 12)
            elif deaths % 3 == 2:
                rabbit.kill()
                rabbit.start()
                time.sleep(random.uniform(0.5, 4))
            rabbit.kill()
            deaths += 1
            back_at = time.monotonic() + (AWAY if deaths == 2 else 0)
        elif time.monotonic() > back_at:
            rabbit.start()

    survive(mortals, harm)
    # Everybody is back at it.
    rabbit.start()
    rabbit.wait_until_ready()
    wait_for(lambda: rabbit.consumers("jobs.default") == 2)
    print(f"RabbitMQ died {deaths} times")
