"""Time series in the database: sampled each ten seconds, rolled up, pruned.

Every metric is kept for all labels together and by the labels in BY; of
routes and tasks no more than MOST a step. Ten-second steps are kept for two
hours, minutes for two days, hours for 400 days: with all label sets in use,
some 90,000 + 350,000 + 1,200,000 rows.
"""

import bisect
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db import transaction
from django.utils import timezone

from monitoring import multiprocess, system
from monitoring.metrics import CATALOGUE, Metric
from monitoring.models import Sample, SamplerState

logger = logging.getLogger(__name__)

STEP = 10
KEPT = {10: timedelta(hours=2), 60: timedelta(days=2), 3600: timedelta(days=400)}
# The label that a metric is kept by, beside the sum of all.
BY = {
    "http.request.count": "route",
    "http.request.error": "route",
    "http.request.duration": "route",
    "order.created": "status",
    "jobs.duration": "task",
}
MOST = 50

Aggregation = Literal["avg", "min", "max", "sum", "rate", "count", "p50", "p95", "p99", "share"]
Labels = tuple[tuple[str, str], ...]


@dataclass
class Reading:
    """One metric over one step, as in Sample."""

    count: float = 0.0
    total: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    buckets: dict[str, float] | None = None

    def add(self, other: "Reading") -> None:
        """Take in another step, or another label."""
        self.count += other.count
        self.total += other.total
        self.minimum = _least(self.minimum, other.minimum)
        self.maximum = _most(self.maximum, other.maximum)
        if other.buckets:
            self.buckets = self.buckets or {}
            for bound, number in other.buckets.items():
                self.buckets[bound] = self.buckets.get(bound, 0) + number


@dataclass(frozen=True)
class Point:
    """A reading and the beginning of its step."""

    time: datetime
    labels: str
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True)
class Value:
    """What a window comes to: None where nothing was seen. `samples` is how much was."""

    value: float | None
    samples: float


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def start_of_step(moment: datetime, step: int) -> datetime:
    """Return when the step that `moment` is in began."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % step, UTC)


# --- Sampling ---------------------------------------------------------------


def sample(now: datetime | None = None) -> int:
    """Read all metrics and keep what they did since the last time; returns the rows written.

    Of several samplers at once, one writes. What was counted between two
    samples belongs to the step in which it is read.
    """
    now = now or timezone.now()
    try:
        multiprocess.compact()
    except OSError:
        logger.warning("the metrics' files could not be put together", exc_info=True)
    sums = multiprocess.values()
    gauges = system.read_all()
    counters = {_key(name, labels): value for (name, labels), value in sums.items()}
    for name in ("system.network.bytes_sent", "system.network.bytes_recv"):
        counters[CATALOGUE[name].series] = gauges.pop(name)
    gauges["websocket.connections"] = sum(
        value
        for (name, _), value in sums.items()
        if name == CATALOGUE["websocket.connections"].series
    )
    step = start_of_step(now, STEP)
    with transaction.atomic():
        state, _created = SamplerState.objects.get_or_create(id=1)
        before, last = state.counters, state.sampled_at
        # Compare-and-set: whoever comes second has nothing left to tell.
        mine = SamplerState.objects.filter(id=1, sampled_at=last).update(
            sampled_at=now, counters=counters
        )
        if not mine or (last is not None and start_of_step(last, STEP) >= step):
            transaction.set_rollback(True)
            return 0
        readings = _gauge_readings(gauges)
        # The first sample has nothing to compare with.
        if last is not None:
            increases = _increases(before, counters)
            readings |= _counter_readings(increases)
        return _write(readings, STEP, step)


def _key(name: str, labels: Labels) -> str:
    return name + "".join(f"\t{label}={value}" for label, value in labels)


def _increases(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what each sum grew by; one that is smaller than before began again at zero."""
    return {
        key: value - before.get(key, 0.0) if value >= before.get(key, 0.0) else value
        for key, value in after.items()
    }


def _gauge_readings(gauges: Mapping[str, float]) -> dict[tuple[str, str], Reading]:
    return {(name, ""): Reading(1, value, value, value) for name, value in gauges.items()}


