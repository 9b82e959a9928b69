"""The pages a browser sees, and what goes with each answer."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from shop import views
from shop.jobs.queue import sweep

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path", ["/", "/accounts/login", "/accounts/reset", "/api/v2/docs", "/admin/login/"]
)
def test_pages_open_with_a_strict_policy_and_nothing_from_outside(client, path):
    page = client.get(path)
    assert page.status_code == 200
    policy = page["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    html = page.content.decode()
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', html)
    # The policy forbids inline scripts: a page that has one would be broken.
    assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", html)
    assert not re.findall(r"\son\w+=|<style|\sstyle=", html)


def test_every_address_on_the_front_page_leads_somewhere(client, admin):
    client.force_login(admin)
    html = client.get("/").content.decode()
    links = set(re.findall(r'href="(/[^"]*)"', html))
    assert {"/api/v2/docs", "/admin/", "/api/v2/products"} <= links
    for link in links:
        assert client.get(link).status_code == 200, link


def test_static_files_are_served(client):
    assert client.get("/static/shop/shop.css").status_code == 200
    assert client.get("/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js")


def test_the_schema_is_openapi_3_1_and_covers_v2_only(client):
    schema = client.get("/api/v2/schema").json()
    assert schema["openapi"].startswith("3.1")
    assert "/api/v2/orders/{id}/transitions" in schema["paths"]
    assert all(path.startswith("/api/v2/") for path in schema["paths"])
    post = schema["paths"]["/api/v2/products"]["post"]["responses"]
    assert set(post) == {
        *("201", "400", "401", "403", "408", "409", "413", "415", "422", "429", "503", "504")
    }
    answers = schema["components"]["responses"]
    for status, answer in post.items():
        if status != "201":
            name = answer["$ref"].removeprefix("#/components/responses/")
            assert "application/problem+json" in answers[name]["content"]


def test_the_schema_is_made_once_though_many_ask_at_once(monkeypatch):
    making, began = threading.Barrier(2, timeout=0.2), []

    def get_schema(self, request, public):
        began.append(1)
        # Breaks unless another comes in meanwhile.
        with suppress(threading.BrokenBarrierError):
            making.wait()
        return {}

    monkeypatch.setattr(SchemaGenerator, "get_schema", get_schema)
    views._described.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: Client().get("/api/v2/schema").content, range(4)))
    views._described.cache_clear()
    assert answers == [b"{}"] * 4
    assert began == [1]


def test_a_forgotten_password_is_reset_by_mail(client, alice, mailoutbox):
    client.post("/accounts/reset", {"email": alice.email})
    sweep()
    link = re.search(r"http://testserver(/accounts/reset/\S+)", mailoutbox[0].body).group(1)
    page = client.get(link, follow=True)
    done = client.post(
        page.redirect_chain[-1][0],
        {"new_password1": "new-pass-9Q", "new_password2": "new-pass-9Q"},
    )
    assert done.status_code == 302
    assert client.login(username="alice", password="new-pass-9Q")
    # The link works once.
    assert b"too old" in client.get(link, follow=True).content


def test_signing_in_and_out(client, alice):
    assert client.post("/accounts/login", {"username": "alice", "password": "secret"}).url == "/"
    assert b"alice" in client.get("/").content
    client.post("/accounts/logout")
    assert b"alice" not in client.get("/").content
