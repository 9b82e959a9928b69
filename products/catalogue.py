"""Reading the catalogue: one product, a page of products.

Reads build their JSON from `.values_list()` rows; a model instance and a
serializer cost several times the query. One product is cache-first; see
products.freshness for what may be shown how long.
"""

import functools
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import Http404

from products import freshness, images, listing
from products.ai.seo import json_ld
from products.listing import Filter
from products.models import Category, Product
from shop.money import on_the_wire
from shop.prepared import Prepared
from shop.rest import Order, Rows, Slice, Source, Total, count_rows, dump_json, local

# The columns of a product as the API shows it, in the order of `_as_json`.
_COLUMNS = (
    "pk",
    "sku",
    "name",
    "description",
    "brand",
    "price",
    "stock_quantity",
    "category__slug",
    "category__name_en",
    "category__name_ko",
    "created_at",
    "updated_at",
    "retired_at",
    "sold_quantity",
)
# What only one product alone shows.
_MORE_COLUMNS = (
    "category_confidence",
    "seo__title",
    "seo__description",
    "seo__keywords",
    "seo__slug",
    "seo__written_by",
    "seo__accepted_by",
)
_POSITION = {name: index for index, name in enumerate(_COLUMNS)}

ORDERS: dict[str, Order] = {
    "newest": Order("pk", descending=True),
    "oldest": Order("pk"),
    "price": Order("price"),
    "-price": Order("price", descending=True),
    "name": Order("name"),
    "-name": Order("name", descending=True),
    "best_selling": Order("sold_quantity", descending=True),
}

Row = tuple[Any, ...]


def list_source(chosen: Filter, rows_of: Callable[[list[Row]], list[Row]] | None = None) -> Source:
    """Return how the list of what `chosen` leaves is read: rows as `as_json` takes them.

    With `rows_of` nothing but keys is fetched, each with the value that it is
    ordered by, and `rows_of` makes of them what is shown, in that order.
    """

    @functools.cache
    def count() -> Total:
        return count_products(chosen, chosen.key, of_stock=chosen.in_stock is not None)

    def fetch(wanted: Slice) -> list[Row]:
        gather = listing.is_gathered(chosen, wanted, count)
        if rows_of is not None:
            return listing.read_keys(chosen, wanted, gather=gather)
        return listing.read(chosen, wanted, _COLUMNS, gather=gather)

    if rows_of is None:
        return Source(Product, ORDERS, fetch, value_of, lambda _rows: count())
    key_of = listing.value_of_key
    return Source(Product, ORDERS, fetch, key_of, lambda _rows: count(), rows_of=rows_of)


def value_of(row: Row, column: str) -> Any:
    """Read a column of a fetched row, for cursors."""
    return row[_POSITION[column]]


def as_json(row: Row) -> dict[str, Any]:
    """Return a fetched row as the API shows it."""
    (
        pk, sku, name, description, brand, price, stock,
        category, category_en, category_ko, created, updated, retired, _sold,
    ) = row  # fmt: skip
    return {
        "id": str(pk),
        "sku": sku,
        "name": name,
        "description": description,
        "brand": brand,
        "price": on_the_wire(price),
        "stock_quantity": stock,
        "in_stock": stock > 0 and retired is None,
        "category": category,
        "category_name": {"en": category_en, "ko": category_ko or category_en}
        if category
        else None,
        "created_at": local(created),
        "updated_at": local(updated),
        "retired_at": local(retired) if retired else None,
    }


def read_products(pks: Sequence[int]) -> list[dict[str, Any]]:
    """Return these products as the API lists them, in this order. One query, none for none."""
    if not pks:
        return []
    by_pk = {row[0]: as_json(row) for row in _several_products(len(pks)).fetch(*pks)}
    # One that was deleted in between is left out.
    return [by_pk[pk] for pk in pks if pk in by_pk]


@functools.lru_cache(maxsize=128)
def _several_products(number: int) -> Prepared:
    rows = Product.objects.filter(pk__in=range(number)).order_by()
    return Prepared(rows.values_list(*_COLUMNS))


@functools.cache
def _one_product() -> Prepared:
    """Read one product: a row for each of its images, one row without them where it has none."""
    rows = Product.objects.filter(pk=0).order_by("images__position", "images__pk")
    of_images = (f"images__{column}" for column in images.COLUMNS)
    return Prepared(rows.values_list(*_COLUMNS, *_MORE_COLUMNS, *of_images))


