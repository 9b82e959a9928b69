"""What goes with every answer, and whose pages may ask."""

import asyncio
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from rest_framework.test import APIClient

from conftest import ADDRESS
from monitoring.health import Live
from shop.accounts.models import AccessToken
from shop.server import _Refused
from shop.tests.scene import Shop, browsing
from shop.tests.test_every_right import API, GENERIC, MODELS, PAGES

pytestmark = pytest.mark.django_db

# Scripts, styles and handlers inside a page, and addresses of others. Data for scripts
# (`<script type="application/json">`) is none.
INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>|<style|\sstyle=|\son[a-z]+\s*=|"
    r"javascript:|<base|<iframe|<object|<embed",
    re.IGNORECASE,
)
ELSEWHERE = re.compile(r'(?:src|href|action|data)="(?:https?:)?//', re.IGNORECASE)


def pages(shop: Shop) -> set[str]:
    """Every address that answers a GET, as an admin may see it."""
    found = {shop.path(route, names) for method, route, _, _, names, _ in PAGES if method == "GET"}
    for model in MODELS:
        one = str(shop.of_model[model].pk)
        for tail in GENERIC:
            tail = tail.replace("<path:object_id>", one)
            found.add(f"/admin/{model.replace('.', '/')}/{tail}")
    return found | {"/api/v2/docs", "/nowhere", "/admin/orders/order/?q=x&status=paid"}


def test_every_page_obeys_the_policy(shop: Shop) -> None:
    wrong = []
    seen = 0
    for path in sorted(pages(shop)):
        answer = browsing(shop.sessions["admin"]).get(path)
        if not answer.get("Content-Type", "").startswith("text/html"):
            continue
        html = answer.content.decode()
        seen += bool(html)
        wrong += [f"{path}: {match.group()}" for match in INLINE.finditer(html)]
        wrong += [f"{path}: {match.group()}" for match in ELSEWHERE.finditer(html)]
        policy = answer["Content-Security-Policy"]
        if "unsafe" in policy or "default-src 'self'" not in policy:
            wrong.append(f"{path}: {policy}")
    assert wrong == []
    assert seen > 80


def test_every_answer_has_what_it_needs(shop: Shop) -> None:
    wrong = []
    asked = {(method, path) for method in ("GET", "POST", "PUT") for path in pages(shop)}
    asked |= {(method, shop.path(route, names)) for method, route, _, _, names, _ in API}
    for method, path in sorted(asked):
        for session in (None, shop.sessions["clerk"]):
            answer = browsing(session).generic(method, path)
            lacking = {"X-Content-Type-Options": "nosniff"}
            if not answer.get("Content-Type", "").startswith("application/"):
                lacking |= {
                    "X-Frame-Options": "DENY",
                    "Referrer-Policy": "same-origin",
                    "Cross-Origin-Opener-Policy": "same-origin",
                }
            for name, value in lacking.items():
                if answer.get(name) != value:
                    wrong.append(f"{method} {path} has no {name}")
            kept = answer.get("Cache-Control", "")
            if session and not kept.startswith("public") and "no-store" not in kept:
                wrong.append(f"{method} {path} may be stored: {kept!r}")
            if any(name.startswith("access-control-") for name in map(str.lower, answer.headers)):
                wrong.append(f"{method} {path} lets other sites in")
    assert wrong == []


def test_what_is_made_before_django_has_it_too() -> None:
    async def never(*args: Any) -> None:
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Live(never)({"path": "/health/live", "method": "GET"}, never, send))
    for headers in (sent[0]["headers"], _Refused(413, "x", "x").answer().headers):
        assert (b"x-content-type-options", b"nosniff") in headers
        assert (b"cache-control", b"no-store") in headers


class TestStored:
    """What depends on who asks is kept nowhere."""

    def test_a_token_is_not(self, alice: Any) -> None:
        body = {"username": "alice", "password": "secret"}
        assert APIClient().post("/api/v2/auth/tokens", body)["Cache-Control"] == "private, no-store"

    def test_what_a_token_opens_is_not(self, alice: Any) -> None:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.issue(alice)[1]}")
        for path in ("/api/v2/orders", "/api/v1/orders", "/api/v2/products"):
            assert client.get(path)["Cache-Control"] == "private, no-store"

    def test_a_page_that_gives_a_cookie_is_not(self, client: Client) -> None:
        page = client.get("/accounts/reset")
        assert page.cookies
        assert page["Cache-Control"] == "private, no-store"

    def test_the_catalogue_may_be(self, client: Client) -> None:
        assert "no-store" not in client.get("/api/v2/products").get("Cache-Control", "")


