"""Time series: what is sampled, rolled up, pruned and read."""

from datetime import UTC, datetime, timedelta

import pytest

from monitoring import multiprocess, series, system
from monitoring.metrics import CATALOGUE
from monitoring.models import Sample, SamplerState
from monitoring.series import percentile, points, window

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
REQUESTS = "shop_http_requests_total"


@pytest.fixture
def world(monkeypatch):
    """What all processes have counted, and what the host says."""
    sums = {}
    gauges = {
        "system.cpu.usage": 50.0,
        "system.network.bytes_sent": 1000.0,
        "system.network.bytes_recv": 0.0,
    }
    # These days are long over: the finest step is what is looked at.
    monkeypatch.setattr(series, "step_for", lambda start, end, now=None: series.STEP)
    monkeypatch.setattr(multiprocess, "compact", lambda: 0)
    monkeypatch.setattr(multiprocess, "values", lambda: dict(sums))
    monkeypatch.setattr(system, "read_system", lambda: dict(gauges))
    monkeypatch.setattr(system, "read_jobs", lambda: {})
    return sums, gauges


def count(sums, name, value, **labels):
    sums[name, tuple(sorted(labels.items()))] = value


def test_the_first_sample_has_no_increases(world):
    sums, _ = world
    count(sums, REQUESTS, 1_000_000, route="/x", status="200", method="GET")
    series.sample(START)
    assert not points("http.request.count", START, START + timedelta(minutes=1))
    (point,) = points("system.cpu.usage", START, START + timedelta(minutes=1))
    assert point.reading.total == 50.0


def test_increases_by_step_and_by_route(world):
    sums, gauges = world
    series.sample(START)
    for number in (1, 2):
        count(sums, REQUESTS, 5 * number, route="/x", status="200", method="GET")
        count(sums, REQUESTS, number, route="/x", status="500", method="GET")
        count(sums, REQUESTS, 2 * number, route="/y", status="200", method="GET")
        gauges["system.network.bytes_sent"] += 100
        series.sample(START + timedelta(seconds=10 * number))
    end = START + timedelta(minutes=1)
    assert [p.reading.total for p in points("http.request.count", START, end)] == [8, 8]
    by_route = {
        (p.time, p.labels): p.reading.total
        for p in points("http.request.count", START, end, labels=None)
    }
    assert by_route[START + timedelta(seconds=10), "route=/x"] == 6
    assert by_route[START + timedelta(seconds=20), "route=/y"] == 2
    sent = points("system.network.bytes_sent", START, end)
    assert [p.reading.total for p in sent] == [100, 100]


def test_a_counter_that_began_again_counts_from_zero(world):
    sums, _ = world
    count(sums, REQUESTS, 100, route="/x", status="200", method="GET")
    series.sample(START)
    count(sums, REQUESTS, 7, route="/x", status="200", method="GET")
    series.sample(START + timedelta(seconds=10))
    (point,) = points("http.request.count", START, START + timedelta(minutes=1))
    assert point.reading.total == 7


def test_of_two_samplers_one_writes(world, monkeypatch):
    sums, _ = world
    series.sample(START)
    count(sums, REQUESTS, 5, route="/x", status="200", method="GET")
    now = START + timedelta(seconds=10)
    inner = []

    def rival():
        # Between reading and writing, another has sampled.
        if not inner:
            inner.append(None)
            inner.append(series.sample(now))
        return {}

    monkeypatch.setattr(system, "read_jobs", rival)
    assert series.sample(now) == 0
    assert inner[1] > 0
    total = sum(p.reading.total for p in points("http.request.count", START, now + timedelta(1)))
    assert total == 5


def test_the_number_of_labels_is_bounded(world):
    sums, _ = world
    series.sample(START)
    for number in range(200):
        count(sums, REQUESTS, number + 1, route=f"/{number}", status="200", method="GET")
    series.sample(START + timedelta(seconds=10))
    kept = points("http.request.count", START, START + timedelta(minutes=1), labels=None)
    assert len(kept) == series.MOST
    assert "route=/199" in {point.labels for point in kept}
    (total,) = points("http.request.count", START, START + timedelta(minutes=1))
    assert total.reading.total == sum(range(1, 201))


