"""One run: a database and a server of its own, facts, warm-up, blocks.

v1 and v2 are asked in alternating blocks, in an order that dice decide, so
that a machine that grows slower slows both. The server has a core of its own
where there are two.
"""

import http.client
import os
import platform
import random
import re
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import count
from typing import Any

import django
from django.conf import settings
from django.db import connection

from benchmarks import facts
from benchmarks.arena import Arena, ArenaError, Server, get, on_cores
from benchmarks.load import Load, Source, drive
from benchmarks.scenarios import SCENARIOS, VERSIONS, Step
from benchmarks.stats import compare, percentile

# Seconds that one block may take at most.
_BLOCK_SECONDS = 60.0
_COUNTED = 5
_CHECKED = 5
# Latencies that are kept of each side; more are thinned out evenly.
_KEPT = 5000


class FactsDiffer(Exception):
    """v1 and v2 do not tell the same; comparing their speed would be idle."""


class Cancelled(Exception):
    """Somebody wants the run to end."""


@dataclass(frozen=True)
class Parameters:
    """How much of what: `iterations` requests a step and version, in `blocks`."""

    benchmark_type: str
    iterations: int = 100
    users: int = 8
    products: int = 2000
    orders: int = 2000
    blocks: int = 10
    # v2 against itself: what is then found is noise.
    same: bool = False
    seed: int = 1


