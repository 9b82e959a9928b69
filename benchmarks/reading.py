"""The rows of reading: ready answers against the server's ceiling, and Zipf traffic.

Hits are compared with a bare ASGI application that sends the same bytes from the same
server, in alternating windows; wrk makes the load, since anything in Python would be
slower than Granian. Zipf traffic is the shop's own: most people look at few products.
"""

import contextlib
import json
import random
import re
import shutil
import subprocess
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from urllib.parse import quote

from benchmarks.arena import Arena, ArenaError, Server, get, on_cores
from benchmarks.load import Source, request_bytes
from benchmarks.stats import Spread, percentile, ratios
from benchmarks.windows import Check, Options, Report, Sample, Side, environment_of, measure

ROWS = ("hits", "zipf", "memory")
SERVERS = ("daphne", "granian")
CLIENTS = (64, 500)
# Of what a bare application does, what ready answers are to reach.
SHARES = {"daphne": 0.85, "granian": 0.55}
EXPONENT = 1.0
CROWD = 500
# Stock changes a second.
CHANGES = (0, 25, 50, 100, 200)
_PAGES = 200
_QUERIES = [
    *("keyboard", "mouse", "laptop", "camera", "speaker", "backpack", "monitor", "desk lamp"),
    *("키보드", "마우스", "노트북", "카메라", "스피커", "가방", "모니터", "책상 조명"),
    *("무선 마우스", "ㄴㅌㅂ", "노틉", "wireless mouse", "고급 카메라", "steel lamp", "shxmqnr"),
]
_ORDERS = ("newest", "price", "-price", "name", "best_selling")


# --- Hits ------------------------------------------------------------------


def _targets(arena: Arena) -> dict[str, str]:
    middle = (arena.data.first + arena.data.last) // 2
    return {
        "list of 20": "/api/v2/products?page=1",
        "detail": f"/api/v2/products/{middle}",
        "search": f"/api/v2/products/search?q={quote('노트북')}",
    }


_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_PERCENTILE = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s)\s*$", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_REQUESTS = re.compile(r"^\s+(\d+) requests in", re.MULTILINE)
_WRONG = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")


def _wrk(server: Server, target: str, clients: int, seconds: float) -> Sample:
    """Put load on a server with wrk."""
    before = server.usage()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--latency"]
        + [f"http://127.0.0.1:{server.port}{target}"],
        capture_output=True,
        text=True,
        check=True,
    )
    after = server.usage()
    rate, requests = _RATE.search(done.stdout), _REQUESTS.search(done.stdout)
    if rate is None or requests is None:
        raise ArenaError(done.stdout)
    times = {
        name: float(value) * _UNITS[unit] for name, value, unit in _PERCENTILE.findall(done.stdout)
    }
    wrong = _WRONG.search(done.stdout)
    return Sample(
        rate=float(rate[1]),
        cpu=(after.cpu - before.cpu) / max(1, int(requests[1])) * 1e6,
        p50=times.get("50", 0.0),
        p99=times.get("99", 0.0),
        errors=1 if wrong else 0,
        generator_share=0.0,
    )


def _answer_of(server: Server, target: str, path: Path) -> None:
    """Write down an answer of the shop, for the bare application to repeat."""
    import http.client

    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        client.request("GET", target)
        answer = client.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise ArenaError(f"{target} answers {answer.status}")
        headers = [
            pair for pair in answer.getheaders() if pair[0].lower() not in ("date", "server")
        ]
    finally:
        client.close()
    path.write_text(json.dumps({"headers": headers, "body": body}))


def measure_hits(arena: Arena, options: Options, report: Report) -> None:
    """Compare ready answers with what the same server does at most.

    Raises:
        ArenaError: wrk is not here.
    """
    if shutil.which("wrk") is None:
        raise ArenaError("wrk makes the load of this row; install it (Debian: wrk).")
    for kind in SERVERS:
        with arena.server(kind=kind) as shop:
            for what, target in _targets(arena).items():
                _compare(arena, shop, kind, (what, target), options, report)


def _compare(
    arena: Arena,
    shop: Server,
    kind: str,
    asked: tuple[str, str],
    options: Options,
    report: Report,
) -> None:
    what, target = asked
    path = arena.folder / "raw.json"
    _answer_of(shop, target, path)
    with arena.server("benchmarks.raw_asgi:application", kind=kind, RAW_ANSWER=str(path)) as bare:
        for clients in CLIENTS:
            ours = Side(f"{kind}, {what}, {clients} connections")
            its = Side(f"{kind}, bare, {what}, {clients} connections")
            for server in (shop, bare):
                _wrk(server, target, clients, options.warm_up)
            for number in range(options.rounds):
                turn = [(ours, shop), (its, bare)]
                for side, server in turn if number % 2 else reversed(turn):
                    sample = _wrk(server, target, clients, options.window)
                    side.samples.append(sample)
                    options.say(f"  {side.name}: {sample.rate:,.0f}/s, {sample.cpu:,.0f} µs")
                    if sample.errors:
                        report.notes.append(f"{side.name}: errors")
            share = ratios(ours.rates, its.rates)
            report.sides += [("hits", ours), ("hits", its)]
            report.checks.append(
                Check(
                    f"{kind}: {what}, {clients} connections : bare application",
                    f"{share.text(2)} ×",
                    f"≥ {SHARES[kind]:g} ×",
                    share.median >= SHARES[kind],
                )
            )


