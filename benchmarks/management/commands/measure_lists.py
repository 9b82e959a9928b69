"""Measure the product list in a big catalogue, as a Markdown table."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from benchmarks.lists import measure
from benchmarks.measuring import MeasuringCommand


class Command(MeasuringCommand):
    """`manage.py measure_lists --products 1000000 --plans`."""

    help = "Time the product list by filter, order and place, in a database of its own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--products", type=int, default=100_000)
        parser.add_argument("--plans", action="store_true", help="how page 1 of each is found")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the table to stdout."""
        if options["products"] < 1000:
            raise CommandError("At least a thousand products.")

        table = measure(products=options["products"], plans=options["plans"], say=self.say)
        self.stdout.write(table)
