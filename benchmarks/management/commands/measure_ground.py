"""Measure the four rows of the ground and print them as Markdown."""

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError

from benchmarks.ground import ROWS, measure_ground
from benchmarks.measuring import WindowsCommand


class Command(WindowsCommand):
    """`manage.py measure_ground --only hop --rounds 5`."""

    help = "Measure hop, reads, orders and a crowd on a database and servers of their own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        super().add_arguments(parser)
        parser.add_argument("--crowd", type=float, default=30.0, help="seconds of the crowd")
        parser.add_argument("--only", choices=ROWS, action="append", help="may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the tables to stdout."""
        if options["products"] < 1000 or options["rounds"] < 1 or options["window"] <= 0:
            raise CommandError("At least 1,000 products, one round, and a window of some length.")
        chosen = replace(self.chosen(options), crowd=options["crowd"])
        self.stdout.write(measure_ground(chosen, options["only"] or ROWS))
