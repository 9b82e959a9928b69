"""Adding, running and finding again background jobs.

A job is a row. The hands of each worker (`shop.jobs.hands`) ask for rows whose
time has come, a few times a second; a wake, in the process or through the
broker, only makes them ask at once and may be lost.

Who runs a job has claimed it and renews the claim's lease. When that has
lapsed, the worker is gone and the job waits again, so a job may be run twice:
see `job` for how a task makes sure of its effects.
"""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction
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
# Seconds after which a job is given up even though its worker lives.
TIME_LIMITS: dict[Queue, int] = {"default": 600, "long": 1500}
# Seconds that a claim is believed without a word from its worker. It is renewed
# every few seconds (shop.jobs.hands).
LEASE = 25.0
# Seconds between two notes of a job's progress.
_TELL_EVERY = 0.5

Task = Callable[..., str | None]


class Cancelled(BaseException):
    """The job is to end: staff cancelled it, or it is another worker's by now.

    Not an Exception, so that a job which goes on after the failure of one of
    its rows does not go on after this.
    """


class GivenBack(BaseException):
    """The worker is told to stop: the job waits again, for another."""


@dataclass(frozen=True)
class _Registered:
    function: Task
    queue: Queue
    attempts: int
    once: bool = False


@dataclass
class Run:
    """A job that this process runs just now."""

    row: Job
    limit: float
    stopping: threading.Event
    told_at: float = 0.0


_registry: dict[str, _Registered] = {}
# shop/celery.py puts here what tells other processes of a queue's news.
_wake: Callable[[Queue], None] | None = None
# Told likewise, in this process: its hands.
_listeners: set[Callable[[], None]] = set()
# Told of each run: task, outcome (finished, retried, failed, cancelled, given
# back, lost) and seconds.
_observers: list[Callable[[str, str, float], None]] = []
# What this process runs, by claim.
running: dict[UUID, Run] = {}
_current: ContextVar[Run | None] = ContextVar("job", default=None)


def job(
    name: str, *, queue: Queue = "default", attempts: int = MAX_ATTEMPTS, once: bool = False
) -> Callable[[Task], Task]:
    """Register a function as the job `name`.

    It takes ids as keyword arguments and returns a line for the staff page or
    None. Work of more than a few seconds belongs on the queue "long".
    `attempts` is how often it is tried before it has failed.

    A worker may die between the effect and the note that it is done, and then
    the job is run again. So either a second run finds the first one's effect in
    the rows and does nothing, or all that it does is in the database and it is
    `once`: effect and note are one transaction. What leaves the process (mail)
    is done at least once.
    """

    def register(function: Task) -> Task:
        if name in _registry:
            raise ValueError(f"Two jobs are named {name}.")
        _registry[name] = _Registered(function, queue, attempts, once)
        return function

    return register


def set_wake(wake: Callable[[Queue], None]) -> None:
    """Set what tells other processes that a queue has a new job; it must never fail or wait."""
    global _wake
    _wake = wake


def listen(listener: Callable[[], None]) -> None:
    """Have `listener` called, in whatever thread, when this process has added a job."""
    _listeners.add(listener)


def stop_listening(listener: Callable[[], None]) -> None:
    """Undo `listen`."""
    _listeners.discard(listener)


def observe(observer: Callable[[str, str, float], None]) -> None:
    """Have `observer` told of each run."""
    _observers.append(observer)


def wake_hands() -> None:
    """Have this process's hands look at once."""
    for listener in list(_listeners):
        listener()


def _tell(queue: Queue) -> None:
    wake_hands()
    if _wake is not None:
        _wake(queue)


def enqueue(name: str, *, unique_key: str = "", **arguments: Any) -> Job | None:
    """Add a job in the caller's transaction; workers are told after the commit.

    Returns None if a job with `unique_key` waits already; that one is not begun before
    the caller's transaction has ended, so it finds what that has changed.

    Raises:
        LookupError: no such job.
    """
    if name not in _registry:
        raise LookupError(f"No job is named {name}.")
    queue = _registry[name].queue
    row = None
    while row is None:
        row = _add(name, arguments, unique_key)
        # If none waits, it was begun in this very moment.
        if row is None and _waits(unique_key):
            return None
    transaction.on_commit(lambda: _tell(queue))
    return row


def _add(name: str, arguments: dict[str, Any], unique_key: str) -> Job | None:
    try:
        with transaction.atomic():
            return Job.objects.create(
                task=name,
                arguments=arguments,
                queue=_registry[name].queue,
                unique_key=unique_key,
                correlation_id=correlation_id.get(),
            )
    except IntegrityError:
        if not unique_key:
            raise
        return None


