"""Measure what reading costs and print it as Markdown."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from benchmarks.arena import ArenaError
from benchmarks.reading import ROWS, measure_reading
from benchmarks.windows import Options


class Command(BaseCommand):
    """`manage.py measure_reading --only hits --rounds 5`."""

    help = "Measure ready answers, Zipf traffic and memory on a database and servers of their own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--products", type=int, default=100_000)
        parser.add_argument("--window", type=float, default=5.0, help="seconds a window")
        parser.add_argument("--rounds", type=int, default=5, help="windows of each way")
        parser.add_argument("--only", choices=ROWS, action="append", help="may be repeated")
        parser.add_argument("--chart", type=Path, help="where the chart of Zipf traffic is drawn")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the tables to stdout."""
        if options["products"] < 1000 or options["rounds"] < 1 or options["window"] < 1:
            raise CommandError("At least 1,000 products, one round, and a window of a second.")
        chosen = Options(
            products=options["products"],
            window=options["window"],
            rounds=options["rounds"],
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        try:
            self.stdout.write(measure_reading(chosen, options["only"] or ROWS, options["chart"]))
        except ArenaError as error:
            raise CommandError(str(error)) from None