def _counter_readings(increases: Mapping[str, float]) -> dict[tuple[str, str], Reading]:
    by_series: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
    for key, increase in increases.items():
        series, *pairs = key.split("\t")
        by_series[series].append((dict(pair.split("=", 1) for pair in pairs), increase))
    readings: dict[tuple[str, str], Reading] = {}
    for metric in CATALOGUE.values():
        if metric.kind == "gauge":
            continue
        parts: dict[str, Reading] = defaultdict(Reading)
        for labels, reading in _parts(metric, by_series):
            parts[""].add(reading)
            if by := BY.get(metric.name):
                parts[f"{by}={labels.get(by, '')}"[:200]].add(reading)
        total = parts.pop("", Reading())
        readings[metric.name, ""] = total
        seen = [(reading.count, name) for name, reading in parts.items() if reading.count]
        for _count, name in sorted(seen, reverse=True)[:MOST]:
            readings[metric.name, name] = parts[name]
    _add_hit_ratio(by_series, readings)
    return readings


def _parts(
    metric: Metric, by_series: Mapping[str, list[tuple[dict[str, str], float]]]
) -> Iterable[tuple[dict[str, str], Reading]]:
    if metric.kind == "counter":
        for labels, increase in by_series.get(metric.series, ()):
            yield labels, Reading(count=increase, total=increase)
        return
    for labels, increase in by_series.get(f"{metric.series}_count", ()):
        yield labels, Reading(count=increase)
    for labels, increase in by_series.get(f"{metric.series}_sum", ()):
        yield labels, Reading(total=increase)
    # In the files buckets are cumulative.
    cumulative: dict[Labels, list[tuple[float, str, float]]] = defaultdict(list)
    for labels, increase in by_series.get(f"{metric.series}_bucket", ()):
        rest = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        cumulative[rest].append((float(labels["le"]), labels["le"], increase))
    for rest, bounds in cumulative.items():
        below, own = 0.0, {}
        for _bound, name, increase in sorted(bounds):
            if increase > below:
                own[name] = increase - below
            below = max(below, increase)
        yield dict(rest), Reading(buckets=own or None)


def _add_hit_ratio(
    by_series: Mapping[str, list[tuple[dict[str, str], float]]],
    readings: dict[tuple[str, str], Reading],
) -> None:
    def grew(series: str) -> float:
        return sum(increase for _labels, increase in by_series.get(series, ()))

    reads = grew(CATALOGUE["cache.operation.count"].series)
    if reads:
        ratio = grew(CATALOGUE["cache.hit.ratio"].series) / reads
        # Weighted by the reads, so that an average over time is right.
        readings["cache.hit.ratio", ""] = Reading(reads, ratio * reads, ratio, ratio)


def _write(readings: Mapping[tuple[str, str], Reading], step: int, time: datetime) -> int:
    rows = [
        Sample(
            metric=metric,
            labels=labels,
            step=step,
            time=time,
            count=reading.count,
            total=reading.total,
            minimum=reading.minimum,
            maximum=reading.maximum,
            buckets=reading.buckets,
        )
        for (metric, labels), reading in readings.items()
    ]
    Sample.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["metric", "step", "time", "labels"],
        update_fields=["count", "total", "minimum", "maximum", "buckets"],
    )
    return len(rows)


# --- Rolling up and pruning --------------------------------------------------


def roll_up(now: datetime | None = None) -> int:
    """Add ten-second steps up to minutes and minutes to hours; returns the rows written.

    Only what is over, and of that what is not there yet or may have grown.
    Safe to run twice.
    """
    now = now or timezone.now()
    written = 0
    for step, finer in ((60, 10), (3600, 60)):
        end = start_of_step(now, step)
        last = (
            Sample.objects.filter(step=step)
            .order_by("-time")
            .values_list("time", flat=True)
            .first()
        )
        start = last or now - KEPT[finer]
        parts: dict[datetime, dict[tuple[str, str], Reading]] = defaultdict(
            lambda: defaultdict(Reading)
        )
        rows = Sample.objects.filter(step=finer, time__gte=start, time__lt=end).order_by("time")
        for row in rows.iterator(2000):
            parts[start_of_step(row.time, step)][row.metric, row.labels].add(_reading(row))
        for time, readings in parts.items():
            written += _write(readings, step, time)
    return written


def prune(now: datetime | None = None) -> int:
    """Delete what has had its time; returns the rows deleted."""
    now = now or timezone.now()
    deleted = 0
    for step, kept in KEPT.items():
        deleted += Sample.objects.filter(step=step, time__lt=now - kept).delete()[0]
    return deleted


# --- Reading -----------------------------------------------------------------


def _reading(row: Sample) -> Reading:
    return Reading(row.count, row.total, row.minimum, row.maximum, row.buckets)


def step_for(start: datetime, end: datetime, now: datetime | None = None) -> int:
    """Return the finest step that is kept that far back, for a thousand points at most."""
    now = now or timezone.now()
    for step, kept in KEPT.items():
        if start >= now - kept and (end - start).total_seconds() / step <= 1000:
            return step
    return 3600