def _waits(unique_key: str) -> bool:
    waiting = Job.objects.filter(unique_key=unique_key, state=Job.State.QUEUED)
    if connection.in_atomic_block:
        waiting = waiting.select_for_update(no_key=True)
    return waiting.values_list("pk").first() is not None


def leave(name: str, **arguments: Any) -> None:
    """Add a job with one INSERT and no message, for hot paths; this process's hands are told.

    Raises:
        LookupError: no such job.
    """
    if name not in _registry:
        raise LookupError(f"No job is named {name}.")
    row = Job(
        task=name,
        arguments=arguments,
        queue=_registry[name].queue,
        due_at=timezone.now(),
        correlation_id=correlation_id.get(),
    )
    insert([row])
    transaction.on_commit(wake_hands)


def claim_next(queue: Queue) -> Job | None:
    """Claim the job of this queue that has been due longest; the caller must `do` it."""
    due = Job.objects.due(timezone.now()).filter(queue=queue)
    # Who finds nothing, as most do, has not locked SQLite for it.
    if not due.exists():
        return None
    with transaction.atomic():
        # Of several workers each gets another, and none waits for what somebody
        # else holds just now.
        free = due.order_by("due_at", "pk").select_for_update(skip_locked=True, no_key=True)
        job_id = free.values_list("pk", flat=True).first()
        return claim(job_id) if job_id is not None else None


def claim(job_id: int) -> Job | None:
    """Claim one job, if it waits and is due."""
    now, token = timezone.now(), uuid4()
    # Compare-and-set: of several workers that want one job, one gets it.
    claimed = (
        Job.objects.due(now)
        .filter(pk=job_id)
        .update(
            state=Job.State.RUNNING,
            started_at=now,
            attempts=F("attempts") + 1,
            claim=token,
            lease_until=now + timedelta(seconds=LEASE),
            progress=0,
            phase="",
        )
    )
    return Job.objects.get(pk=job_id) if claimed else None


def run(job_id: int) -> bool:
    """Run one job if it waits and is due. Returns whether it was this call that ran it."""
    row = claim(job_id)
    if row is None:
        return False
    do(row)
    return True


def do(row: Job, stopping: threading.Event | None = None) -> None:
    """Run a job that was claimed; when `stopping` is set it may give the job back."""
    assert row.claim is not None
    limit = time.monotonic() + TIME_LIMITS[row.queue]  # type: ignore[index]
    current = Run(row, limit, stopping or threading.Event())
    running[row.claim] = current
    tokens = correlation_id.set(sane_correlation_id(row.correlation_id)), _current.set(current)
    began = time.perf_counter()
    outcome = "lost"
    try:
        outcome = _do(row)
    finally:
        correlation_id.reset(tokens[0])
        _current.reset(tokens[1])
        running.pop(row.claim, None)
        seconds = time.perf_counter() - began
        for observer in _observers:
            observer(row.task, outcome, seconds)


def _do(row: Job) -> str:
    try:
        try:
            known = _registry[row.task]
        except KeyError:
            raise LookupError(f"No job is named {row.task}.") from None
        if not known.once:
            result = known.function(**row.arguments) or ""
            return "finished" if _finish(row, result) else "lost"
        with transaction.atomic():
            result = known.function(**row.arguments) or ""
            if not _finish(row, result):
                raise Cancelled
        return "finished"
    except Cancelled:
        return "cancelled" if _cancelled(row) else "lost"
    except GivenBack:
        give_back(row)
        return "given back"
    except Exception as error:
        return "failed" if _failed(row, error) else "retried"


def progress(share: float, phase: str = "") -> None:
    """Note how far the running job has got, from 0 to 1; the job may end here.

    Cheap enough for a loop: it writes twice a second at most. Call it outside
    transactions: inside one nothing is written, as nobody would see it before
    the commit, and the job is only asked to end. Outside a job it does nothing.

    Raises:
        Cancelled, GivenBack: let them through.
    """
    current = _current.get()
    if current is None:
        return
    if current.stopping.is_set():
        raise GivenBack
    now = time.monotonic()
    if now - current.told_at < _TELL_EVERY:
        return
    current.told_at = now
    wanted = _still_mine(current.row).filter(cancel_requested=False)
    if connection.in_atomic_block:
        goes_on = wanted.exists()
    else:
        goes_on = bool(wanted.update(progress=min(1.0, max(0.0, share)), phase=phase[:100]))
    if not goes_on:
        raise Cancelled


