"""Where a product's price stands among comparable ones.

Statistics, not a model: quartiles of what the shop itself asks for things of
the same category, and Tukey's fences on the logarithm of the price, since
prices spread by factors (Tukey 1977, "Exploratory Data Analysis").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import quantiles

from django.conf import settings

from products.ai.text import normal, words
from products.models import Category, Product
from shop.money import exponent

# Fewer say nothing about what is usual.
LEAST = 5
_MOST = 1000
_SHOWN = 10
_FENCE = 1.5


@dataclass(frozen=True)
class Comparable:
    """Another product, and how much of its name is the same: 0 to 1."""

    product_id: int
    name: str
    price: Decimal
    similarity: float


@dataclass(frozen=True)
class Position:
    """Where a price stands. Without enough comparables only their number is known."""

    compared: int
    category: str | None
    # Of the comparables, the share that is cheaper, equals counting half: 0 to 1.
    percentile: float | None = None
    median: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    is_outlier: bool = False
    confidence: float = 0.0
    comparables: tuple[Comparable, ...] = ()


def position(product: Product) -> Position:
    """Return where a product's price stands among those on sale in its category.

    Where the category has fewer than LEAST others, the next one up is taken,
    but never a root: a lamp is no measure for a sofa. One query a level and one
    more; the newest 1,000 products are compared.
    """
    if product.category is None:
        return Position(0, None)
    steps = product.category.path.strip("/").split("/")
    found: list[tuple[int, str, Decimal]] = []
    for depth in range(len(steps), min(1, len(steps) - 1), -1):
        branch = Category.objects.within("/" + "/".join(steps[:depth]) + "/")
        rows = (
            Product.objects.on_sale()
            .filter(category__in=branch.values("pk").order_by())
            .exclude(pk=product.pk)
            .order_by("-pk")
            .values_list("pk", "name", "price")
        )
        found = [row for row in rows[:_MOST] if row[2] > 0]
        if len(found) >= LEAST:
            break
    category = product.category
    if depth < len(steps):
        category = Category.objects.get(pk=int(steps[depth - 1]))
    comparables = _nearest(product, found)
    if len(found) < LEAST:
        return Position(len(found), category.slug, comparables=comparables)
    return _judge(product.price, [price for _pk, _name, price in found], category.slug, comparables)


def _judge(
    price: Decimal,
    prices: Sequence[Decimal],
    category: str,
    comparables: tuple[Comparable, ...],
) -> Position:
    low, median, high = quantiles(prices, n=4, method="inclusive")
    below = sum(1 for other in prices if other < price)
    equal = sum(1 for other in prices if other == price)
    first, _middle, third = quantiles(
        [math.log(other) for other in prices], n=4, method="inclusive"
    )
    # Where all cost nearly the same, a fence of no width would call a won's difference odd.
    spread = max(third - first, 0.1)
    outlier = price <= 0 or not (
        first - _FENCE * spread <= math.log(price) <= third + _FENCE * spread
    )
    return Position(
        compared=len(prices),
        category=category,
        percentile=round((below + equal / 2) / len(prices), 3),
        median=_rounded(median),
        low=_rounded(low),
        high=_rounded(high),
        is_outlier=outlier,
        confidence=round(len(prices) / (len(prices) + 10), 2),
        comparables=comparables,
    )


def _rounded(amount: Decimal) -> Decimal:
    """Return an amount the shop could ask: to the currency's decimals, to 100 in won."""
    if settings.CURRENCY == "KRW" and amount >= 1000:
        return Decimal(round(amount / 100) * 100)
    return amount.quantize(Decimal(1).scaleb(-exponent()))


def _nearest(product: Product, found: Sequence[tuple[int, str, Decimal]]) -> tuple[Comparable, ...]:
    own = set(words(normal(product.name)))

    def similarity(name: str) -> float:
        other = set(words(normal(name)))
        return len(own & other) / len(own | other) if own | other else 0.0

    ranked = sorted(
        (Comparable(pk, name, price, round(similarity(name), 3)) for pk, name, price in found),
        key=lambda one: (-one.similarity, abs(one.price - product.price), one.product_id),
    )
    return tuple(ranked[:_SHOWN])
