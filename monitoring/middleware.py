"""The request layer: correlation id, metrics and the access log.

Plain ASGI around everything else: no thread hop, no Django.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from monitoring.metrics import count_request
from shop.context import correlation_id, sane_correlation_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("shop.request")

UNMATCHED = "(unmatched)"


class RequestLayer:
    """Gives each request its id, and counts, times and logs it."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request; other scopes pass through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        offered = ""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                offered = value.decode("latin1")
                break
        request_id = sane_correlation_id(offered)
        token = correlation_id.set(request_id)
        notes = scope.setdefault("shop", {})
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = "/" + notes["route"] if "route" in notes else UNMATCHED
            count_request(scope["method"], route, status, seconds)
            logger.log(
                logging.ERROR if status >= 500 else logging.INFO,
                "request",
                extra={
                    "method": scope["method"],
                    "route": route,
                    "status": status,
                    "user_id": notes.get("user_id"),
                    "duration_ms": round(seconds * 1000, 2),
                },
            )
            correlation_id.reset(token)
