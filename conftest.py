"""Fixtures for every app: named people, an API client each, a product, an order."""

import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db import connection
from django.utils import translation
from rest_framework.test import APIClient

from orders.actions import Line, place_order
from orders.models import Order
from products import past_searches
from products.actions import create_product
from products.ai import embedded
from products.categories import CategoryRow, load_categories
from products.freshness import feed
from products.models import Product
from shop.accounts.models import User
from shop.accounts.throttles import buckets

IN_CI = os.environ.get("SHOP_CI_SERVICES") == "1"
BROWSER = os.environ.get("SHOP_BROWSER_TESTS") == "1"

pytest_plugins = ["shop.tests.browser"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a server that is not set; on CI's second run nothing may be skipped."""
    have = {
        "postgresql": connection.vendor == "postgresql",
        "redis": bool(settings.REDIS_URL),
        "broker": bool(settings.BROKER_URL),
    }
    for item in items:
        for name, present in have.items():
            if item.get_closest_marker(name) and not present:
                if IN_CI:
                    raise pytest.UsageError(f"{item.nodeid} needs {name}, which CI must have.")
                item.add_marker(pytest.mark.skip(reason=f"no {name} server is set"))
        if item.get_closest_marker("browser") and not BROWSER:
            item.add_marker(pytest.mark.skip(reason="pages in a browser: make browser"))


@pytest.fixture(autouse=True)
def clean_process() -> Iterator[None]:
    """Forget what the process keeps between requests."""
    cache.clear()
    buckets.clear()
    embedded.forget()
    feed.forget()
    # A request that a test made here leaves its language to the thread.
    translation.deactivate()
    yield
    # It has a connection of its own, and would keep the database busy.
    feed.stop()


@pytest.fixture(autouse=True)
def quiet_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread writes past searches while a test looks at the database."""
    monkeypatch.setattr(past_searches, "_begin_writing", lambda: None)
    past_searches.forget()


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hashing at full cost is not what the tests are about."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def quick_files(settings: Any) -> None:
    """Each test client would read all static files; look for the ones that are asked for."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def own_media(settings: Any, tmp_path: Any) -> None:
    """Uploads of tests go nowhere else."""
    settings.MEDIA_ROOT = tmp_path / "media"


def person(name: str, *groups: str, **fields: Any) -> User:
    user = User.objects.create_user(name, f"{name}@example.com", "secret", **fields)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


@pytest.fixture
def alice(db: None) -> User:
    """A customer."""
    return person("alice")


@pytest.fixture
def bob(db: None) -> User:
    """Another customer."""
    return person("bob")


@pytest.fixture
def clerk(db: None) -> User:
    """Catalogue and order desk."""
    return person("clerk", "Catalogue", "Order desk", is_staff=True)


@pytest.fixture
def admin(db: None) -> User:
    """May do everything."""
    return User.objects.create_superuser("admin", "admin@example.com", "secret")


@pytest.fixture
def client_of() -> Callable[[User | None], APIClient]:
    """Make an API client that is signed in as somebody, or as nobody."""

    def make(user: User | None) -> APIClient:
        client = APIClient()
        if user is not None:
            client.force_authenticate(user)
        return client

    return make


@pytest.fixture
def make_product(db: None) -> Callable[..., Product]:
    """Make a product with stock that the ledger knows of."""

    def make(
        name: str = "노트북", price: int | str = 10000, stock: int = 10, **fields: Any
    ) -> Product:
        return create_product(
            actor=None, name=name, price=Decimal(price), stock_quantity=stock, **fields
        )

    return make


@pytest.fixture
def tree(db: None) -> None:
    """A few categories, two of them of one name."""
    load_categories(
        [
            CategoryRow(1, "el", "", "Electronics", "전자기기"),
            CategoryRow(2, "el-6", "el", "Laptops", "노트북"),
            CategoryRow(3, "aa", "", "Apparel & Accessories", "의류/액세서리"),
            CategoryRow(4, "aa-1", "aa", "Vests", "조끼"),
            CategoryRow(5, "ap-1", "el", "Vests", "조끼"),
        ]
    )


ADDRESS = {"street": "123 Main St", "city": "Seoul", "postal_code": "12345"}


@pytest.fixture
def make_order(make_product: Callable[..., Product]) -> Callable[..., Order]:
    """Place an order as the shop does."""

    def make(customer: User, *lines: tuple[Product, int]) -> Order:
        wanted = lines or ((make_product(), 1),)
        return place_order(
            customer=customer,
            lines=[Line(product.pk, quantity) for product, quantity in wanted],
            address=ADDRESS,
        ).order

    return make
