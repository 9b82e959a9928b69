"""Too much, too deep, too many: refused, never an error of ours, and nothing written."""

import base64
import json
import tracemalloc
from typing import Any

import pytest

from monitoring.models import AlertRule, Silence
from orders.models import Order
from products.models import Product, StockMovement
from shop import views
from shop.accounts.models import AccessToken
from shop.rest import JSON_MAX_BYTES

pytestmark = pytest.mark.django_db

LISTS = ("/api/v2/products", "/api/v2/orders", "/api/v2/alerts/history", "/api/v2/auth/tokens")
WRITES = (
    "/api/v2/products", "/api/v2/orders", "/api/v2/auth/tokens", "/api/v2/alerts/rules",
    "/api/v2/alerts/silences", "/api/v2/benchmarks/run", "/api/v1/products", "/api/v1/orders",
)  # fmt: skip


@pytest.fixture(autouse=True)
def unlimited(settings):
    settings.RATE_LIMITS = False


@pytest.fixture(autouse=True)
def nothing_is_written(db):
    yield
    # The rules that ship with the shop aside.
    assert not Order.objects.exists() and not Product.objects.exists()
    assert not AccessToken.objects.exists() and not Silence.objects.exists()
    assert not StockMovement.objects.exists()
    assert not AlertRule.objects.filter(edited=True).exists()


def is_problem(answer: Any, *statuses: int) -> bool:
    return (
        answer.status_code in statuses
        and answer["Content-Type"] == "application/problem+json"
        and answer.json()["code"] != "internal_error"
    )


class TestQueries:
    @pytest.mark.parametrize("path", [*LISTS, "/api/v1/products", "/api/v1/orders"])
    def test_too_many_parameters(self, client_of, admin, path):
        query = "&".join(f"p{n}=1" for n in range(1100))
        answer = client_of(admin).get(f"{path}?{query}")
        # The plain version reads the few that it knows.
        assert is_problem(answer, 400), answer.content

    @pytest.mark.parametrize("path", [*LISTS, "/api/v1/products/search", "/api/v1/products"])
    @pytest.mark.parametrize("query", ["q=%00", "x%00=1", "page=1%00", "cursor=%00"])
    def test_nul(self, client_of, admin, path, query):
        assert is_problem(client_of(admin).get(f"{path}?{query}"), 400)

    @pytest.mark.parametrize(
        "path",
        ["/api/v2/products/%00", "/api/v2/benchmarks/results/%00", "/api/v1/orders/%00",
         "/api/v2/orders/1%00/cancel", "/api/v2/auth/tokens/%00"],
    )  # fmt: skip
    def test_nul_in_a_path_is_nothing_that_there_is(self, client_of, admin, path):
        for method in ("get", "post", "delete"):
            assert is_problem(getattr(client_of(admin), method)(path), 404)

    @pytest.mark.parametrize(
        "path", ["/media/%00.png", "/static/%00", "/admin/auth/group/%00/change/"]
    )
    def test_nul_in_a_pages_path(self, client, admin, path):
        client.force_login(admin)
        assert client.get(path).status_code == 404

    @pytest.mark.parametrize(
        "path", ["/admin/orders/order/?q=%00", "/admin/shop/user/?username=%00"]
    )
    def test_nul_in_a_pages_query(self, client, admin, path):
        client.force_login(admin)
        assert client.get(path).status_code == 400

    @pytest.mark.parametrize(
        "query",
        ["per_page=101", "per_page=-1", "per_page=1e3", "per_page=" + "9" * 5000, "page=10001",
         "page=0", "page=" + "9" * 5000, "cursor=" + "A" * 601, "page=1&page=2"],
    )  # fmt: skip
    @pytest.mark.parametrize("path", LISTS)
    def test_pages_have_bounds(self, client_of, admin, path, query):
        assert is_problem(client_of(admin).get(f"{path}?{query}"), 400)

    @pytest.mark.parametrize(
        "parts",
        [
            ["price", 0, "NaN", 1], ["price", 0, "1e999999999", 1], ["price", 0, "Infinity", 1],
            ["price", 0, [0, [1], 0], 1], ["name", 0, ["x"], {}], ["name", 0, "\ud800", 1],
            ["name", 0, "\0", 1], ["newest", 0, 10**30], ["newest", 0, True, 1],
            ["newest", 0, "9" * 5000], [[]] * 3, "x", 5, None,
        ],
    )  # fmt: skip
    def test_a_cursor_can_hold_anything(self, client_of, parts):
        text = base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()
        ordering = parts[0] if isinstance(parts, list) and isinstance(parts[0], str) else "newest"
        answer = client_of(None).get(f"/api/v2/products?ordering={ordering}&cursor={text}")
        assert is_problem(answer, 400), answer.content

    def test_a_cursor_nested_deep(self, client_of):
        text = base64.urlsafe_b64encode(b"[" * 440).decode()
        assert is_problem(client_of(None).get(f"/api/v2/products?cursor={text}"), 400)

    def test_the_schema_has_no_parameters(self, client):
        for query in ("version=a%0d%0ab", "lang=..%2f", "format=x"):
            assert client.get(f"/api/v2/schema?{query}").status_code == 400
        # It is written once, not each time that somebody asks.
        client.get("/api/v2/schema")
        before = views._described.cache_info().misses
        client.get("/api/v2/schema")
        assert views._described.cache_info().misses == before


