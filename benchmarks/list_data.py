"""Filling an arena's database with a big catalogue, to see what its lists cost.

Run as `python -m benchmarks.list_data --products 1000000` in the arena's own
environment; it prints what load needs to know as one line of JSON. The rows are
made by the database itself, in seconds rather than minutes, and the same on both:
nothing in them is drawn, all follows from a row's number. Only what lists read is
there: no ledger, nothing to be searched by.
"""

import argparse
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from products.models import Category

_ROOTS, _SECTIONS, _KINDS = 10, 8, 5
# In a category of its own below the first root, and no other.
FEW = 3
_THINGS = ("키보드 keyboard", "마우스 mouse", "노트북 laptop", "카메라 camera", "가방 backpack")
_WORDS = ("무선 wireless", "소형 compact", "silent", "강철 steel", "휴대용", "studio", "밝은")


def _pick(words: tuple[str, ...], dice: str) -> str:
    cases = " ".join(f"WHEN {n} THEN '{word}'" for n, word in enumerate(words))
    return f"(CASE {dice} %% {len(words)} {cases} END)"


def _dice(multiplier: int) -> str:
    # A number below 2^31 that looks drawn; both databases reckon in 64 bits.
    return f"((number * {multiplier} + {multiplier % 7919}) %% 2147483647)"


# A third of the products is in the first hundredth of the categories, a sixth in none.
_CATEGORY = f"""(CASE WHEN number <= {FEW} THEN %(few)s
 WHEN {_dice(48271)} %% 6 = 0 THEN NULL
 WHEN {_dice(48271)} %% 6 < 3 THEN %(first)s + {_dice(69621)} %% (%(leaves)s / 100 + 1)
 ELSE %(first)s + {_dice(16807)} %% %(leaves)s END)"""
# Most things are cheap. What few there are of a kind are the dearest of all.
_PRICE = f"""(CASE WHEN number <= {FEW} THEN 9000000
 WHEN {_dice(39373)} %% 10 < 8 THEN 1000 + 100 * ({_dice(950706376)} %% 500)
 ELSE 50000 + 900 * ({_dice(742938285)} %% 2000) END)"""
_STOCK = f"(CASE WHEN {_dice(1226874159)} %% 10 = 0 THEN 0 ELSE {_dice(62089911)} %% 900 + 1 END)"
# The thing on place n is sold as often as 1/n.
_SOLD = f"(%(products)s / (1 + {_dice(1343714438)} %% %(products)s))"
_BRAND = f"'Brand ' || {_dice(630360016)} %% 300"
_NAME = (
    f"{_pick(_WORDS, _dice(742938285))} || ' ' || {_pick(_THINGS, _dice(16807))} || ' ' || number"
)

_FILL = f"""\
WITH RECURSIVE numbers(number) AS (
 SELECT CAST(1 AS bigint) UNION ALL SELECT number + 1 FROM numbers WHERE number < %(products)s
)
INSERT INTO products_product (
 sku, name, description, brand, category_id, price, stock_quantity, sold_quantity,
 created_at, updated_at, retired_at
)
SELECT 'L-' || number, {_NAME}, {_NAME} || %(text)s, {_BRAND}, {_CATEGORY}, {_PRICE},
 {_STOCK}, {_SOLD}, %(now)s, %(now)s,
 CASE WHEN number > {FEW} AND {_dice(530000)} %% 20 = 0 THEN %(now)s END
FROM numbers
"""  # noqa: S608


def fill(*, products: int) -> dict[str, str]:
    """Fill an empty, migrated database; return the slugs of categories by their size."""
    from django.db import connection
    from django.utils import timezone

    def node(name: str, parent: "Category | None") -> "Category":
        from products.categories import place_category
        from products.models import Category

        return place_category(
            category=Category(key=name, slug=name, name_en=name, name_ko=name), parent=parent
        )

    roots = [node(f"root-{n}", None) for n in range(_ROOTS)]
    sections = [(root, node(f"{root.slug}-{n}", root)) for root in roots for n in range(_SECTIONS)]
    leaves = [
        node(f"{section.slug}-{n}", section) for _, section in sections for n in range(_KINDS)
    ]
    few, empty = node("few", roots[0]), node("empty", roots[0])
    if leaves[-1].pk - leaves[0].pk + 1 != len(leaves):
        raise RuntimeError("The categories' keys have gaps: was the database new?")
    params: dict[str, int | str | datetime] = {
        "products": products,
        "few": few.pk,
        "first": leaves[0].pk,
        "leaves": len(leaves),
        "text": ". A good thing at a fair price. 오래 쓰는 물건입니다." * 6,
        "now": timezone.now(),
    }
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0")
        cursor.execute(_FILL, params)
        if connection.vendor == "postgresql":
            # As autovacuum would, sooner or later. Nobody runs SQLite's ANALYZE.
            cursor.execute("VACUUM ANALYZE")
    return {
        "big": roots[0].slug,
        "middle": roots[-1].slug,
        "small": leaves[-1].slug,
        "few": few.slug,
        "empty": empty.slug,
    }


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--products", type=int, required=True)
    options = parser.parse_args()
    import django

    django.setup()
    sys.stdout.write(json.dumps(fill(products=options.products)))


if __name__ == "__main__":
    _main()
