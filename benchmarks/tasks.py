"""The benchmarks' background job."""

from uuid import UUID

from benchmarks.actions import execute
from shop.jobs.queue import job


@job("benchmarks.run", queue="long", attempts=1)
def run_benchmark(run_id: str) -> str:
    """Run a benchmark that was asked for. It is not tried again: a failure is a result."""
    return execute(UUID(run_id))
