"""Each route and method, with each right and each wrong person.

The tables below are the whole URL map: a route or a method that has no line in one of
them fails the test that walks the map. A refusal must also have written nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.db import connection, transaction
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from django.urls import URLPattern, get_resolver
from django.utils import timezone
from rest_framework.test import APIClient

from conftest import ADDRESS
from orders.states import Status
from orders.urls import websocket_urlpatterns
from shop.accounts.models import AccessToken, User
from shop.tests.scene import Shop, bearing, browsing

pytestmark = pytest.mark.django_db

# alice owns the orders; catalogue, desk and operations are of one group each; porter is
# staff without any right.
PEOPLE = (
    "anonymous", "alice", "bob", "clerk", "admin", "catalogue", "desk", "operations", "porter",
)  # fmt: skip
# Who gets what, in their order; "ok" is what the line says.
EVERYBODY = "ok  ok  ok  ok  ok  ok  ok  ok  ok"
SIGNED_IN = "401 ok  ok  ok  ok  ok  ok  ok  ok"
CATALOGUE = "401 403 403 ok  ok  ok  403 403 403"
DESK = "     401 403 403 ok  ok  403 ok  403 403"
OPERATIONS = "401 403 403 403 ok  403 403 ok  403"
ANALYTICS = "401 403 403 ok  ok  403 ok  ok  403"
OWNER = "    401 ok  404 404 404 404 404 404 404"
OWN_OR_DESK = "401 ok 404 ok  ok  404 ok  404 404"
# On pages: 302 leads to the sign-in page.
P_SIGNED_IN = "302 ok ok ok ok ok ok ok ok"
P_OWN_OR_DESK = "302 ok 404 ok ok 404 ok 404 404"
P_OPERATIONS = "302 403 403 403 ok 403 403 ok 403"
P_STAFF = "302 302 302 ok ok ok ok ok ok"
P_CATALOGUE = "302 302 302 ok ok ok 403 403 403"
P_DESK = "302 302 302 ok ok 403 ok 403 403"

LINE = {"product_id": "$product", "quantity": 1}
ORDER = {"items": [LINE], "shipping_address": ADDRESS}
RULE = {"name": "new", "metric_name": "system.cpu.usage", "condition": "gt", "threshold": 1}
HOOK = {"name": "new", "url": "https://hook.example/"}
SPAN = ":?start_date=2024-01-01&end_date=2024-12-31"
SIGN_IN = {"username": "alice", "password": "secret"}
AUTOCOMPLETE = ":?app_label=products&model_name=product&field_name=category"

# Method, route, who, the status that is ok, what the route's parameters stand for (after
# a colon: the query), body.
Call = tuple[str, str, str, int, str, Any]
API: list[Call] = [
    ("GET", "api/v2/products", EVERYBODY, 200, "", None),
    ("POST", "api/v2/products", CATALOGUE, 201, "", {"name": "x", "price": 1}),
    ("GET", "api/v2/products/search", EVERYBODY, 200, ":?q=x", None),
    ("GET", "api/v2/products/suggestions", EVERYBODY, 200, ":?q=x", None),
    ("GET", "api/v2/products/<str:id>", EVERYBODY, 200, "product", None),
    ("PATCH", "api/v2/products/<str:id>", CATALOGUE, 200, "product", {"name": "x"}),
    ("DELETE", "api/v2/products/<str:id>", CATALOGUE, 204, "product", None),
    ("POST", "api/v2/products/<str:id>/analyze", CATALOGUE, 200, "product", None),
    ("GET", "api/v2/products/<str:id>/images", EVERYBODY, 200, "product", None),
    ("POST", "api/v2/products/<str:id>/images", CATALOGUE, 201, "product", "$picture"),
    ("DELETE", "api/v2/products/<str:id>/images/<uuid:image>",
     CATALOGUE, 204, "product image", None),
    ("GET", "api/v2/products/<str:id>/stock/movements", CATALOGUE, 200, "product", None),
    ("POST", "api/v2/products/<str:id>/stock/update",
     CATALOGUE, 200, "product", {"quantity_change": 5, "reason": "received"}),
    ("GET", "api/v2/categories", EVERYBODY, 200, "", None),
    ("GET", "api/v2/orders", SIGNED_IN, 200, "", None),
    ("POST", "api/v2/orders", SIGNED_IN, 201, "", ORDER),
    ("GET", "api/v2/orders/export", SIGNED_IN, 200, "", None),
    ("GET", "api/v2/orders/analytics/summary", ANALYTICS, 200, SPAN, None),
    ("GET", "api/v2/orders/<str:id>", OWN_OR_DESK, 200, "order", None),
    ("POST", "api/v2/orders/<str:id>/cancel", OWN_OR_DESK, 200, "order", {"reason": "x"}),
    ("POST", "api/v2/orders/<str:id>/transitions", DESK, 200, "order", {"status": "paid"}),
    ("GET", "api/v2/orders/<str:id>/tracking", OWN_OR_DESK, 200, "order", None),
    ("GET", "api/v2/orders/<str:id>/payments", OWN_OR_DESK, 200, "order", None),
    ("POST", "api/v2/orders/<str:id>/payments",
     DESK, 201, "order", {"amount": 1, "method": "cash"}),
    ("POST", "api/v2/orders/<str:id>/refunds/<str:refund>/settle",
     DESK, 200, "cancelled refund", {}),
    ("GET", "api/v2/orders/<str:id>/returns", OWN_OR_DESK, 200, "order", None),
    ("POST", "api/v2/orders/<str:id>/returns",
     DESK, 201, "delivered", {"items": [LINE], "reason": "x", "restock": True}),
    ("GET", "api/v2/alerts", OPERATIONS, 200, "", None),
    ("GET", "api/v2/alerts/history", OPERATIONS, 200, "", None),
    ("GET", "api/v2/alerts/rules", OPERATIONS, 200, "", None),
    ("POST", "api/v2/alerts/rules", OPERATIONS, 201, "", RULE),
    ("GET", "api/v2/alerts/rules/<str:id>", OPERATIONS, 200, "rule", None),
    ("PATCH", "api/v2/alerts/rules/<str:id>", OPERATIONS, 200, "rule", {"threshold": 2}),
    ("DELETE", "api/v2/alerts/rules/<str:id>", OPERATIONS, 204, "rule", None),
    ("GET", "api/v2/alerts/rules/<str:id>/replay", OPERATIONS, 200, "rule", None),
    ("GET", "api/v2/alerts/silences", OPERATIONS, 200, "", None),
    ("POST", "api/v2/alerts/silences", OPERATIONS, 201, "", {"ends_at": "$tomorrow"}),
    ("DELETE", "api/v2/alerts/silences/<str:id>", OPERATIONS, 204, "silence", None),
    ("POST", "api/v2/benchmarks/run", OPERATIONS, 202, "", {"benchmark_type": "search"}),
    ("GET", "api/v2/benchmarks/results", OPERATIONS, 200, "", None),
    ("GET", "api/v2/benchmarks/results/<str:id>", OPERATIONS, 200, "run", None),
    ("POST", "api/v2/benchmarks/results/<str:id>/cancel", OPERATIONS, 202, "run", None),
    ("GET", "api/v2/benchmarks/compare", OPERATIONS, 200, ":?baseline=run&current=run", None),
    ("GET", "api/v2/webhooks", OPERATIONS, 200, "", None),
    ("POST", "api/v2/webhooks", OPERATIONS, 201, "", HOOK),
    ("GET", "api/v2/webhooks/<str:id>", OPERATIONS, 200, "webhook", None),
    ("PATCH", "api/v2/webhooks/<str:id>", OPERATIONS, 200, "webhook", {"name": "x"}),
    ("DELETE", "api/v2/webhooks/<str:id>", OPERATIONS, 204, "webhook", None),
    ("POST", "api/v2/webhooks/<str:id>/rotate", OPERATIONS, 200, "webhook", {}),
    ("GET", "api/v2/webhooks/<str:id>/attempts", OPERATIONS, 200, "webhook", None),
    ("POST", "api/v2/webhooks/<str:id>/test", OPERATIONS, 200, "webhook", None),
    ("POST", "api/v2/webhooks/<str:id>/resend",
     OPERATIONS, 202, "webhook", {"subject": "order/1"}),
    ("POST", "api/v2/webhooks/<str:id>/again",
     OPERATIONS, 200, "webhook", {"event_id": "$event"}),
    ("GET", "api/v2/auth/tokens", SIGNED_IN, 200, "", None),
    ("POST", "api/v2/auth/tokens", EVERYBODY, 201, "", SIGN_IN),
    ("DELETE", "api/v2/auth/tokens/<str:id>", OWNER, 204, "token", None),
    ("GET", "api/v2/schema", EVERYBODY, 200, "", None),
    ("GET", "api/v2/docs", EVERYBODY, 200, "", None),
    # The plain version knows the same rights, and of orders nobody's but one's own.
    ("GET", "api/v1/products", EVERYBODY, 200, "", None),
    ("POST", "api/v1/products", CATALOGUE, 201, "", {"name": "x", "price": 1}),
    ("GET", "api/v1/products/search", EVERYBODY, 200, ":?q=x", None),
    ("GET", "api/v1/products/<str:pk>", EVERYBODY, 200, "product", None),
    ("PUT", "api/v1/products/<str:pk>", CATALOGUE, 200, "product", {"name": "x", "price": 1}),
    ("PATCH", "api/v1/products/<str:pk>", CATALOGUE, 200, "product", {"name": "x"}),
    ("DELETE", "api/v1/products/<str:pk>", CATALOGUE, 204, "product", None),
    ("GET", "api/v1/orders", SIGNED_IN, 200, "", None),
    ("POST", "api/v1/orders", SIGNED_IN, 201, "", ORDER),
    ("GET", "api/v1/orders/<str:pk>", OWNER, 200, "order", None),
    ("GET", "api/v1/orders/analytics/summary", ANALYTICS, 200, SPAN, None),
]  # fmt: skip

PAGES: list[Call] = [
    ("GET", "", EVERYBODY, 200, "", None),
    ("GET", "health", EVERYBODY, 200, "", None),
    ("GET", "health/live", EVERYBODY, 200, "", None),
    ("GET", "health/ready", EVERYBODY, 200, "", None),
    # By address, not by person: the tests' is 127.0.0.1.
    ("GET", "metrics", EVERYBODY, 200, "", None),
    ("GET", "favicon.ico", EVERYBODY, 302, "", None),
    ("GET", "media/<path:name>", EVERYBODY, 200, "file", None),
    ("GET", "^api(?:/.*)?$", EVERYBODY, 404, "nothing", None),
    ("GET", "monitoring/", P_OPERATIONS, 200, "", None),
    ("GET", "monitoring/series", P_OPERATIONS, 200, "", None),
    ("GET", "monitoring/ready", P_OPERATIONS, 200, "", None),
    ("POST", "monitoring/ready", P_OPERATIONS, 302, "", {}),
    ("GET", "api/v2/benchmarks/dashboard", P_OPERATIONS, 200, "", None),
    ("GET", "orders/<uuid:id>/track", P_OWN_OR_DESK, 200, "order", None),
    ("GET", "accounts/login", EVERYBODY, 200, "", None),
    ("POST", "accounts/login", EVERYBODY, 302, "", SIGN_IN),
    ("GET", "accounts/logout", EVERYBODY, 405, "", None),
    ("POST", "accounts/logout", EVERYBODY, 302, "", {}),
    ("GET", "accounts/password", P_SIGNED_IN, 200, "", None),
    ("GET", "accounts/password/done", P_SIGNED_IN, 200, "", None),
    ("GET", "accounts/reset", EVERYBODY, 200, "", None),
    ("POST", "accounts/reset", EVERYBODY, 302, "", {"email": "alice@example.com"}),
    ("GET", "accounts/reset/sent", EVERYBODY, 200, "", None),
    ("GET", "accounts/reset/<uidb64>/<token>", EVERYBODY, 200, "uid link", None),
    ("GET", "accounts/reset/done", EVERYBODY, 200, "", None),
    ("POST", "language", EVERYBODY, 302, "", {"language": "ko", "next": "/"}),
    ("GET", "admin/", P_STAFF, 200, "", None),
    # Staff who are signed in go on to the front page.
    ("GET", "admin/login/", "ok ok ok 302 302 302 302 302 302", 200, "", None),
    ("GET", "admin/logout/", P_STAFF, 405, "", None),
    ("POST", "admin/logout/", P_STAFF, 302, "", {}),
    ("GET", "admin/password_change/", P_STAFF, 302, "", None),
    ("GET", "admin/password_change/done/", P_STAFF, 200, "", None),
    ("GET", "admin/jsi18n/", P_STAFF, 200, "", None),
    ("GET", "admin/autocomplete/", P_CATALOGUE, 200, AUTOCOMPLETE, None),
    # Nothing has an address outside the admin.
    ("GET", "admin/r/<path:content_type_id>/<path:object_id>/", P_STAFF, 404, "type order", None),
    ("GET", "admin/<label>/", "302 302 302 ok ok 404 ok 404 404", 200, "orders", None),
    ("GET", "admin/(?P<url>.*)$", P_STAFF, 404, "nothing", None),
    ("GET", "admin/shop/user/<id>/password/",
     "302 302 302 403 ok 403 403 403 403", 200, "bob", None),
    # The admin's pages that are our own; after a POST they lead back.
    ("GET", "admin/products/product/<int:pk>/stock/", P_CATALOGUE, 200, "product", None),
    ("POST", "admin/products/product/<int:pk>/stock/",
     P_CATALOGUE, 302, "product", {"change": "1", "reason": "received"}),
    ("POST", "admin/products/product/<int:pk>/analyse/", P_CATALOGUE, 200, "product", {}),
    ("POST", "admin/products/product/<int:pk>/suggestions/<int:suggestion>/",
     P_CATALOGUE, 302, "product suggestion", {"decision": "reject"}),
    ("POST", "admin/orders/order/<uuid:pk>/move/", P_DESK, 302, "order", {"status": "paid"}),
    ("POST", "admin/orders/order/<uuid:pk>/payment/",
     P_DESK, 302, "order", {"amount": "1", "method": "cash"}),
    ("POST", "admin/orders/order/<uuid:pk>/return/",
     P_DESK, 302, "delivered", {"reason": "x", "item_$product": "1"}),
    ("POST", "admin/orders/order/<uuid:pk>/refund/<int:refund>/",
     P_DESK, 302, "cancelled refund", {}),
]  # fmt: skip

# What the admin makes for each model. The letters: view, add, change, delete, for clerk,
# admin, catalogue, desk, operations and porter. Nobody else is let in.
GENERIC = [
    "", "add/", *(f"<path:object_id>/{tail}" for tail in ("", "history/", "delete/", "change/")),
]  # fmt: skip
MODELS: dict[str, str] = {
    "auth.group": "             -    vacd -    -    -    -",
    "shop.user": "              v    vacd -    v    -    -",
    "shop.accesstoken": "       -    vd   -    -    -    -",
    "shop.event": "             v    v    -    v    v    -",
    "shop.job": "               -    v    -    -    v    -",
    "shop.sinkoffset": "        -    v    -    -    v    -",
    "shop.webhook": "           -    vacd -    -    vacd -",
    "shop.attempt": "           -    v    -    -    v    -",
    "monitoring.alertrule": "   -    vacd -    -    vacd -",
    "monitoring.alertchange": " -    v    -    -    v    -",
    "monitoring.delivery": "    -    v    -    -    v    -",
    "monitoring.silence": "     -    vacd -    -    vacd -",
    "monitoring.channel": "     -    vacd -    -    vacd -",
    "products.category": "      vacd vacd vacd -    -    -",
    # Products are retired, not deleted.
    "products.product": "       vac  vac  vac  v    -    -",
    "products.suggestion": "    v    v    v    -    -    -",
    "products.stockmovement": " v    v    v    -    -    -",
    "orders.order": "           v    v    -    v    -    -",
    "orders.payment": "         v    v    -    v    -    -",
    "benchmarks.benchmarkrun": "-    vd   -    -    v    -",
}

# Actions on the admin's lists: who is offered them, and can have them done.
ALL = "admin"
CATALOGUE_STAFF = "clerk admin catalogue"
DESK_STAFF = "clerk admin desk"
OPERATIONS_STAFF = "admin operations"
ACTIONS: dict[str, str] = {
    "auth.group delete_selected": ALL,
    "shop.user delete_selected": ALL,
    "shop.accesstoken delete_selected": ALL,
    "shop.job run_again": OPERATIONS_STAFF,
    "shop.job cancel": OPERATIONS_STAFF,
    "shop.sinkoffset try_again": OPERATIONS_STAFF,
    "shop.sinkoffset skip": OPERATIONS_STAFF,
    "shop.sinkoffset send_again": OPERATIONS_STAFF,
    "shop.webhook delete_selected": OPERATIONS_STAFF,
    "shop.webhook switch_on": OPERATIONS_STAFF,
    "shop.webhook switch_off": OPERATIONS_STAFF,
    "shop.webhook send_test": OPERATIONS_STAFF,
    "shop.webhook send_day_again": OPERATIONS_STAFF,
    "shop.attempt send_again": OPERATIONS_STAFF,
    "monitoring.alertrule delete_selected": OPERATIONS_STAFF,
    "monitoring.silence delete_selected": OPERATIONS_STAFF,
    "monitoring.channel delete_selected": OPERATIONS_STAFF,
    "monitoring.channel send_test": OPERATIONS_STAFF,
    "products.category delete_selected": CATALOGUE_STAFF,
    "products.product retire": CATALOGUE_STAFF,
    "products.product book_stock": CATALOGUE_STAFF,
    "products.product categorise": CATALOGUE_STAFF,
    "products.product suggest": CATALOGUE_STAFF,
    "products.suggestion accept": CATALOGUE_STAFF,
    "products.suggestion reject": CATALOGUE_STAFF,
    **{
        f"orders.order move_to_{status.value}": DESK_STAFF
        for status in Status
        if status is not Status.PENDING
    },
    "orders.order export_csv": DESK_STAFF,
    "orders.order export_xlsx": DESK_STAFF,
    "benchmarks.benchmarkrun delete_selected": ALL,
}

SOCKETS = {"api/v2/orders/<uuid:id>/updates"}


# --- Asking ----------------------------------------------------------------


@contextmanager
def undone() -> Iterator[list[str]]:
    """Take back what happens inside, and tell the statements that changed a row.

    Sessions are no matter of rights: one that has ended is removed when it is found.
    """
    written: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        verb = sql.lstrip()[:6].upper()
        changed = verb in ("UPDATE", "DELETE") and context["cursor"].rowcount > 0
        if (changed or verb == "INSERT") and "django_session" not in sql:
            written.append(sql)
        return result

    with transaction.atomic():
        with connection.execute_wrapper(note):
            yield written
        transaction.set_rollback(True)


def ask(client: Any, method: str, path: str, body: Any) -> Any:
    if isinstance(client, APIClient):
        form = isinstance(body, dict) and "image" in body
        return (
            client.generic(method, path)
            if body is None
            else getattr(client, method.lower())(path, body, format="multipart" if form else "json")
        )
    return getattr(client, method.lower())(path, body)


def differences(
    shop: Shop, table: list[Call], make: Callable[[], Any], person: str, column: int
) -> list[str]:
    """Make each call of a table as one person; tell what was not as the table says."""
    found = []
    for method, route, who, ok, names, body in table:
        expected = int(who.split()[column].replace("ok", str(ok)))
        path = shop.path(route, names)
        with undone() as written:
            answer = ask(make(), method, path, shop.filled(body))
        call = f"{person}: {method} {path}"
        if answer.status_code != expected:
            found.append(f"{call} is {answer.status_code}, not {expected}")
        elif expected in (401, 403, 404, 405) and written:
            found.append(f"{call} is refused, and yet: {written}")
        elif expected == 401 and answer.headers.get("WWW-Authenticate") != "Bearer":
            found.append(f"{call} does not say how to sign in")
        elif expected in (201, 204) and not written:
            found.append(f"{call} is done, and yet nothing was written")
    return found


# --- The map ---------------------------------------------------------------


def walk(patterns: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route, pattern
        else:
            yield from walk(pattern.url_patterns, route)


def generic_admin_routes() -> set[str]:
    """The routes that the admin makes for each model, and that MODELS stands for."""
    return {f"admin/{model.replace('.', '/')}/{tail}" for model in MODELS for tail in GENERIC}


def test_every_route_and_every_method_has_a_line() -> None:
    routes = dict(walk(get_resolver().url_patterns))
    # Named after the apps that are there.
    routes = {
        "admin/<label>/" if "app_label" in route else route: pattern
        for route, pattern in routes.items()
    }
    lines = {(line[1], line[0]) for line in [*API, *PAGES]}
    assert len(lines) == len(API) + len(PAGES)
    assert {route for route, _ in lines} | generic_admin_routes() == set(routes)
    for route, pattern in routes.items():
        view = pattern.callback
        methods = getattr(view, "actions", None)
        if methods is None and route.startswith("api/v"):
            methods = [
                name for name in ("get", "post", "put", "patch", "delete")
                if hasattr(getattr(view, "cls", None), name)
            ]  # fmt: skip
        if methods:
            told = {method for line, method in lines if line == route}
            assert told == {name.upper() for name in methods if name != "head"}, route


def test_every_model_of_the_admin_has_a_line() -> None:
    assert {model._meta.label_lower for model in django_admin.site._registry} == set(MODELS)


def test_every_socket_has_a_line() -> None:
    # Who is let in: orders/tests/test_live.py.
    assert {str(pattern.pattern) for pattern in websocket_urlpatterns} == SOCKETS


# --- The people ------------------------------------------------------------


def test_everybody_at_the_api(shop: Shop) -> None:
    found: list[str] = []
    for column, person in enumerate(PEOPLE):
        header = f"Bearer {shop.tokens[person]}" if person in shop.tokens else None
        found += differences(shop, API, partial(bearing, header), person, column)
    assert found == []


def test_everybody_at_the_api_with_a_session(shop: Shop) -> None:
    """The same rights; as DRF's test client asks, so without the CSRF checks of others."""
    found: list[str] = []
    for column, person in enumerate(PEOPLE):
        session = shop.sessions.get(person)
        found += differences(shop, API, partial(browsing, session, APIClient), person, column)
    assert found == []


