"""What v1 and v2 say of the same thing, in one form.

The two write some names and numbers in their own ways. Before they are
compared for speed, their answers must come to the same facts.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from shop.pages import COUNT_MAX

Facts = dict[str, Any]

_TIMES = ("created_at", "updated_at", "retired_at")


def read_json(body: bytes) -> Any:
    """Parse an answer with every fraction exact."""
    return json.loads(body, parse_float=Decimal)


def _times(answer: Mapping[str, Any]) -> Facts:
    return {
        name: datetime.fromisoformat(answer[name]) if answer[name] else None
        for name in _TIMES
        if name in answer
    }


def of_product(answer: Mapping[str, Any]) -> Facts:
    """Return the facts of a product, by whichever version it was told."""
    facts = {**answer, **_times(answer), "id": str(answer["id"]), "price": Decimal(answer["price"])}
    # What v1 never knew, here and below.
    for name in ("images", "category_confidence", "category_source", "seo"):
        facts.pop(name, None)
    if isinstance(category := answer["category"], Mapping):
        facts["category"] = category["slug"]
        facts["category_name"] = {
            "en": category["name_en"],
            "ko": category["name_ko"] or category["name_en"],
        }
    else:
        facts.setdefault("category_name", None)
    return facts


def of_order(answer: Mapping[str, Any]) -> Facts:
    """Return the facts of an order, by whichever version it was told."""
    amounts = {name: Decimal(answer[name]) for name in ("items_total", "shipping_fee", "total")}
    items = [
        {
            **item,
            "product_id": str(item["product_id"]),
            "price": Decimal(item["price"]),
            "line_total": Decimal(item["line_total"]),
        }
        for item in answer["items"]
    ]
    facts = {**answer, **_times(answer), **amounts, "items": items}
    for name in ("paid", "refunded", "refund_due"):
        facts.pop(name, None)
    return facts


def of_product_list(answer: Mapping[str, Any]) -> Facts:
    """Return the facts of a page of products. Beyond COUNT_MAX v2 may only estimate the total."""
    total = answer["total"] if "total" in answer else answer["count"]
    if total > COUNT_MAX:
        total = "many"
    return {"total": total, "results": [of_product(product) for product in answer["results"]]}


def of_search(answer: Mapping[str, Any]) -> Facts:
    """Return what a search found: how many, and which, where all are on the page.

    The order is each version's own. Many are as many as v2 would only estimate.
    """
    from products.search import EXACT

    total = answer["total"] if "total" in answer else answer["count"]
    if total > EXACT:
        return {"total": "many", "found": None}
    found = {str(product["id"]) for product in answer["results"]}
    return {"total": total, "found": found if total <= len(answer["results"]) else None}


def of_summary(answer: Mapping[str, Any]) -> Facts:
    """Return the facts of the analytics."""
    if "totals" in answer:
        totals, top = answer["totals"], answer["top_products"]
        days = {day["start"]: day for day in answer["series"] if day["orders"]}
    else:
        totals, top = answer, answer["top_products"]
        days = {day["day"]: day for day in answer["days"]}
    return {
        "revenue": Decimal(totals["revenue"]),
        "orders": totals["orders"],
        "items": totals["items"],
        "days": {name: (Decimal(day["revenue"]), day["orders"]) for name, day in days.items()},
        "top": [(str(row["product_id"]), Decimal(row["revenue"])) for row in top],
    }


def of_placed_order(answer: Mapping[str, Any]) -> Facts:
    """Return the facts of an order that was placed just now, but for its id and times."""
    facts = of_order(answer)
    return {name: value for name, value in facts.items() if name not in ("id", *_TIMES)}
