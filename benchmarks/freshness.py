"""A checker of freshness: it writes in every way there is, and reads through two web processes.

Each product carries numbers that only ever grow: its price, its stock, and one that a
worker writes into its texts. The checker notes when each was committed. Whatever is
read must be no older than a second, counted from the commit to the moment the reader
asked, and never less than what an earlier answer of the same process has shown.
"""

import asyncio
import random
import re
import shutil
import subprocess
import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import urlencode

import orjson

from benchmarks.arena import Arena, ArenaError, free_port
from benchmarks.fresh_writer import PRICE, STOCK, WORKER
from benchmarks.load import BadAnswer, parse_head, request_bytes
from benchmarks.stats import percentile

READERS = 64
# The products that are written to and read: so few that readers meet writes.
HOT = 40
ALLOWED = 1.0
# Seconds between two requests of a reader, on average: the checker must keep up.
_PAUSE = 0.05
_SEO = re.compile(r"Fresh \d+ v(\d+)")
# Seconds after which writers have told of all that they wrote.
_TOLD_BY = 3.0


@dataclass
class Register:
    """A number of one product that only grows, and when each value was committed."""

    values: list[int] = field(default_factory=list)
    # time.monotonic(), when the writer was told that it is committed.
    times: list[float] = field(default_factory=list)
    # The greatest that each web process has shown in an answer that is complete.
    shown: dict[int, int] = field(default_factory=dict)

    def age(self, value: int, asked: float) -> float:
        """Return for how many seconds a greater one had been committed when it was asked for."""
        later = bisect_right(self.values, value)
        return asked - self.times[later] if later < len(self.times) else -1.0


@dataclass
class Outcome:
    """What a run came to; seconds."""

    seconds: float
    reads: int = 0
    writes: Counter[str] = field(default_factory=Counter)
    # Of reads that showed something older than was committed.
    ages: list[float] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    backwards: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    redis_stops: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nothing was too old, nothing went backwards, and nothing failed."""
        return not (self.stale or self.backwards or self.refused) and bool(self.reads)

    def text(self) -> str:
        """Say it in a few lines."""
        ages = sorted(self.ages) or [0.0]
        lines = [
            f"{self.reads:,} numbers read in {self.seconds:.0f} s by {READERS} readers through two"
            f" web processes; {sum(self.writes.values()):,} writes:"
            f" {', '.join(f'{kind} {n}' for kind, n in sorted(self.writes.items()))}.",
            f"Redis was stopped and started {self.redis_stops} times.",
            f"{len(self.ages):,} reads were behind a commit; by {percentile(ages, 0.5) * 1000:.0f}"
            f" ms at the median, {percentile(ages, 0.99) * 1000:.0f} at the 99th percentile,"
            f" {ages[-1] * 1000:.0f} at most.",
            f"Older than {ALLOWED:g} s: {len(self.stale)}. Backwards: {len(self.backwards)}."
            f" Refused or failed: {sum(self.refused.values())}.",
        ]
        lines += [f"- {line}" for line in (self.stale + self.backwards)[:20]]
        lines += [f"- {number} x {what}" for what, number in self.refused.most_common(10)]
        return "\n".join(lines)


class Checker:
    """Readers and writers, and what they know."""

    def __init__(self, arena: Arena, ports: list[int], seconds: float) -> None:
        self.arena = arena
        self.ports = ports
        self.outcome = Outcome(seconds)
        first = arena.data.last - HOT + 1
        self.products = range(first, arena.data.last + 1)
        self.registers: dict[tuple[int, str], Register] = defaultdict(Register)
        self.over = threading.Event()
        # What was read and is not judged yet: (asked, product and number, value, target, port).
        self._read: deque[tuple[float, tuple[int, str], int, str, int]] = deque()

    # --- Reading ------------------------------------------------------------

    async def read(self, until: float) -> None:
        """Let all readers read."""
        async with asyncio.TaskGroup() as group:
            for number in range(READERS):
                group.create_task(self._reader(self.ports[number % len(self.ports)], until))
            group.create_task(self._judges(until))

    async def _reader(self, port: int, until: float) -> None:
        dice = random.Random()  # noqa: S311
        while time.monotonic() < until:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    while time.monotonic() < until:
                        await self._ask(reader, writer, port, dice)
                        await asyncio.sleep(dice.expovariate(1 / _PAUSE))
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError, BadAnswer) as error:
                self.outcome.refused[f"read: {type(error).__name__}"] += 1
                await asyncio.sleep(0.1)

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        port: int,
        dice: random.Random,
    ) -> None:
        target = self._target(dice)
        # What others have been shown before this one asks.
        before = {key: each.shown.get(port, 0) for key, each in list(self.registers.items())}
        asked = time.monotonic()
        writer.write(request_bytes("GET", target))
        head = await reader.readuntil(b"\r\n\r\n")
        status, length = parse_head(head[:-4])
        body = await reader.readexactly(length)
        if status != 200:
            self.outcome.refused[f"GET {target.partition('?')[0]}: {status}"] += 1
            return
        told = orjson.loads(body)
        for product in told.get("results", [told]):
            self._check(product, port, asked, before, target)

    def _target(self, dice: random.Random) -> str:
        kind = dice.randrange(10)
        if kind < 5:
            return f"/api/v2/products/{dice.choice(self.products)}"
        if kind < 8:
            return f"/api/v2/products?page={dice.randrange(1, 3)}"
        if kind < 9:
            return "/api/v2/products?ordering=price"
        return f"/api/v2/products/search?{urlencode({'q': f'fresh {dice.choice(self.products)}'})}"

    def _check(
        self,
        product: dict[str, object],
        port: int,
        asked: float,
        before: dict[tuple[int, str], int],
        target: str,
    ) -> None:
        pk = int(str(product["id"]))
        if pk not in self.products:
            return
        seo = product.get("seo")
        match = _SEO.search(str(seo["title"])) if isinstance(seo, dict) else None
        shown = {
            PRICE: int(str(product["price"])),
            STOCK: int(str(product["stock_quantity"])),
            WORKER: int(match[1]) if match else None,
        }
        for name, value in shown.items():
            if value is None:
                continue
            self.outcome.reads += 1
            self._read.append((asked, (pk, name), value, target, port))
            if value < before.get((pk, name), 0):
                self.outcome.backwards.append(
                    f"{name} of {pk} fell from {before[pk, name]} to {value}: {target} at {port}"
                )
            known = self.registers[pk, name].shown
            known[port] = max(known.get(port, 0), value)

    def judge(self, until: float) -> None:
        """Look at what was asked for before `until`: by then the writers have told of it."""
        while self._read and self._read[0][0] < until:
            asked, key, value, target, port = self._read.popleft()
            age = self.registers[key].age(value, asked)
            if age > 0:
                self.outcome.ages.append(age)
            if age > ALLOWED:
                pk, name = key
                self.outcome.stale.append(f"{name} of {pk} was {age:.2f} s old: {target} at {port}")

    async def _judges(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(0.5)
            self.judge(time.monotonic() - _TOLD_BY)

    # --- What is written ------------------------------------------------------

    def listen(self, lines: IO[bytes]) -> None:
        """Note what the writers tell: "product number value time kind", or "! what failed"."""
        for line in lines:
            words = line.decode().split(" ", 4)
            if words[0] == "!":
                self.outcome.refused[" ".join(words[1:]).strip()] += 1
                continue
            pk, name, value, at, kind = words
            register = self.registers[int(pk), name]
            register.values.append(int(value))
            register.times.append(float(at))
            self.outcome.writes[kind.strip()] += 1


# --- Redis, and all together ---------------------------------------------------


class OwnRedis:
    """A Redis server of the run's own, which is stopped and started under way."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty."""
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop_and_start(self, checker: Checker, seconds: float, times: int) -> None:
        """Take it away for a tenth of the time, so many times."""
        for _ in range(times):
            if checker.over.wait(seconds / (times + 1) * 0.8):
                return
            self.kill()
            checker.over.wait(seconds / 10)
            self.start()
            checker.outcome.redis_stops += 1


