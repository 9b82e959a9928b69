"""What a page behind a cursor costs, in rows and steps instead of time: the same at any depth.

And which index what is counted is counted in.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import Value

from products import listing
from products.catalogue import ORDERS
from products.listing import Filter, is_gathered, read_keys
from products.models import Category, Product
from shop.pages import COUNT_MAX, Slice, Total

pytestmark = pytest.mark.django_db

# Not divisible by each other: whatever the order, what passes lies evenly along it. Few
# values, so that any place is among many equals.
PRODUCTS = 3_000
FILTERS = {
    "none": {},
    "category": {"branch": 3},
    "price": {"low": 200, "high": 300},
    "in stock": {"in_stock": True},
    "sold out": {"in_stock": False},
    "all of it": {"branch": 3, "low": 200, "in_stock": True},
}


@pytest.fixture
def categories():
    nodes = [
        Category.objects.create(key=f"c{n}", slug=f"c{n}", name_en=f"C {n}", path=f"/{n}/")
        for n in range(3)
    ]
    Product.objects.bulk_create(
        Product(
            name=f"name {n % 5}",
            price=n % 7 * 100,
            category=nodes[n % 3],
            stock_quantity=n % 11,
            sold_quantity=n % 2,
        )
        for n in range(PRODUCTS)
    )
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE products_product")
            # So few rows it would rather read and sort. Of a million it does what is left.
            for way in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{way} = off")
    return nodes


def chosen_by(categories: list[Category], given: dict[str, Any]) -> Filter:
    branch = tuple(node.pk for node in categories[: given.get("branch", 0)][:1])
    return Filter("", branch, given.get("low"), given.get("high"), given.get("in_stock"))


def steps(work: Callable[[], Any]) -> int:
    """Count SQLite's own instructions."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection.connection.set_progress_handler(count, 1)
    try:
        work()
    finally:
        connection.connection.set_progress_handler(None, 0)
    return counted


def rows_looked_at(sql: str, params: Any) -> int:
    """Count the rows that PostgreSQL's scans of a query found and threw away or kept."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT TEXT) {sql}", params)
        plan = [line for (line,) in cursor.fetchall()]
    looked = 0
    for number, line in enumerate(plan):
        if " Scan" in line and (found := re.search(r"actual rows=(\d+)", line)):
            looked += int(found[1])
            for below in plan[number + 1 :]:
                if "->" in below:
                    break
                if removed := re.search(r"Rows Removed by Filter: (\d+)", below):
                    looked += int(removed[1])
    assert looked
    return looked


def cost(chosen: Filter, wanted: Slice) -> int:
    if connection.vendor == "sqlite":
        read_keys(chosen, wanted, gather=False)  # What is prepared once is no step of this.
        return steps(lambda: read_keys(chosen, wanted, gather=False))
    rows = listing.keys_of(chosen, wanted, gather=False)[: wanted.limit]
    return rows_looked_at(*rows.query.sql_with_params())


@pytest.mark.parametrize("order", sorted(ORDERS))
@pytest.mark.parametrize("name", FILTERS)
def test_a_page_half_way_down_costs_what_the_first_costs(categories, name, order):
    chosen = chosen_by(categories, FILTERS[name])
    first = Slice(chosen, ORDERS[order], (), 21)
    keys = read_keys(chosen, Slice(chosen, ORDERS[order], (), PRODUCTS), gather=False)
    assert len(keys) > 80
    pk, value = keys[len(keys) // 2]
    after = (pk,) if ORDERS[order].column == "pk" else (value, pk)
    deep = Slice(chosen, ORDERS[order], after, 21)
    assert len(read_keys(chosen, deep, gather=False)) == 21
    # So many lie where the page lies. To merge two walks is some steps a row on SQLite.
    walked = 21 * PRODUCTS // len(keys)
    merged = 21 * 15 if connection.vendor == "sqlite" else 0
    assert cost(chosen, deep) <= 1.5 * max(cost(chosen, first), walked) + merged


def test_what_is_in_a_category_is_counted_in_the_index_alone(categories):
    rows = chosen_by(categories, {"branch": 1})().order_by().values(one=Value(1))
    sql, params = rows[: COUNT_MAX + 1].query.sql_with_params()
    way = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{way} {sql}", params)
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    if connection.vendor == "postgresql":
        assert "Index Only Scan" in plan
    else:
        assert "COVERING INDEX product_list_category (category_id=? AND retired_at=?)" in plan


def test_few_that_pass_are_read_without_walking_past_the_others(categories):
    few = Category.objects.create(key="few", slug="few", name_en="Few", path="/9/")
    Product.objects.filter(pk__in=list(Product.objects.values_list("pk", flat=True)[:3])).update(
        category=few
    )
    chosen = chosen_by([few], {"branch": 1})
    wanted = Slice(chosen, ORDERS["price"], (), 21)
    assert is_gathered(chosen, wanted, lambda: Total(3)) is True
    rows = listing.keys_of(chosen, wanted, gather=True)[:21]
    if connection.vendor == "sqlite":
        assert steps(lambda: list(rows)) < 500
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = on")
        assert rows_looked_at(*rows.query.sql_with_params()) == 3
