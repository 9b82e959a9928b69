"""Products from files into the shop.

Rows are written batch by batch, one transaction each, so that a run that dies
leaves whole batches behind; running it again finishes the work. A row that
can't be used is refused with its reason and the rest goes on. Importing a file
again changes nothing.

Stock in a file is the first stock of a product that is new. The stock of a
product that the shop has already is the ledger's business, and no file's.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path

from django.db import IntegrityError
from django.utils.translation import gettext as _

from products import stock
from products.importing.reading import (
    Columns,
    OnRefusal,
    Raw,
    Refusal,
    UnusableFile,
    read_products,
    tell,
)
from products.importing.rows import CategoryNames, Row, parse_row
from products.importing.values import BadRow, Prices
from products.models import Product
from shop.db import in_transaction

_ATTEMPTS = 3


@dataclass
class _Outcome:
    """What one batch did."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    retired: int = 0
    refusals: list[Refusal] = field(default_factory=list)


@dataclass
class Report:
    """What an import did, in rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    retired: int = 0
    refused: int = 0
    seconds: float = 0.0
    # Rows by the code of their refusal.
    reasons: Counter[str] = field(default_factory=Counter)
    # Rows by a category's name that is no category here.
    unknown_categories: Counter[str] = field(default_factory=Counter)
    # By file; the columns that nothing is done with.
    ignored_columns: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All rows that were read."""
        return self.created + self.updated + self.unchanged + self.retired + self.refused

    def add(self, outcome: _Outcome) -> None:
        """Count one batch."""
        self.created += outcome.created
        self.updated += outcome.updated
        self.unchanged += outcome.unchanged
        self.retired += outcome.retired
        self.refused += len(outcome.refusals)
        self.reasons.update(refusal.code for refusal in outcome.refusals)


def import_catalogue(
    paths: Sequence[Path],
    *,
    source: str = "",
    rate: Decimal | None = None,
    step: Decimal | None = None,
    batch_size: int = 1000,
    categories: Path | None = None,
    only_new: bool = False,
    on_refusal: OnRefusal | None = None,
) -> Report:
    """Import products from CSV and JSON Lines files, in the order given.

    A row is matched by its SKU, or, where it has none, by source, brand and
    name; `source` defaults to each file's stem. What a row leaves empty stays
    as it is in the shop, and so does a category that is not known. With
    `only_new`, products that exist stay as they are altogether.

    `rate` is what one unit of the files' currency is worth in the shop's, and
    `step` what prices are rounded to, half up, in the shop's currency. With
    neither, prices are taken as they are and may not have more decimals than
    the currency. `categories` names a TSV file: a category as the files write
    it, and the slug that it stands for. `on_refusal` is called for each bad
    row once what precedes it is in the database.

    Raises:
        UnusableFile: a file is missing, of an unknown format or without names
            and prices; the files before it have been imported.
        ValueError: `rate`, `step` or `batch_size` is out of bounds.
    """
    started = time.monotonic()
    if not 1 <= batch_size <= 5000:
        raise ValueError(_("A batch has 1 to 5000 rows."))
    prices = Prices(rate, step)
    for path in paths:
        if path.suffix.lower() not in {".csv", ".jsonl", ".ndjson"}:
            raise UnusableFile(_("%s is none of .csv, .jsonl and .ndjson.") % path)
        if not path.is_file():
            raise UnusableFile(_("There is no file %s.") % path)
    names = CategoryNames(categories)
    report = Report(unknown_categories=names.unknown)
    for path in paths:
        parse = partial(parse_row, source=source or path.stem, prices=prices, names=names)
        columns = Columns()
        with closing(read_products(path, columns)) as found, closing(_Seen()) as seen:
            while batch := list(islice(found, batch_size)):
                rows, refusals = _sift(batch, parse, seen)
                outcome = _write(rows, seen, only_new)
                outcome.refusals += refusals
                report.add(outcome)
                tell(outcome.refusals, on_refusal)
        report.ignored_columns[path.name] = sorted(columns.ignored)
    report.seconds = time.monotonic() - started
    return report


class _Seen:
    """What a file has named already, on disk: memory stays flat, however long the file."""

    def __init__(self) -> None:
        # An empty name is a temporary file of SQLite's own, gone when it is closed.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Forget it all."""
        self._db.close()

    def refuse_again(self, key: str, raw: Raw) -> Refusal | None:
        """Return a refusal if another line has named `key` before this one."""
        added = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, raw.line))
        if added.rowcount:
            return None
        (first,) = self._db.execute("SELECT line FROM seen WHERE key = ?", (key,)).fetchone()
        if first == raw.line:
            return None
        reason = _("The same product is in line %d already.") % first
        return raw.refuse(BadRow("duplicate", reason))


