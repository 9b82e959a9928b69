"""The product list: filters, pages, cursors."""

from decimal import Decimal

import pytest
from django.utils import timezone

from products.models import Category, Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def tree():
    """electronics > laptops, and furniture."""

    def node(slug, parent=None):
        category = Category.objects.create(key=slug, slug=slug, name_en=slug.title(), parent=parent)
        category.path = f"{parent.path if parent else '/'}{category.pk}/"
        category.save(update_fields=["path"])
        return category

    electronics = node("electronics")
    return {
        "electronics": electronics,
        "laptops": node("laptops", electronics),
        "furniture": node("furniture"),
    }


def names(response):
    assert response.status_code == 200, response.content
    return [row["name"] for row in response.json()["results"]]


def test_a_category_takes_in_what_lies_below_it(client_of, make_product, tree):
    make_product("라디오", category=tree["electronics"])
    make_product("노트북", category=tree["laptops"])
    make_product("의자", category=tree["furniture"])
    make_product("없음")
    client = client_of(None)

    assert set(names(client.get("/api/v2/products?category=electronics"))) == {"라디오", "노트북"}
    assert names(client.get("/api/v2/products?category=laptops")) == ["노트북"]
    assert client.get("/api/v2/products?category=nowhere").status_code == 400


def test_filters_combine(client_of, make_product, tree):
    make_product("a", price=1000, category=tree["laptops"])
    make_product("b", price=2000, category=tree["laptops"])
    make_product("c", price=2000, stock=0, category=tree["laptops"])
    make_product("d", price=2000)
    client = client_of(None)

    found = client.get(
        "/api/v2/products?category=electronics&min_price=1500&max_price=2000&in_stock=true"
    )
    assert names(found) == ["b"]
    assert names(client.get("/api/v2/products?in_stock=false")) == ["c"]
    # As SPEC writes it: empty parameters are no filters.
    query = "?page=1&per_page=20&category=&min_price=1500&max_price=&in_stock=&ordering=price"
    assert names(client.get(f"/api/v2/products{query}")) == ["b", "c", "d"]


@pytest.mark.parametrize(
    "query",
    [
        "colour=red",
        "page=0",
        "page=x",
        "page=99999999999999999999",
        "per_page=101",
        "per_page=0",
        "min_price=cheap",
        "min_price=-1",
        "min_price=0.5",  # won has no decimals
        "min_price=1e3",
        "min_price=NaN",
        "min_price=99999999999999999999",
        "min_price=5&max_price=4",
        "in_stock=maybe",
        "ordering=id",
        "page=1&page=2",
        "page=1&cursor=",
        "cursor=abc",
        "cursor=WyJwcmljZSIsMCwiMSIsMV0",  # of another order
        "category=%00",
        "category=a'b",
        "min_price=%F0%9F%98%80",
        "format=json",
    ],
)
def test_unknown_filters_and_bad_values_are_400(client_of, make_product, query):
    make_product()
    response = client_of(None).get(f"/api/v2/products?{query}")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["errors"]


def test_pages_say_where_they_are(client_of, make_product):
    for number in range(5):
        make_product(f"상품 {number}")
    client = client_of(None)

    first = client.get("/api/v2/products?per_page=2").json()
    assert [row["name"] for row in first["results"]] == ["상품 4", "상품 3"]
    assert (first["total"], first["page"], first["per_page"], first["pages"]) == (5, 1, 2, 3)
    assert first["previous"] is None
    second = client.get(first["next"]).json()
    assert [row["name"] for row in second["results"]] == ["상품 2", "상품 1"]
    last = client.get(second["next"]).json()
    assert [row["name"] for row in last["results"]] == ["상품 0"]
    assert last["next"] is None
    assert client.get(last["previous"]).json() == second
    beyond = client.get("/api/v2/products?per_page=2&page=9").json()
    assert (beyond["results"], beyond["next"]) == ([], None)


@pytest.mark.parametrize(
    "ordering", ["newest", "oldest", "price", "-price", "name", "-name", "best_selling"]
)
def test_cursors_visit_everything_once_in_order_and_back(client_of, make_product, ordering):
    # Many equal prices and names, none sold: the key decides among equals.
    for number in range(11):
        make_product(f"상품 {number % 3}", price=1000 * (number % 2 + 1))
    client = client_of(None)
    whole = client.get(f"/api/v2/products?ordering={ordering}&per_page=100").json()["results"]

    url = f"/api/v2/products?ordering={ordering}&per_page=3&cursor="
    seen, pages = [], []
    while url:
        page = client.get(url).json()
        assert "total" not in page
        pages.append(page)
        seen += page["results"]
        url = page["next"]
    assert seen == whole
    assert len(pages) == 4
    assert pages[0]["previous"] is None

    back, url = [], pages[-1]["previous"]
    while url:
        page = client.get(url).json()
        back = page["results"] + back
        url = page["previous"]
    assert back == whole[:9]


def test_a_cursor_keeps_its_place_when_rows_come_and_go(client_of, make_product):
    for number in range(6):
        make_product(f"상품 {number}")
    client = client_of(None)
    first = client.get("/api/v2/products?per_page=2&cursor=").json()
    make_product("새 상품")
    Product.objects.filter(name="상품 4").update(retired_at=timezone.now())
    second = client.get(first["next"]).json()
    assert [row["name"] for row in second["results"]] == ["상품 3", "상품 2"]


def test_retired_products_are_not_listed_but_can_be_read(client_of, make_product, clerk):
    product = make_product()
    assert client_of(clerk).delete(f"/api/v2/products/{product.pk}").status_code == 204
    client = client_of(None)
    assert names(client.get("/api/v2/products")) == []
    detail = client.get(f"/api/v2/products/{product.pk}").json()
    assert detail["retired_at"] is not None
    assert detail["in_stock"] is False


@pytest.mark.parametrize("per_page", [1, 20])
def test_a_page_costs_three_queries_whatever_its_size(
    client_of, make_product, tree, per_page, django_assert_num_queries
):
    for number in range(25):
        make_product(f"상품 {number}", category=tree["laptops"])
    # Its products are kept nowhere here: a query for them, beside their number and keys.
    with django_assert_num_queries(3):
        client_of(None).get(f"/api/v2/products?per_page={per_page}")
    with django_assert_num_queries(2):
        client_of(None).get(f"/api/v2/products?per_page={per_page}&cursor=")


def test_prices_are_exact_numbers(client_of, make_product, settings):
    settings.CURRENCY = "USD"
    make_product(price=Decimal("19.99"))
    body = client_of(None).get("/api/v2/products").content
    assert b'"price":19.99,' in body
    found = client_of(None).get("/api/v2/products?min_price=19.99&max_price=19.990")
    assert len(found.json()["results"]) == 1
    assert client_of(None).get("/api/v2/products?min_price=19.999").status_code == 400
