"""Ten thousand events to three sinks: how fast senders bring them, and whether any comes twice."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arena import Arena

SINKS = ("webhook", "broker", "mail")
SUBJECT_EVENTS = 5
PATIENCE = 600.0

FILL = """
import sys
import django
django.setup()
from shop.events.models import Event
subjects, each = int(sys.argv[1]), int(sys.argv[2])
Event.objects.bulk_create(
    (
        Event(type="order.paid", subject=f"order/{n}", sequence=sequence, data={})
        for sequence in range(1, each + 1) for n in range(subjects)
    ),
    batch_size=2000,
)
"""

# Prints the seconds until everything had been noted.
WAIT = """
import sys, time
import django
django.setup()
from shop.events.models import Event, SinkOffset
began = time.monotonic()
while Event.objects.pending().exists() or SinkOffset.objects.behind().exists():
    time.sleep(0.02)
    if time.monotonic() - began > float(sys.argv[1]):
        sys.exit("not in time")
print(time.monotonic() - began)
"""


@dataclass(frozen=True)
class Delivered:
    """What came of it; `queries` is a mean for one event at one sink."""

    events: int
    senders: int
    seconds: float
    doubled: int
    missing: int
    disordered: int
    queries: float

    def row(self) -> str:
        """Return one line of a Markdown table."""
        deliveries = self.events * len(SINKS)
        return (
            f"| {self.events:,} | {self.senders} | {self.seconds:.1f}"
            f" | {self.events / self.seconds:,.0f} | {deliveries / self.seconds:,.0f}"
            f" | {self.queries:.3f} | {self.doubled} | {self.missing} | {self.disordered} |"
        )


HEADER = (
    "| events | senders | seconds | events/s | deliveries/s | queries a delivery | doubled"
    " | missing | out of order |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def measure(*, events: int, senders: int) -> Delivered:
    """Deliver so many events, five a subject, by so many sender processes.

    Raises:
        ArenaError: the arena could not be set up, or it took ten minutes.
    """
    with (
        Arena(products=100, people=1) as arena,
        tempfile.TemporaryDirectory(prefix="shop-events-") as name,
    ):
        folder = Path(name)
        arena.run(["-c", FILL, str(events // SUBJECT_EVENTS), str(SUBJECT_EVENTS)])
        command = ["-m", "shop.tests.sender_process", str(folder), *SINKS]
        with arena.processes([command] * senders):
            seconds = float(arena.run(["-c", WAIT, str(PATIENCE)]))
        return _judge(folder, events, senders, seconds)


def _judge(folder: Path, events: int, senders: int, seconds: float) -> Delivered:
    doubled = missing = disordered = 0
    for sink in SINKS:
        lines = [line.split() for line in (folder / sink).read_text().splitlines()]
        times = Counter(pk for pk, _subject, _sequence in lines)
        doubled += sum(number - 1 for number in times.values())
        missing += events - len(times)
        last: dict[str, int] = {}
        for _pk, subject, sequence in lines:
            disordered += int(sequence) < last.get(subject, 0)
            last[subject] = int(sequence)
    queries = sum(int(file.read_text()) for file in folder.glob("queries-*"))
    return Delivered(
        events, senders, seconds, doubled, missing, disordered, queries / (events * len(SINKS))
    )
