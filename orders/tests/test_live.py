"""Live updates: who is let in, what comes, in which order, and what is missed is made up for."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from django.utils import timezone

from orders import consumers
from orders.actions import move_order
from orders.models import Order
from orders.states import Status
from orders.urls import websocket_urlpatterns
from shop.accounts.models import AccessToken, User
from shop.events import follow, wake
from shop.events.follow import Follower
from shop.events.models import Event

pytestmark = pytest.mark.django_db(transaction=True)

HOST = ("host", "testserver")
ORIGIN = ("origin", "http://testserver")


class Shop:
    """What a web process has: threads for the database, and one follower."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(2)
        self.both = threading.Barrier(2)
        self.follower = Follower(self.call)
        self.queries = 0

    def close(self) -> None:
        """Close one thread's connections; each of the two must come by."""
        self.both.wait(10)
        connections.close_all()

    async def call(self, work: Any) -> Any:
        self.queries += 1
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    def socket(
        self,
        order: Any,
        *headers: Any,
        since: str = "",
        protocols: Any = (),
        address: str = "127.0.0.1",
        sent: Any = None,
    ) -> Any:
        """`sent` is waited for with each message before the client takes it."""
        query = f"?since={since}" if since else ""
        router = URLRouter(websocket_urlpatterns)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            around = {"call": self.call, "follower": self.follower, "client": [address, 0]}

            async def take(message: Any) -> None:
                if sent is not None:
                    await sent(message)
                await send(message)

            await router({**scope, **around}, receive, take)

        return WebsocketCommunicator(
            app,
            f"/api/v2/orders/{order}/updates{query}",
            headers=[(n.encode(), v.encode()) for n, v in (HOST, *headers)],
            subprotocols=list(protocols),
        )

    async def do(self, action: Any, *args: Any, **kwargs: Any) -> Any:
        """Change something, as another thread of the process would."""
        return await asyncio.get_running_loop().run_in_executor(
            self.pool, lambda: action(*args, **kwargs)
        )


@pytest.fixture(autouse=True)
def hosts(settings):
    settings.ALLOWED_HOSTS = ["testserver"]


@pytest.fixture
def live():
    """Run a story in an event loop, with a shop around it."""

    def run(story: Any) -> Any:
        async def main() -> Any:
            shop = Shop()
            try:
                async with asyncio.timeout(60):
                    return await story(shop)
            finally:
                shop.follower.stop()
                await asyncio.gather(*(shop.do(shop.close) for _ in range(2)))
                shop.pool.shutdown()

        return asyncio.run(main())

    return run


def bearer(user):
    return ("authorization", f"Bearer {AccessToken.issue(user)[1]}")


def session(user):
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    return ("cookie", f"{name}={client.cookies[name].value}")


async def opened(socket):
    connected, protocol = await socket.connect(5)
    assert connected
    return protocol


async def refused(socket):
    connected, _code = await socket.connect(5)
    return not connected


def test_a_snapshot_then_each_event_once_and_in_order(live, alice, clerk, make_order):
    order, token = make_order(alice), bearer(alice)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        snapshot = await socket.receive_json_from(5)
        for status in (Status.PAID, Status.PROCESSING):
            await shop.do(move_order, order_id=order.pk, to=status, actor=clerk)
        events = [await socket.receive_json_from(5) for _ in range(2)]
        assert await socket.receive_nothing(0.1)
        await socket.disconnect()
        return snapshot, events

    snapshot, events = live(story)
    first = Event.objects.get(subject=order.subject, sequence=1)
    assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
    assert snapshot["last_event"] == str(first.pk)
    assert snapshot["order"]["id"] == str(order.pk)
    told = ("type", "event", "sequence", "status", "next", "by")
    assert [tuple(event[name] for name in told) for event in events] == [
        ("event", "order.paid", 2, "paid", "processing", "clerk"),
        ("event", "order.processing", 3, "processing", "shipped", "clerk"),
    ]  # fmt: skip


