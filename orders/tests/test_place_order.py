"""Placing an order: all or nothing."""

import pytest

from conftest import ADDRESS
from orders.models import Order
from products.models import Product, StockMovement
from shop.events.models import Event

pytestmark = pytest.mark.django_db


def body(*items, **more):
    return {"items": list(items), "shipping_address": ADDRESS, **more}


def nothing_happened(product, stock=10):
    product.refresh_from_db()
    assert product.stock_quantity == stock
    assert not Order.objects.exists()
    assert not Event.objects.exists()
    assert StockMovement.objects.filter(product=product).count() == 1  # the first stock


def test_an_order_takes_its_stock_and_says_what_it_costs(alice, client_of, make_product):
    product = make_product(price=20000, stock=10)

    response = client_of(alice).post(
        "/api/v2/orders", body({"product_id": str(product.pk), "quantity": 2, "price": 20000})
    )

    assert response.status_code == 201
    order = response.json()
    assert order["status"] == "pending"
    assert (order["items_total"], order["shipping_fee"], order["total"]) == (40000, 3000, 43000)
    assert response["Location"] == f"/api/v2/orders/{order['id']}"
    product.refresh_from_db()
    assert (product.stock_quantity, product.sold_quantity) == (8, 2)
    movement = StockMovement.objects.filter(product=product).latest("pk")
    assert (movement.change, movement.reason, movement.balance_after) == (-2, "sold", 8)
    assert (str(movement.order_id), movement.actor) == (order["id"], alice)
    event = Event.objects.get()
    assert (event.type, event.subject, event.sequence) == (
        "order.created",
        f"order/{order['id']}",
        1,
    )


def test_shipping_is_free_from_the_set_sum_on(alice, client_of, make_product):
    product = make_product(price=50000)
    response = client_of(alice).post(
        "/api/v2/orders", body({"product_id": str(product.pk), "quantity": 1})
    )
    assert response.json()["shipping_fee"] == 0


def test_the_same_product_on_two_lines_is_summed(alice, client_of, make_product):
    product = make_product(stock=5)
    line = {"product_id": str(product.pk), "quantity": 3}

    response = client_of(alice).post("/api/v2/orders", body(line, line))
    assert response.status_code == 409
    assert response.json()["items"] == [
        {"product_id": str(product.pk), "requested": 6, "available": 5}
    ]
    nothing_happened(product, 5)

    line["quantity"] = 2
    response = client_of(alice).post("/api/v2/orders", body(line, line))
    assert [item["quantity"] for item in response.json()["items"]] == [4]


def test_every_short_line_is_listed(alice, client_of, make_product):
    products = [make_product(f"상품 {n}", stock=n) for n in (1, 9, 2)]

    response = client_of(alice).post(
        "/api/v2/orders", body(*({"product_id": str(p.pk), "quantity": 5} for p in products))
    )

    assert response.status_code == 409
    problem = response.json()
    assert problem["code"] == "insufficient_stock"
    assert {item["product_id"] for item in problem["items"]} == {
        str(products[0].pk),
        str(products[2].pk),
    }
    for product, stock in zip(products, (1, 9, 2), strict=True):
        nothing_happened(product, stock)


def test_a_price_the_buyer_did_not_see_is_refused(alice, client_of, make_product):
    product = make_product(price=12000)

    response = client_of(alice).post(
        "/api/v2/orders", body({"product_id": str(product.pk), "quantity": 1, "price": 10000})
    )

    assert response.status_code == 409
    problem = response.json()
    assert problem["code"] == "price_changed"
    assert problem["items"] == [
        {"product_id": str(product.pk), "old_price": 10000, "new_price": 12000}
    ]
    nothing_happened(product)


def test_a_price_that_moves_before_the_lock_is_met(alice, client_of, make_product, monkeypatch):
    """A rival at a named point: the price changes after it was read and before the lock."""
    from products import stock

    product = make_product(price=10000)
    original = stock.take
    calls = []

    def take(*args, **kwargs):
        if not calls:
            Product.objects.filter(pk=product.pk).update(price=15000)
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(stock, "take", take)
    response = client_of(alice).post(
        "/api/v2/orders", body({"product_id": str(product.pk), "quantity": 1})
    )

    # The rival's write was in the same transaction and was undone with it;
    # the second try finds the price as it is.
    assert len(calls) == 2
    assert response.status_code == 201
    assert response.json()["items"][0]["price"] == 10000
    assert Order.objects.count() == 1


def test_retired_and_unknown_products_are_named(alice, client_of, make_product):
    product, retired = make_product(), make_product("낡은 것")
    client = client_of(alice)
    Product.objects.filter(pk=retired.pk).update(retired_at="2026-01-01T00:00:00Z")

    response = client.post(
        "/api/v2/orders",
        body(
            *({"product_id": i, "quantity": 1} for i in (str(product.pk), str(retired.pk), "99999"))
        ),
    )

    assert response.status_code == 400
    assert response.json()["code"] == "unknown_product"
    assert response.json()["product_ids"] == [str(retired.pk), "99999"]
    nothing_happened(product)


@pytest.mark.parametrize(
    "change",
    [
        {"items": []},
        {"items": [{"product_id": "1"}]},
        {"items": [{"product_id": "1", "quantity": 0}]},
        {"items": [{"product_id": "1", "quantity": 1.5}]},
        {"items": [{"product_id": 1, "quantity": 1}]},
        {"items": [{"product_id": "1", "quantity": 1, "price": 0.5}]},
        {"items": [{"product_id": "1", "quantity": 1, "price": "10"}]},
        {"items": [{"product_id": "1", "quantity": 1, "colour": "red"}]},
        {"items": "all"},
        {"shipping_address": None},
        {"shipping_address": {"street": "", "city": "Seoul", "postal_code": "1"}},
        {"shipping_address": {**ADDRESS, "planet": "Mars"}},
        {"email": "nobody"},
        {"memo": 5},
        {"coupon": "X"},
    ],
)
def test_bad_input_is_400_and_says_where(alice, client_of, make_product, change):
    product = make_product()
    good = body({"product_id": str(product.pk), "quantity": 1})

    response = client_of(alice).post("/api/v2/orders", {**good, **change})

    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["errors"]
    nothing_happened(product)


def test_nobody_orders_without_signing_in(client_of, make_product):
    product = make_product()
    response = client_of(None).post(
        "/api/v2/orders", body({"product_id": str(product.pk), "quantity": 1})
    )
    assert response.status_code == 401
    nothing_happened(product)


@pytest.mark.parametrize("lines", [1, 3, 40])
def test_the_number_of_queries_does_not_grow_with_the_lines(
    alice, make_order, make_product, django_assert_num_queries, lines
):
    wanted = [(make_product(f"상품 {n}"), 1) for n in range(lines)]
    # Savepoint and its release (the test's transaction is the outer one),
    # products read, order, items, event, lock, stock, ledger; and the bulk
    # inserts' own savepoints.
    with django_assert_num_queries(9):
        make_order(alice, *wanted)
