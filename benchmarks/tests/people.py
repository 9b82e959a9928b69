"""Things of these tests; their people are those of every test."""

import json
from decimal import Decimal
from typing import Any

from django.test import Client

from benchmarks.facts import read_json
from products.actions import create_product
from products.categories import place_category
from products.models import Category, Product, StockMovement
from shop.accounts.models import User

ADDRESS = {"street": "123 Main St", "city": "Seoul", "postal_code": "12345"}


def signed_in(user: User) -> Client:
    """Return a client with `user`'s session."""
    client = Client()
    client.force_login(user)
    return client


def make_category(slug: str = "keyboards", *, ko: str = "키보드") -> Category:
    """Make a category at the top of the tree."""
    category = Category(key=slug, slug=slug, name_en=slug.title(), name_ko=ko)
    return place_category(category=category, parent=None)


def make_product(name: str = "Keyboard", *, stock: int = 10, **fields: Any) -> Product:
    """Make a product through the shop's own verbs."""
    fields.setdefault("price", Decimal(50_000))
    product = create_product(actor=None, name=name, stock_quantity=stock, **fields)
    product.refresh_from_db()
    return product


def send(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send JSON and return the response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic(method, path, data, "application/json", headers=headers)


def parsed(response: Any) -> Any:
    """Return the answer's JSON."""
    return read_json(response.content)


def ledger() -> list[tuple[int, int, str]]:
    """Return every row of the stock ledger."""
    rows = StockMovement.objects.order_by("pk").values_list("product_id", "change", "reason")
    return list(rows)


def stock_of(product: Product) -> int:
    """Return what the product's row says."""
    return Product.objects.values_list("stock_quantity", flat=True).get(pk=product.pk)