class TestJSON:
    @pytest.mark.parametrize("path", WRITES)
    @pytest.mark.parametrize(
        "body",
        [
            "[" * 100_000,
            '{"a":' * 100_000,
            "[" * 900 + "]" * 900,
            '{"price": ' + "9" * 5000 + "}",
            '{"name": NaN}',
            '{"name": Infinity}',
            '{"name": "\\u0000"}',
            '{"name": "\\ud800"}',
            "\ufeff{}",
            "null",
            '"x"',
            "5",
            "[]",
            "{}",
        ],
    )
    def test_what_is_no_input(self, client_of, admin, path, body):
        answer = client_of(admin).generic("POST", path, body, "application/json")
        assert is_problem(answer, 400), answer.content

    @pytest.mark.parametrize("path", WRITES)
    def test_bytes_that_are_no_text(self, client_of, admin, path):
        answer = client_of(admin).generic("POST", path, b'{"name": "\xff"}', "application/json")
        assert is_problem(answer, 400)

    @pytest.mark.parametrize("path", WRITES)
    def test_too_long(self, client_of, admin, path):
        body = '{"name": "' + "x" * JSON_MAX_BYTES + '"}'
        answer = client_of(admin).generic("POST", path, body, "application/json")
        assert is_problem(answer, 413)

    def test_a_short_body_takes_no_great_memory(self, client_of):
        """Ten megabytes of empty lists would be 600."""
        body = "[" + "[]," * 3_400_000 + "[]]"
        tracemalloc.start()
        answer = client_of(None).generic("POST", "/api/v2/auth/tokens", body, "application/json")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert is_problem(answer, 413)
        assert most < 60_000_000

    @pytest.mark.parametrize("path", WRITES)
    def test_many_fields(self, client_of, admin, path):
        body = json.dumps({f"field{n}": n for n in range(20_000)})
        answer = client_of(admin).generic("POST", path, body, "application/json")
        assert is_problem(answer, 400)
        # What is wrong is not repeated at any length.
        assert len(answer.content) < 10_000

    @pytest.mark.parametrize(
        "number", ["1e999999999", "-1e999999999", "1e-999999999", "9" * 4000, "1e400", "-1", "true"]
    )
    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_numbers_beyond_all_bounds(self, client_of, admin, version, number):
        client = client_of(admin)
        for path, body in (
            (f"/api/{version}/products", '{"name": "x", "price": %s}'),
            (f"/api/{version}/products", '{"name": "x", "price": 1, "stock_quantity": %s}'),
            (f"/api/{version}/orders", '{"items": [{"product_id": "1", "quantity": %s}], '
             '"shipping_address": {"street": "s", "city": "c", "postal_code": "1"}}'),
        ):  # fmt: skip
            if version == "v1" and number in ("true", "1e-999999999") and "quantity" in body:
                continue  # the framework takes them for 1 and 0
            answer = client.generic("POST", path, body % number, "application/json")
            assert is_problem(answer, 400), (body, answer.content)
        for threshold in (number, f'"{number}"'):
            if number in ("1e-999999999", "-1", "true"):
                continue
            body = (
                '{"name": "x", "metric_name": "system.cpu.usage", "condition": "gt", '
                f'"threshold": {threshold}}}'
            )
            answer = client.generic("POST", "/api/v2/alerts/rules", body, "application/json")
            assert is_problem(answer, 400), answer.content

    @pytest.mark.parametrize(
        "moment",
        ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "10000-01-01T00:00:00Z", "x", 5,
         {}, []],
    )  # fmt: skip
    def test_moments_beyond_the_calendar(self, client_of, admin, moment):
        body = {"starts_at": moment, "ends_at": moment}
        assert is_problem(client_of(admin).post("/api/v2/alerts/silences", body), 400)


