"""Measure what open WebSockets hold and how soon they are told, as a Markdown table."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from benchmarks.measuring import MeasuringCommand
from benchmarks.sockets import HEADER, measure


class Command(MeasuringCommand):
    """`manage.py measure_sockets --sockets 2000 --watchers 500`."""

    help = "Measure live updates on one server: memory a socket, and commit to receipt."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--sockets", type=int, default=2000, help="orders watched at a time")
        parser.add_argument("--watchers", type=int, default=500, help="of the one order")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run both cases."""
        try:
            outcomes = measure(sockets=options["sockets"], watchers=options["watchers"])
        except ConnectionError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(HEADER)
        for outcome in outcomes:
            self.stdout.write(outcome.row())
