"""Measure order creation on SQLite with and without the queue of writers, as a Markdown table."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connection

from benchmarks.measuring import WindowsCommand
from benchmarks.writers import measure_writers


class Command(WindowsCommand):
    """`manage.py measure_writers --clients 1 --clients 32`."""

    help = "Measure orders over HTTP on SQLite, with the fair queue of writers and without it."
    products = 10_000
    window = 10.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        super().add_arguments(parser)
        parser.add_argument(
            "--clients", type=int, action="append", help="may be repeated; by default 1 and 32"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it; progress goes to stderr, the table to stdout."""
        if connection.vendor != "sqlite":
            raise CommandError("The queue is SQLite's: run it without DATABASE_URL.")
        clients = options["clients"] or [1, 32]
        if min(options["products"], options["rounds"], *clients) < 1 or options["window"] <= 0:
            raise CommandError("At least one of each, and a window of some length.")
        self.stdout.write(measure_writers(self.chosen(options), clients))
