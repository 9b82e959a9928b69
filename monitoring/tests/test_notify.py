"""Notices: sent once, tried again, signed, kept inside their bounds."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.core import mail
from django.utils import timezone

from monitoring import notify
from monitoring.models import AlertChange, AlertRule, Channel, Delivery
from shop.jobs.models import Job
from shop.jobs.queue import run

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver():
    """A server that notes what it gets and answers as it is told."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers), body))
            status = server.answers.pop(0) if server.answers else 204
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            if status == 200:
                self.wfile.write(b"thanks" * 1000)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.answers = []
    server.seen = seen
    server.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def change():
    AlertRule.objects.all().delete()
    rule = AlertRule.objects.create(
        name="CPU", metric_name="system.cpu.usage", aggregation="avg", condition="gt", threshold=80
    )
    return AlertChange.objects.create(
        rule=rule, before="ok", state="firing", value=91.5, time=timezone.now()
    )


def told(change):
    notify.tell(change, silenced=False)
    for pk in Job.objects.filter(task="monitoring.deliver", state="queued").values_list(
        "pk", flat=True
    ):
        run(pk)
    return Delivery.objects.get()


def test_by_mail(change):
    Channel.objects.create(name="ops", kind="email", target="ops@example.com")
    assert told(change).state == "sent"
    (message,) = mail.outbox
    assert message.to == ["ops@example.com"]
    assert "CPU: firing (system.cpu.usage 91.5, above 80)" in message.subject


def test_a_webhook_is_signed_by_the_standard(change, receiver):
    secret = notify.new_secret()
    Channel.objects.create(name="hook", kind="webhook", target=receiver.url, secret=secret)
    delivery = told(change)
    assert (delivery.state, delivery.status_code) == ("sent", 204)
    ((path, headers, body),) = receiver.seen
    headers = {name.lower(): value for name, value in headers.items()}
    data = json.loads(body)
    assert (path, data["type"], data["data"]["value"]) == ("/hook", "alert.firing", 91.5)
    # By another road than notify.sign.
    key = base64.b64decode(secret[len("whsec_") :])
    signed = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    mac = hmac.new(key, signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60


def test_slack_gets_text(change, receiver):
    Channel.objects.create(name="slack", kind="slack", target=receiver.url)
    assert told(change).state == "sent"
    assert "CPU: firing" in json.loads(receiver.seen[0][2])["text"]


def test_a_failure_is_tried_again_with_the_same_id(change, receiver):
    Channel.objects.create(
        name="hook", kind="webhook", target=receiver.url, secret=notify.new_secret()
    )
    receiver.answers = [500]
    delivery = told(change)
    assert (delivery.state, delivery.attempts) == ("queued", 1)
    assert delivery.answer.startswith("Refused: 500")
    job = Job.objects.get(task="monitoring.deliver")
    assert job.state == "queued" and job.due_at > timezone.now()
    Job.objects.update(due_at=timezone.now())
    run(job.pk)
    run(job.pk)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("sent", 2)
    ids = [headers["webhook-id"] for _path, headers, _body in receiver.seen]
    assert len(ids) == 2 and len(set(ids)) == 1


def test_it_is_given_up_in_the_end(change, receiver):
    Channel.objects.create(name="slack", kind="slack", target=receiver.url)
    receiver.answers = [503] * 9
    delivery = told(change)
    for _ in range(9):
        Job.objects.update(due_at=timezone.now())
        run(Job.objects.get(task="monitoring.deliver").pk)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, len(receiver.seen)) == ("failed", 5, 5)


def test_what_was_sent_is_not_sent_again(change, receiver):
    Channel.objects.create(name="slack", kind="slack", target=receiver.url)
    delivery = told(change)
    assert notify.deliver(delivery.pk) == "nothing to do"
    assert len(receiver.seen) == 1


def test_redirects_are_not_followed_and_answers_are_cut(change, receiver):
    Channel.objects.create(name="slack", kind="slack", target=receiver.url)
    receiver.answers = [302, 200]
    delivery = told(change)
    assert delivery.state == "queued"
    Job.objects.update(due_at=timezone.now())
    run(Job.objects.get(task="monitoring.deliver").pk)
    delivery.refresh_from_db()
    assert [path for path, *_ in receiver.seen] == ["/hook", "/hook"]
    assert len(delivery.answer) == 500


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        # Spelt otherwise, and wrapped.
        "http://2130706433/",
        "http://0x7f.1/",
        "http://alice@127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[2002:a00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "ftp://example.com/",
        "http:///",
        "nonsense",
        "http://[",
    ],
)
def test_our_own_network_is_closed_unless_it_is_opened(settings, url, monkeypatch):
    settings.ALERT_PRIVATE_TARGETS = False

    def opened(*args, **kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", opened)
    with pytest.raises(notify.Refused):
        notify._post(url, b"{}", {})


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_the_world_is_open(settings, address):
    settings.ALERT_PRIVATE_TARGETS = False
    assert asyncio.run(notify.address_for("https", address, None)) == address


def named(monkeypatch, *answers):
    """Have the name hook.example answered so, each time with the next; returns who asked."""
    asked = []

    def lookup(host, port, *args, **kwargs):
        assert host == "hook.example"
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def test_one_address_inside_is_enough_to_refuse(settings, monkeypatch):
    settings.ALERT_PRIVATE_TARGETS = False
    named(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(notify.Refused, match="inside our own network"):
        asyncio.run(notify.address_for("http", "hook.example", None))


def test_the_connection_goes_to_the_address_that_was_looked_at(receiver, monkeypatch):
    # Whoever answers for the name may say something else the next time.
    asked = named(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    port = receiver.server_port
    assert notify._post(f"http://hook.example:{port}/hook", b"{}", {})[0] == 204
    assert asked == ["hook.example"]
    ((_path, headers, _body),) = receiver.seen
    assert {name.lower(): value for name, value in headers.items()}["host"] == (
        f"hook.example:{port}"
    )


def test_a_receiver_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(notify, "_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            link, _ = server.accept()
            with link, contextlib.suppress(OSError):
                link.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    link.sendall(b"X-More: x\r\n")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TimeoutError):
            notify._post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {})
        thread.join()


def test_channels_that_are_off_get_nothing(change):
    Channel.objects.create(name="ops", kind="email", target="ops@example.com", enabled=False)
    notify.tell(change, silenced=False)
    assert not Delivery.objects.exists()
