"""Ready answers are given without Django, to nobody in particular; one is made for all."""

import asyncio
import gzip

import pytest
from django.test import Client

from products.filters import _read
from shop import ready
from shop.accounts.throttles import buckets
from shop.cache import Knowledge
from shop.ready import Answer, Answers, ReadyAnswers

BODY = b'{"results":["' + b"x" * 700 + b'"]}'
HEADERS = [
    (b"content-type", b"application/json"),
    (b"vary", b"Accept-Language, Cookie"),
    (b"content-length", b"716"),
]


class Hop:
    """In Django's place: makes an answer for every path, and counts."""

    def __init__(self, answers):
        self.answers = answers
        self.calls = 0
        self.viewed = 0
        self.status = 200
        self.headers = HEADERS
        self.gate = None
        self.breaks = 0
        self.body = BODY
        self.since = None

    def view(self, times):
        self.viewed += times

    async def __call__(self, scope, receive, send):
        self.calls += 1
        await receive()
        if self.gate is not None:
            await self.gate.wait()
        if self.breaks:
            self.breaks -= 1
            raise OSError("gone")
        scope.setdefault("shop", {})["route"] = "things/<id>"
        if self.status == 200:
            query = ready.canonical(scope["query_string"]) or ""
            since = self.answers.knowledge.tags.now if self.since is None else self.since
            answer = Answer(
                (scope["path"], query), self.body, b"tag", self.view, tags=[1], since=since
            )
            self.answers.store.put(answer.key, answer, tags=[1], since=since, size=1000)
            scope["shop"]["answer"] = answer
            self.viewed += 1
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


@pytest.fixture
def answers(monkeypatch, settings):
    settings.RATE_LIMITS = False
    settings.ALLOWED_HOSTS = ["shop.example"]
    ready._is_ours.cache_clear()
    knowledge = Knowledge(lambda: True, lambda: None)
    knowledge.tags.sure_until = float("inf")
    made = Answers(knowledge, 1_000_000)
    monkeypatch.setattr(ready, "_answers", made)
    yield made
    ready._is_ours.cache_clear()


@pytest.fixture
def hop(answers):
    return Hop(answers)


@pytest.fixture
def layer(hop):
    return ReadyAnswers(hop, lambda path: path.startswith("/things"))


class Got:
    def __init__(self):
        self.messages = []

    async def send(self, message):
        self.messages.append(message)

    @property
    def status(self):
        return self.messages[0]["status"]

    @property
    def headers(self):
        return dict(self.messages[0]["headers"])

    @property
    def body(self):
        return self.messages[1]["body"]


def request(path="/things", query=b"", method="GET", scheme="http", client="192.0.2.1", **headers):
    pairs = {"host": "shop.example", **headers}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "scheme": scheme,
        "client": [client, 1],
        "http_version": "1.1",
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in pairs.items()
        ],
    }


def no_body():
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


async def ask(layer, scope):
    got = Got()
    await layer(scope, no_body(), got.send)
    return got


def make(layer, scope):
    return asyncio.run(ask(layer, scope))


def test_what_was_made_once_is_given_from_then_on(layer, hop):
    assert layer.find(request()) is None
    got = make(layer, request())
    assert (got.status, got.body) == (200, BODY)
    hit = layer.find(request())
    assert (hit.status, hit.body, dict(hit.headers)) == (200, BODY, got.headers)
    assert got.headers == {
        b"content-type": b"application/json",
        b"vary": b"Accept-Encoding, Accept-Language, Cookie",
        b"cache-control": b"public, no-cache",
        b"etag": b'"tag"',
        b"content-length": str(len(BODY)).encode(),
    }
    assert hop.calls == 1


def test_the_order_of_parameters_does_not_matter_and_their_values_do(layer):
    make(layer, request(query=b"a=1&b=%ED%95%9C"))
    assert layer.find(request(query="b=한&a=1".encode()))
    assert layer.find(request(query=b"a=2&b=%ED%95%9C")) is None
    assert layer.find(request(query=b"a=1")) is None
    assert layer.find(request(path="/things/2", query=b"a=1&b=%ED%95%9C")) is None