def points(
    metric: str,
    start: datetime,
    end: datetime,
    *,
    step: int | None = None,
    labels: str | None = "",
) -> list[Point]:
    """Return a metric's readings in order of time; `labels` None: by each of its labels.

    One query.
    """
    step = step or step_for(start, end)
    rows = Sample.objects.filter(metric=metric, step=step, time__gte=start, time__lt=end)
    rows = rows.exclude(labels="") if labels is None else rows.filter(labels=labels)
    return [Point(row.time, row.labels, _reading(row)) for row in rows.order_by("time")]


def all_points(start: datetime, end: datetime, *, step: int) -> Iterable[tuple[str, Point]]:
    """Yield every metric's readings, labels together, in order of time. One query."""
    rows = Sample.objects.filter(step=step, time__gte=start, time__lt=end, labels="")
    for row in rows.order_by("time"):
        yield row.metric, Point(row.time, "", _reading(row))


def window(
    metric: str, *, start: datetime, end: datetime, aggregation: Aggregation, labels: str = ""
) -> Value:
    """Return what a metric comes to between two moments.

    `share` is for http.request.error: errors by requests. `rate` is per
    second. Percentiles are those of a histogram, to the width of its buckets.

    Raises:
        ValueError: the metric has no such aggregation.
    """
    found = points(metric, start, end, step=STEP, labels=labels)
    asked: list[Point] = []
    if aggregation == "share":
        asked = points("http.request.count", start, end, step=STEP, labels=labels)
    return combine(found, asked, aggregation, (end - start).total_seconds())


def combine(
    found: Iterable[Point], asked: Iterable[Point], aggregation: Aggregation, seconds: float
) -> Value:
    """Return what points come to over `seconds`; `asked` are the requests that a share is of.

    Raises:
        ValueError: there is no such aggregation.
    """
    whole = Reading()
    for point in found:
        whole.add(point.reading)
    if aggregation == "share":
        requests = sum(point.reading.total for point in asked)
        return Value(whole.total / requests if requests else None, requests)
    return Value(_aggregate(whole, aggregation, seconds), whole.count)


def _aggregate(whole: Reading, aggregation: Aggregation, seconds: float) -> float | None:
    if aggregation == "count":
        return whole.count
    if aggregation == "sum":
        return whole.total
    if aggregation == "rate":
        return whole.total / seconds
    if aggregation == "avg":
        return whole.total / whole.count if whole.count else None
    if aggregation == "min":
        return whole.minimum
    if aggregation == "max":
        return whole.maximum
    if aggregation in ("p50", "p95", "p99"):
        return percentile(whole.buckets or {}, int(aggregation[1:]) / 100)
    raise ValueError(f"There is no aggregation {aggregation}.")


def percentile(buckets: Mapping[str, float], share: float) -> float | None:
    """Return the value below which `share` of the observations lie, from bucket counts.

    Linear within a bucket, as Prometheus' histogram_quantile; the last finite
    bound for what lies above it. None without observations.
    """
    bounds = sorted((float(bound), number) for bound, number in buckets.items())
    total = sum(number for _bound, number in bounds)
    if not total:
        return None
    cumulative = []
    below = 0.0
    for _bound, number in bounds:
        below += number
        cumulative.append(below)
    at = min(bisect.bisect_left(cumulative, share * total), len(bounds) - 1)
    upper, number = bounds[at]
    if upper == float("inf"):
        return bounds[at - 1][0] if at else None
    lower = bounds[at - 1][0] if at else 0.0
    before = cumulative[at - 1] if at else 0.0
    return lower + (upper - lower) * (share * total - before) / number


def slowest_routes(start: datetime, end: datetime, most: int = 10) -> list[dict[str, Any]]:
    """Return the routes with the highest 95th percentile. One query."""
    routes: dict[str, Reading] = defaultdict(Reading)
    for point in points("http.request.duration", start, end, labels=None):
        routes[point.labels.removeprefix("route=")].add(point.reading)
    told: list[dict[str, Any]] = [
        {
            "route": route,
            "count": int(reading.count),
            "average": reading.total / reading.count if reading.count else 0.0,
            "p95": percentile(reading.buckets or {}, 0.95) or 0.0,
        }
        for route, reading in routes.items()
    ]
    return sorted(told, key=lambda row: -row["p95"])[:most]


def last_sample() -> datetime | None:
    """Return when the worker sampled last."""
    return SamplerState.objects.values_list("sampled_at", flat=True).first()
