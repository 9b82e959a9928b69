"""Ready answers in running servers: nobody gets what is another's, and one query serves all."""

import gzip
import http.client
import json
import os
import random
import time
from functools import partial
from urllib.parse import quote

import pytest
from django.conf import settings
from django.test import Client

from products.models import Category, Product
from shop.tests.running import PATIENCE, at_once, running, token_of

pytestmark = [pytest.mark.django_db(transaction=True)]

# By hand: 10000.
REQUESTS = int(os.environ.get("SHOP_LEAK_REQUESTS", "400"))
# Who wait for one answer. By hand: 500.
WAITING = int(os.environ.get("SHOP_WAITING", "100"))
# Of one request, not of its answer.
_OWN = {"date", "x-request-id", "server", "transfer-encoding", "connection"}


@pytest.fixture
def shop(tree, make_product, make_order, alice):
    laptops = Category.objects.get(slug="laptops")
    products = [
        make_product(f"노트북 {n}", price=1000 * n + 500, stock=n % 3, category=laptops)
        for n in range(30)
    ]
    make_order(alice, (products[1], 1))
    return products


class People:
    """Who asks, by name: the headers that tell."""

    def __init__(self, alice, clerk):
        browser = Client()
        browser.force_login(alice)
        session = browser.cookies[settings.SESSION_COOKIE_NAME].value
        self.headers = {
            "nobody": {},
            "nobody with cookies": {"Cookie": f"csrftoken={'c' * 32}; theme=dark"},
            "nobody in Korean by cookie": {"Cookie": f"{settings.LANGUAGE_COOKIE_NAME}=ko"},
            "alice": {"Authorization": f"Bearer {token_of(alice)}"},
            "alice's browser": {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"},
            "clerk": {"Authorization": f"Bearer {token_of(clerk)}"},
            "a stranger": {"Authorization": "Bearer shop_nothing"},
        }


def draw(dice, products, people):
    """Return a method, a path and headers."""
    pk = dice.choice(products).pk
    parameters = [
        pair
        for pair in (
            f"page={dice.randrange(1, 4)}",
            f"per_page={dice.choice([5, 20])}",
            f"ordering={dice.choice(['price', 'newest', 'best_selling', 'nonsense'])}",
            f"category={dice.choice(['laptops', 'electronics', 'nowhere'])}",
            f"in_stock={dice.choice(['true', 'false', ''])}",
        )
        if dice.random() < 0.4
    ]
    dice.shuffle(parameters)
    query = "&".join(parameters)
    text = quote(dice.choice(["노트북", "ㄴㅌㅂ", "7", "nothing"]))
    path = dice.choice(
        [
            f"/api/v2/products?{query}",
            f"/api/v2/products?{query}",
            f"/api/v2/products/{pk}",
            "/api/v2/products/999999999",
            f"/api/v2/products/search?q={text}&{query}",
            "/api/v2/categories?depth=3",
            "/api/v2/categories?parent=laptops",
            "/api/v2/orders",
            f"/api/v2/products/{pk}/stock/movements",
        ]
    )
    # Nobody half of the time, or little would ever be ready.
    who = dice.choice(["nobody", dice.choice(list(people.headers))])
    headers = dict(people.headers[who])
    if language := dice.choice(["", "ko", "en", "fr, ko;q=0.5", "*", "x" * 300]):
        headers["Accept-Language"] = language
    if encoding := dice.choice(["", "gzip", "gzip;q=0", "br, gzip;q=0.5"]):
        headers["Accept-Encoding"] = encoding
    return dice.choice(["GET"] * 9 + ["HEAD"]), path, headers


def ask(client, method, path, headers):
    client.request(method, path, headers=headers)
    response = client.getresponse()
    body = response.read()
    told = sorted((n.lower(), v) for n, v in response.getheaders() if n.lower() not in _OWN)
    if response.headers.get("Content-Type") == "application/problem+json" and body:
        problem = json.loads(body)
        problem.pop("correlation_id")
        # Of the same length in all.
        body = json.dumps(problem).encode()
    return response.status, told, body


def test_everybody_gets_what_a_server_without_them_gives(shop, alice, clerk, tmp_path):
    people = People(alice, clerk)
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    dice = random.Random(11)
    with (
        running(1, tmp_path / "with") as [kept],
        running(1, tmp_path / "without", READY_ANSWERS_MB="0", FRAGMENTS_MB="0") as [plain],
    ):
        clients = [
            http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            for server in (kept, plain)
        ]
        kinds = set()
        asked = [draw(dice, shop, people) for _ in range(REQUESTS // 4)]
        for _ in range(REQUESTS):
            # Again and again the same, by whoever it is.
            method, path, headers = dice.choice(asked)
            mine, theirs = (ask(client, method, path, headers) for client in clients)
            assert mine == theirs, (method, path, headers)
            kinds.add((mine[0], dict(mine[1]).get("content-encoding")))
            # And with what one has already.
            tag = dict(mine[1]).get("etag")
            if tag:
                again = {**headers, "If-None-Match": tag}
                mine, theirs = (ask(client, method, path, again) for client in clients)
                assert mine == theirs
                kinds.add((mine[0], None))
        assert kinds >= {(200, None), (200, "gzip"), (304, None), (400, None), (401, None)}
        for client in clients:
            client.close()


def test_the_compressed_form_says_the_same(shop, tmp_path):
    with running(1, tmp_path) as [server]:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        for _ in range(2):
            _, _, plain = ask(client, "GET", "/api/v2/products", {})
            _, told, packed = ask(client, "GET", "/api/v2/products", {"Accept-Encoding": "gzip"})
            assert dict(told)["content-encoding"] == "gzip"
            assert gzip.decompress(packed) == plain
        client.close()


def made(server):
    """How many lists the server has made, once it has told of all that were asked for."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    told = {}
    deadline = time.monotonic() + PATIENCE
    while sum(told.values()) < 2 + WAITING:
        assert time.monotonic() < deadline
        client.request("GET", "/metrics")
        for line in client.getresponse().read().decode().splitlines():
            if line.startswith("shop_ready_answers_total") and 'route="/api/v2/products"' in line:
                outcome = line.partition('outcome="')[2].partition('"')[0]
                told[outcome] = float(line.rpartition(" ")[2])
    client.close()
    return told["made"]


def test_of_many_who_wait_for_what_has_changed_one_asks_the_database(shop, tmp_path):
    path = "/api/v2/products?per_page=100"
    with running(1, tmp_path) as [server]:
        clients = [
            http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            for _ in range(WAITING + 1)
        ]
        for client in clients:
            client.connect()
        first = clients.pop()
        ask(first, "GET", path, {})
        Product.objects.filter(pk=shop[0].pk).update(price=7)
        detail = f"/api/v2/products/{shop[0].pk}"
        deadline = time.monotonic() + PATIENCE
        while json.loads(ask(first, "GET", detail, {})[2])["price"] != 7:
            assert time.monotonic() < deadline
        # From now on it knows that its list is old.
        answers = at_once([partial(ask, client, "GET", path, {}) for client in clients])
        ask(first, "GET", path, {})
        for client in (first, *clients):
            client.close()
        assert len({body for _status, _headers, body in answers}) == 1
        prices = {row["id"]: row["price"] for row in json.loads(answers[0][2])["results"]}
        assert prices[str(shop[0].pk)] == 7
        # The list before the change, and the one after it.
        assert made(server) == 2
