"""Stock changes through the ledger."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from products import stock
from products.models import Product, Reason, StockMovement

pytestmark = pytest.mark.django_db


def test_stock_is_changed_by_query_or_body(client_of, clerk, make_product):
    product = make_product(stock=10)
    url = f"/api/v2/products/{product.pk}/stock/update"
    client = client_of(clerk)

    by_query = client.post(f"{url}?quantity_change=-5&reason=damaged")
    assert by_query.status_code == 200
    assert by_query.json()["stock_quantity"] == 5
    assert by_query.json()["movement"]["by"] == "clerk"
    by_body = client.post(url, {"quantity_change": 2, "reason": "received", "note": "트럭"})
    assert by_body.json()["stock_quantity"] == 7
    both = client.post(f"{url}?reason=lost", {"quantity_change": 2, "reason": "received"})
    assert both.status_code == 400

    ledger = client.get(f"/api/v2/products/{product.pk}/stock/movements").json()
    assert [(row["change"], row["reason"], row["balance_after"]) for row in ledger["results"]] == [
        (2, "received", 7),
        (-5, "damaged", 5),
        (10, "received", 10),
    ]
    assert ledger["total"] == 3


def test_going_below_zero_is_409_with_what_is_left(client_of, clerk, make_product):
    product = make_product(stock=3)
    response = client_of(clerk).post(
        f"/api/v2/products/{product.pk}/stock/update?quantity_change=-4&reason=sold"
    )
    assert response.status_code == 409
    assert response.json()["code"] == "insufficient_stock"
    assert response.json()["items"] == [
        {"product_id": str(product.pk), "requested": 4, "available": 3}
    ]
    product.refresh_from_db()
    assert product.stock_quantity == 3
    assert StockMovement.objects.count() == 1


@pytest.mark.parametrize(
    "query",
    [
        "quantity_change=0&reason=sold",
        "quantity_change=1",
        "reason=sold",
        "quantity_change=1&reason=bored",
        "quantity_change=1&reason=sold&x=1",
        "quantity_change=99999999999&reason=received",
    ],
)
def test_bad_changes_are_400(client_of, clerk, make_product, query):
    product = make_product(stock=3)
    response = client_of(clerk).post(f"/api/v2/products/{product.pk}/stock/update?{query}")
    assert response.status_code == 400
    assert StockMovement.objects.count() == 1


def test_stock_does_not_outgrow_the_database(client_of, clerk, make_product):
    product = make_product(stock=stock.MAX_STOCK)
    response = client_of(clerk).post(
        f"/api/v2/products/{product.pk}/stock/update?quantity_change=1&reason=received"
    )
    assert (response.status_code, response.json()["code"]) == (400, "stock_limit")


def test_a_customer_does_not_touch_stock(client_of, alice, make_product):
    product = make_product(stock=3)
    client = client_of(alice)
    url = f"/api/v2/products/{product.pk}/stock"
    assert client.post(f"{url}/update?quantity_change=1&reason=received").status_code == 403
    assert client.get(f"{url}/movements").status_code == 403
    assert client_of(None).get(f"{url}/movements").status_code == 401


def test_a_product_without_movements_has_an_empty_ledger_and_none_is_404(
    client_of, clerk, make_product
):
    product, client = make_product(stock=0), client_of(clerk)
    for query in ("", "?cursor=", "?page=2"):
        ledger = client.get(f"/api/v2/products/{product.pk}/stock/movements{query}")
        assert (ledger.status_code, ledger.json()["results"]) == (200, [])
        gone = client.get(f"/api/v2/products/{product.pk + 1}/stock/movements{query}")
        assert gone.status_code == 404


def test_the_ledger_is_never_edited(make_product):
    make_product(stock=3)
    with pytest.raises(TypeError):
        StockMovement.objects.update(change=5)
    with pytest.raises(TypeError):
        StockMovement.objects.all().delete()


def test_the_database_itself_refuses_negative_stock(make_product):
    product = make_product(stock=3)
    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.filter(pk=product.pk).update(stock_quantity=-1)


@pytest.mark.django_db(transaction=True)
def test_stock_changes_only_within_a_transaction(make_product):
    product = make_product(stock=3)
    with pytest.raises(RuntimeError):
        stock.receive_new({product.pk: 1}, actor=None)


def test_several_products_change_in_three_queries(make_product, django_assert_num_queries, alice):
    from shop.ids import uuid7

    products = [make_product(f"상품 {n}") for n in range(20)]
    with django_assert_num_queries(3):
        stock.give_back(
            {product.pk: 1 for product in products},
            order_id=uuid7(),
            actor=alice,
            reason=Reason.CANCELLED,
        )


def test_saving_a_product_that_was_read_before_a_sale_brings_nothing_back(
    make_product, make_order, alice
):
    """As staff do who have its form open while it sells."""
    product = make_product(stock=5)
    read_before = Product.objects.get(pk=product.pk)
    make_order(alice, (product, 2))
    read_before.price = Decimal(7)
    read_before.save()
    read_before.stock_quantity = 9
    read_before.save(update_fields=["price", "stock_quantity", "sold_quantity"])
    product = Product.objects.get(pk=product.pk)
    assert (product.stock_quantity, product.sold_quantity, product.price) == (3, 2, 7)