def _sift(
    batch: Iterable[Raw | Refusal], parse: Callable[[Raw], Row], seen: _Seen
) -> tuple[list[Row], list[Refusal]]:
    """Part a batch into rows to write and rows to refuse."""
    rows: list[Row] = []
    refusals: list[Refusal] = []
    for raw in batch:
        if isinstance(raw, Refusal):
            refusals.append(raw)
            continue
        try:
            row = parse(raw)
        except BadRow as bad:
            refusals.append(raw.refuse(bad))
            continue
        # A bad row does not stand in the way of a good one after it.
        if refusal := seen.refuse_again(f"sku {row.sku}" if row.sku else row.source_key, raw):
            refusals.append(refusal)
        else:
            rows.append(row)
    return rows, refusals


class _Overtaken(Exception):
    """Somebody else changed what a batch had read."""


def _write(rows: Sequence[Row], seen: _Seen, only_new: bool) -> _Outcome:
    """Write a batch, again if somebody else was quicker with one of its products."""
    for _attempt in range(_ATTEMPTS - 1):
        try:
            return in_transaction(lambda: _write_batch(rows, seen, only_new))
        except (IntegrityError, _Overtaken):
            continue
    return in_transaction(lambda: _write_batch(rows, seen, only_new))


def _write_batch(rows: Sequence[Row], seen: _Seen, only_new: bool) -> _Outcome:
    outcome = _Outcome()
    known = _known_products(rows)
    new: list[Row] = []
    differing: dict[int, Row] = {}
    for row in rows:
        product = known.get(row.sku or row.source_key)
        if product is None:
            new.append(row)
        # One product can be meant by its SKU in one row and by its name in another.
        elif refusal := seen.refuse_again(f"id {product.pk}", row.raw):
            outcome.refusals.append(refusal)
        elif product.retired_at is not None:
            outcome.retired += 1
        elif only_new or not _apply(row, product):
            outcome.unchanged += 1
        else:
            differing[product.pk] = row
    _create(new)
    outcome.created = len(new)
    _update(differing, outcome)
    return outcome


def _known_products(rows: Iterable[Row]) -> dict[str, Product]:
    """Return the products that rows are about, by SKU and by source key."""
    products = Product.objects.order_by()
    by_sku = products.filter(sku__in=[row.sku for row in rows if row.sku])
    by_key = products.filter(source_key__in=[row.source_key for row in rows if row.source_key])
    return {
        **{str(product.sku): product for product in by_sku},
        **{str(product.source_key): product for product in by_key},
    }


def _apply(row: Row, product: Product) -> bool:
    """Make a product what the row says; returns whether that changed anything."""
    told = {
        "name": row.name,
        "description": row.description or product.description,
        "brand": row.brand or product.brand,
        "price": row.price,
        "category_id": row.category_id or product.category_id,
        # What the file says, no provider has chosen.
        "category_confidence": None if row.category_id else product.category_confidence,
    }
    changes = {name: value for name, value in told.items() if getattr(product, name) != value}
    for name, value in changes.items():
        setattr(product, name, value)
    return bool(changes)


def _create(rows: Sequence[Row]) -> None:
    if not rows:
        return
    products = Product.objects.bulk_create(
        Product(
            sku=row.sku or None,
            source_key=row.source_key or None,
            name=row.name,
            description=row.description,
            brand=row.brand,
            price=row.price,
            category_id=row.category_id,
        )
        for row in rows
    )
    stock.receive_new(
        {product.pk: row.stock for product, row in zip(products, rows, strict=True)}, actor=None
    )


def _update(differing: Mapping[int, Row], outcome: _Outcome) -> None:
    """Change products under their locks, taken in primary-key order and last of all."""
    if not differing:
        return
    locked = list(
        Product.objects.filter(pk__in=differing).order_by("pk").select_for_update(no_key=True)
    )
    if len(locked) < len(differing):
        raise _Overtaken
    changed = []
    for product in locked:
        if product.retired_at is not None:
            outcome.retired += 1
        elif _apply(differing[product.pk], product):
            changed.append(product)
        else:
            outcome.unchanged += 1
    outcome.updated = len(changed)
    # An upsert of rows that exist: bulk_update's CASE per row and field takes
    # many times as long. The columns left out, stock above all, stay as they are.
    Product.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=[
            "name",
            "description",
            "brand",
            "price",
            "category",
            "category_confidence",
            "updated_at",
        ],  # fmt: skip
    )
