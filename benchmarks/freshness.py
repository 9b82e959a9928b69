"""A checker of freshness: it writes in every way there is, and reads through two web processes.

Each product carries numbers that only ever grow: its price, its stock, and one that a
worker writes into its texts. The checker notes when each was committed. Whatever is
read must be no older than a second, counted from the commit to the moment the reader
asked, and never less than what an earlier answer of the same process has shown.
"""

import asyncio
import http.client
import random
import re
import shutil
import subprocess
import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import IO
from urllib.parse import urlencode

import orjson

from benchmarks.arena import Arena, ArenaError, free_port
from benchmarks.load import BadAnswer, parse_head, request_bytes
from benchmarks.stats import percentile

READERS = 64
# The products that are written to and read: so few that readers meet writes.
HOT = 40
ALLOWED = 1.0
# Seconds between two requests of a reader, on average: the checker must keep up.
_PAUSE = 0.05
_PRICE, _STOCK, _WORKER = "price", "stock", "worker"
_SEO = re.compile(r"Fresh \d+ v(\d+)")
# How often each way is chosen. Those by hand are rarer than the shop's own.
_WAYS = {
    "api": 10,
    "stock": 30,
    "admin": 3,
    "update": 8,
    "bulk": 4,
    "save": 4,
    "sql": 4,
    "file": 4,
    "worker": 2,
}


@dataclass
class Register:
    """A number of one product that only grows, and when each value was committed."""

    # The last that somebody began to write. All prices begin at 1.
    value: int = 1
    values: list[int] = field(default_factory=list)
    # time.monotonic(), when the writer was told that it is committed.
    times: list[float] = field(default_factory=list)
    # The greatest that each web process has shown in an answer that is complete.
    shown: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def committed(self, value: int) -> None:
        """Note that a value is committed."""
        self.values.append(value)
        self.times.append(time.monotonic())

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
        self._session = arena.run(["-c", _SIGN_IN]).strip()

    # --- Reading ------------------------------------------------------------

    async def read(self, until: float) -> None:
        """Let all readers read."""
        async with asyncio.TaskGroup() as group:
            for number in range(READERS):
                group.create_task(self._reader(self.ports[number % len(self.ports)], until))

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
            _PRICE: int(str(product["price"])),
            _STOCK: int(str(product["stock_quantity"])),
            _WORKER: int(match[1]) if match else None,
        }
        for name, value in shown.items():
            if value is None:
                continue
            register = self.registers[pk, name]
            self.outcome.reads += 1
            age = register.age(value, asked)
            if age > 0:
                self.outcome.ages.append(age)
            if age > ALLOWED:
                self.outcome.stale.append(f"{name} of {pk} was {age:.2f} s old: {target} at {port}")
            if value < before.get((pk, name), 0):
                self.outcome.backwards.append(
                    f"{name} of {pk} fell from {before[pk, name]} to {value}: {target} at {port}"
                )
            register.shown[port] = max(register.shown.get(port, 0), value)

    # --- Writing --------------------------------------------------------------

    def write(self, number: int) -> None:
        """Write until the run is over; one thread's work."""
        dice = random.Random(number)  # noqa: S311
        kinds = list(_WAYS)
        weights = list(_WAYS.values())
        with ExitStack() as stack:
            shell = stack.enter_context(self._shell())
            while not self.over.is_set():
                kind = dice.choices(kinds, weights)[0]
                pk = dice.choice(self.products)
                name = {"stock": _STOCK, "worker": _WORKER}.get(kind, _PRICE)
                register = self.registers[pk, name]
                # One writer a number: otherwise nobody knows which came last.
                if not register.lock.acquire(blocking=False):
                    continue
                try:
                    value = register.value + 1
                    register.value = value
                    register.committed(self._write(kind, pk, value, dice.choice(self.ports), shell))
                    self.outcome.writes[kind] += 1
                except (OSError, http.client.HTTPException, ArenaError) as error:
                    # Perhaps written all the same: the number is not used again.
                    if not self.over.is_set():
                        self.outcome.refused[f"{kind}: {error}"] += 1
                finally:
                    register.lock.release()
                self.over.wait(dice.expovariate(20))

    def _write(self, kind: str, pk: int, value: int, port: int, shell: "_Shell") -> int:
        """Write a number and return it; of stock, which is only added to, what it has become."""
        if kind == "api":
            self._send(port, "PATCH", f"/api/v2/products/{pk}", {"price": value})
        elif kind == "stock":
            change = {"quantity_change": 1, "reason": "received"}
            told = self._send(port, "POST", f"/api/v2/products/{pk}/stock/update", change)
            return int(orjson.loads(told)["stock_quantity"])
        elif kind == "admin":
            self._admin(port, pk, value)
        else:
            shell(f"{kind} {pk} {value}")
        return value

    def _send(self, port: int, method: str, path: str, data: dict[str, object]) -> bytes:
        head = {
            "Authorization": f"Bearer {self.arena.data.staff}",
            "Content-Type": "application/json",
        }
        status, body = _exchange(port, method, path, orjson.dumps(data), head)
        if status != 200:
            raise ArenaError(f"{status} {body[:200]!r}")
        return body

    def _admin(self, port: int, pk: int, value: int) -> None:
        """Change the price as staff do: fetch the product's form, fill it in, send it."""
        path = f"/admin/products/product/{pk}/change/"
        cookie = f"sessionid={self._session}; csrftoken={_CSRF}"
        status, page = _exchange(port, "GET", path, None, {"Cookie": cookie})
        fields = form_fields(page.decode())
        if status != 200 or "price" not in fields:
            raise ArenaError(f"the admin's form: {status}")
        # Without the empty form for one more image.
        fields["images-TOTAL_FORMS"] = fields["images-INITIAL_FORMS"]
        fields |= {"price": str(value), "csrfmiddlewaretoken": _CSRF, "_save": "Save"}
        head = {
            "Cookie": cookie,
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"http://127.0.0.1:{port}",
        }
        status, page = _exchange(port, "POST", path, urlencode(fields).encode(), head)
        if status != 302:
            wrong = re.findall(r"errorlist.*?</ul>", page.decode(), re.DOTALL)
            raise ArenaError(f"the admin refuses the form: {status} {wrong}")

    @contextmanager
    def _shell(self) -> Iterator["_Shell"]:
        process = self.arena.start(["-m", "benchmarks.fresh_writer"], talk=True)
        try:
            yield _Shell(process)
        finally:
            process.kill()
            process.wait()