def test_with_since_comes_what_was_missed_and_nothing_twice(live, alice, clerk, make_order):
    order, token = make_order(alice), bearer(alice)
    first = str(Event.objects.get(subject=order.subject).pk)
    for status in (Status.PAID, Status.PROCESSING):
        move_order(order_id=order.pk, to=status, actor=clerk)

    async def story(shop):
        socket = shop.socket(order.pk, token, since=first)
        await opened(socket)
        missed = [await socket.receive_json_from(5) for _ in range(2)]
        await shop.do(move_order, order_id=order.pk, to=Status.SHIPPED, actor=clerk)
        missed.append(await socket.receive_json_from(5))
        await socket.disconnect()
        up_to_date = shop.socket(order.pk, token, since=missed[-1]["id"])
        await opened(up_to_date)
        assert await up_to_date.receive_nothing(0.1)
        await up_to_date.disconnect()
        return missed

    assert [event["sequence"] for event in live(story)] == [2, 3, 4]


@pytest.mark.parametrize("since", ["nonsense", "01a20656-1040-7c09-82fb-2fbfe054a941"])
def test_an_event_that_never_was_begins_anew(live, alice, make_order, since):
    order, token = make_order(alice), bearer(alice)

    async def story(shop):
        socket = shop.socket(order.pk, token, since=since)
        await opened(socket)
        first = await socket.receive_json_from(5)
        await socket.disconnect()
        return first

    first = live(story)
    assert (first["type"], first["reset"]) == ("snapshot", True)


def test_polling_finds_what_no_wake_told_of(live, alice, clerk, make_order, monkeypatch):
    order, token = make_order(alice), bearer(alice)
    monkeypatch.setattr(wake, "_listeners", set())
    monkeypatch.setattr(follow.wake, "listen", lambda listener: None)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        await socket.receive_json_from(5)
        await shop.do(move_order, order_id=order.pk, to=Status.PAID, actor=clerk)
        event = await socket.receive_json_from(5)
        await socket.disconnect()
        return event

    assert live(story)["event"] == "order.paid"


def test_without_polling_a_wake_is_enough(live, alice, clerk, make_order, monkeypatch):
    order, token = make_order(alice), bearer(alice)
    monkeypatch.setattr(follow, "EVERY", 1000)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        await socket.receive_json_from(5)
        await shop.do(move_order, order_id=order.pk, to=Status.PAID, actor=clerk)
        event = await socket.receive_json_from(5)
        await socket.disconnect()
        return event

    assert live(story)["event"] == "order.paid"


def test_a_cancellation_lost_in_the_channel_layer_ends_the_listening(live, monkeypatch, settings):
    """asyncio.wait_for of Python 3.11, which the Redis client uses, may swallow one."""

    class Layer:
        async def new_channel(self):
            return "mine"

        async def group_add(self, group, channel):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        async def receive(self, channel):
            await asyncio.Event().wait()

    settings.REDIS_URL = "redis://nowhere"
    monkeypatch.setattr(follow, "get_channel_layer", Layer)

    class Watcher:
        last = 0

    async def story(shop):
        shop.follower.add("order/1", Watcher())
        ear = shop.follower._ear
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        shop.follower.stop()
        await asyncio.wait({ear}, timeout=10)
        return ear.cancelled()

    assert live(story)


def test_nothing_is_told_of_what_was_rolled_back(live, alice, clerk, make_order):
    from django.db import transaction

    order, token = make_order(alice), bearer(alice)

    def half():
        with transaction.atomic():
            move_order(order_id=order.pk, to=Status.PAID, actor=clerk)
            transaction.set_rollback(True)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        await socket.receive_json_from(5)
        await shop.do(half)
        assert await socket.receive_nothing(3 * follow.EVERY)
        await socket.disconnect()

    live(story)