# --- Zipf traffic -----------------------------------------------------------


class Zipf:
    """Draws from 0 to `number` - 1: the n-th is drawn in proportion to 1 / n ** exponent."""

    def __init__(self, number: int, exponent: float = EXPONENT) -> None:
        self._sums = list(accumulate(1 / rank**exponent for rank in range(1, number + 1)))

    def draw(self) -> int:
        """Return one."""
        return bisect_left(self._sums, random.random() * self._sums[-1])  # noqa: S311


def traffic(arena: Arena) -> Source:
    """Seven in ten look at a product, two at a page of a list, one searches."""
    products = list(range(arena.data.first, arena.data.last + 1))
    random.Random(7).shuffle(products)  # noqa: S311
    details = [request_bytes("GET", f"/api/v2/products/{pk}") for pk in products]
    pages = [
        request_bytes("GET", f"/api/v2/products?ordering={order}&page={page}")
        for page in range(1, _PAGES + 1)
        for order in _ORDERS
    ]
    searches = [
        request_bytes("GET", f"/api/v2/products/search?q={quote(text)}") for text in _QUERIES
    ]
    of_details, of_pages, of_searches = map(Zipf, map(len, (details, pages, searches)))

    def source() -> bytes:
        kind = random.random()  # noqa: S311
        if kind < 0.7:
            return details[of_details.draw()]
        if kind < 0.9:
            return pages[of_pages.draw()]
        return searches[of_searches.draw()]

    return source


def outcomes(server: Server) -> dict[str, float]:
    """Return how ready answers have been come by so far."""
    text = get(server.port, "/metrics")[1].decode()
    told: dict[str, float] = dict.fromkeys(("hit", "not_modified", "joined", "made"), 0.0)
    pattern = r'^shop_ready_answers_total\{outcome="(\w+)"[^}]*\} ([0-9.e+]+)$'
    for outcome, value in re.findall(pattern, text, re.MULTILINE):
        told[outcome] += float(value)
    return told


@dataclass
class Point:
    """Zipf traffic at one rate of stock changes."""

    changes: float
    side: Side
    hit_ratio: float
    # Seconds from a commit to the first reading that shows it.
    delays: list[float] = field(default_factory=list)


@contextlib.contextmanager
def _stock_changes(arena: Arena, rate: float, port: int) -> Iterator[list[float]]:
    """Change stock so often, by the demand that readers have; yields how soon it was seen."""
    delays: list[float] = []
    if not rate:
        yield delays
        return
    process = arena.start(
        ["-m", "benchmarks.stock_writer", str(arena.data.first), str(arena.data.last)]
        + [str(rate), str(port)],
        talk=True,
    )
    assert process.stdout is not None
    stdout = process.stdout
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.extend(line.decode() for line in stdout))
    thread.start()
    try:
        yield delays
    finally:
        process.terminate()
        process.wait()
        thread.join()
        delays += [float(line) for line in told if line[0].isdigit()]
        if not delays:
            raise ArenaError("The stock writer saw nothing.")


