"""Adding, running and finding again background jobs.

A job is a row. Celery carries its id to a worker as soon as the row is
committed; that message is a hint and may be lost. The sweep, which beat calls
every few seconds, finds every row whose time has come.
"""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from shop.context import correlation_id, sane_correlation_id
from shop.jobs.models import Job
from shop.prepared import insert
from shop.redact import redact

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5

# Work of seconds, and work of minutes that must not hold it up.
Queue = Literal["default", "long"]
# In seconds: Celery's hard limit for a job, below the half hour after which
# RabbitMQ takes an unconfirmed message back. Whatever is still "running"
# GRACE after it has lost its worker.
TIME_LIMITS: dict[Queue, int] = {"default": 600, "long": 1500}
GRACE = 300

Task = Callable[..., str | None]


@dataclass(frozen=True)
class _Registered:
    function: Task
    queue: Queue
    attempts: int


_registry: dict[str, _Registered] = {}
# shop/celery.py puts the sender here; without a broker the sweep does it all.
_wake: Callable[[int, Queue], None] | None = None
# Told of each run: task, outcome (finished, retried, failed) and seconds.
_observers: list[Callable[[str, str, float], None]] = []
# A worker of threads serves both queues; long work gets one of them at most.
_long = threading.Lock()


def job(
    name: str, *, queue: Queue = "default", attempts: int = MAX_ATTEMPTS
) -> Callable[[Task], Task]:
    """Register a function as the job `name`.

    It takes ids as keyword arguments, may be run twice, and returns a line
    for the staff page or None. Work of more than a few seconds belongs on the
    queue "long". `attempts` is how often it is tried before it has failed.
    """

    def register(function: Task) -> Task:
        if name in _registry:
            raise ValueError(f"Two jobs are named {name}.")
        _registry[name] = _Registered(function, queue, attempts)
        return function

    return register


def set_wake(wake: Callable[[int, Queue], None]) -> None:
    """Set what tells a worker of a new job's id."""
    global _wake
    _wake = wake


def observe(observer: Callable[[str, str, float], None]) -> None:
    """Have `observer` told of each run."""
    _observers.append(observer)


def _queue_of(task: str) -> Queue:
    found = _registry.get(task)
    return found.queue if found else "default"


def _hint(job_id: int, task: str) -> None:
    if _wake is None:
        return
    try:
        _wake(job_id, _queue_of(task))
    except Exception:
        # The sweep finds the row; a broker that is gone must not fail the request.
        logger.warning("broker out of reach, the sweep will find the job", exc_info=True)


def enqueue(name: str, *, unique_key: str = "", **arguments: Any) -> Job | None:
    """Add a job in the caller's transaction; a worker is told after the commit.

    Returns None if a job with `unique_key` waits already.

    Raises:
        LookupError: no such job.
    """
    if name not in _registry:
        raise LookupError(f"No job is named {name}.")
    try:
        with transaction.atomic():
            row = Job.objects.create(
                task=name,
                arguments=arguments,
                unique_key=unique_key,
                correlation_id=correlation_id.get(),
            )
    except IntegrityError:
        return None
    transaction.on_commit(lambda: _hint(row.pk, name))
    return row


def leave(name: str, **arguments: Any) -> None:
    """Add a job for the sweep to find: one INSERT and no message, for hot paths.

    Raises:
        LookupError: no such job.
    """
    if name not in _registry:
        raise LookupError(f"No job is named {name}.")
    now = timezone.now()
    insert([Job(task=name, arguments=arguments, due_at=now, correlation_id=correlation_id.get())])


def run(job_id: int) -> bool:
    """Run one job if it waits and is due. Returns whether it was this call that ran it.

    A second long job in the same process is left to the sweep.
    """
    task = Job.objects.filter(pk=job_id).values_list("task", flat=True).first()
    if task is None:
        return False
    if _queue_of(task) == "default":
        return _run(job_id)
    if not _long.acquire(blocking=False):
        return False
    try:
        return _run(job_id)
    finally:
        _long.release()


