"""Under /api every error is a problem, whatever went wrong."""

import select

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError, OperationalError, connection, transaction

from products import catalogue
from shop.accounts.models import User
from shop.errors import problem_for

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/api", 404, "not_found"),
        ("get", "/api/v9/products", 404, "not_found"),
        ("get", "/api/v2/products/", 404, "not_found"),
        ("get", "/api/v2/products/1/nothing", 404, "not_found"),
        ("post", "/api/v2/nothing", 404, "not_found"),
        ("put", "/api/v2/products", 405, "method_not_allowed"),
        ("delete", "/api/v2/categories", 405, "method_not_allowed"),
        ("get", "/api/v2/orders", 401, "not_authenticated"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_errors_are_problems(client_of, settings, debug, method, path, status, code):
    settings.DEBUG = debug
    client = client_of(None)
    client.handler.enforce_csrf_checks = True
    response = getattr(client, method)(path)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert set(problem) >= {"type", "title", "status", "detail", "code", "correlation_id"}


def test_other_types_are_415(client_of, clerk):
    response = client_of(clerk).generic("POST", "/api/v2/products", b"<x/>", "text/xml")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/api/v2/products", "/api/v2/schema", "/api/v1/products"])
def test_more_parameters_than_anybody_needs_are_400(client_of, path):
    client = client_of(None)
    client.raise_request_exception = False
    response = client.get(f"{path}?{'&'.join(f'k{n}=1' for n in range(2000))}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid")


class TestUnknownParameters:
    """A parameter that nobody reads is refused, also where there are none."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("get", "/api/v2/products/{product}"),
            ("head", "/api/v2/products/{product}"),
            ("patch", "/api/v2/products/{product}"),
            ("delete", "/api/v2/products/{product}"),
            ("post", "/api/v2/products"),
            ("post", "/api/v2/products/{product}/analyze"),
            ("get", "/api/v2/products/{product}/images"),
            ("get", "/api/v2/categories"),
            ("get", "/api/v2/orders/{order}"),
            ("get", "/api/v2/orders/{order}/tracking"),
            ("get", "/api/v2/orders/{order}/payments"),
            ("post", "/api/v2/orders"),
            ("post", "/api/v2/orders/{order}/cancel"),
            ("post", "/api/v2/orders/{order}/transitions"),
            ("get", "/api/v2/alerts"),
            ("get", "/api/v2/alerts/rules"),
            ("get", "/api/v2/benchmarks/results"),
            ("post", "/api/v2/benchmarks/run"),
            ("post", "/api/v2/auth/tokens"),
            ("get", "/api/v2/schema"),
        ],
    )
    def test_is_400(self, client_of, admin, make_product, make_order, method, path):
        product = make_product()
        order = make_order(admin, (product, 1))
        url = path.format(product=product.pk, order=order.pk)
        response = getattr(client_of(admin), method)(f"{url}?colour=red")
        assert response.status_code == 400
        if method != "head":
            assert response.json()["errors"]["colour"][0]["code"] == "unknown_field"
        product.refresh_from_db()
        assert product.retired_at is None

    def test_comes_after_the_question_who_asks(self, client_of, alice):
        assert client_of(None).get("/api/v2/orders?colour=red").status_code == 401
        assert client_of(alice).get("/api/v2/alerts?colour=red").status_code == 403

    def test_other_methods_are_405_and_options_answers(self, client_of, admin):
        client = client_of(admin)
        assert client.put("/api/v2/products?colour=red").status_code == 405
        assert client.options("/api/v2/products?colour=red").status_code == 200

    def test_one_given_twice_is_refused_where_the_body_would_do_too(
        self, client_of, admin, make_order
    ):
        order = make_order(admin)
        url = f"/api/v2/orders/{order.pk}/cancel"
        response = client_of(admin).post(f"{url}?reason=one&reason=two")
        assert (response.status_code, list(response.json()["errors"])) == (400, ["reason"])
        order.refresh_from_db()
        assert order.status == "pending"


def test_a_fault_of_ours_is_500_without_its_story(client_of, make_product, monkeypatch):
    def broken(pk):
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(catalogue, "read_product", broken)
    client = client_of(None)
    client.raise_request_exception = False
    response = client.get("/api/v2/products/1")
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert b"secret" not in response.content


def test_a_database_out_of_reach_is_503_and_says_when_to_come_back(client_of, monkeypatch):
    def gone(pk):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(catalogue, "read_product", gone)
    response = client_of(None).get("/api/v2/products/1")
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert response["Retry-After"]


def test_a_page_says_so_too(client, alice, monkeypatch):
    client.force_login(alice)
    client.raise_request_exception = False

    def gone(self):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(SessionStore, "load", gone)
    for path, kind in (
        ("/accounts/login", "text/html"),
        ("/api/v2/benchmarks/dashboard", "application/problem+json"),
    ):
        response = client.get(path)
        assert response.status_code == 503
        assert response["Content-Type"].startswith(kind)
        assert response["Retry-After"]

    def broken(self):
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(SessionStore, "load", broken)
    response = client.get("/accounts/login")
    assert response.status_code == 500
    assert not response.has_header("Retry-After")
    assert b"secret" not in response.content


def only_reads():
    """As a server does that another has taken over from."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    User.objects.create_user("late")


def sleeps():
    """As a process does whose machine was suspended."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
    # Until the server has said that it is over.
    assert select.select([connection.connection.fileno()], [], [], 30)[0]
    User.objects.create_user("late")


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("work", [only_reads, sleeps])
def test_a_transaction_that_the_server_would_not_have_is_tried_again_later(work):
    with pytest.raises(DatabaseError) as fault, transaction.atomic():
        work()
    response = problem_for(fault.value)
    assert response is not None and response.status_code == 503
    assert not User.objects.exists()


def test_pages_keep_html(client):
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