@pytest.mark.parametrize(
    "scope",
    [
        request(authorization="Bearer x"),
        request(cookie="a=b; sessionid=x"),
        request(cookie="django_language=ko"),
        request(method="HEAD"),
        request(method="POST"),
        request(host="evil.example"),
        request(host="shop.example:80:80"),
        request(path="/others"),
        request(query=b"q=%ff"),
        request(query=b"q=" + b"x" * 800),
        request(accept_language="ko," * 70),
        request(content_length="3"),
        request(transfer_encoding="chunked"),
        {**request(), "root_path": "/elsewhere"},
    ],
    ids=lambda scope: scope["method"] + str(scope["headers"][-1]),
)  # fmt: skip
def test_what_may_depend_on_who_asks_goes_to_django(layer, hop, scope):
    make(layer, request())
    assert layer.find(scope) is None
    make(layer, scope)
    assert hop.calls == 2


def test_other_cookies_are_nobodys(layer, hop):
    make(layer, request())
    assert layer.find(request(cookie="csrftoken=x; theme=dark"))


def test_a_language_and_a_scheme_have_headers_of_their_own(layer, hop):
    hop.headers = [*HEADERS, (b"content-language", b"ko")]
    make(layer, request(accept_language="ko"))
    assert layer.find(request(accept_language="ko-KR,ko;q=0.9,en;q=0.1"))
    assert layer.find(request(accept_language="en")) is None
    assert layer.find(request(accept_language="ko", scheme="https")) is None


def test_plain_requests_are_led_to_https_by_django(layer, hop, settings):
    settings.SECURE_SSL_REDIRECT = True
    make(layer, request(scheme="https"))
    assert layer.find(request(scheme="https"))
    assert layer.find(request()) is None


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("br, deflate", False),
        ("", False),
    ],
)
def test_who_takes_gzip_gets_it(layer, accepted, packed):
    make(layer, request())
    hit = layer.find(request(accept_encoding=accepted))
    headers = dict(hit.headers)
    assert headers.get(b"content-encoding") == (b"gzip" if packed else None)
    assert (gzip.decompress(hit.body) if packed else hit.body) == BODY
    assert headers[b"content-length"] == str(len(hit.body)).encode()
    assert headers[b"etag"] == (b'"tag-gz"' if packed else b'"tag"')


def test_what_is_small_is_not_compressed(layer, hop):
    hop.body = b"{}"
    make(layer, request())
    assert layer.find(request(accept_encoding="gzip")).body == b"{}"


@pytest.mark.parametrize("match", ['"tag"', 'W/"tag"', '"other", "tag-gz"', "*"])
def test_who_has_it_is_told_so(layer, match):
    got = make(layer, request(if_none_match=match))
    assert (got.status, got.body) == (304, b"")
    hit = layer.find(request(if_none_match=match))
    assert (hit.status, hit.body) == (304, b"")
    headers = dict(hit.headers)
    assert headers[b"etag"] == b'"tag"'
    assert not any(name.startswith(b"content-") for name in headers)
    assert layer.find(request(if_none_match='"ta"')).status == 200
    # Of the form that they would be given.
    packed = layer.find(request(if_none_match=match, accept_encoding="gzip"))
    assert packed.status == 304
    assert dict(packed.headers)[b"etag"] == b'"tag-gz"'


def test_nothing_is_given_when_the_process_knows_too_little(layer, answers):
    make(layer, request())
    answers.knowledge.tags.sure_until = 0.0
    assert layer.find(request()) is None


def test_what_has_changed_is_not_given(layer, answers):
    make(layer, request())
    answers.knowledge.tags.changed([1])
    assert layer.find(request()) is None


