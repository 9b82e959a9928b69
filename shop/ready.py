"""Ready answers: what anybody may read, answered before Django is reached.

A view hands `answer()` the way its body is made, and gets it kept in the process
(shop.cache). Whoever is signed in is given it by the view. To those who are nobody
`ReadyAnswers` gives it on the event loop: with the headers that Django gave the first
of them, an ETag, and compressed for whoever takes that. Nothing that depends on who
asks comes near it: a request with an Authorization or one of the shop's cookies is
passed on, and a view that calls `answer()` promises that its body is the same for all.

However many ask at once for what is not there, one request goes through the hop.
"""

import asyncio
import gzip
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.utils.translation import get_language_from_request
from rest_framework.request import Request

from shop.accounts.throttles import address_key, buckets, rate_limit_headers
from shop.cache import Knowledge, Store, Tag

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]
Key = tuple[str, str]
# Tokens a second, the most of them, and how many are left; nothing without limits.
RateLimit = tuple[float, float, float] | tuple[()]

# Bytes. What is smaller gains nothing on the wire.
_COMPRESS_FROM = 600
_COMPRESSION = 5
# Requests that Django reads more of than their address.
_NOT_FOR_US = frozenset({b"authorization", b"transfer-encoding", b"expect"})
_LIMITS = (b"ratelimit", b"ratelimit-policy")
# Headers of one request, not of the answer; and those that are written anew.
_NOT_KEPT = frozenset({*_LIMITS, b"content-length", b"cache-control", b"vary"})
# Languages, plain and secure.
_MOST_VARIANTS = 8
# Bytes of a key, beside its query, with what counts it; of a variant's headers.
_KEY, _HEAD = 600, 2000
# Bytes of a query and of a header. What has been read is remembered, so that nobody
# may fill the memory with it; whoever sends more is answered by Django.
_LONGEST_QUERY, _LONGEST_HEADER = 800, 200
# Seconds. Most answers are there before, and spared the price of listening for the client.
_LISTEN_AFTER = 0.2


@dataclass(slots=True)
class _Head:
    """The headers of an answer, as it is and compressed, and of the 304 for each."""

    plain: list[Header]
    packed: list[Header]
    unchanged: list[Header]
    packed_unchanged: list[Header]


@dataclass(slots=True, eq=False)
class Answer:
    """A body that is the same for all, and what goes with it."""

    key: Key
    body: bytes
    etag: bytes
    # Told how often the answer has been given.
    count: Callable[[int], None] | None = None
    packed: bytes | None = None
    # What it was made from, and the tags' `now` from before that.
    tags: Collection[Tag] = ()
    since: int = 0
    # The route's template.
    route: str = ""
    heads: dict[tuple[str, str], _Head] = field(default_factory=dict)


@dataclass(slots=True)
class Hit:
    """The answer to one request. `headers` are everybody's, `limits` this caller's."""

    answer: Answer
    status: int
    headers: list[Header]
    limits: tuple[Header, ...]
    body: bytes


class Answers:
    """The ready answers of one process."""

    def __init__(self, knowledge: Knowledge, most: int) -> None:
        """`most` is bytes."""
        self.knowledge = knowledge
        self.store: Store[Key, Answer] = Store(knowledge.tags, most)

    def get(self, key: Key) -> Answer | None:
        """Return what may be shown just now, without asking anything."""
        self.knowledge.asked = now = time.monotonic()
        if now >= self.knowledge.tags.sure_until:
            return None
        return self.store.get(key)


_answers: Answers | None = None


def keep_answers(knowledge: Knowledge) -> None:
    """Keep ready answers from now on; what is known of changes comes from `knowledge`."""
    global _answers
    _answers = Answers(knowledge, settings.READY_ANSWERS_MB * 1024 * 1024)


def kept() -> Answers:
    """Return the answers of this process."""
    assert _answers is not None  # an app's `ready` has called `keep_answers`
    return _answers


# --- In the view -----------------------------------------------------------


