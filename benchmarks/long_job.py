"""A long job to be in the way; the workers of `benchmarks.jobs` include it."""

import time

from shop.jobs.queue import job

# Seconds of work.
_LONG = 2.0


@job("benchmarks.long", queue="long")
def work_long() -> None:
    """Keep a core busy for a while."""
    until = time.monotonic() + _LONG
    while time.monotonic() < until:
        sum(range(10_000))
