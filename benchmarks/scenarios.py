"""What is measured, as data: each step for v1 and v2, and the facts they must agree on."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from benchmarks import facts
from benchmarks.buyers import order_body
from benchmarks.dataset import Dataset
from benchmarks.load import request_bytes, with_query

VERSIONS = ("v1", "v2")
_PER_PAGE = 20
_PAGES = 100
# What people type: things that one product in eight is, and that a handful are.
_QUERIES = ("keyboard", "키보드", "노트북", "camera", "steel", "부드러운", "무선 키보드", "mouse 1")


@dataclass(frozen=True)
class Call:
    """One request, before it is bytes."""

    method: str
    target: str
    token: str = ""
    body: bytes | None = None

    def as_bytes(self) -> bytes:
        """Return it as it is sent."""
        return request_bytes(self.method, self.target, token=self.token, body=self.body)


# Makes the next call of a version from what the database holds; the same dice
# make the same call for both.
Make = Callable[[str, Dataset, random.Random], Call]


@dataclass(frozen=True)
class Step:
    """One kind of request."""

    name: str
    make: Make
    # Both versions' answers to the same call must come to the same facts.
    facts: Callable[[Mapping[str, Any]], facts.Facts]


def _list(version: str, data: Dataset, dice: random.Random) -> Call:
    pages = max(1, min(_PAGES, (data.last - data.first + 1) // _PER_PAGE))
    return Call("GET", with_query(f"/api/{version}/products", page=dice.randrange(pages) + 1))


def _detail(version: str, data: Dataset, dice: random.Random) -> Call:
    return Call("GET", f"/api/{version}/products/{dice.randint(data.first, data.last)}")


def _search(version: str, data: Dataset, dice: random.Random) -> Call:
    return Call("GET", with_query(f"/api/{version}/products/search", q=dice.choice(_QUERIES)))


def _order(version: str, data: Dataset, dice: random.Random) -> Call:
    chosen = dice.sample(range(data.first, data.last + 1), 2)
    body = order_body(chosen)
    return Call("POST", f"/api/{version}/orders", dice.choice(data.tokens), body)


def _summary(version: str, data: Dataset, dice: random.Random) -> Call:
    end = timezone.localdate() - timedelta(days=dice.randrange(30))
    target = with_query(
        f"/api/{version}/orders/analytics/summary",
        start_date=end - timedelta(days=90),
        end_date=end,
    )
    return Call("GET", target, data.staff)


SCENARIOS: dict[str, tuple[Step, ...]] = {
    "product": (
        Step("product.list", _list, facts.of_product_list),
        Step("product.detail", _detail, facts.of_product),
    ),
    "search": (Step("search", _search, facts.of_search),),
    "order": (Step("order.create", _order, facts.of_placed_order),),
    "analytics": (Step("analytics.summary", _summary, facts.of_summary),),
}