def _still_mine(row: Job) -> Any:
    # A worker that was given up for dead and comes back must not overwrite what
    # its successor wrote.
    return Job.objects.filter(pk=row.pk, state=Job.State.RUNNING, claim=row.claim)


def _finish(row: Job, result: str) -> int:
    ended = _still_mine(row).update(
        state=Job.State.FINISHED, finished_at=timezone.now(), result=result, error="", progress=1
    )
    return int(ended)


def _cancelled(row: Job) -> int:
    ended = _still_mine(row).update(state=Job.State.CANCELLED, finished_at=timezone.now())
    return int(ended)


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
    due_at = now + timedelta(seconds=pause)
    _requeue(row, _still_mine(row), error=text, instead=Job.State.FAILED, due_at=due_at)
    return False


def _requeue(row: Job, rows: Any, *, error: str, instead: str, **fields: Any) -> None:
    """Have the job wait again, if it is still among `rows`.

    If another with the same key waits by now, that one does the work, and this one
    ends as `instead`.
    """
    try:
        with transaction.atomic():
            rows.filter(cancel_requested=False).update(
                state=Job.State.QUEUED, error=error, claim=None, lease_until=None, **fields
            )
    except IntegrityError:
        rows.update(
            state=instead,
            finished_at=timezone.now(),
            error=error or "Another with the same key waits.",
        )
    # What was cancelled meanwhile is not tried again.
    rows.filter(cancel_requested=True).update(
        state=Job.State.CANCELLED, finished_at=timezone.now(), error=error
    )


def give_back(row: Job) -> None:
    """Let another worker have a job at once, as if it had not been begun."""
    _requeue(
        row,
        _still_mine(row),
        error=row.error,
        instead=Job.State.CANCELLED,
        due_at=timezone.now(),
        attempts=F("attempts") - 1,
    )


def cancel(job_id: int) -> bool:
    """End a job: at once while it waits, else when it next tells of its progress.

    Returns whether it was in such a state.
    """
    waiting = Job.objects.filter(pk=job_id, state=Job.State.QUEUED)
    if waiting.update(state=Job.State.CANCELLED, finished_at=timezone.now()):
        return True
    live = Job.objects.filter(pk=job_id, state=Job.State.RUNNING)
    return bool(live.update(cancel_requested=True))


def run_again(job_id: int) -> bool:
    """Queue a job that has ended once more. Returns whether it had."""
    ended = [Job.State.FAILED, Job.State.FINISHED, Job.State.CANCELLED]
    queue = Job.objects.filter(pk=job_id).values_list("queue", flat=True).first()
    try:
        with transaction.atomic():
            changed = Job.objects.filter(pk=job_id, state__in=ended).update(
                state=Job.State.QUEUED,
                attempts=0,
                due_at=timezone.now(),
                finished_at=None,
                error="",
                progress=0,
                phase="",
                cancel_requested=False,
            )
    except IntegrityError:
        return False
    if changed:
        transaction.on_commit(lambda: _tell(queue))  # type: ignore[arg-type]
    return bool(changed)


def renew(claims: Collection[UUID]) -> None:
    """Say that these runs are alive."""
    Job.objects.filter(claim__in=claims, state=Job.State.RUNNING).update(
        lease_until=timezone.now() + timedelta(seconds=LEASE)
    )


def take_back() -> int:
    """Queue the jobs of workers that are gone; returns how many."""
    now = timezone.now()
    rows = list(Job.objects.abandoned(now))
    for row in rows:
        # It may have been slow, and have renewed the lease since.
        lapsed = _still_mine(row).filter(lease_until=row.lease_until)
        _abandoned(row, lapsed, "The worker went away.", instead=Job.State.CANCELLED)
    return len(rows)


def overdue(row: Job) -> None:
    """Give up a run of this process that has passed its time limit."""
    logger.error("job overdue", extra={"job": row.pk, "task": row.task})
    limit = TIME_LIMITS[row.queue]  # type: ignore[index]
    why = f"It took longer than {limit} seconds."
    _abandoned(row, _still_mine(row), why, instead=Job.State.FAILED)


def _abandoned(row: Job, rows: Any, why: str, *, instead: str) -> None:
    known = _registry.get(row.task)
    if known and row.attempts >= known.attempts:
        rows.update(state=Job.State.FAILED, finished_at=timezone.now(), error=why)
    else:
        _requeue(row, rows, error=why, instead=instead, due_at=timezone.now())


def sweep(queue: Queue = "default") -> int:
    """Do all of the queue that is due, here and now; returns how many jobs were run."""
    take_back()
    ran = 0
    while (row := claim_next(queue)) is not None:
        do(row)
        ran += 1
    return ran