def test_who_is_let_in(live, alice, bob, clerk, make_order, settings):
    order = make_order(alice)
    expired = bearer(alice)
    AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    mine, theirs, desk = bearer(alice), bearer(bob), bearer(clerk)
    page, foreign_page = session(alice), session(bob)
    settings.CSRF_TRUSTED_ORIGINS = ["https://shop.example"]

    async def story(shop):
        async def may(*headers, order_id=order.pk, protocols=()):
            socket = shop.socket(order_id, *headers, protocols=protocols)
            connected, _ = await socket.connect(5)
            if connected:
                await socket.disconnect()
            return connected

        assert await may(mine)
        assert await may(desk)
        assert await may(page, ORIGIN)
        assert await may(mine, ("origin", "https://shop.example"))
        assert not await may()
        assert not await may(theirs)
        assert not await may(expired)
        assert not await may(("authorization", "Bearer shop_forged"))
        assert not await may(foreign_page, ORIGIN)
        # A session counts only from our own pages.
        assert not await may(page)
        assert not await may(page, ("origin", "https://evil.example"))
        assert not await may(mine, ("origin", "https://evil.example"))
        assert not await may(mine, order_id="01a20656-1040-7c09-82fb-2fbfe054a941")
        settings.ALLOWED_HOSTS = ["other"]
        assert not await may(mine)

    live(story)
    assert consumers.open_sockets() == 0


def test_every_wrong_person(live, alice, clerk, make_order):
    order = make_order(alice)
    tokens = {name: AccessToken.issue(alice) for name in ("revoked", "expired", "good")}
    tokens["revoked"][0].delete()
    AccessToken.objects.filter(pk=tokens["expired"][0].pk).update(expires_at=timezone.now())
    off = User.objects.create_user("off", password="secret", is_superuser=True, is_staff=True)
    off_token, off_session = bearer(off), session(off)
    User.objects.filter(pk=off.pk).update(is_active=False)
    ended = session(clerk)
    clerk.set_password("another")
    clerk.save()
    others = {}
    for name, groups in (("porter", []), ("catalogue", ["Catalogue"]), ("ops", ["Operations"])):
        others[name] = User.objects.create_user(name, is_staff=True)
        others[name].groups.set(Group.objects.filter(name__in=groups))
    good = tokens["good"][1]
    wrong = [
        ("anonymous", [], ()),
        ("revoked", [("authorization", f"Bearer {tokens['revoked'][1]}")], ()),
        ("expired", [("authorization", f"Bearer {tokens['expired'][1]}")], ()),
        ("forged", [("authorization", f"Bearer {good[:-1]}")], ()),
        ("the digest", [("authorization", f"Bearer {tokens['good'][0].digest}")], ()),
        ("another scheme", [("authorization", f"Basic {good}")], ()),
        ("nothing", [("authorization", "Bearer")], ()),
        ("not ASCII", [("authorization", "Bearer \u00e9")], ()),
        ("switched off", [off_token], ()),
        ("switched off, by session", [off_session, ORIGIN], ()),
        ("of an old password", [ended, ORIGIN], ()),
        ("no session", [("cookie", "sessionid=forged"), ORIGIN], ()),
        ("no such protocol", [ORIGIN], ("token", good)),
        ("no origin", [], ("bearer", "shop_forged")),
        ("a broken origin", [session(alice), ("origin", "http://[")], ()),
        ("nowhere", [session(alice), ("origin", "null")], ()),
        *((name, [bearer(user)], ()) for name, user in others.items()),
    ]

    async def story(shop):
        told = []
        for name, headers, protocols in wrong:
            if not await refused(shop.socket(order.pk, *headers, protocols=protocols)):
                told.append(name)
        # The scene is right: alice is let in.
        held = shop.socket(order.pk, ORIGIN, protocols=("bearer", good))
        await opened(held)
        await held.disconnect()
        return told

    assert live(story) == []


@pytest.mark.parametrize(("page", "let_in"), [("https", True), ("http", False)])
def test_over_tls_a_page_without_it_is_none_of_ours(live, alice, make_order, page, let_in):
    order, cookie = make_order(alice), session(alice)

    async def story(shop):
        socket = shop.socket(order.pk, cookie, ("origin", f"{page}://testserver"))
        socket.scope["scheme"] = "wss"
        connected, _ = await socket.connect(5)
        if connected:
            await socket.disconnect()
        return connected

    assert live(story) is let_in