def read_product(pk: int) -> bytes:
    """Return one product as JSON bytes: from the cache, else from the database.

    A retired product can still be read, and says so: orders point at it.

    Raises:
        Http404: no such product.
    """
    key = f"product:3:{pk}"
    # Inside a transaction one sees what nobody else does yet.
    usable = not connection.in_atomic_block
    if usable:
        cached = cache.get(key)
        if cached is not None and freshness.is_fresh(pk, cached[0]):
            return cached[1]  # type: ignore[no-any-return]
    read_at = time.time()
    body = dump_json(read_facts(pk))
    if usable and freshness.is_fresh(pk, read_at):
        cache.set(key, (read_at, body), timeout=1)
    return body


def read_facts(pk: int) -> dict[str, Any]:
    """Return one product as the API shows it, from the database. One query.

    Raises:
        Http404: no such product.
    """
    found = _one_product().fetch(pk)
    if not found:
        raise Http404
    width = len(_COLUMNS) + len(_MORE_COLUMNS)
    pictures = [images.as_json(row[width:]) for row in found if row[width] is not None]
    return _detail(found[0][:width], pictures)


def _detail(row: Row, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    shown = {**as_json(row[: len(_COLUMNS)]), "images": pictures}
    confidence, title, description, keywords, slug, written_by, accepted_by = row[len(_COLUMNS) :]
    shown["category_confidence"] = confidence
    # "ai" until staff say that it is right, or choose another.
    shown["category_source"] = (
        None if shown["category"] is None else "given" if confidence is None else "ai"
    )
    shown["seo"] = None
    if title is not None:
        shown["seo"] = {
            "title": title,
            "description": description,
            "keywords": keywords,
            "slug": slug,
            "written_by": written_by or "staff",
            "accepted": accepted_by is not None or not written_by,
            "json_ld": json_ld(shown, settings.CURRENCY),
        }
    return shown


# Seconds for which the number of very many products is believed: it is an estimate anyway.
_ESTIMATE_AGE = 60


def count_products(rows: Rows, key: str, *, of_stock: bool) -> Total:
    """Count what `rows` builds, at most once in `freshness.MAX_AGE` seconds for each `key`.

    `key` names the filters, `of_stock` says whether stock is among them. Beyond
    `rest.COUNT_MAX` it is estimated, once a minute.
    """
    key = f"products:count:2:{key}"
    usable = not connection.in_atomic_block
    if usable and (cached := cache.get(key)) is not None:
        read_at, number, is_estimate = cached
        if is_estimate or freshness.is_fresh_count(read_at, of_stock=of_stock):
            return Total(number, is_estimate)
    read_at = time.time()
    total = count_rows(rows)
    if usable:
        age = _ESTIMATE_AGE if total.is_estimate else 1
        cache.set(key, (read_at, total.rows, total.is_estimate), timeout=age)
    return total


def category_children(parent: Category | None, depth: int) -> list[dict[str, Any]]:
    """Return the categories below `parent` (the whole tree's roots for None) as nested JSON.

    `depth` is how many levels, at least 1. One query.
    """
    rows = Category.objects.within(parent.path if parent else "/")
    base = parent.depth + 1 if parent else 0
    top: list[dict[str, Any]] = []
    by_pk: dict[int, dict[str, Any]] = {}
    # Ordered by path, a parent comes before its children.
    columns = ("pk", "parent_id", "path", "slug", "name_en", "name_ko")
    for pk, parent_id, path, slug, name_en, name_ko in rows.order_by("path").values_list(*columns):
        level = path.count("/") - 2 - base
        if level < 0:
            continue
        if level >= depth:
            if level == depth and parent_id in by_pk:
                by_pk[parent_id]["has_children"] = True
            continue
        node: dict[str, Any] = {
            "slug": slug,
            "name": {"en": name_en, "ko": name_ko or name_en},
            "has_children": False,
            "children": [],
        }
        by_pk[pk] = node
        if level == 0:
            top.append(node)
        elif parent_id in by_pk:
            by_pk[parent_id]["has_children"] = True
            by_pk[parent_id]["children"].append(node)
    return top


@dataclass(frozen=True)
class Offer:
    """What a product is sold as just now."""

    name: str
    sku: str
    price: Decimal
    retired: bool


@functools.lru_cache(maxsize=256)
def _offers(number: int) -> Prepared:
    return Prepared(
        Product.objects.filter(pk__in=range(number))
        .order_by()
        .values_list("pk", "name", "sku", "price", "retired_at")
    )


def read_offers(ids: Collection[int]) -> dict[int, Offer]:
    """Return what is known of these products; one query, from the database."""
    return {
        pk: Offer(name, sku or "", price, retired_at is not None)
        for pk, name, sku, price, retired_at in _offers(len(ids)).fetch(*ids)
    }
