"""Whether this process lives, and whether it can do its work."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from django.core.cache import cache
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

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
                    (b"cache-control", b"no-store"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": _LIVE_BODY})


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


def _checks() -> dict[str, str]:
    results: dict[str, str] = {}
    for name, check in (
        ("database", _check_database),
        ("migrations", _check_migrations),
        ("cache", _check_cache),
    ):
        try:
            results[name] = check()
        except Error:
            results[name] = "unavailable"
    return results


def _answer(*, details: bool) -> HttpResponse:
    results = _checks()
    ready = all(result in ("ok", "degraded") for result in results.values())
    body: dict[str, Any] = {"status": "ok" if ready else "unavailable"}
    if details:
        body["checks"] = results
    return HttpResponse(
        orjson.dumps(body),
        status=200 if ready else 503,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def health(request: HttpRequest) -> HttpResponse:
    """Everything, with what each part says."""
    return _answer(details=True)


def ready(request: HttpRequest) -> HttpResponse:
    """Whether requests may be sent here."""
    return _answer(details=False)


def live(request: HttpRequest) -> HttpResponse:
    """The same as `Live`, for whoever reaches Django without shop/asgi.py."""
    return HttpResponse(_LIVE_BODY, content_type="application/json")
