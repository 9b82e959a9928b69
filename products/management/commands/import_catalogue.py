"""manage.py import_catalogue: products from CSV and JSON Lines files."""

import argparse
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from products.importing.catalogue import import_catalogue
from products.importing.reading import COLUMNS, Refusal
from shop.errors import ShopError

_SHOWN = 20


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


class Command(BaseCommand):
    """Import products; see `products.importing.catalogue` for the rules."""

    help = (
        "Import products from CSV (.csv) and JSON Lines (.jsonl, .ndjson) files in UTF-8. "
        "Products are found again by SKU, or else by source, brand and name, and changed where "
        "the file differs; what a row leaves empty stays as it is. Stock is taken over for new "
        "products only: the stock of a running shop is its ledger's business. Bad rows are left "
        "out and reported. Running it again changes nothing, or finishes what was cut short. "
        "Columns: "
        + "; ".join(" or ".join(names) for names in COLUMNS.values())
        + ". name and price are needed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the command line."""
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument(
            "--source",
            default="",
            help="whose products these are; tells those without SKU apart (default: the file's "
            "name without its ending)",
        )
        parser.add_argument(
            "--rate",
            type=_amount,
            help="what 1 unit of the files' currency is worth in the shop's: 1400 for dollars in "
            "a shop of won (default: the files are in the shop's currency)",
        )
        parser.add_argument(
            "--round",
            type=_amount,
            dest="step",
            help="round prices half up to multiples of this, in the shop's currency (default: "
            "with --rate to the currency's decimals; without it, finer prices are refused)",
        )
        parser.add_argument("--batch", type=int, default=1000, help="rows a transaction (1-5000)")
        parser.add_argument(
            "--categories",
            type=Path,
            metavar="TSV",
            help="what the files' categories mean: text, tab, slug; others are found by slug, "
            "key, English or Korean name",
        )
        parser.add_argument(
            "--only-new", action="store_true", help="leave products that exist as they are"
        )
        parser.add_argument(
            "--errors", type=Path, metavar="PATH", help="write bad rows to this file, as JSON Lines"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and report.

        Raises:
            CommandError: a file can't be used, or an option makes no sense.
        """
        files: list[Path] = options["files"]
        errors: Path | None = options["errors"]
        told: list[Refusal] = []
        with ExitStack() as stack:
            sink = None
            if errors is not None:
                if errors.resolve() in {file.resolve() for file in files}:
                    raise CommandError("--errors names one of the files to read.")
                try:
                    sink = stack.enter_context(errors.open("w", encoding="utf-8"))
                except OSError as error:
                    raise CommandError(f"{errors} can't be written: {error.strerror}") from error

            def tell(refusal: Refusal) -> None:
                if sink is not None:
                    sink.write(refusal.as_json() + "\n")
                elif len(told) < _SHOWN:
                    told.append(refusal)

            try:
                report = import_catalogue(
                    files,
                    source=options["source"],
                    rate=options["rate"],
                    step=options["step"],
                    batch_size=options["batch"],
                    categories=options["categories"],
                    only_new=options["only_new"],
                    on_refusal=tell,
                )
            except (ShopError, ValueError) as error:
                raise CommandError(str(error)) from error

        write = self.stdout.write
        for name, ignored in report.ignored_columns.items():
            if ignored:
                more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
                write(f"{name}: ignored columns {', '.join(ignored[:_SHOWN])}{more}")
        for refusal in told:
            write(f"{refusal.file}:{refusal.line}: {refusal.reason} ({refusal.code})")
        if report.refused and errors is None and report.refused > len(told):
            write(f"… and {report.refused - len(told)} more bad rows; --errors PATH keeps them all")
        for code, count in report.reasons.most_common():
            write(f"refused as {code}: {count}")
        unknown = report.unknown_categories
        if unknown:
            write(
                f"rows without a category, theirs being unknown or shared by several: "
                f"{unknown.total()}, {len(unknown)} names"
            )
            for text, count in unknown.most_common(_SHOWN):
                write(f"  {count:>7}  {text}")
        speed = report.rows / report.seconds if report.seconds else 0
        write(
            f"created {report.created}, updated {report.updated}, unchanged {report.unchanged}, "
            f"retired {report.retired}, refused {report.refused}; "
            f"{report.seconds:.1f} s, {speed:.0f} rows a second"
        )
