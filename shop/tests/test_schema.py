"""What the schema says of answers is what they are."""

from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from products.suggestions import write_seo

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The whole schema, made once."""
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


def fits(schema: dict[str, Any], path: str, method: str, response: Any) -> None:
    """Fail where an answer is not what the schema says."""
    described = schema["paths"][path][method]["responses"][str(response.status_code)]
    wanted = described["content"]["application/json"]["schema"]
    Draft202012Validator({**wanted, "components": schema["components"]}).validate(response.json())


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v2/products", ""),
        ("/api/v2/products", "?cursor="),
        ("/api/v2/products/search", "?q=노트"),
        ("/api/v2/products/{id}", ""),
        ("/api/v2/products/{id}/images", ""),
        ("/api/v2/products/{id}/stock/movements", ""),
        ("/api/v2/categories", "?depth=2"),
        ("/api/v2/orders", ""),
        ("/api/v2/orders/{order}", ""),
        ("/api/v2/orders/{order}/tracking", ""),
        ("/api/v2/orders/{order}/payments", ""),
        ("/api/v2/orders/{order}/returns", ""),
        ("/api/v2/orders/analytics/summary", "?start_date=2026-01-01&end_date=2026-01-31"),
        ("/api/v2/auth/tokens", ""),
        ("/api/v2/alerts", ""),
        ("/api/v2/alerts/rules", ""),
        ("/api/v2/alerts/silences", ""),
        ("/api/v2/alerts/history", ""),
        ("/api/v2/benchmarks/results", ""),
    ],
)
def test_what_is_read(schema, client_of, admin, make_product, make_order, tree, path, query):
    product = make_product("노트북", stock=5)
    write_seo(product.pk)
    order = make_order(admin, (product, 2))
    url = path.replace("{id}", str(product.pk)).replace("{order}", str(order.pk))
    response = client_of(admin).get(url + query)
    assert response.status_code == 200, response.content
    fits(schema, path.replace("{order}", "{id}"), "get", response)


def test_what_is_written(schema, client_of, admin, make_product, tree):
    api = client_of(admin)
    made = api.post("/api/v2/products", {"name": "노트북", "price": 1000, "stock_quantity": 3})
    fits(schema, "/api/v2/products", "post", made)
    url = f"/api/v2/products/{made.json()['id']}"
    fits(schema, "/api/v2/products/{id}/analyze", "post", api.post(f"{url}/analyze"))
    fits(schema, "/api/v2/products/{id}", "patch", api.patch(url, {"brand": "별"}))


def test_no_answer_is_a_bare_list(schema):
    bare = [
        (method, path)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        for answer in operation["responses"].values()
        for content in answer.get("content", {}).values()
        if content["schema"].get("type") == "array"
    ]
    assert bare == []
