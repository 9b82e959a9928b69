"""The clock's work: sampling, and what follows from it."""

from django.utils import timezone

from monitoring import alerts, series
from shop.jobs.queue import job


def tick() -> None:
    """Sample, then evaluate the alerts; rung each ten seconds.

    No job row: a tick that is missed is only a gap, and the next one must not
    wait for it.
    """
    now = timezone.now()
    if series.sample(now):
        series.roll_up(now)
        alerts.evaluate(now)


@job("monitoring.prune")
def prune() -> str:
    """Delete samples that have had their time."""
    return f"{series.prune()} samples"
