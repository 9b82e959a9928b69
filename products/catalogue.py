"""Reading the catalogue: one product, a page of products.

Reads build their JSON from `.values_list()` rows; a model instance and a
serializer cost several times the query. What is kept of them carries tags
(`tags_of_list`, `tags_of_product`); products.freshness learns what changes.
"""

import functools
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings
from django.db import connection
from django.http import Http404

from products import images, listing
from products.ai.seo import json_ld
from products.fragments import read_fragments, read_shared
from products.freshness import feed
from products.listing import Filter
from products.models import Category, Product
from shop.cache import Store, Tag
from shop.money import on_the_wire
from shop.pages import Order, Slice, Source, Total, count_rows
from shop.prepared import Prepared
from shop.rest import dump_json, local

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


def list_source(chosen: Filter, members: Collection[Tag]) -> Source:
    """Return how the list of what `chosen` leaves is read; `members` are the tags of who is in it.

    Its rows are pairs: a product's key, and the product as lists show it.
    """

    @functools.cache
    def count() -> Total:
        return count_products(chosen, members)

    def fetch(wanted: Slice) -> list[Row]:
        return listing.read_keys(chosen, wanted, gather=listing.is_gathered(chosen, wanted, count))

    return Source(
        Product,
        ORDERS,
        fetch,
        listing.value_of_key,
        lambda _rows: count(),
        rows_of=lambda keys: read_products([key[0] for key in keys]),
    )


# What a list is tagged by when it is in this order.
_ORDER_TAGS = {
    "price": "price",
    "-price": "price",
    "name": "name",
    "-name": "name",
    "best_selling": "sold",
}


def tags_of_list(ordering: str, members: Collection[Tag], rows: Sequence[Row]) -> list[Tag]:
    """Return the tags of a page: who is in the list, in which order, and what is shown."""
    order = [_ORDER_TAGS[ordering]] if ordering in _ORDER_TAGS else []
    return list({*members, *order, *(row[0] for row in rows)})


def tags_of_product(pk: int) -> list[Tag]:
    """Return the tags of one product's answer."""
    return [("detail", pk)]


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


def read_products(pks: Sequence[int]) -> list[tuple[int, orjson.Fragment]]:
    """Return these products with their keys, as the API lists them, in this order.

    One query for those that are kept nowhere.
    """
    found = read_fragments(pks, _render) if pks else {}
    # One that was deleted in between is left out.
    return [(pk, orjson.Fragment(found[pk])) for pk in pks if pk in found]


def _render(pks: Collection[int]) -> dict[int, bytes]:
    return {row[0]: dump_json(as_json(row)) for row in _several_products(len(pks)).fetch(*pks)}


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
    """Return one product as JSON bytes: from the shared cache, or from the database.

    A retired product can still be read, and says so: orders point at it.

    Raises:
        Http404: no such product.
    """
    return read_shared("detail", [pk], lambda _: {pk: dump_json(read_facts(pk))})[pk]


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


_COUNTS_BYTES = 4 * 1024 * 1024
_counts: Store[str, Total] = Store(feed.knowledge.tags, _COUNTS_BYTES)
# Seconds for which the number of very many products is believed: it is an estimate anyway.
_ESTIMATE_AGE = 60


def count_products(chosen: Filter, members: Collection[Tag]) -> Total:
    """Count what `chosen` leaves, once as long as none of the tags `members` changes.

    Beyond `pages.COUNT_MAX` it is estimated, once a minute.
    """
    knowledge = feed.knowledge
    if connection.in_atomic_block:
        return count_rows(chosen)
    estimate_key = f"{chosen.key}|{time.time() // _ESTIMATE_AGE}"
    total = None
    if knowledge.is_sure():
        total = _counts.get(chosen.key) or _counts.get(estimate_key)
    if total is None:
        since = knowledge.tags.now
        total = count_rows(chosen)
        key, tags = (estimate_key, ()) if total.is_estimate else (chosen.key, members)
        _counts.put(key, total, tags=tuple(tags), since=since, size=len(key))
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