def test_a_token_as_subprotocol_is_never_echoed(live, alice, make_order):
    order = make_order(alice)
    token = AccessToken.issue(alice)[1]

    async def story(shop):
        socket = shop.socket(order.pk, ORIGIN, protocols=("bearer", token))
        protocol = await opened(socket)
        await socket.disconnect()
        return protocol

    assert live(story) == "bearer"


def test_ping_and_nonsense(live, alice, make_order):
    order, token = make_order(alice), bearer(alice)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        await socket.receive_json_from(5)
        for text in ("nonsense", "[]", '{"type":"cancel"}', "x" * 5000):
            await socket.send_to(text_data=text)
        await socket.send_to(bytes_data=b"\x00")
        await socket.send_json_to({"type": "ping"})
        answer = await socket.receive_json_from(5)
        await socket.disconnect()
        return answer

    assert live(story) == {"type": "pong"}


@pytest.mark.parametrize("how", ["since", "at once"])
def test_whoever_is_far_behind_gets_it_all(live, alice, make_order, monkeypatch, how):
    monkeypatch.setattr(consumers, "_BACKLOG", 20)
    order, token = make_order(alice), bearer(alice)
    first = Event.objects.get(subject=order.subject)

    def add():
        Event.objects.bulk_create(
            Event(type="order.paid", subject=order.subject, sequence=n, data={})
            for n in range(2, 152)
        )

    if how == "since":
        add()

    async def story(shop):
        socket = shop.socket(order.pk, token, since=str(first.pk) if how == "since" else "")
        await opened(socket)
        if how == "at once":
            await socket.receive_json_from(5)
            await shop.do(add)
        told = [(await socket.receive_json_from(5))["sequence"] for _ in range(150)]
        assert await socket.receive_nothing(0.6)
        await socket.disconnect()
        return told

    assert live(story) == list(range(2, 152))
    assert consumers.open_sockets() == 0


def test_a_slow_client_is_dropped_and_others_are_not(live, alice, clerk, make_order, monkeypatch):
    monkeypatch.setattr(consumers, "_BACKLOG", 1)
    monkeypatch.setattr(consumers, "_PATIENCE", -1)
    order, token = make_order(alice), bearer(alice)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        await socket.receive_json_from(5)
        # Nobody takes from the queue in between.
        (watcher,) = shop.follower._watchers[order.subject]
        rows = [
            (order.subject, order.pk, "order.paid", n, timezone.now(), None, {}) for n in (2, 3, 4)
        ]
        for _ in range(3):
            watcher.deliver(rows)
        told = await socket.receive_output(5)
        while told["type"] != "websocket.close":
            told = await socket.receive_output(5)
        return told["code"]

    assert live(story) == 4408
    assert consumers.open_sockets() == 0


def test_a_slow_client_holds_up_none_beside_it(live, alice, clerk, make_order, monkeypatch):
    """One takes nothing after its snapshot; another, of the same order, gets all of it."""
    monkeypatch.setattr(consumers, "_PATIENCE", 1)
    monkeypatch.setattr(consumers, "_BACKLOG", 2)
    order, token, desk = make_order(alice), bearer(alice), bearer(clerk)
    moves = (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED)

    async def story(shop):
        stuck = asyncio.Event()

        async def never(message):
            if b"event" in message.get("text", "").encode()[:20]:
                stuck.set()
                await asyncio.Event().wait()

        slow, quick = shop.socket(order.pk, token, sent=never), shop.socket(order.pk, desk)
        for socket in (slow, quick):
            await opened(socket)
            assert (await socket.receive_json_from(5))["type"] == "snapshot"
        told = []

        async def move(status):
            await shop.do(move_order, order_id=order.pk, to=status, actor=clerk)
            told.append((await quick.receive_json_from(5))["status"])

        for status in moves[:-1]:
            await move(status)
        # All came to the one while the other was stuck with the first.
        assert stuck.is_set()
        closed = await slow.receive_output(10)
        assert consumers.open_sockets() == 1
        # And when the other is given up, the one stays.
        await move(moves[-1])
        await quick.disconnect()
        return told, closed

    told, closed = live(story)
    assert told == [status.value for status in moves]
    assert (closed["type"], closed["code"]) == ("websocket.close", 4408)
    assert consumers.open_sockets() == 0