def answer(
    request: Request,
    make: Callable[[], tuple[bytes, Collection[Tag]]],
    count: Callable[[int], None] | None = None,
) -> HttpResponse:
    """Answer a GET with a JSON body that is the same whoever asks: kept, or made by `make`.

    `make` returns the body and the tags of what it was made from. It raises what
    refuses the request; refusals are not kept. `count` is told how often the answer
    has been given.
    """
    answers = kept()
    # In a transaction one sees what nobody else does yet.
    shared = not connection.in_atomic_block
    asked = request.META.get("QUERY_STRING", "").encode("utf-8", "replace")
    query = canonical(asked) if len(asked) <= _LONGEST_QUERY else None
    key = (request.path, query or "")
    usable = shared and query is not None and answers.knowledge.is_sure()
    found = answers.store.get(key) if usable else None
    if found is None and shared:
        body, tags, since = answers.knowledge.read(make)
        found = Answer(key, body, _digest(body), count, tags=tags, since=since)
        if _takes_gzip(request.META.get("HTTP_ACCEPT_ENCODING", "").encode()):
            found.packed = _pack(body)
        if query is not None:
            # A query may be most of it; and `count` holds what was asked.
            size = len(body) + len(found.packed or b"") + _KEY + 2 * len(query)
            answers.store.put(key, found, tags=tags, since=since, size=size)
    elif found is None:
        found = Answer(key, make()[0], b"", count)
    # The one that was kept with it: what this call was given knows nothing of its making.
    if found.count is not None:
        found.count(1)
    scope = getattr(request._request, "scope", None)
    if scope is not None and shared:
        scope.setdefault("shop", {})["answer"] = found
    return HttpResponse(found.body, content_type="application/json")


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=9).hexdigest().encode()


def _pack(body: bytes) -> bytes | None:
    if len(body) < _COMPRESS_FROM:
        return None
    # Without a time in it: the same body is the same bytes.
    return gzip.compress(body, _COMPRESSION, mtime=0)


@lru_cache(maxsize=2048)
def canonical(query: bytes) -> str | None:
    """Return a query string as it is whatever the order of its parameters; None for an odd one."""
    if not query:
        return ""
    try:
        pairs = parse_qsl(
            query.decode(), keep_blank_values=True, errors="strict", max_num_fields=50
        )
    except ValueError:
        return None
    return urlencode(sorted(pairs))


# --- On the event loop -----------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """What a request wants; `variant` is what Django's headers depend on."""

    key: Key
    variant: tuple[str, str]
    packed: bool
    match: bytes


@dataclass(slots=True)
class _Captured:
    """What came out of the hop."""

    status: int
    headers: list[Header]
    body: bytes
    notes: dict[str, Any]