RULE = {"name": "x", "metric_name": "system.cpu.usage", "condition": "gt", "threshold": 1}


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/api/v2/products", {"name": "x", "price": 1},
         "id sold_quantity retired_at category_id category_source category_confidence created_at"),
        ("/api/v2/alerts/rules", RULE, "id state since value edited held_at evaluated_at"),
        ("/api/v2/alerts/silences", {"ends_at": "2100-01-01T00:00:00Z"}, "id actor by"),
        ("/api/v2/auth/tokens", {"username": "admin", "password": "secret"},
         "user expires_at digest token is_staff"),
        ("/api/v2/benchmarks/run", {"benchmark_type": "search"}, "state result actor name"),
    ],
)  # fmt: skip
def test_fields_that_are_not_for_the_caller_are_refused(client_of, admin, path, body, fields):
    for field in fields.split():
        answer = client_of(admin).post(path, {**body, field: "1"})
        assert is_problem(answer, 400), field
        assert answer.json()["errors"] == {
            field: [{"code": "unknown_field", "detail": "There is no such field."}]
        }


class TestForms:
    def multipart(self, client, path, parts):
        body = "".join(
            f'--x\r\nContent-Disposition: form-data; name="f{n}"{kind}\r\n\r\n1\r\n'
            for n, kind in enumerate(parts)
        )
        return client.generic("POST", path, body + "--x--\r\n", "multipart/form-data; boundary=x")

    @pytest.fixture
    def path(self, make_product):
        product = make_product(stock=0)
        yield f"/api/v2/products/{product.pk}/images"
        assert not product.images.exists()
        product.delete()

    def test_too_many_fields(self, client_of, admin, path):
        assert is_problem(self.multipart(client_of(admin), path, [""] * 1100), 400)

    def test_too_many_files(self, client_of, admin, path):
        assert is_problem(self.multipart(client_of(admin), path, ['; filename="a"'] * 150), 400)

    def test_fields_that_nobody_knows(self, client_of, admin, path):
        assert is_problem(self.multipart(client_of(admin), path, ["", '; filename="a"']), 400)

    @pytest.mark.parametrize(
        "kind", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 300]
    )
    def test_no_boundary(self, client_of, admin, path, kind):
        assert is_problem(client_of(admin).generic("POST", path, b"--x", kind), 400)

    @pytest.mark.parametrize("path", ["/accounts/login", "/accounts/reset", "/admin/login/"])
    def test_pages_have_the_same_bounds(self, client, path):
        body = "&".join(f"f{n}=1" for n in range(1100))
        answer = client.post(path, body, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 400

    @pytest.mark.parametrize("path", ["/accounts/login", "/accounts/reset", "/admin/login/"])
    def test_fields_can_hold_anything(self, client, path):
        for text in ("\0", "x" * 100_000, "\ud800".encode("utf-8", "surrogatepass"), "𝕒" * 300):
            answer = client.post(path, {"username": text, "password": text, "email": text})
            assert answer.status_code == 200

    @pytest.mark.parametrize(
        "path",
        ["/admin/products/product/{}/change/", "/admin/products/product/{}/stock/",
         "/admin/shop/user/{}/change/", "/admin/orders/order/{}/change/"],
    )  # fmt: skip
    @pytest.mark.parametrize("key", ["9" * 30, "²", "-1", "x", "1' OR 1=1"])
    def test_keys_that_nothing_has(self, client, admin, path, key):
        client.force_login(admin)
        answer = client.get(path.format(key))
        assert answer.status_code in (302, 404)