def _run(job_id: int) -> bool:
    now = timezone.now()
    # Compare-and-set: of several workers told of one job, one gets it.
    claimed = (
        Job.objects.due(now)
        .filter(pk=job_id)
        .update(state=Job.State.RUNNING, started_at=now, attempts=F("attempts") + 1)
    )
    if not claimed:
        return False
    row = Job.objects.get(pk=job_id)
    token = correlation_id.set(sane_correlation_id(row.correlation_id))
    began, outcome = time.perf_counter(), "finished"
    try:
        try:
            function = _registry[row.task].function
        except KeyError:
            raise LookupError(f"No job is named {row.task}.") from None
        result = function(**row.arguments) or ""
    except Exception as error:
        outcome = "failed" if _failed(row, error) else "retried"
    else:
        _still_mine(row).update(
            state=Job.State.FINISHED, finished_at=timezone.now(), result=result, error=""
        )
    finally:
        correlation_id.reset(token)
        seconds = time.perf_counter() - began
        for observer in _observers:
            observer(row.task, outcome, seconds)
    return True


def _still_mine(row: Job) -> Any:
    # The attempt number is the claim: a worker that was given up for dead and
    # comes back must not overwrite what its successor wrote.
    return Job.objects.filter(pk=row.pk, state=Job.State.RUNNING, attempts=row.attempts)


def _failed(row: Job, error: Exception) -> bool:
    """Note a failure; returns whether the job is given up."""
    now = timezone.now()
    text = redact("".join(traceback.format_exception(error)))[-8000:]
    known = _registry.get(row.task)
    give_up = known is None or row.attempts >= known.attempts
    logger.error(
        "job failed", exc_info=error, extra={"job": row.pk, "task": row.task, "gave_up": give_up}
    )
    if give_up:
        _still_mine(row).update(state=Job.State.FAILED, finished_at=now, error=text)
        return True
    pause = 2**row.attempts * random.uniform(0.5, 1.5)  # noqa: S311
    _requeue(row, due_at=now + timedelta(seconds=pause), error=text)
    return False


def _requeue(row: Job, **fields: Any) -> None:
    try:
        with transaction.atomic():
            _still_mine(row).update(state=Job.State.QUEUED, **fields)
    except IntegrityError:
        # Another with the same key waits by now and will do the work.
        _still_mine(row).update(
            state=Job.State.FAILED, finished_at=timezone.now(), error=fields.get("error", row.error)
        )


def run_again(job_id: int) -> bool:
    """Queue a failed or finished job once more. Returns whether it was in such a state."""
    task = Job.objects.filter(pk=job_id).values_list("task", flat=True).first()
    try:
        with transaction.atomic():
            changed = Job.objects.filter(
                pk=job_id, state__in=[Job.State.FAILED, Job.State.FINISHED]
            ).update(
                state=Job.State.QUEUED,
                attempts=0,
                due_at=timezone.now(),
                finished_at=None,
                error="",
            )
    except IntegrityError:
        return False
    if changed and task:
        transaction.on_commit(lambda: _hint(job_id, task))
    return bool(changed)


def _abandoned(row: Job, now: datetime) -> None:
    gone = "The worker went away."
    known = _registry.get(row.task)
    if known and row.attempts >= known.attempts:
        _still_mine(row).update(state=Job.State.FAILED, finished_at=now, error=gone)
    else:
        _requeue(row, due_at=now, error=gone)


def sweep(queue: Queue = "default") -> int:
    """Give up on dead workers' jobs and run all of the queue that is due.

    Returns how many were run; of the long ones, one at a time. A job whose
    name nobody knows is of the default queue, and fails there.
    """
    now = timezone.now()
    long = [name for name, known in _registry.items() if known.queue == "long"]
    rows = (
        Job.objects.filter(task__in=long) if queue == "long" else Job.objects.exclude(task__in=long)
    )
    for row in rows.abandoned(now - timedelta(seconds=TIME_LIMITS[queue] + GRACE)):
        _abandoned(row, now)
    ran = 0
    most = 1 if queue == "long" else 100
    for job_id in rows.due(now).order_by("due_at", "pk").values_list("pk", flat=True)[:most]:
        ran += run(job_id)
    return ran
