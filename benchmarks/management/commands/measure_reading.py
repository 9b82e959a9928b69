"""Measure what reading costs and print it as Markdown."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from benchmarks.measuring import WindowsCommand
from benchmarks.reading import ROWS, measure_reading


class Command(WindowsCommand):
    """`manage.py measure_reading --only hits --rounds 5`."""

    help = "Measure ready answers, Zipf traffic and memory on a database and servers of their own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        super().add_arguments(parser)
        parser.add_argument("--only", choices=ROWS, action="append", help="may be repeated")
        parser.add_argument("--chart", type=Path, help="where the chart of Zipf traffic is drawn")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the tables to stdout."""
        if options["products"] < 1000 or options["rounds"] < 1 or options["window"] < 1:
            raise CommandError("At least 1,000 products, one round, and a window of a second.")
        self.stdout.write(
            measure_reading(self.chosen(options), options["only"] or ROWS, options["chart"])
        )
