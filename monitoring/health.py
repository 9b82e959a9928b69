"""Whether this process lives, and whether it can do its work."""

import os
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson
import psutil
from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from kombu import Connection

from monitoring import series, system
from shop.middleware import BEFORE_DJANGO

# Seconds without a sample, seconds that a job or an event may be overdue, percent of the disk.
_SILENCE = 60
_LAG = 300
_FULL = 95
# What proxies write, one or the other.
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
_LIVE_BODY = orjson.dumps({"status": "ok"})
_migrated = False


class Live:
    """Answers /health/live on the event loop, however busy the threads are."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the one path and pass on the others."""
        if scope["path"] != "/health/live" or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        scope.setdefault("shop", {})["route"] = "health/live"
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(_LIVE_BODY)).encode()),
                    *BEFORE_DJANGO,
                ],
            }
        )
        await send({"type": "http.response.body", "body": _LIVE_BODY})


def may_read(request: HttpRequest) -> bool:
    """Whether the request comes from METRICS_NETWORKS."""
    # A forwarded request whose proxy we were not told of has the proxy's
    # address, which proves nothing.
    if not settings.TRUSTED_PROXIES and any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(address in network for network in settings.METRICS_NETWORKS)


def _check_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return "ok"


def _check_migrations() -> str:
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "not applied"
        # They are not taken back while a process runs.
        _migrated = True
    return "ok"


def _check_cache() -> str:
    cache.set("health", "ok", timeout=10)
    # The shop works without its cache, only slower.
    return "ok" if cache.get("health") == "ok" else "degraded"


def _check_broker() -> str:
    # Jobs wait in the database; without a broker they start a little later.
    if not settings.BROKER_URL:
        folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"])
        return "ok" if os.access(folder, os.W_OK) else "degraded"
    try:
        with Connection(settings.BROKER_URL, connect_timeout=1) as broker:
            broker.connect()
    except Exception:
        return "degraded"
    return "ok"


def _check_worker() -> str:
    last = series.last_sample()
    if last is None:
        return "degraded: no worker or no clock has been seen"
    age = (timezone.now() - last).total_seconds()
    return "ok" if age < _SILENCE else f"degraded: nothing from the worker for {age:.0f} s"


def _check_jobs() -> str:
    waited = system.read_jobs()["jobs.lag"]
    return "ok" if waited < _LAG else f"degraded: a job has been due for {waited:.0f} s"


def _check_events() -> str:
    waited = system.read_events()["event.lag"]
    return "ok" if waited < _LAG else f"degraded: an event has waited for {waited:.0f} s"


def _check_disk() -> str:
    used = psutil.disk_usage(str(settings.DATA_DIR)).percent
    return "ok" if used < _FULL else f"degraded: {used:.0f} % full"


# What requests can't be served without.
_NEEDED: tuple[tuple[str, Callable[[], str]], ...] = (
    ("database", lambda: _check_database()),
    ("migrations", lambda: _check_migrations()),
)
_WELCOME: tuple[tuple[str, Callable[[], str]], ...] = (
    ("cache", lambda: _check_cache()),
    ("broker", lambda: _check_broker()),
    ("worker", lambda: _check_worker()),
    ("jobs", lambda: _check_jobs()),
    ("events", lambda: _check_events()),
    ("disk", lambda: _check_disk()),
)


def _run(checks: Iterable[tuple[str, Callable[[], str]]]) -> dict[str, str]:
    results: dict[str, str] = {}
    for name, check in checks:
        try:
            results[name] = check()
        except Error:
            results[name] = "unavailable"
    return results


def _answer(ready: bool, body: dict[str, Any]) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(body),
        status=200 if ready else 503,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """How all parts are; what each says only for METRICS_NETWORKS and staff.

    503 where requests can't be served; a part that is only welcome makes it
    `degraded`.
    """
    needed, welcome = _run(_NEEDED), _run(_WELCOME)
    ready = all(result == "ok" for result in needed.values())
    well = ready and all(result == "ok" for result in welcome.values())
    body: dict[str, Any] = {"status": "ok" if well else "degraded" if ready else "unavailable"}
    if may_read(request) or (ready and request.user.is_staff):
        body["checks"] = needed | welcome
    return _answer(ready, body)


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Whether requests may be sent here."""
    needed = _run(_NEEDED)
    ready = all(result == "ok" for result in needed.values())
    return _answer(ready, {"status": "ok" if ready else "unavailable"})


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The same as `Live`, for whoever reaches Django without shop/asgi.py."""
    return HttpResponse(_LIVE_BODY, content_type="application/json")
