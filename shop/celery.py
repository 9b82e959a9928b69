"""The Celery app, its tasks and its schedule.

Everything that takes time is a job row (`shop.jobs`). Celery keeps the worker
processes, whose hands run the jobs, rings the clock, and carries wakes to
hands of other processes.
"""

import logging
import os
import threading
import time
from typing import Any

from celery import Celery, bootsteps
from celery.concurrency.prefork import TaskPool as Prefork
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from celery.worker import consumer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

logger = logging.getLogger(__name__)

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Job name to seconds between two runs.
PERIODIC = {
    "orders.cancel_unpaid": 60,
    "shop.prune": 3600,
    "monitoring.prune": 600,
    "products.learn_categories": 3600,
    "products.tidy_search": 6 * 3600,
    "products.prune_changes": 900,
}
# Seconds that a worker that is told to stop has for the jobs it runs, below the
# half minute after which it is killed; and then for the event that it gives to a
# slow receiver, which has shop.outgoing.SECONDS.
_PATIENCE, _LAST_POST = 15.0, 11.0
# Seconds that no wake is sent after the last one, and after a failure.
_BETWEEN, _PAUSE = 0.05, 10.0
# RabbitMQ has as long to confirm a wake as that is worth anything.
_WAKE: dict[str, Any] = {"retry": False, "expires": 5, "confirm_timeout": 5.0}

app.conf.beat_schedule = {
    # What expires is not found in heaps by a worker that was away.
    "sample": {"task": "shop.sample", "schedule": 10, "options": {"expires": 10}},
    **{
        name: {
            "task": "shop.enqueue_job",
            "schedule": seconds,
            "args": (name,),
            "options": {"expires": seconds},
        }
        for name, seconds in PERIODIC.items()
    },
}


@app.task(name="shop.wake_hands")
def wake_hands() -> None:
    """Have the hands of this process look for jobs at once."""
    from shop.jobs.queue import wake_hands

    wake_hands()


@app.task(name="shop.sample")
def sample() -> None:
    """Sample the metrics and evaluate the alerts."""
    from monitoring.tasks import tick

    tick()


@app.task(name="shop.enqueue_job")
def enqueue_job(name: str) -> None:
    """Add a periodic job, unless the last one still waits."""
    from shop.jobs.queue import enqueue

    enqueue(name, unique_key=name)


class Waker:
    """A thread that sends wakes, so that nobody waits for the broker; many become one."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self, queue: str) -> None:
        """Have a worker of this queue look for jobs. Takes microseconds and never fails."""
        self._wanted.add(queue)
        self._news.set()
        # Not before it is needed, and anew in a forked child.
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._send, name="wakes", daemon=True)
                    self._thread.start()

    def _send(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            try:
                while self._wanted:
                    queue = f"jobs.{self._wanted.pop()}"
                    wake_hands.apply_async(queue=queue, **_WAKE)
                time.sleep(_BETWEEN)
            except Exception:
                logger.warning("broker out of reach, workers find jobs by looking", exc_info=True)
                time.sleep(_PAUSE)


waker = Waker()


class Consumer(consumer.Consumer):
    """Celery's, without the 28 queues that it keeps on RabbitMQ for tasks with a delay.

    Due times are in the job rows.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc,valid-type]
        """Its steps."""

        default_steps = tuple(
            step
            for step in consumer.Consumer.Blueprint.default_steps
            if "delayed_delivery" not in step
        )


app.conf.worker_consumer = "shop.celery:Consumer"


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Leave logging as settings.LOGGING has it."""


def _make_hands(number: int, **options: Any) -> Any:
    """Return hands for the queues that this worker was started for."""
    from shop.jobs.hands import Hands

    names = [name.removeprefix("jobs.") for name in app.amqp.queues.consume_from]
    return Hands(names, number, **options)  # type: ignore[arg-type]


class Shop(bootsteps.StartStopStep):
    """What a worker does by itself, with a broker or without: it sends events and runs jobs.

    In a pool of threads the hands are in this process, as many as the pool
    has; in one of processes, each has one of its own.
    """

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Begin."""
        from shop.events.sender import Sender

        self._sender = Sender()
        self._sender.start()
        self._hands = None
        if not isinstance(parent.pool, Prefork):
            self._hands = _make_hands(parent.concurrency)
            self._hands.start()

    def stop(self, parent: Any) -> None:
        """End what is under way, or give it back."""
        self._sender.begin_to_stop()
        if self._hands:
            self._hands.stop(_PATIENCE)
        self._sender.stop(_LAST_POST)


app.steps["worker"].add(Shop)
_childs_hands: list[Any] = []


@worker_process_init.connect
def _start_hand(**_: Any) -> None:
    from django.db import connections

    connections.close_all()
    # A job that passes its time limit takes its process with it, and the pool
    # makes another.
    hands = _make_hands(1, lost=lambda: os._exit(1))
    hands.start()
    _childs_hands.append(hands)


@worker_process_shutdown.connect
def _stop_hand(**_: Any) -> None:
    while _childs_hands:
        _childs_hands.pop().stop(_PATIENCE)