@dataclass
class Side:
    """What one version came to in one step; times in seconds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    # CPU time of the server.
    cpu: float = 0.0
    requests: int = 0
    errors: int = 0
    queries: float | None = None

    def add(self, load: Load, cpu: float) -> None:
        """Take in one block."""
        self.rates.append(load.rate)
        self.latencies += load.latencies
        self.cpu += cpu
        self.requests += len(load.latencies)
        self.errors += load.errors

    def as_json(self) -> dict[str, Any]:
        """Return it for the database: latencies in microseconds, thinned."""
        every = max(1, -(-len(self.latencies) // _KEPT))
        ordered = sorted(self.latencies)
        return {
            "requests": self.requests,
            "errors": self.errors,
            "throughput": round(sum(self.rates) / len(self.rates), 2) if self.rates else 0,
            "rates": [round(rate, 2) for rate in self.rates],
            "p50_ms": _ms(ordered, 0.5),
            "p95_ms": _ms(ordered, 0.95),
            "p99_ms": _ms(ordered, 0.99),
            "cpu_us": round(self.cpu / self.requests * 1e6) if self.requests else None,
            "queries": self.queries,
            "latencies_us": [round(value * 1e6) for value in self.latencies[::every]],
        }


def _ms(ordered: list[float], share: float) -> float | None:
    return round(percentile(ordered, share) * 1000, 3) if ordered else None


# Told of the phase and how far it all is, from 0 to 1; may raise Cancelled.
Say = Callable[[str, float], None]


def run(parameters: Parameters, say: Say) -> dict[str, Any]:
    """Run a benchmark and return its result as JSON.

    Raises:
        ArenaError: the server could not be set up, or answered with errors.
        FactsDiffer, Cancelled.
    """
    steps = SCENARIOS[parameters.benchmark_type]
    say("preparing", 0.0)
    with Arena(
        products=parameters.products, people=parameters.users, orders=parameters.orders
    ) as arena:
        say("starting", 0.1)
        with arena.server() as server, on_cores(arena.load_cores):
            for step in steps:
                say("checking facts", 0.15)
                _check_facts(step, server, arena, parameters)
            sides = {
                step.name: _measure(step, number, len(steps), server, arena, parameters, say)
                for number, step in enumerate(steps)
            }
            memory = server.usage().rss
    return {
        "parameters": asdict(parameters),
        "environment": environment(parameters),
        "memory_mb": round(memory / 2**20, 1),
        "steps": [
            {
                "name": name,
                **{which: side.as_json() for which, side in both.items()},
                "comparison": _compared(both["v1"], both["v2"]),
            }
            for name, both in sides.items()
        ],
    }


def _compared(first: Side, second: Side) -> dict[str, Any] | None:
    if not first.latencies or not second.latencies:
        return None
    return asdict(compare(first.rates, second.rates, first.latencies, second.latencies))


def _ways(parameters: Parameters) -> dict[str, str]:
    """Return which version stands on which side."""
    return {"v1": "v2", "v2": "v2"} if parameters.same else {name: name for name in VERSIONS}


def _ask(server: Server, step: Step, which: str, arena: Arena, dice: random.Random) -> Any:
    call = step.make(which, arena.data, dice)
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if call.token:
            headers["Authorization"] = f"Bearer {call.token}"
        client.request(call.method, call.target, body=call.body, headers=headers)
        answer = client.getresponse()
        body = answer.read()
    finally:
        client.close()
    if not 200 <= answer.status < 300:
        raise ArenaError(f"{call.method} {call.target}: {answer.status} {body[:500]!r}")
    return facts.read_json(body)


def _check_facts(step: Step, server: Server, arena: Arena, parameters: Parameters) -> None:
    for seed in range(_CHECKED):
        told = [
            step.facts(_ask(server, step, which, arena, random.Random(seed)))  # noqa: S311
            for which in VERSIONS
        ]
        if told[0] != told[1]:
            raise FactsDiffer(f"{step.name}: v1 tells {told[0]!r}, v2 {told[1]!r}"[:4000])


def _measure(
    step: Step,
    number: int,
    steps: int,
    server: Server,
    arena: Arena,
    parameters: Parameters,
    say: Say,
) -> dict[str, Side]:
    ways = _ways(parameters)
    sides = {name: Side() for name in ways}
    for name, which in ways.items():
        sides[name].queries = _queries(step, which, server, arena)
    blocks = max(1, min(parameters.blocks, parameters.iterations))
    each = -(-parameters.iterations // blocks)
    order = random.Random(parameters.seed)  # noqa: S311
    seeds = count(1000 * parameters.seed)
    for block in range(-1, blocks):
        done = (number + (block + 1) / (blocks + 1)) / steps
        say(step.name if block >= 0 else f"{step.name}, warming up", 0.2 + 0.8 * done)
        for name in order.sample(sorted(ways), len(ways)):
            users = min(parameters.users, each)
            sources: list[Source] = [
                partial(_next, step, ways[name], arena, random.Random(next(seeds)))  # noqa: S311
                for _ in range(users)
            ]
            before = server.usage().cpu
            load = drive(server.port, sources, _BLOCK_SECONDS, each)
            if block >= 0:
                sides[name].add(load, server.usage().cpu - before)
    return sides


def _next(step: Step, which: str, arena: Arena, dice: random.Random) -> bytes:
    return step.make(which, arena.data, dice).as_bytes()


# What requests ask: the thread that follows changes counts under another alias.
_EXECUTED = re.compile(r'^django_db_execute_total\{alias="default".*\} (\S+)$', re.MULTILINE)


def _executed(server: Server) -> float:
    _status, page = get(server.port, "/metrics")
    return sum(float(value) for value in _EXECUTED.findall(page.decode()))


def _queries(step: Step, which: str, server: Server, arena: Arena) -> float:
    """Return the database queries a request, by the server's own metrics, one client alone."""
    dice = random.Random(0)  # noqa: S311
    _executed(server)
    # What looking costs by itself.
    first, second = _executed(server), _executed(server)
    looking = second - first
    for _ in range(_COUNTED):
        _ask(server, step, which, arena, dice)
    return round((_executed(server) - second - looking) / _COUNTED, 2)


def environment(parameters: Parameters) -> dict[str, Any]:
    """Return what a result depends on, beside the code that is measured."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            database = f"PostgreSQL {cursor.fetchone()[0]}"
    else:
        database = f"SQLite {sqlite3.sqlite_version}"
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "django": django.get_version(),
        "rest_framework": version("djangorestframework"),
        "server": f"Daphne {version('daphne')}",
        "database": database,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "os": f"{platform.system()} {platform.release()}",
        "products": parameters.products,
        "orders": parameters.orders,
        "users": parameters.users,
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(settings.BASE_DIR), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
