"""Measure how soon jobs are begun, as a Markdown table."""

from argparse import ArgumentParser
from typing import Any

from benchmarks.jobs import HEADER, measure
from benchmarks.measuring import MeasuringCommand


class Command(MeasuringCommand):
    """`manage.py measure_jobs --jobs 200 --long 500`."""

    help = "Measure from commit to a job's start, quiet and behind long work, in its own database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--jobs", type=int, default=200)
        parser.add_argument("--long", type=int, default=500, help="long jobs that are in the way")
        parser.add_argument("--broker", default="", help="URL of one that nobody else uses")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run both cases."""
        begun = measure(jobs=options["jobs"], longs=options["long"], broker=options["broker"])
        self.stdout.write(HEADER)
        for case in begun:
            self.stdout.write(case.row())
