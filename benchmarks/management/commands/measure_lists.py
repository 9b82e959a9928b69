"""Measure the product list in a big catalogue, as a Markdown table."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from benchmarks.arena import ArenaError
from benchmarks.lists import measure


class Command(BaseCommand):
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

        def say(line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        try:
            table = measure(products=options["products"], plans=options["plans"], say=say)
        except ArenaError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(table)
