"""Measure search and suggestions at each key that is typed, as a Markdown table."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from benchmarks.measuring import MeasuringCommand
from benchmarks.search_speed import measure_search


class Command(MeasuringCommand):
    """`manage.py measure_search --products 100000`."""

    help = (
        "Measure cold search and suggestions over HTTP after one to six typed characters, in "
        "English and Korean, on a database of its own of the kind that DATABASE_URL names."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--products", type=int, default=100_000)
        parser.add_argument("--queries", type=int, default=200, help="for each line of the table")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the table to stdout."""
        if options["products"] < 1 or options["queries"] < 1:
            raise CommandError("At least one of each.")
        self.stdout.write(
            measure_search(
                products=options["products"],
                queries=options["queries"],
                say=self.say,
            )
        )
