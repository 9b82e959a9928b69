"""Tell how ready answers serve, or have every web process forget them."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from monitoring.ready import ready_by_route
from shop.ready import kept


class Command(BaseCommand):
    """`manage.py ready_answers`, `manage.py ready_answers --empty`."""

    help = "Tell by route how often answers came from memory, in all web processes of this host."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--empty", action="store_true", help="have every web process forget what it keeps"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a table, or empty."""
        if options["empty"]:
            kept().knowledge.tell_all()
            self.stdout.write("Every web process forgets what it keeps within a second.")
            return
        self.stdout.write("| route | hit | not modified | joined | made | spared |")
        self.stdout.write("|---|--:|--:|--:|--:|--:|")
        for row in ready_by_route():
            self.stdout.write(
                f"| {row['route']} | {row['hit']:,} | {row['not_modified']:,}"
                f" | {row['joined']:,} | {row['made']:,} | {row['share']:.1%} |"
            )