def test_only_so_many_sockets(live, alice, bob, clerk, make_order, settings):
    settings.SOCKETS_PER_USER = 2
    order, token, desk = make_order(alice), bearer(alice), bearer(clerk)

    async def story(shop):
        held = [shop.socket(order.pk, token) for _ in range(2)]
        for socket in held:
            await opened(socket)
        assert await refused(shop.socket(order.pk, token))
        other = shop.socket(order.pk, desk)
        await opened(other)
        await held[0].disconnect()
        again = shop.socket(order.pk, token)
        await opened(again)
        for socket in (held[1], other, again):
            await socket.disconnect()

    live(story)
    assert consumers.open_sockets() == 0


def test_only_so_many_sockets_of_one_address(live, alice, clerk, make_order, settings):
    settings.SOCKETS_PER_ADDRESS = 2
    order = make_order(alice)
    tokens = [bearer(user) for user in (alice, clerk)]

    async def story(shop):
        held = [shop.socket(order.pk, token, address="203.0.113.7") for token in tokens]
        for socket in held:
            await opened(socket)
        assert await refused(shop.socket(order.pk, tokens[0], address="203.0.113.7"))
        elsewhere = shop.socket(order.pk, tokens[0], address="203.0.113.8")
        await opened(elsewhere)
        for socket in (*held, elsewhere):
            await socket.disconnect()

    live(story)
    assert consumers.open_sockets() == 0
    assert not consumers._open


def test_a_client_that_says_nothing_is_let_go(live, alice, make_order, settings):
    settings.SOCKET_IDLE = 0.2
    order, token = make_order(alice), bearer(alice)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        await socket.receive_json_from(5)
        return await socket.receive_output(20)

    assert live(story) == {"type": "websocket.close", "code": 4408}


def test_a_ping_is_a_word(live, alice, make_order, monkeypatch):
    order, token = make_order(alice), bearer(alice)
    watched = []

    async def watch(self):
        watched.append(self)
        self.heard = -1
        await asyncio.Event().wait()

    monkeypatch.setattr(consumers.OrderUpdates, "_watch", watch)

    async def story(shop):
        socket = shop.socket(order.pk, token)
        await opened(socket)
        await socket.receive_json_from(5)
        await socket.send_json_to({"type": "ping"})
        assert await socket.receive_json_from(5) == {"type": "pong"}
        heard = watched[0].heard
        await socket.disconnect()
        return heard

    assert live(story) > 0


@pytest.mark.parametrize("how", ["revoked", "switched off", "new password", "signed out"])
def test_who_loses_the_right_is_put_out(live, alice, make_order, monkeypatch, how):
    monkeypatch.setattr(consumers, "_RECHECK", 0.05)
    order = make_order(alice)
    by_session = how in ("new password", "signed out")
    headers = [session(alice), ORIGIN] if by_session else [bearer(alice)]

    def lose():
        if how == "revoked":
            AccessToken.objects.all().delete()
        elif how == "switched off":
            User.objects.update(is_active=False)
        elif how == "new password":
            alice.set_password("another")
            alice.save()
        else:
            Session.objects.all().delete()

    async def story(shop):
        socket = shop.socket(order.pk, *headers)
        await opened(socket)
        await socket.receive_json_from(5)
        await shop.do(lose)
        told = await socket.receive_output(5)
        return told["code"]

    assert live(story) == 4401


