"""Check that nothing that is read is older than a second, nor goes backwards."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from benchmarks.freshness import measure
from benchmarks.measuring import MeasuringCommand


class Command(MeasuringCommand):
    """`manage.py check_freshness --seconds 300 --redis`."""

    help = (
        "Write in every way there is and read through two web processes of their own;"
        " fails if something read is older than a second, or less than was shown before."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--seconds", type=float, default=300.0)
        parser.add_argument(
            "--redis", action="store_true", help="with a Redis of its own, which is stopped thrice"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it."""
        outcome = measure(seconds=options["seconds"], redis=options["redis"])
        self.stdout.write(outcome.text())
        if not outcome.is_good:
            raise CommandError("Something was stale, went backwards, or failed.")
