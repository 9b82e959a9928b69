"""Creating, changing and retiring products."""

import pytest

from products.models import Product, StockMovement

pytestmark = pytest.mark.django_db


def test_a_product_is_created_with_its_stock_received(client_of, clerk):
    response = client_of(clerk).post(
        "/api/v2/products",
        {
            "name": "노트북",
            "description": "가벼움",
            "price": 1500000,
            "stock_quantity": 3,
            "sku": "N-1",
        },
    )
    assert response.status_code == 201
    product = response.json()
    assert response["Location"] == f"/api/v2/products/{product['id']}"
    assert (product["price"], product["stock_quantity"], product["sku"]) == (1500000, 3, "N-1")
    movement = StockMovement.objects.get()
    assert (movement.change, movement.reason, movement.balance_after) == (3, "received", 3)
    assert movement.actor == clerk


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": 5},
        {"name": "x" * 301},
        {"name": "a\u0000b"},
        {"price": "1000"},
        {"price": -1},
        {"price": 0.5},
        {"price": 10**15},
        {"price": True},
        {"price": None},
        {"stock_quantity": -1},
        {"stock_quantity": 10**12},
        {"name": "a" * 300 + " "},
        {"stock_quantity": "5"},
        {"category": "nowhere"},
        {"category": ""},
        {"category": 5},
        {"category": {"slug": "x"}},
        {"colour": "red"},
    ],
)
def test_bad_input_is_400_and_nothing_is_created(client_of, clerk, change):
    body = {"name": "노트북", "price": 1000, **change}
    response = client_of(clerk).post("/api/v2/products", body)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert not Product.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"name":"x","price":NaN}',
        b'{"name":"x","price":1e999999999}',
        b'{"name":"\xff","price":1}',
        b'{"name":"\\ud800","price":1}',
        b'{"name":"\\u0000","price":1}',
        b"[" * 100_000,
        b'{"name":"x","price":1' + b"0" * 5000 + b"}",
    ],
)
def test_hostile_json_is_400(client_of, clerk, body):
    response = client_of(clerk).generic(
        "POST", "/api/v2/products", body, content_type="application/json"
    )
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert not Product.objects.exists()


def test_a_taken_sku_is_409(client_of, clerk, make_product):
    make_product(sku="N-1")
    other = make_product(sku="N-2")
    client = client_of(clerk)
    new = client.post("/api/v2/products", {"name": "x", "price": 1, "sku": "N-1"})
    assert (new.status_code, new.json()["code"], new.json()["sku"]) == (409, "sku_taken", "N-1")
    changed = client.patch(f"/api/v2/products/{other.pk}", {"sku": "N-1"})
    assert (changed.status_code, changed.json()["code"]) == (409, "sku_taken")
    assert Product.objects.filter(sku="N-2").exists()
    assert Product.objects.count() == 2


def test_a_change_is_seen_by_the_next_read(client_of, clerk, make_product):
    product = make_product(price=1000)
    url = f"/api/v2/products/{product.pk}"
    assert client_of(None).get(url).json()["price"] == 1000
    changed = client_of(clerk).patch(url, {"price": 2000, "name": "새 이름"})
    assert (changed.json()["price"], changed.json()["name"]) == (2000, "새 이름")
    assert client_of(None).get(url).json() == changed.json()


def test_stock_is_not_a_field_to_change(client_of, clerk, make_product):
    product = make_product(stock=5)
    response = client_of(clerk).patch(f"/api/v2/products/{product.pk}", {"stock_quantity": 500})
    assert response.status_code == 400
    product.refresh_from_db()
    assert product.stock_quantity == 5


def test_a_retired_product_stays_as_it_was(client_of, clerk, make_product):
    product = make_product()
    client = client_of(clerk)
    url = f"/api/v2/products/{product.pk}"
    assert client.delete(url).status_code == 204
    assert client.delete(url).status_code == 204
    response = client.patch(url, {"price": 1})
    assert (response.status_code, response.json()["code"]) == (409, "product_retired")


@pytest.mark.parametrize("method", ["post", "patch", "delete"])
@pytest.mark.parametrize(("who", "status"), [(None, 401), ("alice", 403)])
def test_only_staff_write(request, client_of, make_product, method, who, status):
    product = make_product()
    user = request.getfixturevalue(who) if who else None
    url = "/api/v2/products" + ("" if method == "post" else f"/{product.pk}")
    response = getattr(client_of(user), method)(url, {"name": "x", "price": 1})
    assert response.status_code == status
    assert Product.objects.get().name == "노트북"
    assert Product.objects.get().retired_at is None


@pytest.mark.parametrize("id", ["0", "999999", "abc", "-1", "1.5", "9" * 40, "١"])
def test_what_is_not_there_is_404(client_of, make_product, id):
    make_product()
    response = client_of(None).get(f"/api/v2/products/{id}")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize(
    "field",
    ["id", "stock_quantity", "sold_quantity", "retired_at", "category_source", "created_at",
     "category_confidence", "seo", "images"],
)  # fmt: skip
def test_what_the_shop_decides_is_not_changed_by_a_field(client_of, clerk, make_product, field):
    product = make_product(stock=5)
    before = Product.objects.values().get()
    url = f"/api/v2/products/{product.pk}"
    answer = client_of(clerk).patch(url, {"name": "x", field: 500})
    assert answer.status_code == 400
    assert answer.json()["errors"][field][0]["code"] == "unknown_field"
    assert Product.objects.values().get() == before
