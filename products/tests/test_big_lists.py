"""Lists beyond the limit to which they are counted, and lists against a plain model of them.

The limit is lowered: how a list is cut depends on whether more products pass
than that, and what is found must not.
"""

import random
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from products import catalogue, listing
from products.catalogue import ORDERS
from products.models import Category, Product
from shop import pages

pytestmark = pytest.mark.django_db


@pytest.fixture
def counted_to(monkeypatch):
    """Set how far lists are counted."""

    def to(limit: int) -> None:
        for module in (pages, listing):
            monkeypatch.setattr(module, "COUNT_MAX", limit)
        monkeypatch.setattr(listing, "GATHER_MAX", limit)

    return to


@pytest.fixture
def shop():
    """Sixty products with many equal values in a tree of three levels."""
    dice = random.Random(7)
    tree: list[Category] = []
    for number, above in enumerate([None, 0, 1, 0, None]):
        parent = None if above is None else tree[above]
        node = Category.objects.create(
            key=f"c{number}", slug=f"c{number}", name_en=f"C {number}", parent=parent
        )
        node.path = f"{parent.path if parent else '/'}{node.pk}/"
        node.save(update_fields=["path"])
        tree.append(node)
    Product.objects.bulk_create(
        Product(
            name=dice.choice(["가방", "나사", "Case", "case", "z"]),
            price=dice.choice([0, 100, 100, 250, 900]),
            stock_quantity=dice.choice([0, 0, 1, 5]),
            sold_quantity=dice.choice([0, 0, 3, 8]),
            category=dice.choice([None, *tree[:4]]),
            retired_at=timezone.now() if dice.random() < 0.15 else None,
        )
        for _ in range(60)
    )
    return Shop(list(Product.objects.all()), {node.slug: node for node in tree})


@dataclass
class Shop:
    """The catalogue as plain Python sees it."""

    products: list[Product]
    tree: dict[str, Category]

    def expect(self, query: dict[str, Any]) -> list[int]:
        """Return the keys of all that `query` finds, in order."""
        branch = self.tree[query["category"]].path if query.get("category") else ""
        paths = {node.pk: node.path for node in self.tree.values()}

        def passes(product: Product) -> bool:
            return (
                product.retired_at is None
                and paths.get(product.category_id or 0, "").startswith(branch)
                and query.get("min_price", 0) <= product.price <= query.get("max_price", 10**6)
                and query.get("in_stock") in (None, "true" if product.stock_quantity else "false")
            )

        order = ORDERS[query["ordering"]]

        def place(product: Product) -> tuple[Any, int]:
            value = getattr(product, order.column)
            # The test databases order text by its bytes.
            return value.encode() if isinstance(value, str) else value, product.pk

        found = sorted(filter(passes, self.products), key=place, reverse=order.descending)
        return [product.pk for product in found]


def draw(dice: random.Random) -> dict[str, Any]:
    query: dict[str, Any] = {"ordering": dice.choice(sorted(ORDERS))}
    if dice.random() < 0.5:
        query["category"] = dice.choice(["c0", "c1", "c2", "c3", "c4"])
    if dice.random() < 0.3:
        query["min_price"] = dice.choice([0, 100, 101, 250])
    if dice.random() < 0.3:
        query["max_price"] = dice.choice([250, 900, 5000])
    if dice.random() < 0.4:
        query["in_stock"] = dice.choice(["true", "false"])
    return query


def keys(page: dict[str, Any]) -> list[int]:
    return [int(row["id"]) for row in page["results"]]


