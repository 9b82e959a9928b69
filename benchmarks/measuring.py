"""What the commands that measure have in common."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from benchmarks.arena import ArenaError
from benchmarks.windows import Options


class MeasuringCommand(BaseCommand):
    """Tells in one line what its arena could not do; progress goes to stderr."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run it.

        Raises:
            CommandError: something could not be set up, or answers were wrong.
        """
        try:
            return super().execute(*args, **options)
        except ArenaError as error:
            raise CommandError(str(error)) from None

    def say(self, line: str) -> None:
        """Tell how far it is, at once."""
        print(line, file=sys.stderr, flush=True)


class WindowsCommand(MeasuringCommand):
    """Measures ways in turns, window by window."""

    products = 100_000
    # Seconds.
    window = 5.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what every such command takes."""
        parser.add_argument("--products", type=int, default=self.products)
        parser.add_argument("--window", type=float, default=self.window, help="seconds a window")
        parser.add_argument("--rounds", type=int, default=5, help="windows of each way")

    def chosen(self, options: dict[str, Any]) -> Options:
        """Return how much to measure."""
        return Options(
            products=options["products"],
            window=options["window"],
            rounds=options["rounds"],
            say=self.say,
        )