def test_many_watchers_cost_one_question(live, alice, make_order, make_product, monkeypatch):
    monkeypatch.setattr(follow, "EVERY", 1000)
    product = make_product(stock=100)
    orders, token = [make_order(alice, (product, 1)) for _ in range(10)], bearer(alice)

    async def story(shop):
        sockets = [shop.socket(order.pk, token) for order in orders]
        for socket in sockets:
            await opened(socket)
            await socket.receive_json_from(5)
        await asyncio.sleep(0.1)
        before = shop.queries
        shop.follower._woken = {order.subject for order in orders}
        shop.follower._poke.set()
        await asyncio.sleep(0.1)
        asked = shop.queries - before
        for socket in sockets:
            await socket.disconnect()
        return asked

    assert live(story) == 1


@pytest.mark.parametrize("broken", [False, True])
def test_who_comes_while_the_table_is_asked_misses_nothing(monkeypatch, broken):
    """And one that can't be told takes nothing from the others."""
    row = {n: ("order/a", n, "order.paid", n, None, None, {}) for n in (2, 3)}
    monkeypatch.setattr(
        follow, "read_news", lambda last: {"order/a": [row[n] for n in row if n > last["order/a"]]}
    )

    class Watcher:
        def __init__(self, last, fails=False):
            self.last, self.fails, self.got = last, fails, []

        def deliver(self, rows):
            if self.fails:
                raise ValueError("unheard of")
            self.got += [row[3] for row in rows]
            self.last = rows[-1][3]

    async def story():
        first, late = Watcher(2, broken), Watcher(1)

        async def call(work):
            news = work()
            follower._watchers["order/a"].add(late)
            return news

        follower = Follower(call)
        follower._watchers["order/a"] = {first}
        for _ in range(2):
            await follower._bring({"order/a"})
        return first.got, late.got

    assert asyncio.run(story()) == ([] if broken else [3], [2, 3])


def test_news_of_many_subjects_takes_two_queries(
    alice, clerk, make_order, make_product, django_assert_num_queries
):
    product = make_product(stock=100)
    orders = [make_order(alice, (product, 1)) for _ in range(5)]
    for order in orders[:3]:
        move_order(order_id=order.pk, to=Status.PAID, actor=clerk)
    last = {order.subject: 1 for order in orders}
    with django_assert_num_queries(2):
        news = follow.read_news(last)
    assert {subject: [row[3] for row in rows] for subject, rows in news.items()} == {
        order.subject: [2] for order in orders[:3]
    }
    with django_assert_num_queries(1):
        assert follow.read_news({order.subject: 2 for order in orders[:3]}) == {}


class TestPage:
    """The page without its script."""

    def test_it_shows_the_way(self, client, alice, clerk, make_order):
        order = make_order(alice)
        move_order(order_id=order.pk, to=Status.PAID, actor=clerk)
        client.force_login(alice)
        page = client.get(f"/orders/{order.pk}/track").content.decode()
        assert "order placed" in page
        assert f'data-since="{Event.objects.get(sequence=2).pk}"' in page
        assert 'class="now" data-status="paid" aria-current="step"' in page
        assert "노트북" in page
        assert "style=" not in page

    def test_whose_it_is(self, client, alice, bob, clerk, make_order):
        url = f"/orders/{make_order(alice).pk}/track"
        assert client.get(url)["Location"] == f"/accounts/login?next={url}"
        for user, status in ((alice, 200), (bob, 404), (clerk, 200)):
            client.force_login(user)
            assert client.get(url).status_code == status

    def test_a_cancelled_order_has_no_way(self, client, alice, make_order):
        order = make_order(alice)
        move_order(order_id=order.pk, to=Status.CANCELLED, actor=None)
        client.force_login(alice)
        page = client.get(f"/orders/{order.pk}/track").content.decode()
        assert 'aria-label="The way of the order" hidden' in page

    def test_every_event_has_a_name(self, alice, make_order):
        from orders.views import event_name

        assert event_name("order.shipped") == "shipped"
        assert event_name("order.returned") == "goods returned"
        assert event_name("order.unheard_of") == "unheard_of"
        assert Order.objects.count() == 0
