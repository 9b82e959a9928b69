"""The plain API's products."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client, override_settings

from benchmarks import facts
from benchmarks.tests.people import (
    ledger,
    make_category,
    make_product,
    parsed,
    send,
    signed_in,
    stock_of,
)
from products.models import Product
from shop.accounts.models import User

pytestmark = pytest.mark.django_db
LIST = "/api/v1/products"


@pytest.fixture
def staff(clerk: User) -> Client:
    return signed_in(clerk)


def is_problem(response: Any, status: int) -> bool:
    return bool(
        response.status_code == status and response["Content-Type"] == "application/problem+json"
    )


def test_a_page_has_twenty_and_a_count() -> None:
    products = [make_product(f"Keyboard {number}") for number in range(21)]
    page = parsed(Client().get(LIST))
    assert page["count"] == 21
    assert [row["id"] for row in page["results"]] == [p.pk for p in products[:0:-1]]
    assert page["previous"] is None
    rest = parsed(Client().get(page["next"]))
    assert [row["id"] for row in rest["results"]] == [products[0].pk]


def test_retired_products_are_not_listed_but_found() -> None:
    product = make_product()
    Product.objects.filter(pk=product.pk).update(retired_at=product.created_at)
    assert parsed(Client().get(LIST))["count"] == 0
    answer = parsed(Client().get(f"{LIST}/{product.pk}"))
    assert answer["retired_at"] is not None
    assert answer["in_stock"] is False


@pytest.mark.parametrize("currency", ["KRW", "USD", "KWD"])
def test_v1_and_v2_tell_the_same(currency: str) -> None:
    digits = {"KRW": "1500000", "USD": "19.90", "KWD": "999999999.999"}
    with override_settings(CURRENCY=currency):
        make_product("No category", price=Decimal(digits[currency]), sku="N-1", stock=0)
        make_product("Korean", category=make_category(), brand="한국", description="설명")
        make_product("English only", category=make_category("mice", ko=""))
        v1 = parsed(Client().get(LIST))
        v2 = parsed(Client().get("/api/v2/products"))
        assert facts.of_product_list(v1) == facts.of_product_list(v2)
        for row in v1["results"]:
            one = Client().get(f"{LIST}/{row['id']}")
            other = Client().get(f"/api/v2/products/{row['id']}")
            assert facts.of_product(parsed(one)) == facts.of_product(parsed(other))
        assert (
            f'"price":{digits[currency].rstrip("0") if currency == "USD" else digits[currency]}'
            in (one.content.decode())
        )


def test_staff_create_with_the_first_stock_booked(staff: Client) -> None:
    make_category()
    body = {"name": "Mouse", "price": 1500000, "stock_quantity": 5, "category": "keyboards"}
    response = send(staff, "POST", LIST, body)
    assert response.status_code == 201
    answer = parsed(response)
    assert answer["price"] == 1500000
    assert answer["category"] == {"slug": "keyboards", "name_en": "Keyboards", "name_ko": "키보드"}
    assert ledger() == [(answer["id"], 5, "received")]


def test_a_key_has_one_effect(staff: Client) -> None:
    body = {"name": "Mouse", "price": 1000, "stock_quantity": 5}
    first = send(staff, "POST", LIST, body, **{"Idempotency-Key": "abc"})
    again = send(staff, "POST", LIST, body, **{"Idempotency-Key": "abc"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again["Idempotency-Replayed"] == "true"
    assert Product.objects.count() == 1


def test_staff_change_all_but_the_stock(staff: Client) -> None:
    product = make_product()
    changed = send(staff, "PATCH", f"{LIST}/{product.pk}", {"price": 60000, "name": "New"})
    assert changed.status_code == 200
    assert (parsed(changed)["price"], parsed(changed)["name"]) == (60000, "New")
    whole = {"name": "Whole", "price": 70000, "stock_quantity": 10}
    assert send(staff, "PUT", f"{LIST}/{product.pk}", whole).status_code == 200

    refused = send(staff, "PATCH", f"{LIST}/{product.pk}", {"stock_quantity": 11, "price": 1})
    assert is_problem(refused, 400)
    product.refresh_from_db()
    assert (product.stock_quantity, product.price) == (10, Decimal(70000))
    assert ledger() == [(product.pk, 10, "received")]


def test_delete_retires(staff: Client) -> None:
    product = make_product()
    assert send(staff, "DELETE", f"{LIST}/{product.pk}").status_code == 204
    product.refresh_from_db()
    assert product.retired_at is not None
    assert is_problem(send(staff, "PATCH", f"{LIST}/{product.pk}", {"name": "Back"}), 409)


@pytest.mark.parametrize(("signed", "status"), [(False, 401), (True, 403)])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_others_change_nothing(alice: User, signed: bool, status: int, method: str) -> None:
    product = make_product()
    client = signed_in(alice) if signed else Client()
    path = LIST if method == "POST" else f"{LIST}/{product.pk}"
    assert is_problem(send(client, method, path, {"name": "Mine", "price": 1}), status)
    product.refresh_from_db()
    assert (product.name, product.retired_at) == ("Keyboard", None)
    assert Product.objects.count() == 1


BAD = [
    {"name": "x"},
    {"price": 1},
    {"name": "x", "price": 1.5},
    {"name": "x", "price": -1},
    {"name": "x", "price": "many"},
    {"name": "x", "price": 10**30},
    {"name": "x", "price": True},
    {"name": "x", "price": 1, "stock_quantity": -1},
    {"name": "x", "price": 1, "stock_quantity": 2**40},
    {"name": "x\0", "price": 1},
    {"name": "x", "price": 1, "sku": "a\0"},
    {"name": "x", "price": 1, "sku": "TAKEN"},
    {"name": "x", "price": 1, "category": "nowhere"},
    {"name": "x", "price": 1, "category": "a\0"},
    {"name": "x", "price": 1, "category": {"slug": "a"}},
    {"name": "x", "price": 1, "category": "\ud800"},
    {"name": "\ud800", "price": 1},
    [],
    "text",
    b"{",
    b"\xff",
    b'{"name":"x","price":NaN}',
    b'{"name":"x","price":1e999}',
    b'{"name":"x","price":' + b"9" * 5000 + b"}",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_bad_input_is_a_400_and_changes_nothing(staff: Client, body: Any) -> None:
    make_product(sku="TAKEN")
    before = ledger()
    assert is_problem(send(staff, "POST", LIST, body), 400)
    assert Product.objects.count() == 1
    assert ledger() == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{LIST}/0", 404),
        (f"{LIST}/abc", 404),
        (f"{LIST}/{10**30}", 404),
        (f"{LIST}/%00", 404),
        (f"{LIST}?page=0", 404),
        (f"{LIST}?page=abc", 404),
        (f"{LIST}?page={'9' * 5000}", 404),
        ("/api/v1/nothing", 404),
        (f"{LIST}/search?q=%00", 400),
        (f"{LIST}/", 404),
    ],
)
def test_what_is_not_there_is_a_problem(path: str, status: int) -> None:
    assert is_problem(Client().get(path), status)


def test_no_html_for_browsers() -> None:
    make_product()
    response = Client().get(LIST, headers={"Accept": "text/html"})
    assert is_problem(response, 406)
    assert is_problem(send(Client(), "PUT", LIST), 401)
    assert is_problem(Client().post(LIST, {"name": "x"}), 401)


def test_a_form_is_not_taken(staff: Client) -> None:
    assert is_problem(staff.post(LIST, {"name": "x", "price": 1}), 415)


def test_queries_do_not_grow_with_the_page(django_assert_num_queries: Any) -> None:
    category = make_category()
    for number in range(30):
        product = make_product(f"Keyboard {number}", category=category)
    assert stock_of(product) == 10
    with django_assert_num_queries(2):
        Client().get(LIST)
