"""Thousands of open WebSockets on one server: what they hold, and how soon they are told.

The server has a core of its own where there are two; the clients share the
other with a process that moves orders, which stands for a worker or the admin.
"""

import asyncio
import base64
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings

from benchmarks.arena import Arena, on_cores
from benchmarks.stats import percentile

# Handshakes under way at a time, and seconds for all of them.
_AT_ONCE = 50
_PATIENCE = 300.0
_MAX_FRAME = 1 << 20


@dataclass
class Told:
    """One client's messages: when each came (Unix seconds), and the event's sequence."""

    order: str
    at: list[tuple[float, int]] = field(default_factory=list)


class Client:
    """As much of RFC 6455 as a listener needs."""

    def __init__(self, port: int, order: str, token: str, *, since: str = "") -> None:
        self._port = port
        self._token = token
        self._query = f"?since={since}" if since else ""
        self.told = Told(order)
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Connect, then note each event until the connection ends.

        Raises:
            ConnectionError: refused at the handshake.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_MAX_FRAME)
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            writer.write(
                f"GET /api/v2/orders/{self.told.order}/updates{self._query} HTTP/1.1\r\n"
                f"Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                f"Authorization: Bearer {self._token}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(head.split(b"\r\n", 1)[0].decode())
            while True:
                await self._frame(reader, writer)
        finally:
            writer.close()

    async def _frame(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, length = await reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await reader.readexactly(8), "big")
        data = await reader.readexactly(length)
        now = time.time()
        opcode = first & 0x0F
        if opcode == 9:
            # A pong, masked with nothing: zeros are a mask too.
            writer.write(bytes([0x8A, 0x80 | len(data), 0, 0, 0, 0]) + data)
        elif opcode == 8:
            raise ConnectionError("closed by the server")
        elif opcode == 1:
            self.hear(json.loads(data), now)

    def hear(self, message: dict[str, Any], now: float) -> None:
        """Take one message that came at `now`."""
        if message["type"] == "event":
            self.told.at.append((now, message["sequence"]))
        else:
            self.ready.set()


@dataclass(frozen=True)
class Outcome:
    """One case; times in seconds, memory in bytes."""

    name: str
    sockets: int
    opened: float
    memory: float
    latencies: Sequence[float]
    missing: int
    cpu: float

    def row(self) -> str:
        """Return one line of a Markdown table."""
        ordered = sorted(self.latencies)

        def ms(share: float) -> str:
            return f"{percentile(ordered, share) * 1000:,.0f}" if ordered else "–"

        return (
            f"| {self.name} | {self.sockets:,} | {self.opened:.1f} | {self.memory / 1000:.1f}"
            f" | {len(ordered):,} | {ms(0.5)} | {ms(0.99)} | {ms(1)} | {self.missing}"
            f" | {self.cpu:.1f} |"
        )


HEADER = (
    "| case | sockets | s to open | KB a socket | messages | p50 ms | p99 ms | most ms | missing"
    " | server CPU s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)

# Moves on the orders that it is told of on its standard input, one line
# "<order> <times>" each; prints when each commit had come back.
_WRITER = """
import json, sys, time
import django
django.setup()
from django.db import transaction
from orders.models import Order
from orders.actions import _tell
pause = float(sys.argv[1])
commits = []
for line in sys.stdin:
    order_id, times = line.split()
    for _ in range(int(times)):
        with transaction.atomic():
            order = Order.objects.select_for_update(no_key=True).get(pk=order_id)
            _tell(order, "payment_received", actor=None, data={"amount": "1", "method": "card"})
        commits.append((order_id, order.version, time.time()))
        time.sleep(pause)
# Wakes leave by a thread of their own.
time.sleep(1)
print(json.dumps(commits))
"""

_ORDERS = """
import json, sys
import django
django.setup()
from orders.models import Order
print(json.dumps([str(pk) for pk in Order.objects.values_list("pk", flat=True)[:int(sys.argv[1])]]))
"""


def raise_file_limit(wanted: int) -> None:
    """Let this process and its children hold so many sockets.

    Raises:
        ValueError: the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))


def _other_redis() -> str:
    """Return the same Redis with another database: the shop's cache stays its own."""
    if not settings.REDIS_URL:
        return ""
    parts = urlsplit(settings.REDIS_URL)
    return urlunsplit(parts._replace(path="/14" if parts.path == "/15" else "/15"))


def measure(*, sockets: int, watchers: int) -> list[Outcome]:
    """Measure one event to each of so many orders, then one order with so many watchers.

    Raises:
        ArenaError: the arena could not be set up.
        ConnectionError: a socket was refused or broke off.
    """
    raise_file_limit(4 * sockets + 1000)
    limits = {
        name: str(2 * sockets) for name in ("SOCKETS", "SOCKETS_PER_USER", "SOCKETS_PER_ADDRESS")
    }
    with Arena(products=200, people=1, orders=sockets) as arena:
        arena.environment |= {"REDIS_URL": _other_redis()}
        orders = json.loads(arena.run(["-c", _ORDERS, str(sockets)]))
        with on_cores(arena.load_cores):
            return [
                _case(arena, limits, f"one event to each of {sockets:,} orders", orders, 1, 0.0),
                _case(
                    arena,
                    limits,
                    f"one order, {watchers:,} watchers",
                    orders[:1] * watchers,
                    20,
                    0.5,
                ),
            ]


def _case(
    arena: Arena, limits: dict[str, str], name: str, watched: list[str], times: int, pause: float
) -> Outcome:
    with arena.server(**limits) as server:
        return asyncio.run(_watch(arena, server, name, watched, times, pause))


async def _watch(
    arena: Arena, server: Any, name: str, watched: list[str], times: int, pause: float
) -> Outcome:
    clients = [Client(server.port, order, arena.data.staff) for order in watched]
    # What the first socket brings with it is not the sockets'.
    before = server.usage().rss
    began = time.monotonic()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def come(client: Client) -> "asyncio.Task[None]":
        async with gate:
            task = asyncio.create_task(client.run())
            arrived = asyncio.create_task(client.ready.wait())
            await asyncio.wait({task, arrived}, return_when=asyncio.FIRST_COMPLETED)
            arrived.cancel()
            if task.done():
                await task
            return task

    async with asyncio.timeout(_PATIENCE):
        tasks = await asyncio.gather(*(come(client) for client in clients))
    opened = time.monotonic() - began
    await asyncio.sleep(2)
    held = server.usage()
    commits = await _write(arena, sorted(set(watched)), times, pause)
    # Whatever is slow may still come.
    await asyncio.sleep(5)
    cpu = server.usage().cpu - held.cpu
    latencies, missing = _latencies([client.told for client in clients], commits)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    memory = (held.rss - before) / len(watched)
    return Outcome(name, len(watched), opened, memory, latencies, missing, cpu)


async def _write(
    arena: Arena, orders: list[str], times: int, pause: float
) -> list[tuple[str, int, float]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _WRITER,
        str(pause),
        cwd=Path(settings.BASE_DIR),
        env=arena.environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    words = "".join(f"{order} {times}\n" for order in orders)
    said, _ = await process.communicate(words.encode())
    commits: list[tuple[str, int, float]] = json.loads(said)
    return commits


def _latencies(
    told: Sequence[Told], commits: Sequence[tuple[str, int, float]]
) -> tuple[list[float], int]:
    """Return the seconds from each commit to each receipt, and how many never came."""
    came = {
        (client, told_by.order, sequence): at
        for client, told_by in enumerate(told)
        for at, sequence in told_by.at
    }
    wanted: dict[str, list[tuple[int, float]]] = {}
    for order, sequence, committed in commits:
        wanted.setdefault(order, []).append((sequence, committed))
    latencies, missing = [], 0
    for client, told_by in enumerate(told):
        for sequence, committed in wanted.get(told_by.order, ()):
            received = came.get((client, told_by.order, sequence))
            if received is None:
                missing += 1
            else:
                latencies.append(max(0.0, received - committed))
    return latencies, missing