def test_refusals_are_not_kept(layer, hop):
    hop.status = 404
    assert make(layer, request()).status == 404
    hop.status = 200
    assert make(layer, request()).status == 200
    assert hop.calls == 2


def test_an_answer_with_a_cookie_is_not_kept(layer, hop):
    hop.headers = [*HEADERS, (b"set-cookie", b"a=b")]
    assert make(layer, request()).headers[b"set-cookie"] == b"a=b"
    assert layer.find(request()) is None


async def together(layer, hop, number, scope=request):
    hop.gate = asyncio.Event()
    tasks = [asyncio.create_task(ask(layer, scope())) for _ in range(number)]
    for _ in range(5):
        await asyncio.sleep(0)
    hop.gate.set()
    return await asyncio.gather(*tasks)


def test_one_is_made_for_all_who_wait_and_each_is_counted(layer, hop):
    got = asyncio.run(together(layer, hop, 500))
    assert {(each.status, each.body) for each in got} == {(200, BODY)}
    assert (hop.calls, hop.viewed) == (1, 500)


def test_a_refusal_is_each_ones_own(layer, hop):
    hop.status = 404
    got = asyncio.run(together(layer, hop, 5))
    assert [each.status for each in got] == [404] * 5
    assert hop.calls == 5


@pytest.mark.parametrize("case", ["refused", "too early"])
def test_who_waited_in_vain_waits_again_for_one_of_them(layer, hop, answers, case):
    async def test():
        hop.gate = asyncio.Event()
        if case == "refused":
            hop.status = 429
        hop.since = answers.knowledge.tags.now
        first = asyncio.create_task(ask(layer, request()))
        await asyncio.sleep(0.01)
        answers.knowledge.tags.changed([1])
        others = [asyncio.create_task(ask(layer, request())) for _ in range(20)]
        await asyncio.sleep(0.01)
        hop.gate.set()
        await first
        hop.status, hop.since = 200, None
        return await asyncio.gather(*others)

    assert {each.status for each in asyncio.run(test())} == {200}
    assert hop.calls == 2


def test_who_waited_in_vain_is_counted_once(layer, hop, settings):
    settings.RATE_LIMITS = True
    settings.RATE_LIMIT_ANONYMOUS = (0.001, 3)
    buckets.clear()
    hop.status = 404
    scopes = [request() for _ in range(3)]

    async def test():
        hop.gate = asyncio.Event()
        tasks = [asyncio.create_task(ask(layer, scope)) for scope in scopes]
        await asyncio.sleep(0.01)
        hop.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(test())
    paid = [scope["shop"].get("rate_limit") for scope in scopes]
    assert [limit and round(limit[2]) for limit in paid] == [None, 2, 1]


def test_what_nobody_waits_for_any_more_need_not_be_run(layer, hop, monkeypatch):
    monkeypatch.setattr(ready, "_LISTEN_AFTER", 0)
    told = []

    async def test():
        async def app(scope, receive, send):
            while (message := await receive())["type"] != "http.disconnect":
                assert not message["body"]
            told.append(len(told))

        layer.app = app
        leaving = [asyncio.Event() for _ in range(3)]

        def client(gone):
            async def receive():
                await gone.wait()
                return {"type": "http.disconnect"}

            return layer(request(), receive, Got().send)

        tasks = [asyncio.create_task(client(gone)) for gone in leaving]
        for gone in leaving:
            await asyncio.sleep(0.01)
            assert not told
            gone.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)

    asyncio.run(test())
    assert len(told) == 1


@pytest.mark.django_db(transaction=True)
def test_long_queries_are_not_remembered():
    ready.canonical.cache_clear()
    _read.cache_clear()
    for number in range(3):
        response = Client().get(f"/api/v2/products?category={'%20' * 1000}&page={number + 1}")
        assert response.status_code in (200, 404)
    assert not ready.canonical.cache_info().currsize
    assert not _read.cache_info().currsize


