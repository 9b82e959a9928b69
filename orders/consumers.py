"""Live updates of one order over a WebSocket.

After the handshake comes a snapshot with the last event's id, then each event
once and in order. Whoever comes back with `?since=<event id>` gets what was
missed instead of the snapshot. A client that says nothing for too long, not
even "ping", is let go: it may be gone without having said so. Close codes: 4401
the right to look is gone, 4408 too slow or too long silent, 1012 the server
restarts.
"""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from monitoring import metrics
from orders import reading
from orders.models import Order
from shop.accounts.models import User
from shop.accounts.sockets import PROTOCOL, Credentials
from shop.events.follow import Row, read_news
from shop.events.models import Event
from shop.rest import dump_json

logger = logging.getLogger(__name__)

# Messages that wait for a client; the events beyond them wait in the table.
_BACKLOG = 200
# Seconds: how long one message may take to go out, or a full backlog may stay
# full, and how often the right to look is asked for again.
_PATIENCE = 10
_RECHECK = 60
# A message of a client; all it can say is "ping".
_INPUT = 4096

# Open sockets of this process: all, and by user and by address.
_Key = tuple[str, object]
_ALL: _Key = ("all", None)
_open: Counter[_Key] = Counter()


def open_sockets() -> int:
    """Return how many sockets this process holds."""
    return _open[_ALL]


def _limits(user_id: int, address: str) -> dict[_Key, int]:
    return {
        _ALL: settings.SOCKETS,
        ("user", user_id): settings.SOCKETS_PER_USER,
        ("address", address): settings.SOCKETS_PER_ADDRESS,
    }