def test_everybody_on_the_pages(shop: Shop) -> None:
    found: list[str] = []
    for column, person in enumerate(PEOPLE):
        session = shop.sessions.get(person)
        found += differences(shop, PAGES, partial(browsing, session), person, column)
    assert found == []


def test_everybody_in_the_admin(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the pages look like takes most of the time, and is shown elsewhere.
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")
    found = []
    for column, person in enumerate(PEOPLE):
        if person == "bob":  # as alice
            continue
        for model, rights in MODELS.items():
            staff = column >= 3
            may = rights.split()[column - 3] if staff else ""
            one = f"{shop.of_model[model].pk}/"
            view = 200 if may.strip("-") else 403
            expected = {
                ("GET", ""): view,
                ("GET", "add/"): 200 if "a" in may else 403,
                ("GET", f"{one}change/"): view,
                ("GET", f"{one}history/"): view,
                ("GET", f"{one}delete/"): 200 if "d" in may else 403,
                ("GET", one): 302,
                **({} if "a" in may else {("POST", "add/"): 403}),
                **({} if "c" in may else {("POST", f"{one}change/"): 403}),
                **({} if "d" in may else {("POST", f"{one}delete/"): 403}),
            }
            for (method, tail), status in expected.items():
                path = f"/admin/{model.replace('.', '/')}/{tail}"
                body = {"post": "yes"} if method == "POST" else None
                with undone() as written:
                    answer = ask(browsing(shop.sessions.get(person)), method, path, body)
                if answer.status_code != (status if staff else 302):
                    found.append(f"{person}: {method} {path} is {answer.status_code}")
                if not staff and not answer["Location"].startswith("/admin/login/"):
                    found.append(f"{person}: {method} {path} leads to {answer['Location']}")
                if written:
                    found.append(f"{person}: {method} {path} wrote {written}")
    assert found == []


def test_every_action_of_the_admin_is_for_whom_the_table_says(shop: Shop) -> None:
    request = RequestFactory().get("/")
    offered: dict[str, set[str]] = {}
    for person in PEOPLE[1:]:
        request.user = shop.people[person]
        for model, model_admin in django_admin.site._registry.items():
            for action in model_admin.get_actions(request):
                offered.setdefault(f"{model._meta.label_lower} {action}", set()).add(person)
    # Customers are offered some, on pages that they do not reach.
    staff = set(PEOPLE[3:])
    assert {action: people & staff for action, people in offered.items()} == {
        action: set(people.split()) for action, people in ACTIONS.items()
    }


def test_an_action_that_is_not_offered_does_nothing(shop: Shop) -> None:
    found = []
    for action, people in ACTIONS.items():
        model, name = action.split()
        path = f"/admin/{model.replace('.', '/')}/"
        body = {"action": name, "_selected_action": [shop.of_model[model].pk], "post": "yes"}
        for person in PEOPLE:
            if person in people.split():
                continue
            with undone() as written:
                status = browsing(shop.sessions.get(person)).post(path, body).status_code
            # 200: the list, which has no action for this one.
            if written or status not in (200, 302, 403):
                found.append(f"{person}: {action} is {status} {written}")
    assert found == []


def test_methods_that_are_not_in_the_tables_are_405(shop: Shop) -> None:
    """Whoever asks, a page or the API; after signing in where v1 wants that first."""
    found = []
    lines = {(method, route) for method, route, *_ in [*API, *PAGES]}
    header = f"Bearer {shop.tokens['admin']}"
    for table, make in ((API, partial(bearing, header)), (PAGES, partial(browsing, None))):
        for _, route, _, _, names, _ in table:
            if route.startswith(("accounts/", "admin/", "^api")):
                continue
            for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE"):
                if (method, route) in lines:
                    continue
                path = shop.path(route, names)
                with undone() as written:
                    status = make().generic(method, path).status_code
                if status != 405 or written:
                    found.append(f"{method} {path} is {status}")
    assert found == []


def test_what_changes_something_in_the_admin_is_405_for_get(shop: Shop) -> None:
    for method, route, _, _, names, _ in PAGES:
        if route.startswith("admin/") and method == "POST" and not route.endswith("/stock/"):
            path = shop.path(route, names)
            for person in ("admin", "clerk"):
                assert browsing(shop.sessions[person]).get(path).status_code == 405, path


# --- Credentials that are none ---------------------------------------------


@pytest.mark.parametrize("kind", ["expired", "revoked", "switched off", "forged", "malformed"])
def test_a_bad_token_opens_nothing_at_the_api(shop: Shop, kind: str) -> None:
    """Not even what is open to all: the caller believes to be somebody."""
    admin = shop.people["admin"]
    row, secret = AccessToken.issue(admin)
    headers = [f"Bearer {secret}"]
    if kind == "expired":
        AccessToken.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    elif kind == "revoked":
        row.delete()
    elif kind == "switched off":
        User.objects.filter(pk=admin.pk).update(is_active=False)
    elif kind == "forged":
        headers = ["Bearer shop_" + "A" * 43, f"Bearer {row.digest}", f"Bearer {secret[:-1]}"]
    else:
        headers = ["Bearer", "Bearer ", "bearer\t", f"Bearer {secret} x", "Bearer é", "Bearer \0"]
    refused = [
        (method, route, EVERYBODY, 401, names, body) for method, route, _, _, names, body in API
    ]
    found: list[str] = []
    for header in headers[:1]:
        found += differences(shop, refused, partial(bearing, header), kind, 0)
    for header in headers[1:]:
        answer = bearing(header).get("/api/v2/products")
        if answer.status_code != 401 or answer["Content-Type"] != "application/problem+json":
            found.append(f"{header!r} is {answer.status_code}")
    assert found == []


def test_other_schemes_make_nobody_somebody(shop: Shop) -> None:
    found: list[str] = []
    for header in ("Basic YWRtaW46c2VjcmV0", f"Token {shop.tokens['admin']}", shop.tokens["admin"]):
        found += differences(shop, API[:16], partial(bearing, header), header, 0)
    assert found == []


@pytest.mark.parametrize("how", ["switched off", "password", "forged", "signed out"])
def test_a_session_that_has_ended_is_nobodys(shop: Shop, how: str) -> None:
    admin, session = shop.people["admin"], shop.sessions["admin"]
    if how == "switched off":
        User.objects.filter(pk=admin.pk).update(is_active=False)
    elif how == "password":
        admin.set_password("another")
        admin.save()
    elif how == "forged":
        session = session[::-1]
    else:
        browsing(session).post("/accounts/logout")
    # Signing in is another matter, and looking at the door too.
    pages = [line for line in PAGES if line[0] == "GET"]
    found = differences(shop, pages, partial(browsing, session), how, 0)
    found += differences(shop, API, partial(browsing, session, APIClient), how, 0)
    assert found == []
