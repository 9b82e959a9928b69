"""What the schema says of answers is what they are."""

import re
from typing import Any

import pytest
from django.db import OperationalError
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from products import catalogue
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
        ("/api/v2/products/suggestions", "?q=노트"),
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
        ("/api/v2/webhooks", ""),
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


def resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, if it is one."""
    for name in part.get("$ref", "").split("/")[1:]:
        schema = schema[name]
    return schema if "$ref" in part else part


def fits_problem(schema: dict[str, Any], path: str, method: str, response: Any) -> None:
    """Fail where a refusal is not what the schema says: status, code, type, headers."""
    answers = schema["paths"][path][method]["responses"]
    answer = resolved(schema, answers[str(response.status_code)])
    wanted = answer["content"][response["Content-Type"]]["schema"]
    # The id is of the request layer, which is not around the tests' client.
    problem = {**response.json(), "correlation_id": "01a20e38-dd24-7802"}
    Draft202012Validator({**wanted, "components": schema["components"]}).validate(problem)
    for name, part in answer["headers"].items():
        header = resolved(schema, part)
        if name != "X-Request-ID" and (header.get("required") or response.has_header(name)):
            number = header["schema"].get("type") == "integer"
            value = int(response[name]) if number else response[name]
            Draft202012Validator(header["schema"]).validate(value)


class TestRefusals:
    """What no drawn request meets is described all the same."""

    def test_too_many_requests(self, schema, client_of, settings):
        settings.RATE_LIMITS = True
        settings.RATE_LIMIT_ANONYMOUS = (1, 1)
        client = client_of(None)
        client.get("/api/v2/products")
        refused = client.get("/api/v2/products")
        assert refused.status_code == 429
        fits_problem(schema, "/api/v2/products", "get", refused)

    def test_no_database(self, schema, client_of, monkeypatch):
        def gone(*_: Any) -> None:
            raise OperationalError("server closed the connection")

        monkeypatch.setattr(catalogue, "read_product", gone)
        refused = client_of(None).get("/api/v2/products/1")
        assert refused.status_code == 503
        fits_problem(schema, "/api/v2/products/{id}", "get", refused)

    def test_a_key_for_another_request(self, schema, client_of, admin):
        client = client_of(admin)
        key = {"headers": {"Idempotency-Key": "one"}}
        assert client.post("/api/v2/products", {"name": "a", "price": 1}, **key).status_code == 201
        refused = client.post("/api/v2/products", {"name": "b", "price": 1}, **key)
        assert refused.status_code == 422
        fits_problem(schema, "/api/v2/products", "post", refused)

    def test_a_second_benchmark(self, schema, client_of, admin):
        client = client_of(admin)
        first = client.post("/api/v2/benchmarks/run", {"benchmark_type": "search"})
        fits(schema, "/api/v2/benchmarks/run", "post", first)
        refused = client.post("/api/v2/benchmarks/run", {"benchmark_type": "search"})
        assert refused.status_code == 409
        fits_problem(schema, "/api/v2/benchmarks/run", "post", refused)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("get", "/api/v2/orders", 401),
            ("post", "/api/v2/auth/tokens", 400),
            ("post", "/api/v2/auth/tokens", 401),
            ("get", "/api/v2/alerts", 403),
        ],
    )
    def test_who_asks(self, schema, client_of, alice, method, path, status):
        client = client_of(alice if status == 403 else None)
        body = {"username": "alice", "password": "wrong"} if status == 401 else {}
        refused = getattr(client, method)(path, *([body] if method == "post" else []))
        assert refused.status_code == status
        fits_problem(schema, path, method, refused)


def test_only_what_is_public_can_be_read_without_signing_in(schema):
    public = {
        f"{method} {path}"
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if {} in operation.get("security", [{}])
    }
    assert public == {
        "get /api/v2/products",
        "get /api/v2/products/search",
        "get /api/v2/products/suggestions",
        "get /api/v2/products/{id}",
        "get /api/v2/products/{id}/images",
        "get /api/v2/categories",
        "post /api/v2/auth/tokens",
    }


def test_what_may_stand_in_the_query_or_the_body_is_required_in_neither(schema):
    operation = schema["paths"]["/api/v2/products/{id}/stock/update"]["post"]
    assert not any(p.get("required") for p in operation["parameters"] if p["in"] == "query")
    body = operation["requestBody"]
    assert not body.get("required")
    assert "required" not in body["content"]["application/json"]["schema"]


@pytest.mark.parametrize(
    ("currency", "kind", "most"), [("KRW", "integer", 10**12), ("USD", "number", 10**10)]
)
def test_amounts_are_those_of_the_currency(settings, currency, kind, most):
    settings.CURRENCY = currency
    found = SchemaGenerator().get_schema(request=None, public=True)
    price = found["components"]["schemas"]["ProductInputRequest"]["properties"]["price"]
    assert (price["type"], price["maximum"]) == (kind, most)
    (pattern,) = (
        p["schema"]["pattern"]
        for p in found["paths"]["/api/v2/products"]["get"]["parameters"]
        if p["name"] == "min_price"
    )
    taken = {text for text in ("", "5", "5.00", "5.05", "5.005", "-5") if re.match(pattern, text)}
    assert taken == {"", "5", "5.00"} | ({"5.05"} if kind == "number" else set())
    assert re.match(pattern, str(most))
    assert not re.match(pattern, str(most + 1))


def test_no_answer_is_a_bare_list(schema):
    bare = [
        (method, path)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        for answer in operation["responses"].values()
        for content in resolved(schema, answer).get("content", {}).values()
        if content["schema"].get("type") == "array"
    ]
    assert bare == []