@pytest.mark.parametrize("limit", [0, 3, 1000])
def test_pages_and_cursors_are_what_plain_python_finds(
    client_of, shop, counted_to, limit, settings
):
    settings.RATE_LIMITS = False
    counted_to(limit)
    client, dice = client_of(None), random.Random(limit)
    for _ in range(60):
        query = draw(dice)
        expected = shop.expect(query)
        size, page = dice.choice([1, 4, 7, 100]), dice.choice([1, 2, 5, 30])
        by_page = client.get("/api/v2/products", {**query, "per_page": size, "page": page}).json()
        assert keys(by_page) == expected[(page - 1) * size : page * size], query
        assert (by_page["next"] is None) == (len(expected) <= page * size), query
        if len(expected) <= limit:
            assert (by_page["total"], by_page["total_is_estimate"]) == (len(expected), False)

        seen: list[int] = []
        answer = client.get("/api/v2/products", {**query, "per_page": 7, "cursor": ""}).json()
        while True:
            seen += keys(answer)
            if answer["next"] is None:
                break
            before, answer = answer, client.get(answer["next"]).json()
            back = client.get(answer["previous"]).json()
            assert back["results"] == before["results"], query
        assert seen == expected, query


def test_a_total_beyond_the_limit_says_that_it_is_an_estimate(client_of, shop, counted_to):
    whole = len(shop.expect({"ordering": "newest"}))
    client = client_of(None)
    counted_to(whole)
    exact = client.get("/api/v2/products?per_page=5").json()
    assert (exact["total"], exact["total_is_estimate"]) == (whole, False)
    counted_to(whole - 1)
    about = client.get("/api/v2/products?per_page=5").json()
    assert about["total_is_estimate"] is True
    # Never less than was counted.
    assert about["total"] >= whole
    assert about["pages"] == -(-about["total"] // 5)


def test_whoever_follows_next_sees_everything_whatever_the_estimate(
    client_of, shop, counted_to, monkeypatch
):
    counted_to(4)
    client = client_of(None)
    expected = shop.expect({"ordering": "price"})
    for guess in (0, 10**6):
        kind = type(connections["default"])
        monkeypatch.setattr(kind, "estimated_rows", lambda self, rows, guess=guess: guess)
        seen, url = [], "/api/v2/products?ordering=price&per_page=9"
        while url:
            page = client.get(url).json()
            seen += keys(page)
            url = page["next"]
            assert page["total"] >= len(seen) + bool(url)
        assert seen == expected
        # The last page knows how many there were.
        assert (page["total"], page["total_is_estimate"]) == (len(expected), False)
        beyond = client.get("/api/v2/products?per_page=9&page=50").json()
        assert (beyond["results"], beyond["next"], beyond["total_is_estimate"]) == ([], None, True)


def test_the_last_page_with_a_number_leads_on_by_cursor(client_of, shop, monkeypatch):
    monkeypatch.setattr(pages, "PAGE_MAX", 3)
    expected = shop.expect({"ordering": "-price"})
    client = client_of(None)
    seen, url = [], "/api/v2/products?ordering=-price&per_page=4"
    while url:
        page = client.get(url).json()
        seen += keys(page)
        url = page["next"]
    assert seen == expected


def test_an_estimate_is_near_what_there_is():
    Product.objects.bulk_create(
        Product(name=f"상품 {n}", price=n % 10, stock_quantity=1) for n in range(1500)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE products_product")
    everything = Product.objects.on_sale()
    assert 1400 <= connection.estimated_rows(everything) <= 1600
    assert 300 <= connection.estimated_rows(everything.filter(price__lt=3)) <= 600
    assert connection.estimated_rows(Category.objects.filter(name_en="x")) <= 10


@pytest.mark.django_db(transaction=True)
def test_very_many_are_estimated_once_a_minute(
    client_of, shop, counted_to, make_product, monkeypatch
):
    counted_to(10)
    monkeypatch.setattr(catalogue.time, "time", lambda: 6000.0)
    client = client_of(None)
    first = client.get("/api/v2/products?per_page=5").json()
    estimates = []
    real = catalogue.count_rows
    monkeypatch.setattr(catalogue, "count_rows", lambda rows: estimates.append(rows) or real(rows))
    # What was counted would be counted anew.
    make_product()
    again = client.get("/api/v2/products?per_page=5&page=2").json()
    assert (again["total"], again["total_is_estimate"]) == (first["total"], True)
    assert estimates == []
    monkeypatch.setattr(catalogue.time, "time", lambda: 6060.0)
    client.get("/api/v2/products?per_page=5&page=3")
    assert len(estimates) == 1
