"""manage.py import_categories: the category tree from a TSV file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from products.importing.categories import import_categories
from products.importing.reading import Refusal
from shop.errors import ShopError


class Command(BaseCommand):
    """Import categories; see `products.categories` for the rules."""

    help = (
        "Import the category tree from a tab-separated file with the columns id, parent, name_en "
        "and name_ko, in any order of rows. Categories are found again by id, then renamed and "
        "moved as the file says; their slugs stay. Bad rows are left out and reported, and "
        "running it again changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the command line."""
        parser.add_argument("file", type=Path, metavar="FILE.tsv")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and report.

        Raises:
            CommandError: the file can't be used.
        """

        def tell(refusal: Refusal) -> None:
            self.stdout.write(f"{refusal.file}:{refusal.line}: {refusal.reason} ({refusal.code})")

        try:
            report = import_categories(options["file"], on_refusal=tell)
        except ShopError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"created {report.created}, updated {report.updated}, "
            f"unchanged {report.unchanged}, refused {report.refused}"
        )
