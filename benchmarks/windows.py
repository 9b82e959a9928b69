"""Ways that are measured in turns, window by window, and the report of them.

Server and load have cores of their own where there are two; the ways alternate after a
warm-up, and ratios are taken pair by pair.
"""

import platform
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import django
from django.db import connection

from benchmarks.arena import Arena, Server
from benchmarks.load import Load, Source, drive
from benchmarks.stats import Spread, percentile, ratios


@dataclass(frozen=True)
class Options:
    """How much to measure; seconds."""

    products: int = 100_000
    window: float = 5.0
    rounds: int = 5
    warm_up: float = 2.0
    crowd: float = 30.0
    say: Callable[[str], None] = print


@dataclass(frozen=True)
class Sample:
    """One window."""

    rate: float
    # CPU time of the server process, microseconds an answer.
    cpu: float
    # Seconds.
    p50: float
    p99: float
    errors: int
    generator_share: float


@dataclass
class Side:
    """One of two ways, with its windows."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Answers a second, window by window."""
        return [sample.rate for sample in self.samples]

    @property
    def cpu(self) -> list[float]:
        """CPU microseconds an answer, window by window."""
        return [sample.cpu for sample in self.samples]


@dataclass(frozen=True)
class Check:
    """A figure with what it was to reach."""

    what: str
    figure: str
    target: str
    met: bool


@dataclass
class Report:
    """All that was measured, as Markdown."""

    sides: list[tuple[str, Side]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self, environment: str) -> str:
        """Write the tables."""
        lines = [environment, ""]
        if self.checks:
            lines += ["| what | measured | to reach | |", "|---|---|---|---|"]
            lines += [
                f"| {c.what} | {c.figure} | {c.target} | {'yes' if c.met else 'no'} |"
                for c in self.checks
            ]
            lines.append("")
        lines += [
            "| row | way | answers/s | server CPU, µs an answer | p50, ms | p99, ms | errors |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
        for row, side in self.sides:
            if not side.samples:
                continue
            p50 = Spread.of([sample.p50 * 1000 for sample in side.samples])
            p99 = Spread.of([sample.p99 * 1000 for sample in side.samples])
            errors = sum(sample.errors for sample in side.samples)
            lines.append(
                f"| {row} | {side.name} | {Spread.of(side.rates).text()} "
                f"| {Spread.of(side.cpu).text()} | {p50.median:.1f} | {p99.median:.1f} "
                f"| {errors} |"
            )
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def environment_of(arena: Arena, options: Options) -> str:
    """Return one paragraph on what was run where."""
    vendor = connection.vendor
    if vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            vendor = f"PostgreSQL {cursor.fetchone()[0]}"
    else:
        vendor = f"SQLite {sqlite3.sqlite_version}"
    pinned = (
        "the server on one core, load and database on the others"
        if arena.server_cores
        else "server and load on the same cores"
    )
    return (
        f"Python {platform.python_version()}, Django {django.get_version()}, "
        f"Daphne {version('daphne')}, {vendor}; {options.products:,} products; {pinned}. "
        f"{options.rounds} alternating windows of {options.window:g} s after a warm-up of "
        f"{options.warm_up:g} s; medians, with the lowest and the highest window."
    )


def measure(server: Server, sources: list[Source], seconds: float) -> tuple[Sample, Load]:
    """Put load on a server for a while."""
    before = server.usage()
    load = drive(server.port, sources, seconds)
    after = server.usage()
    # Answers after the bell cost CPU time too.
    answered = sum(load.statuses.values())
    latencies = load.latencies or [0.0]
    sample = Sample(
        rate=load.rate,
        cpu=(after.cpu - before.cpu) / answered * 1e6 if answered else 0.0,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        errors=load.errors,
        generator_share=load.generator_share,
    )
    return sample, load


Way = tuple[Side, Server, Callable[[], list[Source]]]


def alternate(ways: Sequence[Way], options: Options, report: Report) -> None:
    """Warm every way up, then measure them in turns, each round in another order."""
    for _side, server, sources in ways:
        measure(server, sources(), options.warm_up)
    busiest = 0.0
    for number in range(options.rounds):
        turn = list(ways)
        if number % 2:
            turn.reverse()
        for side, server, sources in turn:
            sample, load = measure(server, sources(), options.window)
            side.samples.append(sample)
            busiest = max(busiest, sample.generator_share)
            options.say(f"  {side.name}: {sample.rate:,.0f}/s, {sample.cpu:,.0f} µs")
            if load.errors:
                report.notes.append(
                    f"{side.name}: {dict(load.statuses)} {dict(load.broken)}".rstrip()
                )
    if busiest > 0.8:
        report.notes.append(
            f"The load generator used {busiest:.0%} of its core: "
            "the server may be faster than shown."
        )


def at_least(what: str, first: Side, second: Side, target: float, *, by_cpu: bool = False) -> Check:
    """Compare `first` with `second` by rate, or by CPU time where that is what is steady."""
    spread = ratios(second.cpu, first.cpu) if by_cpu else ratios(first.rates, second.rates)
    return Check(what, f"{spread.text(2)} ×", f"≥ {target:g} ×", spread.median >= target)
