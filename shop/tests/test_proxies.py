"""Only what our own proxies wrote is believed."""

import asyncio

import pytest

from shop.proxies import TrustedProxies


def seen(count, *headers, kind="http"):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    scope = {
        "type": kind,
        "client": ["10.0.0.9", 1],
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    asyncio.run(TrustedProxies(app, count)(scope, None, None))
    return scopes[0]["client"][0], scopes[0]["scheme"]


@pytest.mark.parametrize(
    ("count", "forwarded", "address"),
    [
        (0, "203.0.113.9", "10.0.0.9"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # the left one is the client's own claim
        (2, "203.0.113.9, 10.0.0.8", "203.0.113.9"),
        # A port would make each connection another client.
        (1, "203.0.113.9:4711", "203.0.113.9"),
        (1, "[2001:db8::1]:4711", "2001:db8::1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (2, "203.0.113.9", "10.0.0.9"),  # fewer than there should be: not through our proxies
    ],
)
def test_the_address(count, forwarded, address):
    assert seen(count, ("x-forwarded-for", forwarded))[0] == address


def test_several_headers_are_one_list():
    headers = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9")]
    assert seen(1, *headers)[0] == "203.0.113.9"


@pytest.mark.parametrize(
    ("count", "proto", "kind", "scheme"),
    [
        (0, "https", "http", "http"),
        (1, "https", "http", "https"),
        (1, "gopher", "http", "http"),
        (1, "https", "websocket", "wss"),
    ],
)
def test_the_scheme(count, proto, kind, scheme):
    assert seen(count, ("x-forwarded-proto", proto), kind=kind)[1] == scheme
