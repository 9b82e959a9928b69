"""What operators and their machines ask."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import OperationalError
from django.utils import timezone
from prometheus_client import REGISTRY

from conftest import ADDRESS
from monitoring import health, metrics
from monitoring.metrics import CATALOGUE
from monitoring.models import SamplerState
from shop.jobs.models import Job

pytestmark = pytest.mark.django_db


def test_all_is_well(client):
    SamplerState.objects.create(sampled_at=timezone.now())
    parts = ("database", "migrations", "cache", "broker", "worker", "jobs", "events", "disk")
    assert client.get("/health").json() == {"status": "ok", "checks": dict.fromkeys(parts, "ok")}
    assert client.get("/health/ready").json() == {"status": "ok"}
    assert client.get("/health/live").json() == {"status": "ok"}


def test_without_its_database_it_is_not_ready_but_lives(client, monkeypatch):
    def gone():
        raise OperationalError

    monkeypatch.setattr(health, "_check_database", gone)
    assert client.get("/health/ready").status_code == 503
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json()["checks"]["database"] == "unavailable"
    assert client.get("/health/live").status_code == 200


def test_without_its_cache_it_is_ready_and_says_degraded(client, monkeypatch):
    monkeypatch.setattr(health.cache, "get", lambda *a, **k: None)
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json()["checks"]["cache"] == "degraded"


@pytest.mark.parametrize(
    ("part", "scene"),
    [
        ("worker", lambda settings: None),
        (
            "worker",
            lambda settings: SamplerState.objects.create(
                sampled_at=timezone.now() - timedelta(minutes=2)
            ),
        ),
        (
            "jobs",
            lambda settings: Job.objects.create(
                task="x", due_at=timezone.now() - timedelta(hours=1)
            ),
        ),
        ("broker", lambda settings: setattr(settings, "BROKER_URL", "amqp://127.0.0.1:1//")),
    ],
    ids=["no worker", "silent worker", "overdue job", "no broker"],
)
def test_what_is_only_welcome_degrades(client, settings, part, scene):
    scene(settings)
    response = client.get("/health")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["checks"][part].startswith("degraded")
    assert client.get("/health/ready").status_code == 200


def test_what_each_part_says_is_not_for_everybody(client, alice, clerk):
    assert "checks" not in client.get("/health", REMOTE_ADDR="203.0.113.9").json()
    client.force_login(alice)
    assert "checks" not in client.get("/health", REMOTE_ADDR="203.0.113.9").json()
    client.force_login(clerk)
    assert "checks" in client.get("/health", REMOTE_ADDR="203.0.113.9").json()


def test_with_migrations_missing_it_is_not_ready(client, monkeypatch):
    monkeypatch.setattr(health, "_migrated", False)
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *a: ["something"])
    assert client.get("/health/ready").status_code == 503


@pytest.mark.parametrize(
    ("address", "forwarded", "status"),
    [
        ("127.0.0.1", None, 200),
        ("::1", None, 200),
        ("203.0.113.9", None, 403),
        ("127.0.0.1", "203.0.113.9", 403),
        ("", None, 403),
    ],
)
def test_metrics_are_for_known_networks(client, address, forwarded, status):
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert client.get("/metrics", REMOTE_ADDR=address, headers=headers).status_code == status


@pytest.mark.parametrize("name", ["Forwarded", "X-Real-IP", "Via", "X-Forwarded-For"])
def test_a_proxy_that_we_were_not_told_of_proves_nothing(client, settings, name):
    headers = {name: "127.0.0.1"}
    assert client.get("/metrics", headers=headers).status_code == 403
    assert "checks" not in client.get("/health", headers=headers).json()
    # shop/proxies.py has seen through those that we were told of.
    settings.TRUSTED_PROXIES = 1
    assert client.get("/metrics", headers=headers).status_code == 200


def test_the_page_has_what_the_catalogue_names(client, client_of, alice, make_product, make_order):
    order = make_order(alice)
    client_of(alice).get(f"/api/v2/products/{order.items.get().product_id}")
    for status in ("completed", "cancelled"):
        metrics.count_order_move(status)
    metrics.count_request("GET", "/x", 500, 0.1)
    metrics.ORDER_CREATED.labels("success").inc()
    metrics.count_ready("/x", "hit")
    metrics.READY_BYTES.set(0)
    metrics.count_job("test.work", "finished", 0.1)
    cache.set("a", 1)
    cache.get("a")
    page = client.get("/metrics").content.decode()
    for metric in CATALOGUE.values():
        assert f"# TYPE {metric.series.removesuffix('_total')}" in page, metric.name


def orders(status):
    return REGISTRY.get_sample_value("shop_orders_created_total", {"status": status}) or 0


@pytest.mark.parametrize(
    ("stock", "quantity", "outcome"),
    [(5, 1, "success"), (0, 1, "business_error"), (5, 0, "validation_error")],
)
def test_orders_are_counted_by_how_they_ended(
    client_of, alice, make_product, stock, quantity, outcome
):
    product = make_product(stock=stock)
    before = orders(outcome)
    body = {
        "items": [{"product_id": str(product.pk), "quantity": quantity}],
        "shipping_address": ADDRESS,
    }
    for _ in range(2 if outcome == "success" else 1):
        client_of(alice).post("/api/v2/orders", body, headers={"Idempotency-Key": "k"})
    # A replayed answer is not another order.
    assert orders(outcome) == before + 1


@pytest.mark.parametrize(("to", "series"), [("cancelled", "cancelled"), ("completed", "completed")])
def test_ends_of_orders_are_counted_after_the_commit(
    alice, make_order, to, series, django_capture_on_commit_callbacks
):
    from orders.actions import move_order
    from orders.models import Order
    from orders.states import Status

    order = make_order(alice)
    if to == "completed":
        Order.objects.filter(pk=order.pk).update(status="delivered")
    name = f"shop_orders_{series}_total"
    before = REGISTRY.get_sample_value(name) or 0
    with django_capture_on_commit_callbacks(execute=True):
        move_order(order_id=order.pk, to=Status(to), actor=None)
        assert (REGISTRY.get_sample_value(name) or 0) == before
    assert REGISTRY.get_sample_value(name) == before + 1