class _Shell:
    """Another process that writes."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout

    def __call__(self, line: str) -> None:
        self._in.write(line.encode() + b"\n")
        self._in.flush()
        if self._out.readline().strip() != b"done":
            raise ArenaError(f"the shell failed at {line}")


_CSRF = "c" * 32
_SIGN_IN = """
import django
django.setup()
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.conf import settings
from shop.accounts.models import User
user = User.objects.get(username="bench-staff")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""


def _exchange(
    port: int, method: str, path: str, body: bytes | None, head: dict[str, str]
) -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request(method, path, body, head)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


class _Form(HTMLParser):
    """What a browser would send of the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._name = ""
        self._text = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "input" and name and given.get("type") not in ("submit", "file", "button"):
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self.fields[name] = given.get("value", "on")
        elif tag in ("select", "textarea") and name:
            self._name, self._text = name, tag == "textarea"
            self.fields[name] = ""
        elif tag == "option" and "selected" in given and self._name:
            self.fields[self._name] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self._name, self._text = "", False

    def handle_data(self, data: str) -> None:
        if self._text:
            self.fields[self._name] += data


def form_fields(page: str) -> dict[str, str]:
    """Return the fields of a page's forms with their values."""
    form = _Form()
    form.feed(page)
    return form.fields


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

    def stop_and_start(self, over: threading.Event, seconds: float, times: int) -> int:
        """Take it away for a tenth of the time, so many times; returns how often that was."""
        for done in range(times):
            if over.wait(seconds / (times + 1) * 0.8):
                return done
            self.kill()
            over.wait(seconds / 10)
            self.start()
        return times


def measure(*, seconds: float, redis: bool, stops: int = 3, writers: int = 8) -> Outcome:
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
        threads = [
            threading.Thread(target=checker.write, args=(number,), daemon=True)
            for number in range(writers)
        ]
        if redis:
            threads.append(
                threading.Thread(
                    target=lambda: setattr(
                        checker.outcome,
                        "redis_stops",
                        server.stop_and_start(checker.over, seconds, stops),
                    )
                )
            )
        for thread in threads:
            thread.start()
        try:
            asyncio.run(checker.read(time.monotonic() + seconds))
        finally:
            checker.over.set()
            for thread in threads:
                thread.join(timeout=90)
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
