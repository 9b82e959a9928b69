"""SQLite: order creation over HTTP with the queue of writers, and without it.

Both ways have a server on one database, are loaded in turns, and place the
same orders. What is compared is the tail: without a queue, who may write next
is decided by who happens to look at the right moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.arena import Arena, Server, on_cores
from benchmarks.buyers import PEOPLE, check_ledger, order_clients
from benchmarks.load import Load, drive
from benchmarks.stats import Spread, percentile
from benchmarks.windows import Options, environment_of

_TABLE = """\
| clients | way | orders/s | p50, ms | p99, ms | max, ms | errors |
|--:|---|--:|--:|--:|--:|--:|
"""


@dataclass(frozen=True)
class Window:
    """One window of orders; times in milliseconds."""

    rate: float
    p50: float
    p99: float
    longest: float
    errors: int

    @classmethod
    def of(cls, load: Load) -> "Window":
        """Sum up a load. Who waited longest may have been answered after it."""
        waited = [seconds * 1000 for seconds in load.latencies + load.late] or [0.0]
        return cls(
            rate=load.rate,
            p50=percentile(waited, 0.5),
            p99=percentile(waited, 0.99),
            longest=max(waited),
            errors=load.errors,
        )


@dataclass
class Way:
    """A number of clients on a server, with its windows."""

    name: str
    server: Server
    clients: int
    windows: list[Window] = field(default_factory=list)

    @property
    def p99s(self) -> list[float]:
        """Milliseconds, window by window."""
        return [window.p99 for window in self.windows]

    def row(self) -> str:
        """Return one line of a Markdown table."""
        p50s = [window.p50 for window in self.windows]
        return (
            f"| {self.clients} | {self.name} "
            f"| {Spread.of([window.rate for window in self.windows]).text()} "
            f"| {Spread.of(p50s).text(1)} | {Spread.of(self.p99s).text(1)} "
            f"| {max(window.longest for window in self.windows):,.0f} "
            f"| {sum(window.errors for window in self.windows)} |"
        )


def measure_writers(options: Options, clients: Sequence[int]) -> str:
    """Measure each number of clients both ways in an arena of their own; return Markdown.

    Raises:
        ArenaError: something could not be set up, or the ledger is wrong afterwards.
    """
    rows: list[str] = []
    options.say(f"filling a database with {options.products:,} products")
    with Arena(products=options.products, people=PEOPLE) as arena:
        environment = environment_of(arena, options)
        with (
            on_cores(arena.load_cores),
            arena.server() as queued,
            arena.server(DJANGO_SETTINGS_MODULE="benchmarks.unqueued_settings") as unqueued,
        ):
            for number in clients:
                ways = Way("queue", queued, number), Way("no queue", unqueued, number)
                _alternate(arena, ways, options)
                rows += [way.row() for way in ways]
            check_ledger(arena)
    return f"{environment}\n\n{_TABLE}" + "\n".join(rows) + "\n"


def _alternate(arena: Arena, ways: Sequence[Way], options: Options) -> None:
    for way in ways:
        drive(way.server.port, order_clients(arena, "v2", way.clients), options.warm_up)
    for number in range(options.rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            sources = order_clients(arena, "v2", way.clients)
            load = drive(way.server.port, sources, options.window)
            way.windows.append(Window.of(load))
            last = way.windows[-1]
            options.say(
                f"  {way.clients} clients, {way.name}: {last.rate:,.0f}/s,"
                f" p99 {last.p99:,.0f} ms, max {last.longest:,.0f} ms"
            )
            if load.errors:
                options.say(f"  {dict(load.statuses)} {dict(load.broken)}")
