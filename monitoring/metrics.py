"""The catalogue of metrics: one entry each, by dotted name.

Everything that is counted is declared here once. `CATALOGUE` also names what
django-prometheus counts for us, so that a dotted name always leads to the
series that holds it.
"""

from bisect import bisect_left
from collections import Counter as Counting
from dataclasses import dataclass
from typing import Any, Literal

from django.utils.translation import gettext_noop as _
from prometheus_client import Counter, Gauge, Histogram

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Metric:
    """One metric: `name` in alerts and pages, `series` in Prometheus.

    `unit` and `help` are in English, as Prometheus has them; pages translate them.
    """

    name: str
    series: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str


CATALOGUE: dict[str, Metric] = {}


def _declare(
    name: str, series: str, kind: Kind, unit: str, labels: tuple[str, ...], help: str
) -> Metric:
    metric = CATALOGUE[name] = Metric(name, series, kind, unit, labels, help)
    return metric


def _counter(name: str, series: str, unit: str, labels: tuple[str, ...], help: str) -> Counter:
    metric = _declare(name, f"{series}_total", "counter", unit, labels, help)
    return Counter(series, metric.help, labels)


# A route is a template ("api/v2/products/<id>"), never a path: the number of
# series must not grow with what clients ask for.
HTTP_REQUESTS = _counter(
    "http.request.count",
    "shop_http_requests",
    _("requests"),
    ("method", "route", "status"),
    _("Requests answered."),
)
HTTP_ERRORS = _counter(
    "http.request.error",
    "shop_http_request_errors",
    _("requests"),
    ("method", "route"),
    _("Requests answered with 5xx, or not at all."),
)
_declare(
    "http.request.duration",
    "shop_http_request_duration_seconds",
    "histogram",
    _("seconds"),
    ("method", "route"),
    _("Time from a request's arrival to the end of its answer."),
)
HTTP_DURATION = Histogram(
    "shop_http_request_duration_seconds",
    CATALOGUE["http.request.duration"].help,
    ("method", "route"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
READY_ANSWERS = _counter(
    "ready.answer.count",
    "shop_ready_answers",
    _("answers"),
    ("route", "outcome"),
    _("Answers that are the same for all: hit, not_modified, made, or joined in the making."),
)
_declare(
    "ready.answer.bytes",
    "shop_ready_answer_bytes",
    "gauge",
    _("bytes"),
    (),
    _("What web processes hold of answers that are the same for all."),
)
READY_BYTES = Gauge(
    "shop_ready_answer_bytes",
    CATALOGUE["ready.answer.bytes"].help,
    multiprocess_mode="livesum",
)
ORDER_CREATED = _counter(
    "order.created",
    "shop_orders_created",
    _("orders"),
    ("status",),
    _("Tries to place an order: success, validation_error, business_error or error."),
)
ORDER_COMPLETED = _counter(
    "order.completed", "shop_orders_completed", _("orders"), (), _("Orders completed.")
)
ORDER_CANCELLED = _counter(
    "order.cancelled", "shop_orders_cancelled", _("orders"), (), _("Orders cancelled.")
)
PRODUCT_VIEWED = _counter(
    "product.viewed", "shop_products_viewed", _("views"), (), _("Products looked at one by one.")
)
PRODUCT_SOLD = _counter(
    "product.sold", "shop_products_sold", _("units"), (), _("Units in orders that were placed.")
)
_declare(
    "websocket.connections",
    "shop_websocket_connections",
    "gauge",
    _("sockets"),
    (),
    _("Open WebSockets."),
)
WEBSOCKETS = Gauge(
    "shop_websocket_connections",
    CATALOGUE["websocket.connections"].help,
    multiprocess_mode="livesum",
)
_declare(
    "jobs.duration",
    "shop_job_duration_seconds",
    "histogram",
    _("seconds"),
    ("task", "outcome"),
    _("Time that jobs took; outcome is finished, retried or failed."),
)
JOB_DURATION = Histogram(
    "shop_job_duration_seconds",
    CATALOGUE["jobs.duration"].help,
    ("task", "outcome"),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900),
)
# Read when they are asked for, by monitoring.system and monitoring.multiprocess.
for _name, _series, _kind, _unit, _help in (
    (
        "system.cpu.usage",
        "shop_system_cpu_usage_percent",
        "gauge",
        _("percent"),
        _("Use of all cores."),
    ),
    (
        "system.memory.usage",
        "shop_system_memory_usage_percent",
        "gauge",
        _("percent"),
        _("Memory used."),
    ),
    (
        "system.disk.usage",
        "shop_system_disk_usage_percent",
        "gauge",
        _("percent"),
        _("Use of the disk that DATA_DIR is on."),
    ),
    (
        "system.network.bytes_sent",
        "shop_system_network_sent_bytes_total",
        "counter",
        _("bytes"),
        _("Sent by this host."),
    ),
    (
        "system.network.bytes_recv",
        "shop_system_network_received_bytes_total",
        "counter",
        _("bytes"),
        _("Received by this host."),
    ),
    ("jobs.queued", "shop_jobs_queued", "gauge", _("jobs"), _("Jobs that are due and wait.")),
    ("jobs.failed", "shop_jobs_failed", "gauge", _("jobs"), _("Jobs that were given up.")),
    (
        "jobs.lag",
        "shop_jobs_lag_seconds",
        "gauge",
        _("seconds"),
        _("How long the oldest due job waits."),
    ),
    (
        "event.lag",
        "shop_event_lag_seconds",
        "gauge",
        _("seconds"),
        _("How long the oldest event has waited for a sink of the shop's own."),
    ),
    (
        "webhook.lag",
        "shop_webhook_lag_seconds",
        "gauge",
        _("seconds"),
        _("How long the oldest event has waited for a webhook; its receiver may be down."),
    ),
    (
        "event.dead",
        "shop_events_dead",
        "gauge",
        _("deliveries"),
        _("Deliveries of events that were given up."),
    ),
):
    _declare(_name, _series, _kind, _unit, (), _help)  # type: ignore[arg-type]
_declare(
    "cache.hit.ratio",
    "django_cache_get_hits_total",
    "gauge",
    _("ratio"),
    ("backend",),
    _("Reads of the cache that found something; in Prometheus, hits by reads."),
)
_declare(
    "db.query.duration",
    "django_db_query_duration_seconds",
    "histogram",
    _("seconds"),
    ("alias", "vendor"),
    _(
        "Time of a database query, by django-prometheus; "
        "the alias changes is the thread that asks what has changed."
    ),
)
_declare(
    "cache.operation.count",
    "django_cache_get_total",
    "counter",
    _("operations"),
    ("backend",),
    _("Reads of the cache, by django-prometheus."),
)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_children: dict[tuple[str, str, int], tuple[Any, Any, Any]] = {}


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request. `status` 0 means that no answer could be given.

    `route` is a template out of the URL map, so that the number of series has
    a bound; methods outside HTTP's usual ones are one label.
    """
    key = (method, route, status)
    found = _children.get(key)
    if found is None:
        name = method if method in _METHODS else "OTHER"
        found = _children[key] = (
            HTTP_REQUESTS.labels(name, route, str(status)),
            HTTP_DURATION.labels(name, route),
            HTTP_ERRORS.labels(name, route) if status >= 500 or status == 0 else None,
        )
        if name == "OTHER":
            # Invented methods must not grow the table of shortcuts either.
            del _children[key]
    requests, duration, errors = found
    requests.inc()
    duration.observe(seconds)
    if errors is not None:
        errors.inc()


def count_requests(method: str, route: str, status: int, seconds: list[float]) -> None:
    """Count requests that were all answered alike, and with success, as `count_request` would.

    A value in a file for each bucket they fall into, not for each request.
    """
    HTTP_REQUESTS.labels(method, route, str(status)).inc(len(seconds))
    duration: Any = HTTP_DURATION.labels(method, route)
    # prometheus_client observes one by one only; these are what its observe() writes.
    duration._sum.inc(sum(seconds))
    bounds = duration._upper_bounds
    for index, number in Counting(bisect_left(bounds, each) for each in seconds).items():
        duration._buckets[index].inc(number)


def count_ready(route: str, outcome: str, number: int = 1) -> None:
    """Count answers that are kept: hit, not_modified, made, or joined."""
    READY_ANSWERS.labels(route, outcome).inc(number)


def count_order_move(status: str) -> None:
    """Count an order that reached the end of its way."""
    if status == "completed":
        ORDER_COMPLETED.inc()
    elif status == "cancelled":
        ORDER_CANCELLED.inc()


def count_job(task: str, outcome: str, seconds: float) -> None:
    """Count a job that was run. `outcome` is finished, retried or failed."""
    JOB_DURATION.labels(task, outcome).observe(seconds)