def measure_zipf(arena: Arena, options: Options, report: Report) -> list[Point]:
    """Let 500 clients read as people do, at several rates of stock changes."""
    source = traffic(arena)
    sources = [source] * CROWD
    hits, misses = Side("hits alone"), Side("misses alone")
    with arena.server(READY_ANSWERS_MB="0", FRAGMENTS_MB="0") as server:
        measure(server, sources, options.warm_up)
        for _ in range(max(1, options.rounds // 2)):
            misses.samples.append(measure(server, sources, options.window)[0])
    points = []
    with arena.server() as server:
        detail = request_bytes("GET", _targets(arena)["detail"])
        measure(server, [lambda: detail] * CROWD, options.warm_up)
        for _ in range(max(1, options.rounds // 2)):
            hits.samples.append(measure(server, [lambda: detail] * CROWD, options.window)[0])
        # A cache that has seen an hour's traffic, not one that begins.
        measure(server, sources, options.warm_up * 10)
        for rate in CHANGES:
            side = Side(f"Zipf, {rate} stock changes a second, {CROWD} clients")
            before = outcomes(server)
            with _stock_changes(arena, rate, server.port) as delays:
                for _ in range(options.rounds):
                    sample, load = measure(server, sources, options.window)
                    side.samples.append(sample)
                    options.say(f"  {side.name}: {sample.rate:,.0f}/s, {sample.cpu:,.0f} µs")
                    if load.errors:
                        report.notes.append(f"{side.name}: {dict(load.statuses)} {load.broken}")
            after = outcomes(server)
            grown = {name: after[name] - before[name] for name in after}
            ratio = 1 - grown["made"] / max(1.0, sum(grown.values()))
            points.append(Point(rate, side, ratio, delays))
        rss = server.usage().rss / 1e6
    report.sides += [("zipf", side) for side in (hits, misses, *(p.side for p in points))]
    _conclude(points, hits, misses, rss, report)
    return points


def _conclude(
    points: Sequence[Point], hits: Side, misses: Side, rss: float, report: Report
) -> None:
    of_hits, of_misses = Spread.of(hits.rates).median, Spread.of(misses.rates).median
    for point in points:
        rate = Spread.of(point.side.rates)
        expected = 1 / (point.hit_ratio / of_hits + (1 - point.hit_ratio) / of_misses)
        name = f"Zipf {EXPONENT:g}, {point.changes} stock changes/s"
        report.notes.append(
            f"{name}: {point.hit_ratio:.1%} of the answers were ready; hits and misses alone"
            f" would give {expected:,.0f}/s."
        )
        report.checks.append(Check(name, f"{rate.text()} /s", "≥ 1,000 /s", rate.median >= 1000))
        if point.delays:
            delays = sorted(point.delays)
            worst = delays[-1]
            report.checks.append(
                Check(
                    f"{name}: a change is seen after",
                    f"{percentile(delays, 0.5) * 1000:.0f} ms (p50),"
                    f" {worst * 1000:.0f} ms (most of {len(delays)})",
                    "≤ 1 s",
                    worst <= 1,
                )
            )
    report.notes.append(f"The web process held {rss:,.0f} MB at the end.")


# --- Memory -----------------------------------------------------------------


def measure_memory(arena: Arena, options: Options, report: Report) -> None:
    """Fill the ready answers, then ask for a million different things."""
    told = json.loads(arena.run(["-m", "benchmarks.ready_memory", "1000000"]))
    report.checks.append(
        Check(
            "memory of a process: before, with ready answers full, after 1,000,000 keys",
            f"{told['before']:.0f}, {told['full']:.0f}, {told['after']:.0f} MB"
            f" ({told['answers']:,} answers)",
            "< 200 MB",
            told["after"] < 200,
        )
    )


# --- All --------------------------------------------------------------------


def measure_reading(options: Options, rows: Sequence[str] = ROWS, chart: Path | None = None) -> str:
    """Measure the rows in an arena of their own; return Markdown, and write the chart.

    Raises:
        ArenaError: something could not be set up, or answers were wrong.
    """
    report = Report()
    options.say(f"filling a database with {options.products:,} products")
    with Arena(products=options.products, people=1) as arena:
        environment = environment_of(arena, options)
        with on_cores(arena.load_cores):
            if "hits" in rows:
                measure_hits(arena, options, report)
            if "zipf" in rows:
                points = measure_zipf(arena, options, report)
                if chart is not None:
                    chart.write_text(draw(points))
            if "memory" in rows:
                measure_memory(arena, options, report)
    return report.markdown(environment)


# --- The chart ----------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _TOP, _STEP = 640, 150, 70, 30, 205
_COLOURS = ("#0a7f56", "#c0392b")
Series = list[float | None]


def draw(points: Sequence[Point]) -> str:
    """Draw rate, share of ready answers and delay over stock changes a second, as SVG."""
    half: Series = [percentile(sorted(p.delays), 0.5) * 1e3 if p.delays else None for p in points]
    last: Series = [max(p.delays) * 1e3 if p.delays else None for p in points]
    panels: list[tuple[str, list[Series]]] = [
        ("answers a second", [[Spread.of(p.side.rates).median for p in points]]),
        ("answers that were ready, %", [[p.hit_ratio * 100 for p in points]]),
        ("a change is seen after, ms: half of them, and the last", [half, last]),
    ]
    most = max(p.changes for p in points) or 1
    places = [_LEFT + p.changes / most * _WIDTH for p in points]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 100} {3 * _STEP + 15}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, (title, series) in enumerate(panels):
        lines += _panel(_TOP + index * _STEP, title, series, places)
        lines += [
            _text(x, _TOP + index * _STEP + _HEIGHT + 15, f"{p.changes:g}", "middle")
            for x, p in zip(places, points, strict=True)
        ]
    lines.append(_text(_LEFT + _WIDTH / 2, 3 * _STEP + 8, "stock changes a second", "middle"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def _panel(top: float, title: str, series: list[Series], places: list[float]) -> list[str]:
    most = max((v for values in series for v in values if v is not None), default=1) * 1.1 or 1
    axes = f"M{_LEFT},{top} V{top + _HEIGHT} H{_LEFT + _WIDTH}"
    lines = [_text(_LEFT, top - 8, title), f'<path d="{axes}" fill="none" stroke="#555"/>']
    for share in (0.0, 0.5, 1.0):
        y = top + _HEIGHT * (1 - share)
        lines.append(_text(_LEFT - 6, y + 4, f"{most * share:,.0f}", "end"))
    for values, colour in zip(series, _COLOURS, strict=False):
        dots = [
            (x, top + _HEIGHT * (1 - value / most))
            for x, value in zip(places, values, strict=True)
            if value is not None
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in dots]
    return lines
