"""The Celery app, its tasks and its schedule.

Everything that takes time is a job row (`shop.jobs`); Celery only carries ids
to workers and rings the clock.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_ready, worker_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Job name to seconds between two runs.
PERIODIC = {
    "orders.cancel_unpaid": 60,
    "shop.prune": 3600,
    "monitoring.prune": 600,
    "products.learn_categories": 3600,
}

app.conf.beat_schedule = {
    # The sweep is what makes a lost message harmless. It expires, so that a
    # worker that was away does not find a heap of them.
    "sweep": {"task": "shop.sweep_jobs", "schedule": 5, "options": {"expires": 5}},
    "sweep-long": {
        "task": "shop.sweep_jobs",
        "schedule": 5,
        "args": ("long",),
        "options": {"expires": 5, "queue": "long", "time_limit": 1500},
    },
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


@app.task(name="shop.run_job")
def run_job(job_id: int) -> None:
    """Run one job, if it still waits."""
    from shop.jobs.queue import run

    run(job_id)


@app.task(name="shop.sweep_jobs")
def sweep_jobs(queue: str = "default") -> None:
    """Run whatever of the queue is due and was not announced, or was announced and lost."""
    from shop.jobs.queue import sweep

    sweep(queue)  # type: ignore[arg-type]


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


def wake_worker(job_id: int, queue: str) -> None:
    """Tell a worker of a job; fails at once if the broker is out of reach."""
    from shop.jobs.queue import TIME_LIMITS

    run_job.apply_async((job_id,), retry=False, queue=queue, time_limit=TIME_LIMITS[queue])  # type: ignore[index]


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Leave logging as settings.LOGGING has it."""


@worker_process_init.connect
def _close_inherited_connections(**_: Any) -> None:
    from django.db import connections

    connections.close_all()


_senders: list[Any] = []


@worker_ready.connect
def _send_events(**_: Any) -> None:
    """Give events to their sinks for as long as the worker runs."""
    from shop.events.sender import Sender

    sender = Sender()
    sender.start()
    _senders.append(sender)


@worker_shutdown.connect
def _stop_sending(**_: Any) -> None:
    while _senders:
        _senders.pop().stop(10.0)
