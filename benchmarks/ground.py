"""The figures of the ground: the hop, the reads, the orders, many clients.

Each row pits two ways against each other on one machine in one run. Server
and load have cores of their own where there are two; the two ways alternate
in windows after a warm-up, and ratios are taken pair by pair. Absolute
figures are the machine's, ratios are the code's.
"""

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from django.db import connection

from benchmarks import facts
from benchmarks.arena import Arena, ArenaError, Server, get, on_cores
from benchmarks.buyers import PEOPLE, buyer, check_ledger, order_clients
from benchmarks.load import Source, request_bytes, with_query
from benchmarks.stats import Spread, ratios
from benchmarks.windows import (
    Check,
    Options,
    Report,
    Sample,
    Side,
    alternate,
    at_least,
    environment_of,
    measure,
)

ROWS = ("hop", "reads", "orders", "crowd")
# Pages are drawn from the first hundred: what an offset skips costs both
# versions the same time in the database, and is no part of this comparison.
PAGES = 100
PER_PAGE = 20
CROWD = 500


def _same(source: Source, clients: int) -> Callable[[], list[Source]]:
    return lambda: [source] * clients


# --- Row 1: the hop --------------------------------------------------------


def measure_hop(arena: Arena, options: Options, report: Report) -> None:
    """Compare the hop with Django's own ASGI handler, one light view behind the same middleware.

    On the shop's own stack and on the usual one: how often the stock handler
    changes threads depends on which of the middleware is asynchronous too.
    """
    source = request_bytes("GET", "/plain")
    for stack, module in (
        ("the shop's middleware", "benchmarks.plain_settings"),
        ("the usual middleware", "benchmarks.usual_settings"),
    ):
        with (
            arena.server(DJANGO_SETTINGS_MODULE=module) as ours,
            arena.server("benchmarks.stock_asgi:application", DJANGO_SETTINGS_MODULE=module) as its,
        ):
            if get(ours.port, "/plain") != get(its.port, "/plain"):
                raise ArenaError("The two handlers answer differently.")
            sides = Side(f"one hop, {stack}"), Side(f"stock ASGI handler, {stack}")
            alternate(
                [
                    (sides[0], ours, _same(lambda: source, 64)),
                    (sides[1], its, _same(lambda: source, 64)),
                ],
                options,
                report,
            )
        report.sides += [("hop", side) for side in sides]
        report.checks.append(at_least(f"one hop : stock ASGI handler, {stack}", *sides, 5))


# --- Row 2: reads ----------------------------------------------------------


def _any_of(requests: Sequence[bytes]) -> Source:
    return lambda: random.choice(requests)  # noqa: S311


def _detail(arena: Arena, api: str) -> Source:
    first, last = arena.data.first, arena.data.last
    return lambda: request_bytes(
        "GET",
        f"/api/{api}/products/{random.randint(first, last)}",  # noqa: S311
    )


