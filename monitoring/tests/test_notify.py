"""Notices: sent once, tried again, signed, kept inside their bounds."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import standardwebhooks
from django.core import mail
from django.db.models import ProtectedError
from django.utils import timezone

from monitoring import notify
from monitoring.models import AlertChange, AlertRule, Channel, Delivery
from shop.jobs.models import Job
from shop.jobs.queue import run
from shop.outgoing import new_secret

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


def test_a_channel_that_has_told_something_is_kept_and_staff_are_told_why(change, client, admin):
    client.force_login(admin)
    used = Channel.objects.create(name="ops", kind="email", target="ops@example.com")
    told(change)
    unused = Channel.objects.create(name="new", kind="email", target="new@example.com")
    page = client.get(f"/admin/monitoring/channel/{used.pk}/delete/").content.decode()
    assert "Switch the channel off instead" in page
    client.post(f"/admin/monitoring/channel/{used.pk}/delete/", {"post": "yes"})
    both = {"action": "delete_selected", "_selected_action": [used.pk, unused.pk], "post": "yes"}
    client.post("/admin/monitoring/channel/", both)
    assert Channel.objects.count() == 2 and Delivery.objects.count() == 1
    # The last look and the deletion are not one step; the database refuses in between.
    with pytest.raises(ProtectedError):
        used.delete()
    client.post(f"/admin/monitoring/channel/{unused.pk}/delete/", {"post": "yes"})
    assert Channel.objects.get() == used
    Delivery.objects.all().delete()
    client.post(f"/admin/monitoring/channel/{used.pk}/delete/", {"post": "yes"})
    assert not Channel.objects.exists()


def test_by_mail(change):
    Channel.objects.create(name="ops", kind="email", target="ops@example.com")
    assert told(change).state == "sent"
    (message,) = mail.outbox
    assert message.to == ["ops@example.com"]
    assert "CPU: firing (system.cpu.usage 91.5, above 80)" in message.subject


def test_a_webhook_is_signed_by_the_standard(change, receiver):
    secret = new_secret()
    Channel.objects.create(name="hook", kind="webhook", target=receiver.url, secret=secret)
    delivery = told(change)
    assert (delivery.state, delivery.status_code) == ("sent", 204)
    ((path, headers, body),) = receiver.seen
    headers = {name.lower(): value for name, value in headers.items()}
    data = json.loads(body)
    assert (path, data["type"], data["data"]["value"]) == ("/hook", "alert.firing", 91.5)
    # The reference library takes it, which looks at the time as well.
    assert standardwebhooks.Webhook(secret).verify(body, headers) == data
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(new_secret()).verify(body, headers)


def test_slack_gets_text(change, receiver):
    Channel.objects.create(name="slack", kind="slack", target=receiver.url)
    assert told(change).state == "sent"
    assert "CPU: firing" in json.loads(receiver.seen[0][2])["text"]


def test_a_failure_is_tried_again_with_the_same_id(change, receiver):
    Channel.objects.create(name="hook", kind="webhook", target=receiver.url, secret=new_secret())
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


def test_channels_that_are_off_get_nothing(change):
    Channel.objects.create(name="ops", kind="email", target="ops@example.com", enabled=False)
    notify.tell(change, silenced=False)
    assert not Delivery.objects.exists()
