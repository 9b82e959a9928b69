"""Correlation ids, request metrics and the access log, around any ASGI application."""

import asyncio
import json
import logging

import pytest
from prometheus_client import REGISTRY

from monitoring import metrics
from monitoring.logs import JSONFormatter
from monitoring.middleware import UNMATCHED, RequestLayer
from shop.context import correlation_id


def call(app, headers=(), method="GET"):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "path": "/x", "headers": list(headers)}
    asyncio.run(RequestLayer(app)(scope, receive, send))
    return sent


async def answering(scope, receive, send):
    scope["shop"]["route"] = "things/<id>"
    answering.seen = correlation_id.get()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b""})


def header(sent, name):
    return dict(sent[0]["headers"])[name].decode()


def test_a_sane_id_is_kept():
    sent = call(answering, [(b"x-request-id", b"order-page:42_a.b")])
    assert header(sent, b"x-request-id") == "order-page:42_a.b" == answering.seen


@pytest.mark.parametrize("offered", [b"short", b"x" * 101, b'a"b12345678', b"a\xffbcdefgh", b""])
def test_any_other_is_replaced(offered):
    sent = call(answering, [(b"x-request-id", offered)])
    assert header(sent, b"x-request-id") != offered.decode("latin1")
    assert header(sent, b"x-request-id") == answering.seen
    assert header(sent, b"a") == "b"


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


def test_requests_are_counted_by_template():
    labels = {"method": "GET", "route": "/things/<id>"}
    before = value("shop_http_requests_total", status="200", **labels)
    timed = value("shop_http_request_duration_seconds_count", **labels)
    call(answering)
    assert value("shop_http_requests_total", status="200", **labels) == before + 1
    assert value("shop_http_request_duration_seconds_count", **labels) == timed + 1


def test_a_crash_is_an_error_without_a_route():
    async def crash(scope, receive, send):
        raise RuntimeError

    labels = {"method": "GET", "route": UNMATCHED}
    before = value("shop_http_request_errors_total", **labels)
    with pytest.raises(RuntimeError):
        call(crash)
    assert value("shop_http_request_errors_total", **labels) == before + 1


def test_invented_methods_make_no_series():
    for number in range(50):
        call(answering, method=f"X{number}")
    methods = {
        sample.labels["method"]
        for metric in REGISTRY.collect()
        if metric.name == "shop_http_requests"
        for sample in metric.samples
    }
    assert methods <= metrics._METHODS | {"OTHER"}
    assert not any(key[0].startswith("X") for key in metrics._children)


def test_a_log_line_is_one_json_object_without_secrets():
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "INFO", "msg": "노트북 %s", "args": ("팔림",)}
    )
    record.user_id, record.duration_ms, record.access_token = 5, 1.5, "shop_abc"
    token = correlation_id.set("request-1")
    line = JSONFormatter().format(record)
    correlation_id.reset(token)
    assert "\n" not in line
    data = json.loads(line)
    assert data["message"] == "노트북 팔림"
    assert (data["correlation_id"], data["user_id"], data["duration_ms"]) == ("request-1", 5, 1.5)
    assert "shop_abc" not in line
    assert set(data) >= {"timestamp", "level", "logger"}