def measure(*, seconds: float, redis: bool, stops: int = 3) -> Outcome:
    """Run readers and writers on a database, two web processes and a worker of their own.

    With `redis`, the web processes share one, which is stopped `stops` times.

    Raises:
        ArenaError: something could not be set up.
    """
    if redis and shutil.which("redis-server") is None:
        raise ArenaError("There is no redis-server here.")
    with Arena(products=2000, people=1) as arena, ExitStack() as stack:
        server = OwnRedis()
        if redis:
            server.start()
            stack.callback(server.kill)
            arena.environment["REDIS_URL"] = f"redis://127.0.0.1:{server.port}/0"
        arena.run(["-c", _CHEAP])
        arena.server_cores = set()
        ports = [stack.enter_context(arena.server()).port for _ in range(2)]
        worker = arena.start(["-m", "celery", "--quiet", "-A", "shop", "worker", *_WORKER_OPTIONS])
        stack.callback(_end, worker)
        checker = Checker(arena, ports, seconds)
        writers = arena.start(
            [
                "-m",
                "benchmarks.fresh_writer",
                *map(str, (checker.products[0], HOT)),
                *map(str, ports),
            ],
            talk=True,
        )
        stack.callback(_end, writers)
        assert writers.stdout is not None
        threads = [threading.Thread(target=checker.listen, args=(writers.stdout,))]
        if redis:
            threads.append(
                threading.Thread(target=server.stop_and_start, args=(checker, seconds, stops))
            )
        for thread in threads:
            thread.start()
        try:
            asyncio.run(checker.read(time.monotonic() + seconds))
            time.sleep(_TOLD_BY)
            checker.judge(time.monotonic())
        finally:
            checker.over.set()
            _end(writers)
            for thread in threads:
                thread.join()
        return checker.outcome


_CHEAP = """
import django
django.setup()
from products.models import Product
Product.objects.update(price=1)
"""
_WORKER_OPTIONS = ("--pool", "threads", "--concurrency", "2", "--queues", "jobs.default")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    process.kill()
    process.wait()
