"""Webhooks by the API and in the admin; their secrets are told once."""

import json

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from shop.accounts.models import User
from shop.events import sinks
from shop.events.record import record
from shop.jobs.models import Job
from shop.jobs.queue import run
from shop.outgoing import new_secret
from shop.webhooks import sending
from shop.webhooks.models import Attempt, Webhook

pytestmark = pytest.mark.django_db

URL = "/api/v2/webhooks"
HOOK = {"name": "books", "url": "https://hook.example/in", "types": ["order.paid"]}


@pytest.fixture
def ops():
    user = User.objects.create_user("ops", password=None, is_staff=True)
    user.groups.add(Group.objects.get(name="Operations"))
    return user


@pytest.fixture
def api(client_of, ops):
    yield client_of(ops)
    sinks.forget()


@pytest.fixture
def posted(monkeypatch):
    """Have nothing leave the process; return what would have."""
    sent = []

    def post(url, body, headers):
        sent.append((url, headers["webhook-id"], json.loads(body)))
        return 204, ""

    monkeypatch.setattr(sending.outgoing, "post", post)
    return sent


def event():
    with transaction.atomic():
        return record(type="order.paid", subject="order/a", sequence=1, actor=None, data={})


def test_the_secret_is_told_once(api, ops):
    made = api.post(URL, HOOK)
    assert made.status_code == 201
    told = made.json()
    assert told["secret"].startswith("whsec_")
    assert told["created_by"] == "ops"
    assert made["Location"] == f"{URL}/{told['id']}"
    for answer in (
        api.get(URL),
        api.get(made["Location"]),
        api.patch(made["Location"], {"name": "b"}),
    ):
        assert answer.status_code == 200
        assert "whsec_" not in answer.content.decode()
    rotated = api.post(f"{made['Location']}/rotate", {}).json()
    assert rotated["secret"] not in ("", told["secret"])
    assert rotated["previous_secret_until"] is not None
    assert Webhook.objects.get().previous_secret == told["secret"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://hook.example/"},
        {"url": "nonsense"},
        {"types": [1]},
        {"types": "order.paid"},
        {"secret": "whsec_mine"},
        {"enabled": "yes"},
    ],
)
def test_what_can_be_no_webhook_is_refused(api, wrong):
    assert api.post(URL, {**HOOK, **wrong}).status_code == 400
    assert not Webhook.objects.exists()


def test_switching_off_and_on(api):
    url = api.post(URL, HOOK)["Location"]
    off = api.patch(url, {"enabled": False}).json()
    assert (off["enabled"], off["reason"]) == (False, "By hand.")
    on = api.patch(url, {"enabled": True}).json()
    assert (on["enabled"], on["reason"], on["switched_off_at"]) == (True, "", None)
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404
    assert api.get(f"{url}/attempts").status_code == 404


def test_a_test_and_an_event_sent_again(api, posted):
    url = api.post(URL, HOOK)["Location"]
    assert api.post(f"{url}/test").json()["taken"]
    told = event()
    for number in (1, 2):
        answer = api.post(f"{url}/again", {"event_id": str(told.pk)}).json()
        assert (answer["number"], answer["status"]) == (number, 204)
    assert [body["type"] for _url, _id, body in posted] == [
        "webhook.test",
        "order.paid",
        "order.paid",
    ]
    assert [id for _url, id, _body in posted][1:] == [str(told.pk)] * 2
    rows = api.get(f"{url}/attempts").json()["results"]
    assert [row["number"] for row in rows] == [2, 1, 1]
    unknown = api.post(f"{url}/again", {"event_id": "00000000-0000-7000-8000-000000000000"})
    assert unknown.status_code == 400
    api.patch(url, {"enabled": False})
    refused = api.post(f"{url}/again", {"event_id": str(told.pk)})
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_off")
    assert len(posted) == 3


def test_in_the_admin(client, ops, posted):
    client.force_login(ops)
    page = client.post(
        "/admin/shop/webhook/add/",
        {"name": "books", "url": "https://hook.example/", "types": "[]"},
        follow=True,
    ).content.decode()
    webhook = Webhook.objects.get()
    assert (webhook.created_by, webhook.types) == (ops, [])
    assert webhook.secret in page.replace("&#x2B;", "+").replace("&#x3D;", "=")
    for url in ("/admin/shop/webhook/", f"/admin/shop/webhook/{webhook.pk}/change/"):
        assert "whsec_" not in client.get(url).content.decode()
    assert client.get("/admin/shop/webhook/?secret__startswith=w").status_code != 200

    def act(model, action, pk):
        client.post(f"/admin/shop/{model}/", {"action": action, "_selected_action": [pk]})
        for job in Job.objects.filter(state="queued"):
            run(job.pk)

    act("webhook", "send_test", webhook.pk)
    told = event()
    sending.attempt(webhook, told)
    act("attempt", "send_again", Attempt.objects.latest("pk").pk)
    assert [id for _url, id, _body in posted][1:] == [str(told.pk)] * 2
    act("webhook", "switch_off", webhook.pk)
    webhook.refresh_from_db()
    assert not webhook.enabled
    act("webhook", "switch_on", webhook.pk)
    webhook.refresh_from_db()
    assert webhook.enabled
    client.post(f"/admin/shop/webhook/{webhook.pk}/delete/", {"post": "yes"})
    assert not Webhook.objects.exists()
    sinks.forget()


def test_a_secret_is_no_part_of_what_is_kept_of_an_attempt(monkeypatch):
    webhook = Webhook.objects.create(name="x", url="https://hook.example/key", secret=new_secret())

    def post(url, body, headers):
        raise OSError(f"could not reach {url} with {webhook.secret}")

    monkeypatch.setattr(sending.outgoing, "post", post)
    row = sending.send_test(webhook)
    assert webhook.secret not in row.error and "/key" not in row.error