def test_an_answer_that_breaks_off_breaks_nobody_elses(layer, hop):
    async def test():
        hop.gate = asyncio.Event()
        hop.breaks = 1
        first = asyncio.create_task(ask(layer, request()))
        await asyncio.sleep(0)
        second = asyncio.create_task(ask(layer, request()))
        for _ in range(5):
            await asyncio.sleep(0)
        hop.gate.set()
        with pytest.raises(OSError, match="gone"):
            await first
        return await second

    assert asyncio.run(test()).status == 200


def test_who_leaves_takes_nothing_from_the_others(layer, hop):
    async def test():
        hop.gate = asyncio.Event()
        first = asyncio.create_task(ask(layer, request()))
        await asyncio.sleep(0)
        second = asyncio.create_task(ask(layer, request()))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        hop.gate.set()
        return await second

    assert asyncio.run(test()).status == 200
    assert hop.calls == 1
    assert layer.find(request())


def test_ready_answers_count_against_the_rate_limit(layer, hop, settings):
    settings.RATE_LIMITS = True
    settings.RATE_LIMIT_ANONYMOUS = (0.001, 3)
    buckets.clear()
    make(layer, request())
    hits = [layer.find(request()) for _ in range(4)]
    assert [hit is not None for hit in hits] == [True, True, True, False]
    assert dict(hits[0].limits)[b"ratelimit"] == b'"default";r=2;t=1000'
    assert layer.find(request(client="192.0.2.2"))


def test_who_waits_too_often_is_refused_by_django(layer, hop, settings):
    settings.RATE_LIMITS = True
    settings.RATE_LIMIT_ANONYMOUS = (0.001, 2)
    buckets.clear()
    got = asyncio.run(together(layer, hop, 5))
    # One leads, two may wait; each of the others is Django's to refuse.
    assert hop.calls == 3
    assert sum(b"ratelimit" in each.headers for each in got) == 2


def test_memory_has_a_bound_whatever_is_asked_for(layer, hop, answers):
    for number in range(3000):
        make(layer, request(path=f"/things/{number}"))
    assert answers.store.size <= 1_000_000
    assert 100 < len(answers.store) < 1000


@pytest.mark.parametrize(
    "twice", [(b"accept-language", b"en"), (b"host", b"shop.example")], ids=["language", "host"]
)
def test_what_is_said_twice_is_djangos_to_read(layer, hop, twice):
    make(layer, request(accept_language="ko"))
    scope = request(accept_language="ko")
    scope["headers"].append(twice)
    assert layer.find(scope) is None
    make(layer, scope)
    assert hop.calls == 2
    assert layer.find(request(accept_language="en")) is None


def test_an_answer_that_was_not_sent_lends_its_headers_to_nobody(layer, hop, answers):
    """The hop gives a view up that has just put its answer there."""

    async def app(scope, receive, send):
        made = Got()
        await hop(scope, receive, made.send)
        await send({"type": "http.response.start", "status": 504, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"late"})

    late = ReadyAnswers(app, lambda path: True)
    got = make(late, request())
    assert (got.status, got.body) == (504, b"late")
    assert late.find(request()) is None


def test_who_comes_after_a_change_is_not_given_what_was_read_before_it(layer, hop, answers):
    async def test():
        hop.gate = asyncio.Event()
        hop.since = answers.knowledge.tags.now
        first = asyncio.create_task(ask(layer, request()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answers.knowledge.tags.changed([1])
        second = asyncio.create_task(ask(layer, request()))
        for _ in range(5):
            await asyncio.sleep(0)
        hop.gate.set()
        return await asyncio.gather(first, second)

    asyncio.run(test())
    assert hop.calls == 2


def test_what_runs_when_the_server_shuts_down_is_answered(layer, hop):
    async def test():
        hop.gate = asyncio.Event()
        first = asyncio.create_task(ask(layer, request()))
        for _ in range(3):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        hop.gate.set()
        return await first

    assert asyncio.run(test()).status == 200
