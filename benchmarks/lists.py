"""What a page of the product list costs: every filter, order and place in a big catalogue.

In the process, without HTTP: from the parameters to the rows. Run as
`python -m benchmarks.lists` in an arena's environment; `measure` does all of it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.arena import Arena

_TIMES = 5
# First and deep cursor in turns: whatever else the machine does meets both.
_TURNS = 25
# The columns of the table, in milliseconds each.
PLACES = ("counted", "page 1", "page 500", "page 10,000", "cursor 1", "cursor deep")
HEADER = ("| filter | order | products | {} | found by |\n|---|---|--:|{}---|\n").format(
    " | ".join(PLACES), "--:|" * len(PLACES)
)

_FILTERS = {
    "none": "",
    "category, a third": "category={big}",
    "category, 5 %": "category={middle}",
    "category, small": "category={small}",
    "category of 3": "category={few}",
    "category, empty": "category={empty}",
    "price, 3 %": "min_price=10000&max_price=12000",
    "price, 3 products": "min_price=8000000",
    "in stock": "in_stock=true",
    "sold out": "in_stock=false",
    "category, cheap, sold out": "category={big}&max_price=1500&in_stock=false",
    "category, dear": "category={middle}&min_price=1500000",
}
_ORDERINGS = ("newest", "price", "name", "best_selling")


def measure(*, products: int, plans: bool, say: Callable[[str], None]) -> str:
    """Fill a database of its own and measure in it; return a Markdown table.

    With `plans`, the database's own account of how each page 1 is found follows it.

    Raises:
        ArenaError: something could not be set up.
    """
    say(f"filling a database with {products:,} products")
    with Arena(products=1, people=1) as arena:
        # What a page costs whose products are kept nowhere.
        arena.environment["FRAGMENTS_MB"] = "0"
        slugs = arena.run(["-m", "benchmarks.list_data", "--products", str(products)])
        say("measuring")
        return arena.run(["-m", "benchmarks.lists", slugs, *(["--plans"] if plans else [])])


@dataclass(frozen=True)
class _Request:
    """Just enough of a request for `paginate`."""

    query_params: Any
    path: str = "/api/v2/products"


def _read(text: str) -> Any:
    """Return one page's window, as the API reads it."""
    from django.http import QueryDict

    from products import catalogue
    from products.filters import ProductQuery, filter_products, tags_of_filters
    from shop.inputs import read_query
    from shop.pages import paginate

    request: Any = _Request(QueryDict(text))
    query = read_query(request, ProductQuery)
    chosen = filter_products(query)
    source = catalogue.list_source(chosen, tags_of_filters(query))
    return paginate(request, query, chosen, source)


def _time(text: str, *, forgetful: bool = False) -> float:
    """Return the median of some reads, in milliseconds; `forgetful` has each counted anew."""
    from products.freshness import feed

    taken = []
    for _ in range(_TIMES):
        if forgetful:
            feed.knowledge.tags.everything_changed()
        started = time.perf_counter()
        _read(text)
        taken.append(time.perf_counter() - started)
    return median(taken) * 1000


def _time_in_turns(texts: list[str]) -> list[float]:
    """Return the median of each, in milliseconds, of reads one after the other and over again."""
    taken: list[list[float]] = [[] for _ in texts]
    for _ in range(_TURNS):
        for times, text in zip(taken, texts, strict=True):
            started = time.perf_counter()
            _read(text)
            times.append(time.perf_counter() - started)
    return [median(times) * 1000 for times in taken]


def _row(filters: str, ordering: str) -> tuple[list[float], str]:
    text = f"{filters}&ordering={ordering}".lstrip("&")
    first = _read(text).envelope
    times = [_time(text, forgetful=True)]
    times += [_time(f"{text}&page={page}") for page in (1, 500, 10_000)]
    cursors = [f"{text}&cursor="]
    # Half way down, as far as pages go.
    half = min(first["total"] // 2, 990_000)
    before = _read(f"{text}&per_page=100&page={half // 100}") if half >= 100 else None
    follows = before.envelope["next"] if before and before.rows else None
    if follows:
        cursors.append(_from_here(text, before))
    times += _time_in_turns(cursors)
    mark = "~" if first["total_is_estimate"] else ""
    return times, f"{mark}{first['total']:,}"


def _from_here(text: str, window: Any) -> str:
    """Return the parameters of the cursor's page behind a page by number."""
    from products.catalogue import ORDERS
    from products.models import Product
    from shop.pages import encode_cursor

    name = text.rpartition("ordering=")[2]
    last = Product.objects.get(pk=window.rows[-1][0])
    values = [getattr(last, column) for column in ORDERS[name].columns]
    return f"{text}&cursor={encode_cursor(name, False, values)}"


def _plan(text: str) -> tuple[str, str]:
    """Return how a page's keys are found: the indexes' names, and all that the database says."""
    from django.db import connection
    from django.http import QueryDict

    from products import catalogue, listing
    from products.filters import ProductQuery, filter_products, tags_of_filters
    from shop.inputs import read_query
    from shop.pages import Slice

    request: Any = _Request(QueryDict(text))
    query = read_query(request, ProductQuery)
    chosen = filter_products(query)
    wanted = Slice(chosen, catalogue.ORDERS[query["ordering"]], (), 21)
    gather = listing.is_gathered(
        chosen,
        wanted,
        lambda: catalogue.count_products(chosen, tags_of_filters(query)),
    )
    sql, params = listing.keys_of(chosen, wanted, gather=gather)[:21].query.sql_with_params()
    way = (
        "EXPLAIN (ANALYZE, BUFFERS)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"{way} {sql}", params)
        lines = [str(row[-1]) for row in cursor.fetchall()]
    words = " ".join(lines).replace("(", " ").split()
    names = dict.fromkeys(word for word in words if word.startswith("product"))
    indexes = [name for name in names if not name.startswith("products_product.")]
    used = [name for name in indexes if name != "products_product"] or ["the table"]
    return ("sorted, " if gather else "walked, ") + ", ".join(used), "\n".join(lines)


def _measure(slugs: dict[str, str], *, plans: bool) -> str:
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
    rows, told = [], []
    for name, parameters in _FILTERS.items():
        for ordering in _ORDERINGS:
            filters = parameters.format(**slugs)
            times, total = _row(filters, ordering)
            indexes, plan = _plan(f"{filters}&ordering={ordering}".lstrip("&"))
            shown = [f"{value:,.1f}" for value in times] + [""] * (len(PLACES) - len(times))
            rows.append(f"| {name} | {ordering} | {total} | {' | '.join(shown)} | {indexes} |")
            told.append(f"\n{name}, {ordering}:\n\n{plan}\n")
    return HEADER + "\n".join(rows) + "\n" + ("".join(told) if plans else "")


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("slugs", type=json.loads)
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    import django

    django.setup()
    sys.stdout.write(_measure(options.slugs, plans=options.plans))


if __name__ == "__main__":
    _main()
