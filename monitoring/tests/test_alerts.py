"""Alert rules: the state machine, evaluation, replay, API and admin."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connections

from monitoring import alerts
from monitoring.alerts import alert_manager, evaluate
from monitoring.models import AlertChange, AlertRule, Channel, Delivery, Sample, Silence
from shop.accounts.models import User

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def only_ours():
    AlertRule.objects.all().delete()


@pytest.fixture
def rule():
    def make(**fields):
        told = {
            "name": "CPU", "metric_name": "system.cpu.usage", "condition": "gt", "threshold": 80.0,
            "window": 10, **fields,
        }  # fmt: skip
        return alert_manager.add_rule(**told)

    return make


def cpu(second, value):
    """One sample that covers ten seconds from `second` on."""
    Sample.objects.create(
        metric="system.cpu.usage", step=10, time=START + timedelta(seconds=second),
        count=1, total=value, minimum=value, maximum=value,
    )  # fmt: skip


def story(rule, *values):
    """Sample each ten seconds and evaluate; return the states."""
    states = []
    for number, value in enumerate(values):
        if value is not None:
            cpu(10 * number, value)
        evaluate(START + timedelta(seconds=10 * number + 10))
        rule.refresh_from_db()
        states.append(rule.state)
    return states


def test_the_rules_of_the_specification():
    alert_manager.add_rule(
        name="High CPU Usage",
        metric_name="system.cpu.usage",
        condition="gt",
        threshold=80.0,
        window=300,
    )
    alert_manager.add_rule(
        name="High Error Rate",
        metric_name="http.request.error",
        condition="gt",
        threshold=0.05,
        window=60,
    )
    told = AlertRule.objects.values_list("name", "aggregation", "enabled")
    assert set(told) == {("High CPU Usage", "avg", True), ("High Error Rate", "share", True)}


def test_they_come_with_the_shop():
    alerts.add_shipped_rules()
    alerts.add_shipped_rules()
    assert set(AlertRule.objects.values_list("name", flat=True)) == {
        "High CPU Usage", "High Error Rate",
    }  # fmt: skip


def test_what_staff_edited_stays(rule):
    made = rule()
    AlertRule.objects.filter(pk=made.pk).update(threshold=95, edited=True)
    assert rule(threshold=50.0).threshold == 95
    AlertRule.objects.filter(pk=made.pk).update(edited=False)
    assert rule(threshold=50.0).threshold == 50


@pytest.mark.parametrize(
    "fields",
    [{"metric_name": "nothing"}, {"aggregation": "share"}, {"window": 5}, {"condition": "eq"}],
)
def test_a_rule_that_can_not_be_evaluated(rule, fields):
    with pytest.raises(ValidationError):
        rule(**fields)
    assert not AlertRule.objects.exists()


def test_at_once(rule):
    assert story(rule(), 50, 90, 90, 50, 50) == ["ok", "firing", "firing", "resolved", "resolved"]
    assert list(AlertChange.objects.order_by("pk").values_list("before", "state", "value")) == [
        ("ok", "firing", 90.0), ("firing", "resolved", 50.0),
    ]  # fmt: skip


def test_only_after_a_while(rule):
    made = rule(for_seconds=20)
    assert story(made, 90, 50, 90, 90, 90) == ["pending", "ok", "pending", "pending", "firing"]


def test_it_keeps_firing(rule):
    made = rule(keep_firing_seconds=20)
    assert story(made, 90, 50, 90, 50, 50, 50) == ["firing"] * 4 + ["resolved"] * 2


def test_another_threshold_to_resolve(rule):
    made = rule(resolve_threshold=60.0)
    assert story(made, 70, 90, 70, 59, 70) == ["ok", "firing", "firing", "resolved", "resolved"]


def test_a_resolved_rule_is_ok_after_five_minutes_and_fires_again(rule):
    made = rule()
    states = story(made, 90, *([50] * 32), 90)
    assert states[:2] == ["firing", "resolved"]
    assert states[30] == "resolved" and states[31] == "ok"
    assert states[-1] == "firing"


@pytest.mark.parametrize(
    ("no_data", "states"),
    [
        ("ok", ["firing", "resolved", "resolved"]),
        ("keep", ["firing", "firing", "firing"]),
        ("firing", ["firing", "firing", "firing"]),
    ],
)
def test_no_data(rule, no_data, states):
    assert story(rule(no_data=no_data), 90, None, None) == states


def test_no_data_can_be_an_alarm_by_itself(rule):
    assert story(rule(no_data="firing"), None, 50) == ["firing", "resolved"]


def test_too_few_samples_are_no_data(rule):
    assert story(rule(window=30, min_samples=2), 90, 90) == ["ok", "firing"]


def test_a_rule_that_is_off_sleeps(rule):
    assert story(rule(enabled=False), 90, 90) == ["ok", "ok"]


def test_of_two_evaluators_one_tells(rule, monkeypatch):
    made = rule()
    Channel.objects.create(name="ops", kind="email", target="ops@example.com")
    cpu(0, 90)
    now = START + timedelta(seconds=10)
    window = alerts.series.window
    inside = []

    def rival(*args, **kwargs):
        value = window(*args, **kwargs)
        if not inside:
            inside.append(None)
            inside.append(evaluate(now))
        return value

    monkeypatch.setattr(alerts.series, "window", rival)
    assert evaluate(now) == 0
    assert inside[1] == 1
    assert (AlertChange.objects.count(), Delivery.objects.count()) == (1, 1)
    made.refresh_from_db()
    assert made.state == "firing"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_eight_evaluators_at_once_make_one_change(rule):
    rule()
    Channel.objects.create(name="ops", kind="email", target="ops@example.com")
    cpu(0, 90)

    def work(_):
        try:
            return evaluate(START + timedelta(seconds=10))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 1
    assert (AlertChange.objects.count(), Delivery.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"for_seconds": 20},
        {"keep_firing_seconds": 30, "resolve_threshold": 60.0},
        {"window": 30, "min_samples": 2, "no_data": "keep"},
    ],
)
def test_a_replay_tells_what_really_happened(rule, monkeypatch, fields):
    made = rule(**fields)
    values = [50, 90, 90, None, 90, 70, 70, 50, None, None, 90, 85, 50, 50, 50, 50, 95, 95, 95]
    story(made, *values)
    monkeypatch.setattr(alerts.series, "step_for", lambda start, end: 10)
    end = START + timedelta(seconds=10 * len(values))
    told = alerts.replay(made, START + timedelta(seconds=10), end)
    changes = AlertChange.objects.order_by("pk").values_list("time", "before", "state", "value")
    assert [(c["time"], c["before"], c["state"], c["value"]) for c in told] == list(changes)


def test_a_silence_silences_and_history_goes_on(rule):
    made = rule()
    Channel.objects.create(name="ops", kind="email", target="ops@example.com")
    Silence.objects.create(starts_at=START, ends_at=START + timedelta(seconds=15))
    assert story(made, 90, 50) == ["firing", "resolved"]
    told = Delivery.objects.order_by("pk").values_list("change__state", "state")
    assert list(told) == [("firing", "silenced"), ("resolved", "queued")]


class TestAPI:
    """Under /api/v2/alerts."""

    RULE = {
        "name": "Slow", "metric_name": "http.request.duration", "condition": "gt",
        "threshold": 0.5, "window": 60,
    }  # fmt: skip

    @pytest.fixture
    def ops(self, client_of, db):
        from django.contrib.auth.models import Group

        user = User.objects.create_user("ops", is_staff=True)
        user.groups.add(Group.objects.get(name="Operations"))
        return client_of(user)

    def test_rules_come_and_go(self, ops):
        made = ops.post("/api/v2/alerts/rules", self.RULE)
        assert made.status_code == 201, made.content
        assert (made.json()["aggregation"], made.json()["state"]) == ("p95", "ok")
        url = f"/api/v2/alerts/rules/{made.json()['id']}"
        assert made["Location"] == url
        changed = ops.patch(url, {"threshold": 0.7, "enabled": False})
        assert (changed.json()["threshold"], changed.json()["enabled"]) == (0.7, False)
        assert ops.get(url).json() == changed.json()
        assert ops.get("/api/v2/alerts").json()["results"][0]["rule"] == "Slow"
        assert ops.get(f"{url}/replay?hours=1").json() == {"results": []}
        assert ops.delete(url).status_code == 204
        assert ops.get(url).status_code == 404

    def test_bad_rules(self, ops):
        ops.post("/api/v2/alerts/rules", self.RULE)
        taken = ops.post("/api/v2/alerts/rules", self.RULE)
        assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
        for change in (
            {"metric_name": "x"}, {"aggregation": "share"}, {"condition": "eq"},
            {"window": 1}, {"threshold": "high"}, {"colour": "red"},
            {"threshold": "nan"}, {"threshold": 10**400}, {"window": "60"}, {"enabled": "yes"},
        ):  # fmt: skip
            answer = ops.post("/api/v2/alerts/rules", {**self.RULE, "name": "Other", **change})
            assert answer.status_code == 400, change
        assert AlertRule.objects.count() == 1

    def test_an_edit_leaves_the_state_alone(self, ops, rule):
        made = rule()
        story(made, 90)
        ops.patch(f"/api/v2/alerts/rules/{made.pk}", {"threshold": 85})
        made.refresh_from_db()
        assert (made.state, made.threshold, made.edited) == ("firing", 85, True)

    def test_history(self, ops, rule):
        story(rule(), 90, 50)
        told = ops.get("/api/v2/alerts/history").json()
        assert [(row["before"], row["state"]) for row in told["results"]] == [
            ("firing", "resolved"), ("ok", "firing"),
        ]  # fmt: skip

    def test_silences(self, ops, rule):
        made = rule()
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        silence = ops.post(
            "/api/v2/alerts/silences",
            {"rule_id": str(made.pk), "ends_at": later, "reason": "deploy"},
        )
        assert silence.status_code == 201, silence.content
        assert silence.json()["by"] == "ops"
        assert alerts.is_silenced(made, datetime.now(UTC) + timedelta(seconds=5))
        assert len(ops.get("/api/v2/alerts/silences").json()["results"]) == 1
        assert ops.delete(f"/api/v2/alerts/silences/{silence.json()['id']}").status_code == 204
        assert not Silence.objects.exists()
        for body in (
            {}, {"ends_at": "2020-01-01T00:00:00Z"}, {"ends_at": later, "rule_id": "999"},
            {"ends_at": later[:-6]},
            # Beyond the last day that the shop's zone has.
            {"starts_at": "9999-12-31T20:00:00Z", "ends_at": "9999-12-31T23:00:00Z"},
        ):  # fmt: skip
            assert ops.post("/api/v2/alerts/silences", body).status_code == 400

    def test_who_may(self, client_of, alice, clerk, rule):
        made = rule()
        for user, status in ((None, 401), (alice, 403), (clerk, 403)):
            client = client_of(user)
            for url in (
                "/api/v2/alerts", "/api/v2/alerts/history", "/api/v2/alerts/rules",
                "/api/v2/alerts/silences", f"/api/v2/alerts/rules/{made.pk}",
            ):  # fmt: skip
                assert client.get(url).status_code == status, url
            assert client.post("/api/v2/alerts/rules", self.RULE).status_code == status
        assert AlertRule.objects.count() == 1


class TestAdmin:
    """The same, by hand."""

    def test_a_rule(self, client, admin):
        client.force_login(admin)
        form = {
            "name": "Slow", "metric_name": "http.request.duration", "aggregation": "",
            "condition": "gt", "threshold": "0.5", "window": "60", "for_seconds": "0",
            "keep_firing_seconds": "0", "min_samples": "1", "no_data": "ok", "enabled": "on",
        }  # fmt: skip
        url = "/admin/monitoring/alertrule/add/"
        bad = client.post(url, {**form, "aggregation": "share"})
        assert "One of p95" in bad.content.decode()
        assert client.post(url, form).status_code == 302
        rule = AlertRule.objects.get()
        assert (rule.aggregation, rule.edited) == ("p95", True)
        assert client.get("/admin/monitoring/alertrule/").status_code == 200

    def test_a_channel_shows_its_secret_once(self, client, admin):
        client.force_login(admin)
        url = "/admin/monitoring/channel/add/"
        form = {"name": "hook", "kind": "webhook", "target": "nonsense", "enabled": "on"}
        assert client.post(url, form).status_code == 200
        form["target"] = "https://hooks.example.com/x"
        page = client.post(url, form, follow=True).content.decode()
        channel = Channel.objects.get()
        assert channel.secret.startswith("whsec_")
        assert channel.secret in page
        assert (
            channel.secret
            not in client.get(f"/admin/monitoring/channel/{channel.pk}/change/").content.decode()
        )
        client.post(
            "/admin/monitoring/channel/",
            {"action": "send_test", "_selected_action": [channel.pk]},
        )
        assert Delivery.objects.get().change is None

    @pytest.mark.parametrize("name", ["alertchange", "delivery", "silence"])
    def test_the_rest_opens(self, client, admin, rule, name):
        Channel.objects.create(name="ops", kind="email", target="ops@example.com")
        story(rule(), 90)
        client.force_login(admin)
        assert client.get(f"/admin/monitoring/{name}/").status_code == 200


class TestPage:
    """The page of live charts."""

    def test_who_may(self, client, alice, clerk, admin):
        for url in ("/monitoring/", "/monitoring/series"):
            client.logout()
            assert client.get(url)["Location"].startswith("/accounts/login")
            for user, status in ((alice, 403), (clerk, 403), (admin, 200)):
                client.force_login(user)
                assert client.get(url).status_code == status

    def test_what_it_shows(self, client, admin, rule):
        story(rule(), 90)
        client.force_login(admin)
        page = client.get("/monitoring/").content.decode()
        assert 'data-metric="system.cpu.usage"' in page
        assert "style=" not in page
        told = client.get("/monitoring/series?range=1h").json()
        assert told["alerts"][0]["state"] == "firing"
        assert set(told["metrics"]) == set(alerts.CATALOGUE)
        assert client.get("/monitoring/series?range=x").status_code == 400

    def test_queries(self, client, admin, django_assert_max_num_queries):
        client.force_login(admin)
        with django_assert_max_num_queries(6):
            client.get("/monitoring/series")
