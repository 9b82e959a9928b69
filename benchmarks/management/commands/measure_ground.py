"""Measure the four rows of the ground and print them as Markdown."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from benchmarks.arena import ArenaError
from benchmarks.ground import ROWS, measure_ground
from benchmarks.windows import Options


class Command(BaseCommand):
    """`manage.py measure_ground --only hop --rounds 5`."""

    help = "Measure hop, reads, orders and a crowd on a database and servers of their own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--products", type=int, default=100_000)
        parser.add_argument("--window", type=float, default=5.0, help="seconds a window")
        parser.add_argument("--rounds", type=int, default=5, help="windows of each way")
        parser.add_argument("--crowd", type=float, default=30.0, help="seconds of the crowd")
        parser.add_argument("--only", choices=ROWS, action="append", help="may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the tables to stdout."""
        if options["products"] < 1000 or options["rounds"] < 1 or options["window"] <= 0:
            raise CommandError("At least 1,000 products, one round, and a window of some length.")
        chosen = Options(
            products=options["products"],
            window=options["window"],
            rounds=options["rounds"],
            crowd=options["crowd"],
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        try:
            self.stdout.write(measure_ground(chosen, options["only"] or ROWS))
        except ArenaError as error:
            raise CommandError(str(error)) from None
