"""The plain API's orders."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from benchmarks import facts
from benchmarks.tests.people import (
    ADDRESS,
    ledger,
    make_product,
    parsed,
    send,
    signed_in,
    stock_of,
)
from orders.models import Order, OrderItem
from products.models import Product
from shop.accounts.models import User
from shop.events.models import Event

pytestmark = pytest.mark.django_db
ORDERS = "/api/v1/orders"


def body_for(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"items": list(lines), "shipping_address": ADDRESS, **fields}


def line(product: Product, quantity: int = 1, **fields: Any) -> dict[str, Any]:
    return {"product_id": str(product.pk), "quantity": quantity, **fields}


def assert_nothing_happened(before: list[tuple[int, int, str]]) -> None:
    assert Order.objects.count() == OrderItem.objects.count() == Event.objects.count() == 0
    assert ledger() == before


def test_an_order_takes_its_stock(alice: User) -> None:
    keyboard, mouse = make_product(sku="K-1"), make_product("Mouse", price=Decimal(1500))
    body = body_for(
        line(mouse, 1, price=1500), line(keyboard, 2), line(mouse, 1), recipient="앨리스"
    )
    response = send(signed_in(alice), "POST", ORDERS, body)
    assert response.status_code == 201
    answer = parsed(response)
    assert (answer["items_total"], answer["shipping_fee"], answer["total"]) == (103000, 0, 103000)
    assert [(item["product_id"], item["quantity"]) for item in answer["items"]] == [
        (mouse.pk, 2),
        (keyboard.pk, 2),
    ]
    assert (stock_of(keyboard), stock_of(mouse)) == (8, 8)
    assert ledger()[2:] == [(keyboard.pk, -2, "sold"), (mouse.pk, -2, "sold")]
    event = Event.objects.get()
    assert (event.subject, event.type) == (f"order/{answer['id']}", "order.created")


def test_v1_and_v2_tell_the_same(alice: User) -> None:
    product = make_product(sku="K-1", stock=100)
    client = signed_in(alice)
    body = body_for(line(product, 2), memo="문 앞", email="alice@example.com")
    told = []
    for version in ("v1", "v2"):
        order = parsed(send(client, "POST", f"/api/{version}/orders", body))
        one, two = (
            facts.of_order(parsed(client.get(f"/api/{each}/orders/{order['id']}")))
            for each in ("v1", "v2")
        )
        assert one == two == facts.of_order(order)
        told.append({k: v for k, v in one.items() if k not in ("id", "created_at", "updated_at")})
    assert told[0] == told[1]
    lists = [parsed(client.get(f"/api/{each}/orders"))["results"] for each in ("v1", "v2")]
    assert len(lists[0]) == 2
    assert [facts.of_order(order) for order in lists[0]] == [
        facts.of_order(order) for order in lists[1]
    ]


def test_a_key_has_one_effect(alice: User) -> None:
    product, client = make_product(), signed_in(alice)
    body = body_for(line(product))
    first, again = (
        send(client, "POST", ORDERS, body, **{"Idempotency-Key": "abc"}) for _ in range(2)
    )
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert stock_of(product) == 9


def test_another_ones_order_is_not_there(alice: User, bob: User) -> None:
    product = make_product()
    order = parsed(send(signed_in(alice), "POST", ORDERS, body_for(line(product))))
    other = signed_in(bob)
    assert other.get(f"{ORDERS}/{order['id']}").status_code == 404
    assert parsed(other.get(ORDERS))["count"] == 0
    assert Client().get(f"{ORDERS}/{order['id']}").status_code == 401
    for method in ("PUT", "PATCH", "DELETE"):
        response = send(signed_in(alice), method, f"{ORDERS}/{order['id']}", {})
        assert response.status_code == 405


def test_nobody_orders_unsigned() -> None:
    product = make_product()
    before = ledger()
    assert send(Client(), "POST", ORDERS, body_for(line(product))).status_code == 401
    assert_nothing_happened(before)


def test_short_stock_is_refused_whole(alice: User) -> None:
    plenty, short = make_product(stock=100), make_product("Mouse", stock=1)
    before = ledger()
    response = send(signed_in(alice), "POST", ORDERS, body_for(line(plenty), line(short, 2)))
    assert response.status_code == 409
    problem = parsed(response)
    assert problem["code"] == "insufficient_stock"
    assert problem["items"] == [
        {"product_id": str(short.pk), "requested": 2, "available": 1},
    ]
    assert (stock_of(plenty), stock_of(short)) == (100, 1)
    assert_nothing_happened(before)


def test_another_price_is_refused(alice: User) -> None:
    product = make_product()
    before = ledger()
    response = send(signed_in(alice), "POST", ORDERS, body_for(line(product, price=49000)))
    assert response.status_code == 409
    assert parsed(response)["code"] == "price_changed"
    assert parsed(response)["items"][0]["new_price"] == 50000
    assert_nothing_happened(before)


def test_retired_and_unknown_products_are_refused(alice: User) -> None:
    product = make_product()
    Product.objects.filter(pk=product.pk).update(retired_at=product.created_at)
    before = ledger()
    for wanted in (line(product), {"product_id": product.pk + 1, "quantity": 1}):
        response = send(signed_in(alice), "POST", ORDERS, body_for(wanted))
        assert response.status_code == 400
        assert parsed(response)["code"] == "unknown_product"
    assert_nothing_happened(before)


def test_a_sum_beyond_counting_is_refused(alice: User) -> None:
    product = make_product(price=Decimal(10**12), stock=100)
    before = ledger()
    response = send(signed_in(alice), "POST", ORDERS, body_for(line(product, 2)))
    assert response.status_code == 400
    assert parsed(response)["code"] == "amount_too_large"
    assert_nothing_happened(before)


ONE: dict[str, Any] = {"product_id": "1", "quantity": 1}
BAD: list[Any] = [
    body_for(),
    body_for({"product_id": "1"}),
    body_for({"product_id": "1", "quantity": 0}),
    body_for({"product_id": "1", "quantity": 1.5}),
    body_for({"product_id": "1", "quantity": 10**9}),
    body_for({"product_id": None, "quantity": 1}),
    body_for({"product_id": "1\0", "quantity": 1}),
    body_for({"product_id": 10**30, "quantity": 1}),
    body_for({**ONE, "price": 0.5}),
    body_for(*[ONE] * 101),
    {"items": [ONE]},
    {"items": {"0": ONE}, "shipping_address": ADDRESS},
    {"items": ["x"], "shipping_address": ADDRESS},
    {"items": [ONE], "shipping_address": "Seoul"},
    {"items": [ONE], "shipping_address": {**ADDRESS, "city": ""}},
    body_for(ONE, memo="\0"),
    body_for(ONE, email="nobody"),
    body_for(ONE, memo="x" * 501),
    [],
    None,
    b"",
    b"[" * 100_000,
    b'{"items":[{"product_id":1e999,"quantity":1}],"shipping_address":{}}',
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_bad_input_is_a_400_and_changes_nothing(alice: User, body: Any) -> None:
    make_product()
    before = ledger()
    response = send(signed_in(alice), "POST", ORDERS, body)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert_nothing_happened(before)


@pytest.mark.parametrize("key", ["abc", "0", "%00", "00000000-0000-0000-0000-000000000000"])
def test_no_such_order(alice: User, key: str) -> None:
    assert signed_in(alice).get(f"{ORDERS}/{key}").status_code == 404


def test_queries_do_not_grow_with_the_lines(
    alice: User, django_assert_max_num_queries: Any
) -> None:
    products = [make_product(f"Keyboard {number}") for number in range(20)]
    client = signed_in(alice)
    with django_assert_max_num_queries(16):
        response = send(client, "POST", ORDERS, body_for(*map(line, products)))
    assert response.status_code == 201
