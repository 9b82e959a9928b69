"""How soon a job is begun after the commit that wanted it, with long work queued and without.

The job is that of a mail, for an order that there is not. The workers are those
of `manage.py start`, or, where there is a broker, those of the Procfile.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.arena import Arena
from benchmarks.stats import percentile

# Seconds for workers to start, and between two jobs.
_START = 8.0
_PAUSE = 0.15

# Adds jobs one by one; prints how long after its commit each was begun.
_ADDER = """
import json, sys, time, uuid
import django
django.setup()
from benchmarks import long_job
from django.db import transaction
from shop.jobs.models import Job
from shop.jobs.queue import enqueue
jobs, longs, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
Job.objects.all().delete()
for _ in range(longs):
    enqueue("benchmarks.long")
time.sleep(2)
commits = {}
for _ in range(jobs):
    with transaction.atomic():
        row = enqueue("orders.send_mail", order_id=str(uuid.uuid4()), kind="created")
    commits[row.pk] = time.time()
    time.sleep(pause)
mine = Job.objects.filter(pk__in=commits)
until = time.monotonic() + 60
while mine.exclude(state="finished").exists() and time.monotonic() < until:
    time.sleep(0.2)
begun = dict(mine.filter(state="finished").values_list("pk", "started_at"))
left = Job.objects.filter(task="benchmarks.long", state="queued").count()
print(json.dumps([[max(0.0, at.timestamp() - commits[pk]) for pk, at in begun.items()], left]))
"""

HEADER = (
    "| case | jobs | long ones queued | p50 ms | p99 ms | most ms | not begun |\n"
    "|---|--:|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True)
class Begun:
    """What came of one case; seconds from commit to start."""

    name: str
    jobs: int
    # How many of the long ones still waited at the end.
    waiting: int
    latencies: Sequence[float]

    def row(self) -> str:
        """Return one line of a Markdown table."""
        ordered = sorted(self.latencies)

        def ms(share: float) -> str:
            return f"{percentile(ordered, share) * 1000:,.0f}" if ordered else "–"

        return (
            f"| {self.name} | {self.jobs} | {self.waiting} | {ms(0.5)} | {ms(0.99)} | {ms(1)}"
            f" | {self.jobs - len(ordered)} |"
        )


def measure(*, jobs: int, longs: int, broker: str) -> list[Begun]:
    """Measure with nothing else queued, then behind so many long jobs.

    `broker` is the address of one that nobody else uses, or empty.

    Raises:
        ArenaError: the arena could not be set up.
    """
    where = "with a broker" if broker else "embedded"
    with Arena(products=10, people=1) as arena:
        arena.environment |= {"CELERY_BROKER_URL": broker}
        with arena.processes(_workers(split=bool(broker))):
            time.sleep(_START)
            return [
                _case(arena, f"{where}, quiet", jobs, 0),
                _case(arena, f"{where}, behind long work", jobs, longs),
            ]


def _case(arena: Arena, name: str, jobs: int, longs: int) -> Begun:
    told = arena.run(["-c", _ADDER, str(jobs), str(longs), str(_PAUSE)])
    latencies, waiting = json.loads(told)
    return Begun(name, jobs, waiting, latencies)


def _workers(*, split: bool) -> list[list[str]]:
    lanes = (
        [("jobs.default", "prefork", 2), ("jobs.long", "prefork", 1)]
        if split
        else [("jobs.default,jobs.long", "threads", 3)]
    )
    return [
        [
            *("-m", "celery", "--quiet", "-A", "shop", "worker"),
            *("--include", "benchmarks.long_job"),
            *("--queues", queues, "--pool", pool, "--concurrency", str(number)),
            *("--hostname", f"measured{os.getpid()}-{n}@%h"),
            *("--without-mingle", "--without-gossip"),
        ]
        for n, (queues, pool, number) in enumerate(lanes)
    ]
