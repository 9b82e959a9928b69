"""Webhooks by the API and in the admin; their secrets are told once."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

from shop.accounts.models import User
from shop.events import sinks
from shop.events.models import Event, SinkOffset
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


def ago(**span):
    return (timezone.now() - timedelta(**span)).isoformat()


def happened(subject, days_ago, *types):
    for sequence, (days, kind) in enumerate(zip(days_ago, types, strict=True), 1):
        Event.objects.create(
            type=kind, subject=subject, sequence=sequence, data={}, pending=False,
            time=timezone.now() - timedelta(days=days),
        )  # fmt: skip


def run_all():
    """Run what is queued; return what became of it."""
    told = []
    for pk in Job.objects.filter(state="queued").values_list("pk", flat=True):
        run(pk)
        told.append(Job.objects.get(pk=pk))
    return told


def test_a_time_is_sent_again(api, posted):
    happened("order/a", (3, 2, 1), "order.paid", "order.shipped", "order.paid")
    happened("order/b", (2,), "order.paid")
    url = api.post(URL, HOOK)["Location"]
    answer = api.post(f"{url}/resend", {"since": ago(days=2.5), "until": ago(hours=1)})
    # Its types alone.
    assert (answer.status_code, answer.json()) == (202, {"events": 2})
    assert posted == []
    (job,) = run_all()
    assert (job.state, job.result) == ("finished", "2 sent, 0 refused")
    ids = {(e.subject, e.sequence): str(e.pk) for e in Event.objects.all()}
    assert [id for _url, id, _body in posted] == [ids["order/b", 1], ids["order/a", 3]]


def test_a_subject_is_sent_again_in_its_order(api, posted):
    happened("order/a", (1, 3), "order.paid", "order.paid")
    happened("order/b", (2,), "order.paid")
    url = api.post(URL, HOOK)["Location"]
    assert api.post(f"{url}/resend", {"subject": "order/a"}).json() == {"events": 2}
    assert api.post(f"{url}/resend", {"subject": "order/none"}).json() == {"events": 0}
    run_all()
    assert [body["sequence"] for _url, _id, body in posted] == ["1", "2"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"until": "2026-01-01T00:00:00Z"},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "yesterday"},
        {"subject": ""},
    ],
)
def test_what_names_no_events_is_refused(api, wrong):
    url = api.post(URL, HOOK)["Location"]
    assert api.post(f"{url}/resend", wrong).status_code == 400
    assert not Job.objects.exists()


def test_nothing_is_sent_again_to_one_that_is_off(api, posted):
    happened("order/a", (2, 1), "order.paid", "order.paid")
    url = api.post(URL, HOOK)["Location"]
    api.post(f"{url}/resend", {"subject": "order/a"})
    api.patch(url, {"enabled": False})
    refused = api.post(f"{url}/resend", {"subject": "order/a"})
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_off")
    # Nor if it was switched off in between.
    (job,) = run_all()
    assert (job.state, posted) == ("failed", [])
    assert "switched off after 0 of 2" in job.error


def test_one_that_gives_no_answer_is_not_asked_for_each_event(api, monkeypatch):
    happened("order/a", (3, 2, 1), "order.paid", "order.paid", "order.paid")
    url = api.post(URL, HOOK)["Location"]
    answers = [(500, ""), OSError("gone")]

    def post(url, body, headers):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(sending.outgoing, "post", post)
    api.post(f"{url}/resend", {"since": ago(days=9)})
    (job,) = run_all()
    # A refusal is counted, and the next is sent.
    assert (answers, job.state) == ([], "failed")
    assert "gone after 1 of 3" in job.error
    assert Attempt.objects.count() == 2


def test_how_many_are_sent_again_has_a_bound(api, posted, monkeypatch):
    monkeypatch.setattr(sending, "RESENT", 2)
    happened("order/a", (3, 2, 1), "order.paid", "order.paid", "order.paid")
    url = api.post(URL, HOOK)["Location"]
    assert api.post(f"{url}/resend", {"since": ago(days=9)}).json() == {"events": 2}
    (job,) = run_all()
    second = Event.objects.get(sequence=2)
    assert job.result == f"2 sent, 0 refused, and there may be more from {second.time.isoformat()}"
    assert len(posted) == 2


def test_the_log_is_narrowed(api):
    url = api.post(URL, HOOK)["Location"]
    other = Webhook.objects.create(name="other", url="https://hook.example", secret=new_secret())
    mine = Webhook.objects.exclude(pk=other.pk).get()
    ids = [uuid4() for _ in range(2)]
    told = (
        (ids[0], "order.paid", "order/a", 204), (ids[0], "order.paid", "order/a", 500),
        (ids[1], "order.shipped", "order/b", None), (ids[1], "order.shipped", "order/b", 299),
        (ids[1], "order.shipped", "order/b", 302),
    )  # fmt: skip
    for webhook in (mine, other):
        for id, kind, subject, status in told:
            Attempt.objects.create(
                webhook=webhook, event_id=id, type=kind, subject=subject, number=1, status=status,
                body="",
            )  # fmt: skip

    def found(query):
        answer = api.get(f"{url}/attempts?{query}")
        assert answer.status_code == 200, answer.content
        assert answer.json()["total"] == len(answer.json()["results"])
        return [row["status"] for row in reversed(answer.json()["results"])]

    assert found("") == [204, 500, None, 299, 302]
    assert found("taken=true") == [204, 299]
    assert found("taken=false") == [500, None, 302]
    assert found("taken=&status=500") == [500]
    assert found(f"event_id={ids[0]}") == [204, 500]
    assert found("type=order.shipped&taken=false") == [None, 302]
    assert found("subject=order/b&status=299") == [299]
    for wrong in ("taken=yes", "status=99", "status=x", "event_id=1", "webhook=1"):
        assert api.get(f"{url}/attempts?{wrong}").status_code == 400


def test_staff_send_a_day_again(client, ops, posted):
    client.force_login(ops)
    happened("order/a", (1, 0), "order.paid", "order.paid")
    webhook = Webhook.objects.create(name="x", url="https://hook.example", secret=new_secret())
    off = Webhook.objects.create(name="off", url="https://hook.example", enabled=False)
    url = "/admin/shop/webhook/"
    chosen = {"action": "send_day_again", "_selected_action": [webhook.pk, off.pk]}
    page = client.post(url, chosen)
    assert [line.pk for line, _field in page.context["ready"]] == [webhook.pk]
    day = timezone.localtime(Event.objects.get(sequence=1).time).date()
    confirmed = {**chosen, "key": page.context["key"], "day": day.isoformat()}
    report = client.post(url, confirmed)
    assert [line.pk for line, _text in report.context["done"]] == [webhook.pk]
    assert [line.pk for line, _text in report.context["failed"]] == [off.pk]
    # A second click sends nothing twice.
    client.post(url, confirmed)
    run_all()
    assert [body["sequence"] for _url, _id, body in posted] == ["1"]


def test_staff_send_a_delivery_again(client, ops, posted):
    client.force_login(ops)
    happened("order/a", (2, 1), "order.paid", "order.shipped")
    webhook = Webhook.objects.create(name="x", url="https://hook.example", secret=new_secret())
    rows = [
        SinkOffset.objects.create(
            sink=sink, subject="order/a", delivered=2, newest=2, due_at=timezone.now(),
            waiting_since=timezone.now(),
        )
        for sink in (webhook.sink, "mail")
    ]  # fmt: skip
    chosen = {"action": "send_again", "_selected_action": [row.pk for row in rows]}
    client.post("/admin/shop/sinkoffset/", chosen)
    run_all()
    # Nothing is mailed twice: a mail has no id by which it would be known again.
    assert [body["sequence"] for _url, _id, body in posted] == ["1", "2"]
    Webhook.objects.update(enabled=False)
    page = client.post("/admin/shop/sinkoffset/", chosen, follow=True).content.decode()
    assert "Switch the webhook on" in page
    assert run_all() == [] and len(posted) == 2


def test_staff_narrow_the_log(client, ops):
    client.force_login(ops)
    webhook = Webhook.objects.create(name="x", url="https://hook.example", secret=new_secret())
    for status in (204, 500, None):
        Attempt.objects.create(
            webhook=webhook, event_id=uuid4(), type="x", subject="order/a", number=1, status=status
        )
    for query, found in (
        ("taken=yes", 1),
        ("taken=no", 2),
        (f"webhook__id__exact={webhook.pk}", 3),
    ):
        page = client.get(f"/admin/shop/attempt/?{query}")
        assert page.context["cl"].result_count == found


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
