"""A Celery app with jobs that change the stock, and processes that are killed on demand.

`celery -A shop.tests.jobs_app worker` or `beat`, with JOBS_FOLDER set. Whoever first
comes through a phase for which JOBS_FOLDER has a file `die-PHASE` takes the file away
and kills its own process, as `kill -9` would. Each job books one piece, with its
own number as the note, so that the ledger tells how often it had its effect.

`python -m shop.tests.jobs_app PRODUCT` adds a job for each number that it reads.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from django.db import transaction  # noqa: E402

from products.models import Product, Reason, StockMovement  # noqa: E402
from products.stock import adjust  # noqa: E402
from shop.celery import app  # noqa: E402
from shop.jobs import hands, queue  # noqa: E402
from shop.jobs.clock import Clock  # noqa: E402

__all__ = ["app"]

FOLDER = Path(os.environ["JOBS_FOLDER"])


def die(phase: str) -> None:
    """Die here, if somebody is to."""
    with suppress(FileNotFoundError):
        (FOLDER / f"die-{phase}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def book(number: int | str, product: int) -> None:
    """The effect of one job."""
    adjust(product_id=product, change=1, reason=Reason.CORRECTION, actor=None, note=f"job {number}")


@queue.job("test.once", attempts=1000, once=True)
def once(*, number: int, product: int) -> None:
    """Book in the transaction that notes the job."""
    die("middle")
    book(number, product)
    die("effect")


@queue.job("test.looks", attempts=1000)
def looks(*, number: int, product: int) -> None:
    """Book, unless an earlier run has."""
    with transaction.atomic():
        Product.objects.select_for_update().get(pk=product)
        if StockMovement.objects.filter(product=product, note=f"job {number}").exists():
            return
        book(number, product)
    die("committed")


@queue.job("test.slow", queue="long")
def slow(*, tells: bool) -> None:
    """Take half a minute."""
    for step in range(300):
        if tells:
            queue.progress(step / 300, f"step {step}")
        time.sleep(0.1)


@queue.job("test.tick", attempts=1000, once=True)
def tick() -> None:
    """Book under the number of the job's row."""
    current = queue._current.get()
    assert current is not None
    book(f"tick {current.row.pk}", Product.objects.earliest("pk").pk)


@queue.job("test.hourly")
def hourly() -> None:
    """Have been wanted."""


_do, _finish = queue.do, queue._finish


def _claimed(*args, **kwargs):
    die("claimed")
    _do(*args, **kwargs)


def _noted(*args):
    noted = _finish(*args)
    die("noted")
    return noted


queue.do, queue._finish = _claimed, _noted
# Nobody wants to wait half a minute in a test.
queue.LEASE = float(os.environ.get("JOBS_LEASE", queue.LEASE))
hands.PULSE = queue.LEASE / 5

# A clock that is always at work, with the broker and without.
app.conf.beat_schedule = {
    "message": {"task": "shop.wake_hands", "schedule": 0.5, "options": {"expires": 5}},
    "test.tick": {"task": "shop.enqueue_job", "schedule": 0.7, "args": ("test.tick",)},
    "test.hourly": {"task": "shop.enqueue_job", "schedule": 3600, "args": ("test.hourly",)},
}


class MortalClock(Clock):
    """Dies in each of its phases."""

    def setup_schedule(self):
        die("clock-starting")
        super().setup_schedule()
        die("clock-started")

    def apply_entry(self, entry, producer=None):
        die("clock-ringing")
        super().apply_entry(entry, producer)
        die("clock-rung")

    def tick(self, *args, **kwargs):
        seconds = super().tick(*args, **kwargs)
        if seconds > 0:
            die("clock-between")
        return seconds


app.conf.beat_scheduler = "shop.tests.jobs_app:MortalClock"

if __name__ == "__main__":
    for line in sys.stdin:
        at = int(line)
        queue.enqueue(("test.once", "test.looks")[at % 2], number=at, product=int(sys.argv[1]))