class OrderUpdates(AsyncWebsocketConsumer):
    """One socket, one order.

    The scope brings `call`, which runs a function in the hop's threads, and
    `follower`, which watches the event table for the whole process.
    """

    # The channel layer only wakes the follower; no socket listens to it.
    channel_layer_alias = "none"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket until it ends."""
        self.user: User | None = None
        # What it is counted under while it is open.
        self.counted: list[_Key] = []
        self.heard = asyncio.get_running_loop().time()
        self.subject = ""
        self.last = 0
        self.watching = False
        self.outgoing: asyncio.Queue[bytes] = asyncio.Queue(_BACKLOG)
        # Whether events wait in the table, and since when the backlog is full.
        self.behind = False
        self.full_since: float | None = None
        self.tasks: list[asyncio.Task[None]] = []
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            with suppress(Exception):
                await send({"type": "websocket.close", "code": 1012})
            raise
        finally:
            self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle one message; unlike Channels', without a thread hop for each."""
        handler = {
            "websocket.connect": self.websocket_connect,
            "websocket.receive": self.websocket_receive,
            "websocket.disconnect": self.websocket_disconnect,
        }.get(message["type"])
        if handler is not None:
            await handler(message)

    async def connect(self) -> None:
        """Let in who may see the order; refuse everybody else at the handshake, all alike."""
        self.credentials = Credentials.of(self.scope)
        if not self.credentials.from_our_pages:
            await self.close()
            return
        since = parse_qs(self.scope.get("query_string", b"").decode("latin1")).get("since", [""])[0]
        order_id = self.scope["url_route"]["kwargs"]["id"]
        call = self.scope["call"]
        try:
            found = await call(partial(_admit, self.credentials, order_id, since))
        except Exception:
            # The database is away; the client tries again.
            logger.warning("no socket could be opened", exc_info=True)
            await self.close()
            return
        if found is None:
            await self.close()
            return
        user, self.subject, self.last, messages = found
        # shop/asgi.py has seen through our proxies.
        limits = _limits(user.pk, str((self.scope.get("client") or ("",))[0]))
        if any(_open[key] >= limit for key, limit in limits.items()):
            await self.close()
            return
        self.user = user
        self.counted = list(limits)
        _open.update(self.counted)
        metrics.WEBSOCKETS.inc()
        await self.accept(PROTOCOL if self.credentials.by_protocol else None)
        for message in messages:
            self._put(message)
        self.tasks = [asyncio.create_task(self._send_all()), asyncio.create_task(self._watch())]
        self.scope["follower"].add(self.subject, self)
        self.watching = True

    def deliver(self, rows: list[Row]) -> None:
        """Take as many events from the follower as there is room for."""
        taken = rows[: _BACKLOG - self.outgoing.qsize()]
        for row in taken:
            self._put(reading.event_message(row[1:]))
            self.last = row[3]
        self.behind = len(taken) < len(rows)
        now = asyncio.get_running_loop().time()
        if taken:
            self.full_since = None
        elif self.full_since is None:
            self.full_since = now
        elif now - self.full_since > _PATIENCE:
            self._end(4408)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer a ping; nothing else means anything."""
        self.heard = asyncio.get_running_loop().time()
        if text_data is None or len(text_data) > _INPUT:
            return
        try:
            said = orjson.loads(text_data)
        except ValueError:
            return
        if isinstance(said, dict) and said.get("type") == "ping":
            self._put({"type": "pong"})

    async def disconnect(self, code: int) -> None:
        """The client has gone."""
        raise StopConsumer

    def _put(self, message: dict[str, Any]) -> None:
        try:
            self.outgoing.put_nowait(dump_json(message))
        except asyncio.QueueFull:
            self._end(4408)

    def _end(self, code: int) -> None:
        """Give the client up; it may come back with `since`."""
        if self.user is None:
            return
        self._leave()
        closing = asyncio.ensure_future(self.close(code))
        # Kept until it is done: the loop itself holds tasks but weakly.
        self.tasks = [closing]

    def _leave(self) -> None:
        if self.watching:
            self.watching = False
            self.scope["follower"].remove(self.subject, self)
        if self.user is not None:
            for key in self.counted:
                _open[key] -= 1
                if not _open[key]:
                    del _open[key]
            metrics.WEBSOCKETS.dec()
            self.user = None
        current = asyncio.current_task()
        for task in self.tasks:
            if task is not current:
                task.cancel()
        self.tasks = []

    async def _send_all(self) -> None:
        while True:
            message = await self.outgoing.get()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self.send(text_data=message.decode())
            except TimeoutError:
                self._end(4408)
                return
            if self.behind and self.outgoing.empty():
                self.scope["follower"].look(self.subject)

    async def _watch(self) -> None:
        """Let a client go that is silent for too long, or whose right to look is gone."""
        clock = asyncio.get_running_loop().time
        ask_at = clock() + _RECHECK
        while True:
            await asyncio.sleep(min(ask_at, self.heard + settings.SOCKET_IDLE) - clock())
            if clock() >= self.heard + settings.SOCKET_IDLE:
                self._end(4408)
                return
            if clock() < ask_at:
                continue
            ask_at = clock() + _RECHECK
            if not await self._may_still():
                self._end(4401)
                return

    async def _may_still(self) -> bool:
        order_id = self.scope["url_route"]["kwargs"]["id"]
        try:
            found = await self.scope["call"](partial(_visible, self.credentials, order_id))
        except Exception:
            # The database is away: nothing is told meanwhile either.
            logger.warning("a socket's rights could not be looked up", exc_info=True)
            return True
        return found is not None


def _visible(credentials: Credentials, order_id: UUID) -> tuple[User, Order] | None:
    user = credentials.user()
    if user is None:
        return None
    order = Order.objects.visible_to(user).filter(pk=order_id).first()
    return (user, order) if order is not None else None


def _admit(
    credentials: Credentials, order_id: UUID, since: str
) -> tuple[User, str, int, list[dict[str, Any]]] | None:
    """Return who it is, the subject, the last sequence told, and what to tell first.

    None where there is nobody, no such order, or no right to see it.
    """
    found = _visible(credentials, order_id)
    if found is None:
        return None
    user, order = found
    if since:
        seen = _sequence_of(order, since)
        if seen is not None:
            # What is more than that the follower brings, as the client takes it.
            rows = read_news({order.subject: seen}).get(order.subject, [])[:_BACKLOG]
            last = rows[-1][3] if rows else seen
            return user, order.subject, last, [reading.event_message(row[1:]) for row in rows]
    # The timeline is read after the order, so it may be ahead of it by an
    # event: what counts for the client is the last event, which comes with it.
    snapshot = reading.read_snapshot(order)
    if since:
        # An event that this order never had: the client begins anew.
        snapshot["reset"] = True
    return user, order.subject, snapshot["sequence"], [snapshot]


def _sequence_of(order: Order, event_id: str) -> int | None:
    try:
        wanted = UUID(event_id)
    except ValueError:
        return None
    return (
        Event.objects.filter(pk=wanted, subject=order.subject)
        .values_list("sequence", flat=True)
        .first()
    )
