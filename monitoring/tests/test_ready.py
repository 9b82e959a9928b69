"""Ready answers are counted, each of them, logged a few times a second, and shown to staff."""

import asyncio
import logging
from io import StringIO

import pytest
from django.core.management import call_command
from prometheus_client import REGISTRY

from monitoring.middleware import RequestLayer
from products.models import Change, ProductChange
from shop.ready import Answer, Hit, kept

ROUTE = "things/<id>"


class Counted:
    def __init__(self):
        self.times = 0

    def __call__(self, times):
        self.times += times


@pytest.fixture
def views():
    return Counted()


@pytest.fixture
def layer(views):
    answer = Answer(("/things", ""), b"{}", b"tag", views, route=ROUTE)

    def find(scope):
        status = 304 if scope["path"] == "/known" else 200
        return Hit(answer, status, [(b"etag", b"tag")], ((b"ratelimit", b"1"),), b"{}")

    made = RequestLayer(None, find)
    yield made
    made.tally.tell()


async def send_to(layer, number, path="/things", headers=()):
    sent = []

    async def send(message):
        sent.append(message)

    for _ in range(number):
        await layer({"type": "http", "path": path, "headers": list(headers)}, None, send)
    return sent


def counted(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


def test_each_is_counted_with_its_duration(layer, views):
    route = {"route": f"/{ROUTE}"}
    got = route | {"method": "GET"}
    series = (
        ("shop_http_requests_total", got | {"status": "200"}),
        ("shop_http_requests_total", got | {"status": "304"}),
        ("shop_http_request_duration_seconds_count", got),
        ("shop_http_request_duration_seconds_bucket", got | {"le": "+Inf"}),
        ("shop_ready_answers_total", route | {"outcome": "hit"}),
        ("shop_ready_answers_total", route | {"outcome": "not_modified"}),
    )
    before = [counted(name, **labels) for name, labels in series]

    async def test():
        await send_to(layer, 7)
        await send_to(layer, 3, "/known")

    asyncio.run(test())
    layer.tally.tell()
    after = [counted(name, **labels) for name, labels in series]
    grown = [b - a for a, b in zip(before, after, strict=True)]
    assert grown == [7, 3, 10, 10, 7, 3]
    assert views.times == 10


def test_a_duration_lands_in_its_bucket():
    from monitoring.metrics import count_requests

    name = "shop_http_request_duration_seconds"
    labels = {"route": "/bucket", "method": "GET"}
    series = [
        *((f"{name}_bucket", labels | {"le": le}) for le in ("0.002", "0.005", "30.0", "+Inf")),
        (f"{name}_sum", labels),
    ]
    before = [counted(each, **of) for each, of in series]
    count_requests("GET", "/bucket", 200, [0.001, 0.002, 0.003, 100.0])
    grown = [counted(each, **of) - was for (each, of), was in zip(series, before, strict=True)]
    assert grown == [2, 3, 3, 4, pytest.approx(100.006)]


def test_they_are_told_by_themselves_soon(layer, views):
    async def test():
        await send_to(layer, 5)
        assert views.times == 0
        for _ in range(200):
            await asyncio.sleep(0.05)
            if views.times:
                return

    asyncio.run(test())
    assert views.times == 5


def test_the_log_has_one_line_for_all_of_a_route(layer, caplog):
    with caplog.at_level(logging.INFO, logger="shop.request"):
        asyncio.run(send_to(layer, 50))
        layer.tally.tell()
    [line] = [record for record in caplog.records if record.message == "ready answers"]
    assert (line.route, line.status, line.count) == (f"/{ROUTE}", 200, 50)


def test_what_can_not_be_counted_loses_nothing_else(layer, views):
    def broken(times):
        raise ValueError(times)

    other = Answer(("/other", ""), b"{}", b"tag", broken, route="others")
    layer.tally._answers[other] = 3
    asyncio.run(send_to(layer, 2))
    layer.tally.tell()
    assert views.times == 2


def test_a_client_that_has_gone_counts(layer, views):
    async def gone(message):
        raise ConnectionResetError

    scope = {"type": "http", "path": "/things", "headers": []}
    asyncio.run(layer(scope, None, gone))
    layer.tally.tell()
    assert views.times == 1


def test_each_has_its_own_id_and_limits(layer):
    sent = asyncio.run(send_to(layer, 2, headers=[(b"x-request-id", b"given-by-client")]))
    assert dict(sent[0]["headers"])[b"x-request-id"] == b"given-by-client"
    assert dict(sent[0]["headers"])[b"ratelimit"] == b"1"
    ids = {
        dict(message["headers"])[b"x-request-id"]
        for message in asyncio.run(send_to(layer, 2))
        if message["type"] == "http.response.start"
    }
    assert len(ids) == 2
    # What all share has not changed.
    assert layer._find({"path": "/things"}).headers == [(b"etag", b"tag")]


@pytest.mark.django_db(transaction=True)
def test_staff_look_into_it_and_empty_it(client, admin, make_product, client_of):
    make_product()
    client_of(None).get("/api/v2/products?per_page=7")
    client.force_login(admin)
    page = client.get("/monitoring/ready").content.decode()
    assert "/api/v2/products?per_page=7" in page
    before = ProductChange.objects.count()
    assert client.post("/monitoring/ready").status_code == 302
    # Every process learns of it by the way of all changes; this one has.
    assert ProductChange.objects.count() == before + 1
    assert len(kept().store) == 0


@pytest.mark.django_db
def test_who_may_only_look_empties_nothing(client, alice):
    from django.contrib.auth.models import Permission

    alice.user_permissions.add(Permission.objects.get(codename="view_sample"))
    client.force_login(alice)
    assert client.get("/monitoring/ready").status_code == 200
    assert client.post("/monitoring/ready").status_code == 403
    assert not ProductChange.objects.filter(changed=Change.SHOWN, product_id=None).exists()


@pytest.mark.django_db(transaction=True)
def test_the_command_tells_and_empties():
    asked = StringIO()
    call_command("ready_answers", stdout=asked)
    assert asked.getvalue().startswith("| route | hit |")
    before = ProductChange.objects.count()
    call_command("ready_answers", "--empty", stdout=asked)
    assert ProductChange.objects.count() == before + 1