class TestOtherSites:
    """Nobody else's page can do anything in somebody's name."""

    @pytest.mark.parametrize("method", ["get", "options"])
    @pytest.mark.parametrize("path", ["/api/v2/products", "/api/v2/orders", "/api/v1/orders", "/"])
    def test_none_may_read(self, method: str, path: str, alice: Any) -> None:
        client = APIClient()
        client.force_login(alice)
        answer = getattr(client, method)(
            path,
            HTTP_ORIGIN="https://evil.example",
            HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
            HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization",
        )
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]

    def test_a_session_writes_with_the_csrf_token_alone(
        self, alice: Any, make_product: Any
    ) -> None:
        product = make_product()
        order = {
            "items": [{"product_id": str(product.pk), "quantity": 1}],
            "shipping_address": ADDRESS,
        }
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(alice)
        for path in ("/api/v2/orders", "/api/v1/orders"):
            refused = client.post(path, order)
            assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
        assert not alice.orders.exists()
        page = client.get("/accounts/password").content.decode()
        token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
        made = client.post("/api/v2/orders", order, HTTP_X_CSRFTOKEN=token)
        assert made.status_code == 201
        # The token is worth nothing from elsewhere.
        refused = client.post(
            "/api/v2/orders",
            order,
            HTTP_X_CSRFTOKEN=token,
            HTTP_ORIGIN="https://evil.example",
        )
        assert refused.status_code == 403

    @pytest.mark.parametrize("path", ["/api/v2/orders", "/api/v1/orders"])
    def test_a_bearer_token_needs_none(self, alice: Any, make_product: Any, path: str) -> None:
        client = APIClient(enforce_csrf_checks=True)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.issue(alice)[1]}")
        line = {"product_id": str(make_product().pk), "quantity": 1}
        made = client.post(path, {"items": [line], "shipping_address": ADDRESS})
        assert made.status_code == 201

    @pytest.mark.parametrize("path", ["/accounts/login", "/accounts/logout", "/admin/login/"])
    def test_forms_need_it(self, path: str, admin: Any) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin)
        answer = client.post(path, {"username": "admin", "password": "secret"})
        assert answer.status_code == 403
        assert client.get("/accounts/password").status_code == 200

    def test_cookies_are_for_this_site_and_for_no_script(self, alice: Any) -> None:
        client = Client()
        client.get("/accounts/login")
        client.post("/accounts/login", {"username": "alice", "password": "secret"})
        assert set(client.cookies) == {"sessionid", "csrftoken"}
        for cookie in client.cookies.values():
            assert cookie["httponly"] and cookie["samesite"] == "Lax"
            assert (cookie["path"], cookie["domain"]) == ("/", "")


class TestHosts:
    """Only the names that we serve."""

    @pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "a@testserver"])
    @pytest.mark.parametrize("path", ["/", "/api/v2/products", "/api/v1/orders", "/admin/"])
    def test_another_is_400(self, host: str, path: str) -> None:
        answer = Client().get(path, HTTP_HOST=host)
        assert answer.status_code == 400
        if path.startswith("/api"):
            assert answer["Content-Type"] == "application/problem+json"
        else:
            assert answer["Content-Security-Policy"]
            assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert host not in answer.content.decode()

    def test_what_proxies_say_of_it_is_not_believed(self, client: Client) -> None:
        answer = client.get("/api/v2/products?per_page=1", HTTP_X_FORWARDED_HOST="evil.example")
        assert answer.status_code == 200
        assert "evil" not in answer.content.decode()
        assert not django_settings.USE_X_FORWARDED_HOST


PRODUCTION = """
import json, django
django.setup()
from django.conf import settings
from django.test import Client
from django.core.management import call_command
# Collecting the files is another matter.
settings.STORAGES["staticfiles"]["BACKEND"] = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
)
call_command("migrate", verbosity=0)
from shop.accounts.models import User
User.objects.create_user("alice", password="secret")
tls = {"secure": True, "headers": {"host": "shop.example"}}
client = Client()
plain = client.get("/accounts/login", headers={"host": "shop.example"})
page = client.get("/accounts/reset", **tls)
wrong = client.get("/", headers={"host": "evil.example"})
health = client.get("/health/live", headers={"host": "shop.example"})
client.post("/accounts/login", {"username": "alice", "password": "secret"}, **tls)
print(json.dumps({
    "plain": [plain.status_code, plain["Location"]],
    "page": [page.status_code, dict(page.items())],
    "wrong": [wrong.status_code, dict(wrong.items())],
    "health": health.status_code,
    "cookies": {
        name: [bool(cookie["secure"]), bool(cookie["httponly"]), cookie["samesite"],
               cookie["path"], cookie["domain"]]
        for name, cookie in client.cookies.items()
    },
}))
"""


def test_production(tmp_path: Any) -> None:
    """TLS alone, for a year, with cookies that no other host can plant."""
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTION],
        env={
            **{k: v for k, v in os.environ.items() if not k.endswith("_URL")},
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "SHOP_ENV": "production",
            "SECRET_KEY": "x" * 60,
            "ALLOWED_HOSTS": "shop.example",
            "DATA_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["plain"] == [301, "https://shop.example/accounts/login"]
    assert told["health"] == 200
    status, headers = told["page"]
    assert status == 200
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    status, headers = told["wrong"]
    assert status == 400
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert told["cookies"] == {
        "__Host-csrftoken": [True, True, "Lax", "/", ""],
        "__Host-sessionid": [True, True, "Lax", "/", ""],
    }


@pytest.mark.parametrize(
    ("setting", "value", "warning"),
    [
        ("ALLOWED_HOSTS", ["*"], "shop.W001"),
        ("RATE_LIMITS", False, "shop.W003"),
    ],
)
def test_open_doors_are_named(settings: Any, setting: str, value: Any, warning: str) -> None:
    from ipaddress import ip_network

    from shop.checks import check_doors

    settings.ALLOWED_HOSTS = ["shop.example"]
    assert check_doors() == []
    setattr(settings, setting, value)
    assert [found.id for found in check_doors()] == [warning]
    settings.METRICS_NETWORKS = [ip_network("0.0.0.0/0")]
    assert "shop.W002" in [found.id for found in check_doors()]
