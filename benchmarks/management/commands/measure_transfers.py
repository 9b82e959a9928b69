"""Measure what large bodies and slow clients cost a server, as a Markdown table."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from benchmarks.transfers import CASES, SERVERS, measure


class Command(BaseCommand):
    """`manage.py measure_transfers --server granian --case down-slow`."""

    help = "Measure the memory of Daphne and Granian under large bodies and slow clients."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; each may be repeated."""
        parser.add_argument("--server", choices=SERVERS, action="append")
        parser.add_argument("--case", choices=CASES, action="append")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the cases one after the other."""
        self.stdout.write("| server | case | MB at rest | peak MB | seconds | |")
        self.stdout.write("|---|---|--:|--:|--:|---|")
        for server in options["server"] or SERVERS:
            for case in options["case"] or CASES:
                self.stdout.write(measure(server, case).row())
