"""The threads of a worker that run jobs.

Each process that runs jobs has some (shop/celery.py starts them). One of those
that have nothing to do asks the job table, a few times a second and at once
when it is woken; the others wait for it to have found something. So a process
asks as often however many hands it has, and needs no broker.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from uuid import UUID

from django.db import close_old_connections, connection

from shop.jobs import queue
from shop.jobs.models import Job
from shop.jobs.queue import Queue

logger = logging.getLogger(__name__)

# Seconds between two looks for work, between two signs of life, and after a failure.
LOOK = 0.4
PULSE = 5.0
_AFTER_FAILURE = 2.0


class Hands:
    """So many threads that run jobs of these queues, and one that says that they live.

    Of the hands that serve both queues, long work takes one at most; and that one it
    gets, however much short work there is, unless it is the only one.
    `lost` is called when a job has passed its time limit and its thread with it.
    """

    def __init__(
        self, queues: Collection[Queue], number: int, *, lost: Callable[[], None] | None = None
    ) -> None:
        self._queues = queues
        self._number = number
        self._lost = lost or self._add
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._news = threading.Event()
        self._looking = threading.Lock()
        self._long = threading.Semaphore(1 if "default" in queues else number)
        self._order: tuple[Queue, ...] = ("long", "default")
        if number == 1:
            self._order = ("default", "long")
        # What the hands run. Who takes a claim out, the hand at the run's end or the
        # pulse that gives it up, sees to what follows.
        self._held: set[UUID] = set()
        self._threads: list[threading.Thread] = []
        self._pulse = threading.Thread(target=self._live, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        queue.listen(self._news.set)
        for _ in range(self._number):
            self._add()
        self._pulse.start()

    def stop(self, seconds: float) -> None:
        """End: wait so long for what is being run, and give the rest back."""
        queue.stop_listening(self._news.set)
        self._stopping.set()
        self._news.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for run in list(queue.running.values()):
            queue.give_back(run.row)
        self._ended.set()

    def _add(self) -> None:
        thread = threading.Thread(target=self._work, name="hand", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    row = self._find()
                    if row is not None and not self._do(row):
                        return
                except Exception:
                    # The database is away: what waits there waits on.
                    logger.warning("jobs can't be run just now", exc_info=True)
                    connection.close()
                    self._stopping.wait(_AFTER_FAILURE)
        finally:
            connection.close()

    def _find(self) -> Job | None:
        """Wait for a job and claim it; None when there is to be no other."""
        with self._looking:
            while not self._stopping.is_set():
                self._news.clear()
                row = self._claim()
                if row is not None:
                    return row
                self._news.wait(LOOK)
        return None

    def _claim(self) -> Job | None:
        """Claim a job that there is a hand for."""
        for kind in self._order:
            if kind not in self._queues:
                continue
            if kind == "long" and not self._long.acquire(blocking=False):
                continue
            row = None
            try:
                row = queue.claim_next(kind)
            finally:
                if kind == "long" and row is None:
                    self._long.release()
            if row is not None:
                return row
        return None

    def _do(self, row: Job) -> bool:
        """Run a job; returns whether it ended in time."""
        assert row.claim is not None
        self._held.add(row.claim)
        try:
            queue.do(row, self._stopping)
        finally:
            in_time = self._let_go(row.claim)
            if in_time and row.queue == "long":
                self._long.release()
            close_old_connections()
        return in_time

    def _let_go(self, claim: UUID) -> bool:
        try:
            self._held.remove(claim)
        except KeyError:
            return False
        return True

    def _live(self) -> None:
        """Renew the leases of what is run here, and take back what others have lost."""
        # Who could not say for a while that they live, because the database was
        # away, can say so now: they are given the time for it.
        believe_after = time.monotonic() + PULSE
        try:
            while not self._ended.wait(PULSE):
                try:
                    self._renew()
                    if time.monotonic() >= believe_after:
                        queue.take_back()
                except Exception:
                    logger.warning("leases can't be renewed just now", exc_info=True)
                    connection.close()
                    believe_after = time.monotonic() + 2 * PULSE
        finally:
            connection.close()

    def _renew(self) -> None:
        now = time.monotonic()
        for claim, run in list(queue.running.items()):
            if now >= run.limit and self._let_go(claim):
                queue.running.pop(claim, None)
                if run.row.queue == "long":
                    self._long.release()
                try:
                    queue.overdue(run.row)
                finally:
                    self._lost()
        if queue.running:
            queue.renew(list(queue.running))
