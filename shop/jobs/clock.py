"""The clock of the periodic jobs: Celery's beat, without its file and without the broker.

When a periodic job was last wanted, its row tells. So a clock that is killed, at any
moment, goes on where it was, on whatever machine it is started again; Celery's own
keeps that in a file, and one that is half written stops it for good. The rows are
added in place: with no broker, periodic jobs go on like all others. What is still a
message is sent by a thread, and missed if the one before it has not got through.
"""

import logging
import threading
from datetime import timedelta
from typing import Any

from celery import beat
from django.db import close_old_connections, connection
from django.utils import timezone

from shop.jobs.models import Job

logger = logging.getLogger(__name__)

# The task whose message would add a job: it is called instead.
ENQUEUE = "shop.enqueue_job"
# How long to wait when a job could not be added.
_AGAIN = timedelta(seconds=5)
# Seconds that RabbitMQ has to confirm a message.
CONFIRM = 5.0


class Clock(beat.Scheduler):
    """What CELERY_BEAT_SCHEDULER names."""

    # Celery's own waits until there is a broker, and everything else with it.
    producer: Any = None

    def setup_schedule(self) -> None:
        """Go on from the rows."""
        self._threads: dict[str, threading.Thread] = {}
        super().setup_schedule()
        now = timezone.now()
        for entry in self.schedule.values():
            if entry.task == ENQUEUE:
                (name,) = entry.args or ()
                # What was never wanted is due.
                last = self._last(name) or now - _period(entry)
                # A computer's clock may have been put back since.
                entry.last_run_at = min(last, now)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Add the job, or send the message; never waits for a broker and never fails."""
        task = self.app.tasks[entry.task]
        if entry.task != ENQUEUE:
            self._send(task, entry)
            return
        try:
            task(*entry.args)
        except Exception:
            logger.warning("%s can't be added just now", entry.name, exc_info=True)
            connection.close()
            self._postpone(entry.name)
        finally:
            close_old_connections()

    def _send(self, task: Any, entry: Any) -> None:
        """Send a message, unless the last one still waits for a broker that says nothing."""

        def send() -> None:
            try:
                task.apply_async(entry.args, retry=False, confirm_timeout=CONFIRM, **entry.options)
            except Exception:
                logger.warning("no broker for %s", entry.name, exc_info=True)

        last = self._threads.get(entry.name)
        if last is None or not last.is_alive():
            self._threads[entry.name] = threading.Thread(target=send, name="message", daemon=True)
            self._threads[entry.name].start()

    def _last(self, name: str) -> Any:
        rows = Job.objects.filter(unique_key=name).order_by("-pk")
        try:
            return rows.values_list("created_at", flat=True).first()
        except Exception:
            logger.warning("no database to ask when %s was", name, exc_info=True)
            connection.close()
            return None

    def _postpone(self, name: str) -> None:
        """Have what could not be added be due again soon, not a period later."""
        entry = self.schedule[name]
        period = _period(entry)
        entry.last_run_at = timezone.now() - period + min(_AGAIN, period)
        # Made anew from the entries.
        self._heap = None


def _period(entry: Any) -> timedelta:
    period: timedelta = entry.schedule.run_every
    return period