def _lists(arena: Arena, api: str, pages: int = PAGES) -> Source:
    """Return a source of pages; `page` is what both versions have."""
    last = max(1, min(pages, (arena.data.last - arena.data.first + 1) // PER_PAGE))
    return _any_of(
        [
            request_bytes("GET", with_query(f"/api/{api}/products", page=page))
            for page in range(1, last + 1)
        ]
    )


def check_facts(server: Server, arena: Arena) -> None:
    """Make sure that both versions tell the same before their speed is compared.

    Raises:
        ArenaError: they don't.
    """
    middle = (arena.data.first + arena.data.last) // 2
    pairs = [("?page=1", facts.of_product_list), ("?page=2", facts.of_product_list)]
    pairs += [(f"/{pk}", facts.of_product) for pk in (arena.data.first, middle, arena.data.last)]
    for rest, facts_of in pairs:
        told = []
        for api in ("v1", "v2"):
            status, body = get(server.port, f"/api/{api}/products{rest}")
            if status != 200:
                raise ArenaError(f"/api/{api}/products{rest} answers {status}.")
            told.append(facts_of(facts.read_json(body)))
        if told[0] != told[1]:
            raise ArenaError(f"v1 and v2 differ at /products{rest}.")


def _next_pages(server: Server, cursor: str, per_page: int) -> Iterator[str]:
    """Follow a list by its cursors; yields the target of each next page."""
    target: str | None = with_query("/api/v2/products", per_page=per_page, cursor=cursor)
    while target:
        answer = facts.read_json(get(server.port, target)[1])
        target = answer["next"]
        if target:
            yield target


def deep_pages(server: Server, arena: Arena) -> list[str]:
    """Walk nine tenths of the catalogue; return targets of the twenty pages after that."""
    total = arena.data.last - arena.data.first + 1
    target = ""
    walk = _next_pages(server, "", 100)
    for _step in range(total * 9 // 1000):
        target = next(walk, target)
    if not target:
        raise ArenaError("Too few products for a deep page.")
    cursor = re.search(r"cursor=([^&]+)", target)
    if cursor is None:
        raise ArenaError("A next page without a cursor.")
    pages = []
    for page in _next_pages(server, cursor[1], PER_PAGE):
        pages.append(page)
        if len(pages) == 20:
            break
    return pages


def measure_reads(arena: Arena, options: Options, report: Report) -> None:
    """Compare list and detail of v2 with those of v1 on one server, and a deep page with the first.

    With nothing kept, neither answers nor products: benchmarks.reading has those.
    """
    with arena.server(READY_ANSWERS_MB="0", FRAGMENTS_MB="0") as server:
        check_facts(server, arena)
        for clients in (16, 64):
            for what, make in (("list of 20", _lists), ("detail", _detail)):
                sides = (
                    Side(f"v2 {what}, {clients} clients"),
                    Side(f"v1 {what}, {clients} clients"),
                )
                alternate(
                    [
                        (side, server, _same(make(arena, api), clients))
                        for side, api in zip(sides, ("v2", "v1"), strict=True)
                    ],
                    options,
                    report,
                )
                report.sides += [("reads", side) for side in sides]
                report.checks.append(at_least(f"{what}, v2 : v1, {clients} clients", *sides, 3))
        deep, first = Side("v2 deep page by cursor"), Side("v2 page 1")
        # Of one who is signed in: of many who are not one would be read for all.
        token = arena.data.tokens[0]
        deep_requests = [request_bytes("GET", p, token=token) for p in deep_pages(server, arena)]
        first_request = request_bytes("GET", "/api/v2/products?page=1", token=token)
        alternate(
            [
                (deep, server, _same(_any_of(deep_requests), 16)),
                (first, server, _same(lambda: first_request, 16)),
            ],
            options,
            report,
        )
        report.sides += [("reads", deep), ("reads", first)]
        cost = ratios(first.rates, deep.rates)
        report.checks.append(
            Check(
                "time of a deep page by cursor : page 1, 16 clients",
                f"{cost.text(2)} ×",
                "≤ 1.2 ×",
                cost.median <= 1.2,
            )
        )


# --- Row 3: orders ---------------------------------------------------------


def run_loop(arena: Arena, seconds: float, threads: int) -> Sample:
    """Place orders without HTTP in a process on the server's core."""
    with on_cores(arena.server_cores):
        printed = arena.run(
            ["-m", "benchmarks.order_loop", "--threads", str(threads)]
            + ["--seconds", str(seconds)]
            + ["--first", str(arena.data.first), "--last", str(arena.data.last)],
            timeout=seconds + 120,
        )
    result: Mapping[str, float | list[str]] = json.loads(printed)
    orders, cpu, errors = result["orders"], result["cpu"], result["errors"]
    if isinstance(orders, list) or isinstance(cpu, list) or not isinstance(errors, list):
        raise ArenaError(printed)
    if errors or not orders:
        raise ArenaError(f"The loop failed: {errors}")
    return Sample(orders / seconds, cpu / orders * 1e6, threads * seconds / orders, 0, 0, 0)


def measure_orders(arena: Arena, options: Options, report: Report) -> None:
    """Compare orders over HTTP with the same transaction in a loop; v1 stands beside them."""
    clients = 8
    http = Side(f"v2 orders over HTTP, {clients} clients")
    plain = Side(f"v1 orders over HTTP, {clients} clients")
    loop = Side(f"place_order in a loop, {clients} threads")
    with arena.server() as server:
        for api in ("v1", "v2"):
            measure(server, order_clients(arena, api, clients), options.warm_up)
        for number in range(options.rounds):
            turn: list[Callable[[], None]] = [
                lambda: http.samples.append(
                    _measured(server, order_clients(arena, "v2", clients), options, report)
                ),
                lambda: loop.samples.append(run_loop(arena, options.window, clients)),
                lambda: plain.samples.append(
                    _measured(server, order_clients(arena, "v1", clients), options, report)
                ),
            ]
            for step in turn if number % 2 == 0 else reversed(turn):
                step()
            for side in (http, loop, plain):
                last = side.samples[-1]
                options.say(f"  {side.name}: {last.rate:,.0f}/s, {last.cpu:,.0f} µs")
    report.sides += [("orders", side) for side in (http, loop, plain)]
    report.notes.append("The loop's p50 is its mean, and its CPU time that of its own process.")
    share = ratios(http.rates, loop.rates)
    rate = Spread.of(http.rates)
    report.checks += [
        Check("orders over HTTP : in a loop", f"{share.text(2)} ×", "≥ 0.6 ×", share.median >= 0.6),
        Check("orders over HTTP", f"{rate.text()} /s", "≥ 150 /s", rate.median >= 150),
    ]
    check_ledger(arena)


def _measured(server: Server, sources: list[Source], options: Options, report: Report) -> Sample:
    sample, load = measure(server, sources, options.window)
    if load.errors:
        report.notes.append(f"Orders: {dict(load.statuses)} {dict(load.broken)}")
    return sample


# --- Row 4: a crowd --------------------------------------------------------


class Watch(threading.Thread):
    """Looks at the server and its database twice a second."""

    def __init__(self, arena: Arena, server: Server) -> None:
        super().__init__(daemon=True)
        self._arena, self._server = arena, server
        self._over = threading.Event()
        self.connections: list[int] = []
        self.rss: list[int] = []

    def run(self) -> None:
        """Sample until stopped."""
        try:
            while not self._over.wait(0.5):
                self.rss.append(self._server.usage().rss)
                if (connections := self._arena.database_connections()) is not None:
                    self.connections.append(connections)
        finally:
            connection.close()

    def stop(self) -> None:
        """End sampling."""
        self._over.set()
        self.join(timeout=10)


def _mixed(arena: Arena, token: str) -> Source:
    """Return a buyer's source: of twenty requests eleven details, seven lists, two orders."""
    detail, pages, order = (
        _detail(arena, "v2"),
        _lists(arena, "v2"),
        buyer(arena, "v2", token),
    )
    kinds = [detail] * 11 + [pages] * 7 + [order] * 2
    return lambda: random.choice(kinds)()  # noqa: S311


def measure_crowd(arena: Arena, options: Options, report: Report) -> None:
    """Let 500 clients in at once, with reads and orders mixed."""
    tokens = arena.data.tokens
    side = Side(f"{CROWD} clients, 90 % reads and 10 % orders, {options.crowd:g} s")
    with arena.server() as server:
        watch = Watch(arena, server)
        watch.start()
        try:
            sources = [_mixed(arena, tokens[n % len(tokens)]) for n in range(CROWD)]
            sample, load = measure(server, sources, options.crowd)
        finally:
            watch.stop()
        side.samples.append(sample)
        last_words = server.last_words() if load.errors else ""
    check_ledger(arena)
    report.sides.append(("crowd", side))
    if load.errors:
        report.notes.append(f"Crowd: {dict(load.statuses)} {dict(load.broken)} {last_words[-500:]}")
    rss = max(watch.rss, default=0) / 1e6
    report.checks += [
        Check("500 clients: errors", str(load.errors), "0", load.errors == 0),
        Check("500 clients: memory of the process", f"{rss:,.0f} MB", "< 200 MB", rss < 200),
    ]
    if watch.connections:
        most = max(watch.connections)
        report.checks.append(
            Check("500 clients: database connections", str(most), "≤ 20", most <= 20)
        )


# --- All -------------------------------------------------------------------

_MEASURES = {
    "hop": measure_hop,
    "reads": measure_reads,
    "orders": measure_orders,
    "crowd": measure_crowd,
}


def measure_ground(options: Options, rows: Sequence[str] = ROWS) -> str:
    """Measure the rows in an arena of their own; return Markdown.

    Raises:
        ArenaError: something could not be set up, or answers were wrong.
    """
    report = Report()
    started = time.monotonic()
    options.say(f"filling a database with {options.products:,} products")
    with Arena(products=options.products, people=PEOPLE) as arena:
        options.say(f"  {time.monotonic() - started:,.0f} s")
        environment = environment_of(arena, options)
        with on_cores(arena.load_cores):
            for row in rows:
                options.say(row)
                _MEASURES[row](arena, options, report)
    return report.markdown(environment)
