"""The Celery app with a long job to be in the way; `benchmarks.jobs` runs its workers."""

import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from shop.celery import app  # noqa: E402
from shop.jobs.queue import job  # noqa: E402

__all__ = ["app"]

# Seconds of work.
LONG = 2.0


@job("benchmarks.long", queue="long")
def work_long() -> None:
    """Keep a core busy for a while."""
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        sum(range(10_000))
