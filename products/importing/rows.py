"""A raw row to what it says of a product."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from django.utils.translation import gettext as _

from products.importing.reading import MAX_LINE, MAX_TEXTS, Raw, UnusableFile
from products.importing.values import BadRow, Prices, clean_text, first_stock, fold
from products.models import Category


@dataclass(frozen=True)
class Row:
    """A product as a row tells of it; None and empty texts are what it does not tell."""

    raw: Raw
    sku: str
    source_key: str
    name: str
    description: str
    brand: str
    price: Decimal
    stock: int
    category_id: int | None


def source_key(source: str, brand: str, name: str) -> str:
    """Return the key of a product whose source knows no SKU: 64 hexadecimal digits.

    Case, spaces and how Hangul is composed make no difference.
    """
    parts = (fold(source), fold(brand), fold(name))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class CategoryNames:
    """Categories by whatever a file may call them.

    By the mapping file first, then by slug, key, English and Korean name. A
    name that several categories share says nothing.
    """

    def __init__(self, mapping: Path | None) -> None:
        self.unknown: Counter[str] = Counter()
        self._found: dict[str, int | None] = {}
        categories = list(Category.objects.order_by("pk"))
        # The weakest first: each overwrites those before it.
        for field in ("name_ko", "name_en"):
            names = [fold(getattr(category, field)) for category in categories]
            shared = Counter(names)
            for name, category in zip(names, categories, strict=True):
                if name:
                    self._found[name] = category.pk if shared[name] == 1 else None
        self._found.update((fold(category.key), category.pk) for category in categories)
        self._found.update((fold(category.slug), category.pk) for category in categories)
        if mapping:
            slugs = {category.slug: category.pk for category in categories}
            self._found.update(_read_mapping(mapping, slugs))

    def find(self, text: str) -> int | None:
        """Return the category's primary key; one that is not known is counted."""
        if not text:
            return None
        pk = self._found.get(fold(text))
        if pk is None:
            shown = text[:100]
            if shown not in self.unknown and len(self.unknown) >= MAX_TEXTS:
                shown = "…"
            self.unknown[shown] += 1
        return pk


def _read_mapping(path: Path, slugs: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableFile(_("%s can't be read.") % path) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        text, tab, slug = line.partition("\t")
        if not tab or slug.strip() not in slugs:
            raise UnusableFile(
                _("%(file)s, line %(line)d: a category's text, a tab and a slug are needed.")
                % {"file": path, "line": number}
            )
        yield fold(text), slugs[slug.strip()]


def parse_row(raw: Raw, *, source: str, prices: Prices, names: CategoryNames) -> Row:
    """Make a row of what the file says; raises BadRow."""
    name = clean_text(raw.values, "name", 300)
    if not name:
        raise BadRow("name_missing", _("The row has no name."))
    brand = clean_text(raw.values, "brand", 120)
    sku = clean_text(raw.values, "sku", 64)
    description = clean_text(raw.values, "description", 20_000, keep_lines=True)
    category = clean_text(raw.values, "category", MAX_LINE)
    return Row(
        raw=raw,
        sku=sku,
        source_key="" if sku else source_key(source, brand, name),
        name=name,
        description=description,
        brand=brand,
        price=prices.read(raw.values),
        stock=first_stock(raw.values),
        # Last, so that the categories of bad rows are not counted.
        category_id=names.find(category),
    )
