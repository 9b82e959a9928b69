"""Runs: started, one at a time, cancelled, compared; and a real one from end to end."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from benchmarks import actions, runner
from benchmarks.models import BenchmarkRun
from benchmarks.runner import FactsDiffer, Parameters
from orders.models import Order
from products.models import Product
from shop.accounts.models import User
from shop.jobs.models import Job
from shop.jobs.queue import run as run_job

pytestmark = pytest.mark.django_db

URL = "/api/v2/benchmarks"


@pytest.fixture
def ops(db):
    user = User.objects.create_user("ops", is_staff=True)
    user.groups.add(Group.objects.get(name="Operations"))
    return user


def a_result(level=100.0, **environment):
    side = {
        "requests": 4, "errors": 0, "throughput": level, "rates": [level] * 5,
        "latencies_us": [round(1e6 / level)] * 20,
    }  # fmt: skip
    return {
        "environment": {"commit": "abc", **environment},
        "steps": [{"name": "search", "v1": side, "v2": side, "comparison": None}],
    }


def a_run(name, **fields):
    return BenchmarkRun.objects.create(
        **{"name": name, "benchmark_type": "search", "state": "finished", **fields}
    )


def test_a_run_is_accepted_and_done_by_a_worker(client_of, ops, monkeypatch):
    told = []

    def fake(parameters, say):
        say("measuring", 0.5)
        told.append(parameters)
        return a_result()

    monkeypatch.setattr(actions, "run", fake)
    made = client_of(ops).post(f"{URL}/run?benchmark_type=search&iterations=50")
    assert made.status_code == 202, made.content
    body = made.json()
    assert (body["state"], body["by"]) == ("queued", "ops")
    assert made["Location"] == f"{URL}/results/{body['id']}"
    job = Job.objects.get(task="benchmarks.run")
    run_job(job.pk)
    (parameters,) = told
    assert (parameters.benchmark_type, parameters.iterations) == ("search", 50)
    done = client_of(ops).get(made["Location"]).json()
    assert (done["state"], done["progress"]) == ("finished", 1)
    assert done["result"]["steps"][0]["v1"]["latencies_us"]
    listed = client_of(ops).get(f"{URL}/results?limit=1").json()["results"]
    assert [run["id"] for run in listed] == [body["id"]]
    assert "latencies_us" not in listed[0]["result"]["steps"][0]["v1"]
    file = client_of(ops).get(f"{URL}/results/{done['name']}.json?download=true")
    assert file["Content-Disposition"] == f'attachment; filename="{done["name"]}.json"'


def test_the_same_from_the_shell(monkeypatch, tmp_path):
    file = tmp_path / "told.json"
    monkeypatch.setattr(actions, "run", lambda parameters, say: shell_result(parameters))
    out = StringIO()
    call_command(
        "benchmark", "search", iterations=70, users=3, json=file, stdout=out, stderr=StringIO()
    )
    assert "| search | v1 | 100 |" in out.getvalue()
    assert "search: 2.00 x" in out.getvalue()
    run = BenchmarkRun.objects.get()
    assert (run.state, run.parameters["iterations"], run.parameters["users"]) == (
        "finished", 70, 3,
    )  # fmt: skip
    assert json.loads(file.read_text())["name"] == run.name
    assert f"Kept as {run.name}." in out.getvalue()


def shell_result(parameters):
    told = a_result()
    told["parameters"] = {"same": parameters.same}
    told["memory_mb"] = 100
    for step in told["steps"]:
        for side in ("v1", "v2"):
            step[side] |= {"p50_ms": 1, "p95_ms": 2, "p99_ms": 3, "cpu_us": 1000, "queries": 2}
        step["comparison"] = {
            "ratio": 2.0, "low": 1.9, "high": 2.1, "p": 0.01, "effect": 0.5, "verdict": "faster",
        }  # fmt: skip
    return told


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"users": 0}, {"products": 5}])
def test_wrong_words_in_the_shell_start_nothing(wrong):
    with pytest.raises(CommandError):
        call_command("benchmark", "search", **wrong)
    assert not BenchmarkRun.objects.exists()


def test_one_at_a_time(client_of, ops):
    first = client_of(ops).post(f"{URL}/run?benchmark_type=product").json()
    second = client_of(ops).post(f"{URL}/run?benchmark_type=search")
    assert (second.status_code, second.json()["code"]) == (409, "benchmark_running")
    assert second.json()["run"] == first["name"]
    assert (BenchmarkRun.objects.count(), Job.objects.count()) == (1, 1)


def test_a_name_that_no_run_can_have(client_of, ops):
    assert client_of(ops).get(f"{URL}/results/%00").status_code == 404
    assert client_of(ops).post(f"{URL}/results/a%00.json/cancel").status_code == 404


def test_a_run_whose_worker_died_does_not_block_for_ever(client_of, ops):
    lost = a_run("lost", state="running", seen_at=timezone.now() - timedelta(hours=1))
    assert client_of(ops).post(f"{URL}/run?benchmark_type=product").status_code == 202
    lost.refresh_from_db()
    assert (lost.state, lost.error) == ("failed", "The worker went away.")


def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_before_its_next_block(
    client_of, ops, monkeypatch
):
    client = client_of(ops)
    waiting = client.post(f"{URL}/run?benchmark_type=product").json()
    assert client.post(f"{URL}/results/{waiting['id']}/cancel").json()["state"] == "cancelled"
    assert actions.execute(waiting["id"]) == "cancelled"

    running = client.post(f"{URL}/run?benchmark_type=product").json()

    def fake(parameters, say):
        say("first block", 0.3)
        client.post(f"{URL}/results/{running['id']}/cancel")
        say("second block", 0.6)
        raise AssertionError("it went on")

    monkeypatch.setattr(actions, "run", fake)
    assert actions.execute(running["id"]) == "cancelled"


def test_a_failure_is_kept_and_not_tried_again(client_of, ops, monkeypatch):
    def fake(parameters, say):
        raise FactsDiffer("v1 tells 1, v2 2")

    monkeypatch.setattr(actions, "run", fake)
    made = client_of(ops).post(f"{URL}/run?benchmark_type=product").json()
    job = Job.objects.get()
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("failed", 1)
    told = client_of(ops).get(f"{URL}/results/{made['id']}").json()
    assert (told["state"], told["error"]) == ("failed", "FactsDiffer: v1 tells 1, v2 2")


@pytest.mark.parametrize(
    "query",
    ["", "benchmark_type=x", "benchmark_type=product&iterations=9",
     "benchmark_type=product&users=65", "benchmark_type=product&what=1"],
)  # fmt: skip
def test_bad_runs(client_of, ops, query):
    assert client_of(ops).post(f"{URL}/run?{query}").status_code == 400
    assert not BenchmarkRun.objects.exists()


def test_who_may(client_of, client, alice, clerk, ops):
    made = a_run("one", result=a_result())
    for user, status in ((None, 401), (alice, 403), (clerk, 403)):
        asked = client_of(user)
        assert asked.post(f"{URL}/run?benchmark_type=product").status_code == status
        assert asked.get(f"{URL}/results").status_code == status
        assert asked.get(f"{URL}/results/{made.pk}").status_code == status
        assert asked.post(f"{URL}/results/{made.pk}/cancel").status_code == status
        assert asked.get(f"{URL}/compare?baseline=one&current=one").status_code == status
    assert BenchmarkRun.objects.count() == 1
    assert client.get(f"{URL}/dashboard")["Location"].startswith("/accounts/login")
    for user, status in ((alice, 403), (ops, 200)):
        client.force_login(user)
        page = client.get(f"{URL}/dashboard")
        assert page.status_code == status
    assert page["Content-Type"].startswith("text/html")
    assert "style=" not in page.content.decode()


def test_any_two_results(client_of, ops):
    a_run("before", result=a_result(100, python="3.11"))
    a_run("after", result=a_result(200, python="3.12"))
    told = client_of(ops).get(f"{URL}/compare?baseline=before.json&current=after.json").json()
    assert {(step["version"], step["verdict"], step["ratio"]) for step in told["steps"]} == {
        ("v1", "faster", 2.0), ("v2", "faster", 2.0),
    }  # fmt: skip
    assert told["environment_differs"] == [
        {"name": "python", "baseline": "3.11", "current": "3.12"}
    ]
    a_run("empty", state="failed")
    none = client_of(ops).get(f"{URL}/compare?baseline=before&current=empty")
    assert (none.status_code, none.json()["code"]) == (409, "no_result")


@pytest.mark.parametrize("name", ["../../etc/passwd", "nothing.json", "/etc/passwd", "%00"])
def test_a_name_is_looked_up_and_never_a_path(client_of, ops, name):
    a_run("one", result=a_result())
    answer = client_of(ops).get(f"{URL}/compare", {"baseline": name, "current": "one"})
    assert answer.status_code in (400, 404)


@pytest.mark.django_db(transaction=True)
def test_a_real_run_touches_nothing_of_the_shop(make_order, alice):
    make_order(alice)
    before = (Product.objects.count(), Order.objects.count(), Job.objects.count())
    phases = []
    told = runner.run(
        Parameters("product", iterations=20, users=2, products=120, orders=5, blocks=2),
        lambda phase, share: phases.append((phase, share)),
    )
    assert [step["name"] for step in told["steps"]] == ["product.list", "product.detail"]
    for step in told["steps"]:
        for side in ("v1", "v2"):
            assert (step[side]["requests"], step[side]["errors"]) == (20, 0)
            assert step[side]["p50_ms"] > 0
        assert step["comparison"]["verdict"] in ("faster", "slower", "equivalent", "inconclusive")
    by_name = {step["name"]: step for step in told["steps"]}
    assert by_name["product.list"]["v1"]["queries"] == 2
    assert by_name["product.list"]["v2"]["queries"] <= 2
    assert told["environment"]["database"]
    shares = [share for _phase, share in phases]
    assert shares == sorted(shares) and shares[-1] <= 1
    assert (Product.objects.count(), Order.objects.count(), Job.objects.count()) == before
    assert mail.outbox == []
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'shop_ground_%'")
            assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["search", "order", "analytics"])
def test_both_versions_tell_the_same(kind):
    told = runner.run(
        Parameters(kind, iterations=4, users=2, products=400, orders=60, blocks=2),
        lambda phase, share: None,
    )
    (step,) = told["steps"]
    assert step["v1"]["errors"] == step["v2"]["errors"] == 0


@pytest.mark.django_db(transaction=True)
def test_different_facts_end_the_run(monkeypatch):
    told = iter(range(100))
    (step,) = runner.SCENARIOS["search"]
    broken = runner.Step(step.name, step.make, lambda answer: {"n": next(told)})
    monkeypatch.setitem(runner.SCENARIOS, "search", (broken,))
    with pytest.raises(FactsDiffer):
        runner.run(
            Parameters("search", iterations=4, users=1, products=120, orders=0),
            lambda phase, share: None,
        )