def test_histograms_and_their_percentiles(world):
    sums, _ = world
    series.sample(START)
    name = "shop_http_request_duration_seconds"
    labels = {"route": "/x", "method": "GET"}
    for bound, below in (("0.01", 50), ("0.1", 95), ("1.0", 100), ("+Inf", 100)):
        count(sums, f"{name}_bucket", below, le=bound, **labels)
    count(sums, f"{name}_count", 100, **labels)
    count(sums, f"{name}_sum", 4.5, **labels)
    series.sample(START + timedelta(seconds=10))
    span = {"start": START, "end": START + timedelta(minutes=1)}
    name = "http.request.duration"
    assert window(name, **span, aggregation="avg").value == pytest.approx(0.045)
    assert window(name, **span, aggregation="p50").value == pytest.approx(0.01)
    assert window(name, **span, aggregation="p95").value == pytest.approx(0.1)
    assert window(name, **span, aggregation="count") == series.Value(100, 100)
    (slow,) = series.slowest_routes(**span)
    assert (slow["route"], slow["count"]) == ("/x", 100)


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ({}, 0.5, None),
        ({"1.0": 10}, 0.5, 0.5),
        ({"1.0": 10, "2.0": 10}, 0.75, 1.5),
        ({"1.0": 1, "+Inf": 99}, 0.95, 1.0),
        ({"+Inf": 1}, 0.95, None),
    ],
)
def test_percentile(buckets, share, value):
    assert percentile(buckets, share) == value


def test_share_of_errors(world):
    sums, _ = world
    series.sample(START)
    count(sums, REQUESTS, 90, route="/x", status="200", method="GET")
    count(sums, REQUESTS, 10, route="/x", status="500", method="GET")
    count(sums, "shop_http_request_errors_total", 10, route="/x", method="GET")
    series.sample(START + timedelta(seconds=10))
    told = window(
        "http.request.error", start=START, end=START + timedelta(minutes=1), aggregation="share"
    )
    assert told == series.Value(0.1, 100)
    empty = window("http.request.error", start=START - timedelta(1), end=START, aggregation="share")
    assert empty == series.Value(None, 0)


def test_minutes_and_hours_are_the_sums_of_what_they_are_made_of(world):
    sums, gauges = world
    for number in range(0, 3 * 360 + 1):
        count(sums, REQUESTS, number * number, route="/x", status="200", method="GET")
        gauges["system.cpu.usage"] = float(number % 7)
        series.sample(START + timedelta(seconds=10 * number))
        if number % 50 == 0:
            series.roll_up(START + timedelta(seconds=10 * number))
    now = START + timedelta(hours=3, seconds=10)
    series.roll_up(now)
    again = series.roll_up(now)
    for metric in ("http.request.count", "system.cpu.usage"):
        fine = points(metric, START, now, step=10)
        for step in (60, 3600):
            coarse = points(metric, START, START + timedelta(hours=3), step=step)
            assert len(coarse) == 3 * 3600 // step
            for point in coarse:
                part = [
                    p.reading
                    for p in fine
                    if point.time <= p.time < point.time + timedelta(seconds=step)
                ]
                assert point.reading.total == pytest.approx(sum(r.total for r in part))
                assert point.reading.count == sum(r.count for r in part)
                if metric.startswith("system"):
                    assert point.reading.maximum == max(r.maximum for r in part)
    # Only the last step of each width is written again.
    assert again <= 2 * (len(CATALOGUE) + 1)


def test_what_had_its_time_is_pruned(world):
    for age, step in ((3, 10), (1, 10), (50, 60), (1, 60), (24 * 401, 3600), (24, 3600)):
        Sample.objects.create(metric="x", step=step, time=START - timedelta(hours=age))
    assert series.prune(START) == 3
    assert SamplerState.objects.count() == 0


def test_the_real_thing_samples_what_was_counted(make_order, alice, settings, tmp_path):
    from monitoring import metrics

    now = datetime.now(UTC)
    series.sample(now)
    metrics.count_request("GET", "/api/v2/test", 200, 0.004)
    assert series.sample(now + timedelta(seconds=10)) > 10
    told = points("http.request.count", now - timedelta(minutes=1), now + timedelta(minutes=1))
    assert sum(point.reading.total for point in told) == 1
    cpu = points("system.cpu.usage", now - timedelta(minutes=1), now + timedelta(minutes=1))
    assert len(cpu) == 2
