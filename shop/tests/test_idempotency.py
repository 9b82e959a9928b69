"""One effect per key."""

import pytest

from conftest import ADDRESS
from orders.models import Order
from products.models import StockMovement
from shop.idempotency import IdempotencyKey

pytestmark = pytest.mark.django_db


def order_of(product, quantity=1):
    return {
        "items": [{"product_id": str(product.pk), "quantity": quantity}],
        "shipping_address": ADDRESS,
    }


def test_the_same_request_again_gets_the_first_answer(client_of, alice, make_product):
    product = make_product(stock=10)
    client = client_of(alice)
    first = client.post("/api/v2/orders", order_of(product), headers={"Idempotency-Key": "k"})
    again = client.post("/api/v2/orders", order_of(product), headers={"Idempotency-Key": "k"})

    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert again["Idempotency-Replayed"] == "true"
    assert again["Location"] == first["Location"]
    assert not first.has_header("Idempotency-Replayed")
    assert Order.objects.count() == 1
    product.refresh_from_db()
    assert product.stock_quantity == 9


def test_another_request_under_the_same_key_is_422(client_of, alice, make_product):
    product = make_product(stock=10)
    client = client_of(alice)
    headers = {"Idempotency-Key": "k"}
    client.post("/api/v2/orders", order_of(product), headers=headers)
    other = client.post("/api/v2/orders", order_of(product, 2), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert Order.objects.count() == 1


def test_keys_belong_to_their_caller(client_of, alice, bob, make_product):
    product = make_product(stock=10)
    for user in (alice, bob):
        response = client_of(user).post(
            "/api/v2/orders", order_of(product), headers={"Idempotency-Key": "k"}
        )
        assert response.status_code == 201
    assert Order.objects.count() == 2


def test_a_refusal_keeps_nothing_and_is_simply_tried_again(client_of, alice, clerk, make_product):
    product = make_product(stock=0)
    headers = {"Idempotency-Key": "k"}
    refused = client_of(alice).post("/api/v2/orders", order_of(product), headers=headers)
    assert refused.status_code == 409
    assert not IdempotencyKey.objects.exists()
    client_of(clerk).post(
        f"/api/v2/products/{product.pk}/stock/update?quantity_change=1&reason=received"
    )
    accepted = client_of(alice).post("/api/v2/orders", order_of(product), headers=headers)
    assert accepted.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "é"])
def test_a_bad_key_is_400(client_of, alice, make_product, key):
    product = make_product()
    response = client_of(alice).post(
        "/api/v2/orders", order_of(product), headers={"Idempotency-Key": key}
    )
    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")
    assert not Order.objects.exists()


def test_stock_updates_honour_it(client_of, clerk, make_product):
    product = make_product(stock=10)
    url = f"/api/v2/products/{product.pk}/stock/update?quantity_change=-3&reason=lost"
    for _ in range(3):
        response = client_of(clerk).post(url, headers={"Idempotency-Key": "k"})
        assert response.json()["stock_quantity"] == 7
    assert StockMovement.objects.count() == 2


def test_cancelling_honours_it(client_of, alice, make_order):
    order = make_order(alice)
    url = f"/api/v2/orders/{order.pk}/cancel?reason=x"
    for _ in range(2):
        assert client_of(alice).post(url, headers={"Idempotency-Key": "k"}).status_code == 200
    assert StockMovement.objects.filter(reason="cancelled").count() == 1
