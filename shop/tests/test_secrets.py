"""No secret and no customer's address gets into a log line, a job, an event or an answer."""

import asyncio
import json
import logging
import os
import smtplib
import subprocess
import sys
from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError
from django.test import Client, RequestFactory
from django.views.debug import get_exception_reporter_filter
from rest_framework.test import APIClient

from conftest import ADDRESS
from monitoring import notify
from monitoring.logs import JSONFormatter
from monitoring.middleware import RequestLayer
from monitoring.models import Channel, Delivery
from orders.models import Order
from products import catalogue
from shop.accounts.models import AccessToken
from shop.accounts.sockets import Credentials
from shop.events.delivery import send_all
from shop.events.models import Event
from shop.jobs.models import Job
from shop.jobs.queue import enqueue, job, sweep
from shop.outgoing import new_secret
from shop.redact import redact

pytestmark = pytest.mark.django_db

# In every channel below one of these is sent. They look like what they stand for.
MARK = "geheim9Zq"
TOKEN = "shop_" + MARK + "x" * 40
PERSON = f"{MARK}@example.com"
STREET = f"Main St {MARK} 7"


class Lines(logging.Handler):
    """Keeps what would have been written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JSONFormatter())
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.texts) if line["logger"] == logger]


@pytest.fixture
def lines():
    """What is logged meanwhile; in the end no line may hold a mark."""
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    assert not [text for text in handler.texts if MARK in text]
    for model in (Job, Event, Delivery):
        assert MARK not in str(list(model.objects.values())), model


@job("test.secrets", attempts=1)
def failing(kind: str) -> str:
    """Fail as libraries do."""
    raise {
        "mail": smtplib.SMTPRecipientsRefused({PERSON: (550, b"no such user")}),
        "url": OSError(f"can't reach postgres://shop:{MARK}@db:5432/shop"),
        "hook": OSError(f"502 from https://hooks.slack.com/services/T0/B0/{MARK}?x={MARK}"),
        "token": ValueError(f"Authorization: Bearer {MARK}.abc.def and {TOKEN}"),
        "row": IntegrityError(
            'new row for relation "orders_order" violates check constraint\n'
            f"DETAIL:  Failing row contains (1, {STREET},\n\n Seoul {MARK})."
        ),
    }[kind]


def test_a_sign_in_that_fails_tells_from_where_and_nothing_else(lines, alice):
    for username, password in ((MARK, "x"), ("alice", MARK), (PERSON, MARK)):
        body = {"username": username, "password": password}
        for path in ("/accounts/login", "/admin/login/"):
            Client().post(path, body)
        APIClient().post("/api/v2/auth/tokens", body)
    failed = lines.of("shop.accounts.failures")
    assert len(failed) == 9
    assert {line["address"] for line in failed} == {"127.0.0.1"}
    assert {line["level"] for line in failed} == {"WARNING"}


@pytest.mark.parametrize(
    "header", [f"Bearer {TOKEN}", f"Bearer {MARK}", MARK, f"Basic {MARK}", f"Bearer é{MARK}"]
)
def test_what_is_sent_to_be_let_in(lines, header):
    client = Client()
    client.cookies["sessionid"] = MARK
    for path in ("/api/v2/orders", "/api/v1/orders", "/", "/admin/"):
        client.get(path, HTTP_AUTHORIZATION=header)
        client.post(path, HTTP_AUTHORIZATION=header)


def test_a_socket(lines):
    scope = {
        "headers": [(b"host", b"testserver"), (b"authorization", f"Bearer {MARK}".encode())],
        "subprotocols": ["bearer", TOKEN],
    }
    assert Credentials.of(scope).user() is None


def test_the_access_log_has_neither_path_nor_query(lines):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["shop"]["route"] = "accounts/reset/<uidb64>/<token>"
        await send({"type": "http.response.start", "status": 500, "headers": []})

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/accounts/reset/MQ/{MARK}",
        "raw_path": f"/accounts/reset/MQ/{MARK}".encode(),
        "query_string": f"token={MARK}".encode(),
        "headers": [(b"authorization", MARK.encode()), (b"cookie", MARK.encode())],
    }
    asyncio.run(RequestLayer(app)(scope, send, send))
    (line,) = lines.of("shop.request")
    assert line["route"] == "/accounts/reset/<uidb64>/<token>"


class TestFaultsOfOurs:
    """An error is logged with its story, and without what was sent."""

    def test_a_page_names_the_route(self, lines, monkeypatch):
        def broken(*args: Any) -> None:
            raise RuntimeError(f"no {PERSON} at https://shop.example/reset/{MARK}")

        monkeypatch.setattr("shop.accounts.urls.views.PasswordResetConfirmView.get_user", broken)
        client = Client(raise_request_exception=False)
        client.cookies["sessionid"] = MARK
        answer = client.get(f"/accounts/reset/MQ/{MARK}?token={MARK}")
        assert answer.status_code == 500
        assert MARK not in answer.content.decode()
        (line,) = lines.of("django.request")
        assert line["message"] == "Internal Server Error: /accounts/reset/<uidb64>/<token>"
        assert "RuntimeError: no [removed] at https://shop.example/[removed]" in line["exception"]
        assert "request" not in line

    def test_the_api(self, lines, monkeypatch, alice):
        def broken(pk: int) -> None:
            raise RuntimeError(f"no {PERSON}, {TOKEN}")

        monkeypatch.setattr(catalogue, "read_product", broken)
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.issue(alice)[1]}")
        answer = client.get("/api/v2/products/1")
        assert answer.status_code == 500
        assert MARK not in answer.content.decode()
        (line,) = lines.of("shop.errors")
        assert "RuntimeError: no [removed], [removed]" in line["exception"]
        (line,) = lines.of("django.request")
        assert line["message"] == "Internal Server Error: /api/v2/products/<str:id>"

    def test_a_row_that_the_database_refuses(
        self, lines, client_of, alice, make_product, monkeypatch
    ):
        product = make_product()
        # Bought for less than nothing: only the constraint is left to see it.
        monkeypatch.setattr("orders.actions.shipping_fee_for", lambda total: -total)
        client = client_of(alice)
        client.raise_request_exception = False
        answer = client.post(
            "/api/v2/orders",
            {
                "items": [{"product_id": str(product.pk), "quantity": 1}],
                "shipping_address": {**ADDRESS, "street": STREET},
                "memo": f"line\n\nline {MARK}",
            },
        )
        assert answer.status_code == 500
        assert MARK not in answer.content.decode()
        assert lines.of("shop.errors")
        assert not Order.objects.exists()

    def test_a_form_that_comes_from_elsewhere(self, lines):
        client = Client(enforce_csrf_checks=True)
        client.post(f"/accounts/reset/MQ/{MARK}?token={MARK}", {"password": MARK})
        (line,) = lines.of("django.security.csrf")
        assert line["message"].endswith(": /accounts/reset/<uidb64>/<token>")

    def test_too_many_fields(self, lines):
        body = "&".join(f"f{n}={MARK}" for n in range(1100))
        kind = "application/x-www-form-urlencoded"
        answer = Client().post(f"/accounts/login?x={MARK}", body, content_type=kind)
        assert answer.status_code == 400


@pytest.mark.parametrize("kind", ["mail", "url", "hook", "token", "row"])
def test_a_job_that_fails(lines, kind):
    row = enqueue("test.secrets", kind=kind)
    assert row is not None
    sweep()
    row.refresh_from_db()
    assert row.state == "failed"
    assert "[removed]" in row.error
    # Where it happened is kept.
    assert "in failing" in row.error
    assert "[removed]" in lines.of("shop.jobs.queue")[0]["exception"]


def test_a_mail_that_is_refused(lines, alice, make_order, monkeypatch):
    order = make_order(alice)
    Order.objects.filter(pk=order.pk).update(email=PERSON, street=STREET)

    def refuse(message: Any, fail_silently: bool = False) -> None:
        raise smtplib.SMTPRecipientsRefused(dict.fromkeys(message.to, (550, b"no")))

    monkeypatch.setattr(mail.EmailMessage, "send", refuse)
    send_all()
    sweep()
    assert Job.objects.get(task="orders.send_mail").error


@pytest.mark.parametrize(
    "url",
    [f"http://127.0.0.1:9/hook/{MARK}", f"http://user:{MARK}@127.0.0.1:9/?key={MARK}",
     f"http://[{MARK}", f"gopher://x/{MARK}"],
)  # fmt: skip
@pytest.mark.parametrize("private", [True, False])
def test_a_webhook_that_is_not_reached(lines, settings, url, private):
    settings.PRIVATE_TARGETS = private
    channel = Channel.objects.create(name="hook", kind="webhook", target=url, secret=new_secret())
    notify.try_channel(channel)
    sweep()
    delivery = Delivery.objects.get()
    assert delivery.answer
    assert channel.secret not in "".join(lines.texts) + delivery.answer


def test_a_webhook_that_is_reached(lines, monkeypatch):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://user:{MARK}@127.0.0.1:{server.server_port}/{MARK}?key={MARK}"
        notify.try_channel(Channel.objects.create(name="hook", kind="slack", target=url))
        sweep()
        thread.join()
    assert Delivery.objects.get().state == "sent"


def test_no_secret_is_shown_where_staff_look(client, admin):
    channel = Channel.objects.create(
        name="hook", kind="webhook", target="https://hook.example/", secret=new_secret()
    )
    token = AccessToken.issue(admin)[0]
    client.force_login(admin)
    for path in (
        "/admin/monitoring/channel/",
        f"/admin/monitoring/channel/{channel.pk}/change/",
        f"/admin/monitoring/channel/{channel.pk}/history/",
        "/admin/shop/accesstoken/",
        f"/admin/shop/accesstoken/{token.pk}/change/",
    ):
        page = client.get(path).content.decode()
        assert channel.secret not in page
        assert token.digest not in page
    # Nor told letter by letter.
    assert client.get("/admin/monitoring/channel/?secret__startswith=whsec_").status_code == 400
    assert client.get("/admin/monitoring/delivery/?channel__secret=x").status_code == 400


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY", "EMAIL_HOST_PASSWORD"]
)
def test_a_setting_that_is_wrong_is_not_quoted(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import django; django.setup()"],
        env={
            **{k: v for k, v in os.environ.items() if not k.endswith("_URL")},
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "DATA_DIR": str(tmp_path),
            name: f"nonsense://user:{MARK}@[host/{MARK}",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert MARK not in done.stdout + done.stderr
    assert (done.returncode != 0) == (name == "DATABASE_URL")


def test_debug_pages_leave_the_servers_addresses_out(settings):
    settings.DATABASE_URL = settings.BROKER_URL = f"postgres://shop:{MARK}@db/shop"
    settings.CACHES = {"default": {"LOCATION": f"redis://:{MARK}@cache"}}
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [f"redis://:{MARK}@cache"]}}}
    request = RequestFactory().get("/")
    shown = get_exception_reporter_filter(request).get_safe_settings()
    assert MARK not in str(
        {name: shown[name] for name in ("DATABASE_URL", "BROKER_URL", "CACHES", "CHANNEL_LAYERS")}
    )


@pytest.mark.parametrize(
    "text",
    [
        "request",
        "42 orders moved, 3 refused: /api/v2/orders/<str:id>",
        'File "/srv/shop/orders/actions.py", line 5, in work',
        "see https://docs.djangoproject.com",
        "@job",
        "a shop_order and a bearer of news",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_a_long_text_costs_no_more_than_its_length():
    for text in (
        "a" * 100_000,
        "a.-+" * 25_000,
        "x://" * 25_000,
        "a@" * 50_000,
        "DETAIL:" * 15_000,
    ):
        assert len(redact(text)) <= len(text) * 10
