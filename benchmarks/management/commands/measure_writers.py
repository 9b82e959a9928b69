"""Measure order creation on SQLite with and without the queue of writers, as a Markdown table."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from benchmarks.arena import ArenaError
from benchmarks.windows import Options
from benchmarks.writers import measure_writers


class Command(BaseCommand):
    """`manage.py measure_writers --clients 1 --clients 32`."""

    help = "Measure orders over HTTP on SQLite, with the fair queue of writers and without it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--products", type=int, default=10_000)
        parser.add_argument("--window", type=float, default=10.0, help="seconds a window")
        parser.add_argument("--rounds", type=int, default=5, help="windows of each way")
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
        chosen = Options(
            products=options["products"],
            window=options["window"],
            rounds=options["rounds"],
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        try:
            self.stdout.write(measure_writers(chosen, clients))
        except ArenaError as error:
            raise CommandError(str(error)) from None
