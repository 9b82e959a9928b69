"""Measure how fast events reach their sinks, as a Markdown table."""

from argparse import ArgumentParser
from typing import Any

from benchmarks import hooks
from benchmarks.events import HEADER, measure
from benchmarks.measuring import MeasuringCommand


class Command(MeasuringCommand):
    """`manage.py measure_events --events 10000 --senders 2`."""

    help = "Measure the delivery of events to three sinks, in a database of its own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--events", type=int, default=10_000)
        parser.add_argument("--senders", type=int, default=2)
        parser.add_argument("--webhook", action="store_true", help="to a webhook, by HTTP")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it."""
        if options["webhook"]:
            row = hooks.measure(events=options["events"], senders=options["senders"])
            self.stdout.write(hooks.HEADER)
            self.stdout.write(row)
            return
        delivered = measure(events=options["events"], senders=options["senders"])
        self.stdout.write(HEADER)
        self.stdout.write(delivered.row())
