"""Measure how often search finds the right product, on files of real products."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.arena import Arena
from benchmarks.measuring import MeasuringCommand
from benchmarks.search_quality import SAMPLE
from products.demo_data import DEMO


class Command(MeasuringCommand):
    """`manage.py evaluate_search FILE…`."""

    help = (
        "Ask for the products of files (CSV or JSON Lines with a name; by default the demo's) as "
        "people do: whole, in part, abbreviated, on the wrong keyboard layout, mistyped. Prints "
        "how often the right one is among the first five, and a table of queries. The same files "
        "and seed give the same queries. Works on a database of its own."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
        parser.add_argument(
            "--sample", type=int, default=SAMPLE, help="queries a kind and language"
        )
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--misses", action="store_true", help="list all that were not found")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print.

        Raises:
            ArenaError: a file can't be used.
        """
        files: list[Path] = options["files"] or [DEMO / "products.jsonl"]
        with Arena(products=0, people=1) as arena:
            self.stdout.write(
                arena.run(
                    ["-m", "benchmarks.search_quality", *(str(f.resolve()) for f in files)]
                    + ["--sample", str(options["sample"]), "--seed", str(options["seed"])]
                    + (["--misses"] if options["misses"] else [])
                )
            )