class _Flight:
    """One request on its way through the hop, for all who wait for its answer."""

    def __init__(self) -> None:
        self.task: asyncio.Task[_Captured]
        self._waiting: set[object] = set()
        # Set when all clients have gone: what has not begun is not run.
        self.left = asyncio.Event()

    async def wait(self, who: object, receive: Receive) -> bool:
        """Wait until it is over; returns whether the client has stayed, as far as is known."""
        self._waiting.add(who)
        await asyncio.wait((self.task,), timeout=_LISTEN_AFTER)
        if not self.task.done():
            listener = asyncio.ensure_future(self._listen(who, receive))
            try:
                await asyncio.wait((self.task,))
            finally:
                listener.cancel()
        return who in self._waiting

    async def _listen(self, who: object, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.leave(who)

    def leave(self, who: object) -> None:
        """Wait no more."""
        self._waiting.discard(who)
        if not self._waiting:
            self.left.set()

    def result(self) -> _Captured | None:
        """Return what came out; None if it broke off."""
        if self.task.cancelled() or self.task.exception() is not None:
            return None
        return self.task.result()


class ReadyAnswers:
    """An ASGI layer before the hop; the request layer asks `find` first."""

    def __init__(self, app: App, is_one: Callable[[str], object]) -> None:
        """`is_one` is true of the paths that have ready answers; all others are passed on."""
        self.app = app
        self._is_one = is_one
        self._flights: dict[tuple[Key, tuple[str, str]], _Flight] = {}
        self._session = settings.SESSION_COOKIE_NAME.encode()
        self._language = settings.LANGUAGE_COOKIE_NAME.encode()

    def find(self, scope: Scope) -> Hit | None:
        """Return the ready answer to a request, or None where there is none. Never waits."""
        asked = self._read(scope)
        if asked is None:
            return None
        found = kept().get(asked.key)
        if found is None or asked.variant not in found.heads:
            return None
        limit = _take(scope)
        # Whoever is one too many is refused by Django, as everybody is.
        return None if limit is None else _give(found, asked, _headers_of(limit))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that `find` has found nothing for."""
        asked = self._read(scope)
        if asked is None:
            await self.app(scope, receive, send)
            return
        if (asked.key, asked.variant) in self._flights:
            await self._join(asked, scope, receive, send)
        else:
            await self._lead(asked, scope, receive, send)

    async def _lead(
        self,
        asked: _Asked,
        scope: Scope,
        receive: Receive,
        send: Send,
        paid: RateLimit | None = None,
    ) -> None:
        flight = self._flights[asked.key, asked.variant] = _Flight()
        flight.task = asyncio.ensure_future(self._fly(flight, asked, scope, paid))
        who = object()
        # Whoever waits as well is answered even if this one leaves.
        try:
            await flight.wait(who, receive)
        except asyncio.CancelledError:
            if flight.task.cancelled():
                raise
            # The server is shutting down, or has given a lost client up (shop.server).
            # What runs is finished and answered; a second cancellation ends the waiting.
            await flight.wait(who, receive)
        captured = flight.task.result()
        notes = scope.setdefault("shop", {})
        notes.update(captured.notes)
        if not captured.status:
            # It was not run: all have gone.
            return
        found = _ready_answer(captured, asked)
        if found is None:
            await _send(send, captured.status, captured.headers, captured.body)
            return
        notes["ready"] = "made"
        hit = _give(found, asked, tuple(pair for pair in captured.headers if pair[0] in _LIMITS))
        await _send(send, hit.status, [*hit.headers, *hit.limits], hit.body)

    async def _join(self, asked: _Asked, scope: Scope, receive: Receive, send: Send) -> None:
        limit = _take(scope)
        tags = kept().knowledge.tags
        known = tags.now
        while limit is not None:
            flight = self._flights.get((asked.key, asked.variant))
            if flight is None:
                await self._lead(asked, scope, receive, send, limit)
                return
            who = object()
            try:
                has_stayed = await flight.wait(who, receive)
            except asyncio.CancelledError:
                flight.leave(who)
                raise
            captured = flight.result()
            found = None if captured is None else _ready_answer(captured, asked)
            # It may have been read before what this process knew, and has shown or
            # written, when this one came.
            if found is not None and (
                found.since >= known or tags.unchanged(found.tags, found.since)
            ):
                await self._share(found, asked, scope, send, limit)
                return
            if not has_stayed:
                return
            # A refusal is each one's own. But where who led had asked too often, or had
            # left, or came too early, again one goes for all.
            if found is None and (captured is None or captured.status not in (0, 429)):
                break
        if limit:
            scope.setdefault("shop", {})["rate_limit"] = limit
        # What was listened to has said that there is no body.
        await self.app(scope, _no_body(receive), send)

    async def _share(
        self, found: Answer, asked: _Asked, scope: Scope, send: Send, limit: RateLimit
    ) -> None:
        scope.setdefault("shop", {}).update(route=found.route, ready="joined")
        if found.count is not None:
            found.count(1)
        hit = _give(found, asked, _headers_of(limit))
        await _send(send, hit.status, [*hit.headers, *hit.limits], hit.body)

    def _read(self, scope: Scope) -> _Asked | None:
        """Return what is asked for; None if it is not for us, or may depend on who asks."""
        path = scope["path"]
        if scope["method"] != "GET" or not self._is_one(path) or scope.get("root_path"):
            return None
        if len(scope["query_string"]) > _LONGEST_QUERY:
            return None
        host = languages = encodings = match = b""
        for name, value in scope["headers"]:
            # Of two, Django reads the sum: it refuses the host, and takes another language.
            if name == b"host":
                if host:
                    return None
                host = value
            elif name == b"accept-encoding":
                encodings = value
            elif name == b"accept-language":
                if languages:
                    return None
                languages = value
            elif name == b"if-none-match":
                match = value
            elif name == b"cookie":
                if self._session in value or self._language in value:
                    return None
            elif name in _NOT_FOR_US or (name == b"content-length" and value != b"0"):
                return None
        if len(host) + len(languages) + len(encodings) > _LONGEST_HEADER:
            return None
        scheme = scope.get("scheme", "http")
        if not _is_ours(host, scheme):
            return None
        query = canonical(scope["query_string"])
        if query is None:
            return None
        return _Asked((path, query), (_language(languages), scheme), _takes_gzip(encodings), match)

    async def _fly(
        self, flight: _Flight, asked: _Asked, scope: Scope, paid: RateLimit | None
    ) -> _Captured:
        """Send one request through the hop, for all who want its answer."""
        captured = _Captured(0, [], b"", {})
        if paid:
            captured.notes["rate_limit"] = paid

        async def gone() -> Message:
            await flight.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                captured.status, captured.headers = message["status"], list(message["headers"])
            else:
                captured.body += message.get("body", b"")

        try:
            await self.app({**scope, "shop": captured.notes}, _no_body(gone), send)
        finally:
            del self._flights[asked.key, asked.variant]
        found: Answer | None = captured.notes.get("answer")
        personal = any(name == b"set-cookie" for name, _value in captured.headers)
        # An answer that was made may still not be what was sent: 504 comes before its thread ends.
        sent = captured.status == 200 and not personal
        if found is not None and sent and len(found.heads) < _MOST_VARIANTS:
            found.route = captured.notes["route"]
            if asked.variant not in found.heads:
                found.heads[asked.variant] = _head(found, captured.headers)
                kept().store.grow(found.key, found, _HEAD)
        return captured


def _ready_answer(captured: _Captured, asked: _Asked) -> Answer | None:
    found: Answer | None = captured.notes.get("answer")
    if captured.status != 200 or found is None or asked.variant not in found.heads:
        return None
    return found


def _no_body(then: Receive) -> Receive:
    """A request that is complete; `then` tells what becomes of the client."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return await then()
        told = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def _head(found: Answer, headers: list[Header]) -> _Head:
    """Complete the headers that Django gave an answer."""
    vary = [b"Accept-Encoding"]
    for name, value in headers:
        if name == b"vary":
            vary += [each for each in value.split(b", ") if each not in vary]
    kept = [pair for pair in headers if pair[0] not in _NOT_KEPT]
    # Anybody may keep it, and asks whether it is still true: nobody knows before we do.
    kept += [(b"cache-control", b"public, no-cache"), (b"vary", b", ".join(vary))]

    def length(body: bytes | None) -> Header:
        return (b"content-length", str(len(body or b"")).encode())

    plain = [*kept, (b"etag", b'"%s"' % found.etag), length(found.body)]
    packed = [
        *kept,
        (b"etag", b'"%s-gz"' % found.etag),
        (b"content-encoding", b"gzip"),
        length(found.packed),
    ]

    def unchanged(headers: list[Header]) -> list[Header]:
        return [pair for pair in headers if not pair[0].startswith(b"content-")]

    return _Head(plain, packed, unchanged(plain), unchanged(packed))


def _give(found: Answer, asked: _Asked, limits: tuple[Header, ...]) -> Hit:
    head = found.heads[asked.variant]
    packed = asked.packed and len(found.body) >= _COMPRESS_FROM
    if asked.match and _matches(asked.match, found.etag):
        unchanged = head.packed_unchanged if packed else head.unchanged
        return Hit(found, 304, unchanged, limits, b"")
    if packed:
        if found.packed is None:
            # Those before took none. Once an answer, and of a hundred products at most.
            found.packed = _pack(found.body) or b""
            kept().store.grow(found.key, found, len(found.packed))
            for each in found.heads.values():
                each.packed[-1] = (b"content-length", str(len(found.packed)).encode())
        return Hit(found, 200, head.packed, limits, found.packed)
    return Hit(found, 200, head.plain, limits, found.body)


def _matches(match: bytes, etag: bytes) -> bool:
    """Whether If-None-Match names an ETag, compressed or not (RFC 9110, 13.1.2: weakly)."""
    return match == b"*" or any(
        each.strip().removeprefix(b"W/") in (b'"%s"' % etag, b'"%s-gz"' % etag)
        for each in match.split(b",")
    )


async def _send(send: Send, status: int, headers: list[Header], body: bytes) -> None:
    # Whoever has gone needs nothing any more.
    with suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _take(scope: Scope) -> RateLimit | None:
    """Count a request against its address; return None if it is too many, () without limits."""
    if not settings.RATE_LIMITS:
        return ()
    client = scope.get("client")
    rate, burst = settings.RATE_LIMIT_ANONYMOUS
    key = address_key(client[0] if client else "")
    allowed, left = buckets.take(key, rate=rate, burst=burst, now=time.monotonic())
    return (rate, burst, left) if allowed else None


def _headers_of(limit: RateLimit) -> tuple[Header, ...]:
    if not limit:
        return ()
    return tuple(
        (name.lower().encode(), value.encode())
        for name, value in rate_limit_headers(*limit).items()
    )


@lru_cache(maxsize=256)
def _is_ours(host: bytes, scheme: str) -> bool:
    """Whether Django would answer here, rather than refuse the host or lead to https."""
    domain, _port = split_domain_port(host.decode("latin1"))
    secure = scheme == "https" or not settings.SECURE_SSL_REDIRECT
    return secure and bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@lru_cache(maxsize=1024)
def _language(accepted: bytes) -> str:
    """Return the language that Django would answer in."""
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = accepted.decode("latin1")
    return get_language_from_request(request)


@lru_cache(maxsize=256)
def _takes_gzip(accepted: bytes) -> bool:
    """Whether an Accept-Encoding takes gzip (RFC 9110, 12.5.3)."""
    weights: dict[bytes, bytes] = {}
    for each in accepted.lower().split(b","):
        coding, _, weight = each.replace(b" ", b"").partition(b";q=")
        weights[coding] = weight or b"1"
    weight = weights.get(b"gzip", weights.get(b"*", b"0"))
    return weight.strip(b"0.") != b""
