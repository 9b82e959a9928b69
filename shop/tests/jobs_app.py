"""A Celery app with jobs that change the stock, and workers that are killed on demand.

`celery -A shop.tests.jobs_app worker`, with JOBS_FOLDER set. Whoever first comes
through a phase for which JOBS_FOLDER has a file `die-PHASE` takes the file away
and kills its own process, as `kill -9` would. Each job books one piece, with its
own number as the note, so that the ledger tells how often it had its effect.
"""

import os
import signal
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

__all__ = ["app"]

FOLDER = Path(os.environ["JOBS_FOLDER"])
PHASES = ("claimed", "middle", "effect", "noted", "committed")


def die(phase: str) -> None:
    """Die here, if somebody is to."""
    with suppress(FileNotFoundError):
        (FOLDER / f"die-{phase}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def book(number: int, product: int) -> None:
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
