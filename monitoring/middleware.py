"""The request layer: correlation id, metrics and the access log.

Plain ASGI around everything else: no thread hop, no Django. Ready answers are given
right here, and cost a few microseconds: they are counted in the process and told to
the metrics twice a second, with one line in the log for all of a route.
"""

import asyncio
import atexit
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from monitoring.metrics import READY_BYTES, count_ready, count_request, count_requests
from shop.context import correlation_id, sane_correlation_id
from shop.ready import Answer, Hit, kept

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("shop.request")

UNMATCHED = "(unmatched)"
# Seconds after which ready answers are told to the metrics.
_TELL_AFTER = 0.5


class RequestLayer:
    """Gives each request its id, and counts, times and logs it."""

    def __init__(self, app: App, find: Callable[[Scope], Hit | None] = lambda scope: None) -> None:
        """`find` returns the ready answer to a request, if there is one."""
        self.app = app
        self._find = find
        self.tally = Tally()

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
        hit = self._find(scope)
        if hit is not None:
            headers = [*hit.headers, *hit.limits, (b"x-request-id", request_id.encode())]
            # A client that has gone has still been answered.
            try:
                with suppress(OSError):
                    await send(
                        {"type": "http.response.start", "status": hit.status, "headers": headers}
                    )
                    await send({"type": "http.response.body", "body": hit.body})
            finally:
                self.tally.add(hit, time.perf_counter() - started)
            return
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
            if "ready" in notes:
                count_ready(route, notes["ready"])
                READY_BYTES.set(kept().store.size)
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


class Tally:
    """Ready answers that have been given and are still to be told."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], list[float]] = {}
        self._answers: dict[Answer, int] = {}
        self._armed = False
        atexit.register(self.tell)

    def add(self, hit: Hit, seconds: float) -> None:
        """Count one; on the event loop."""
        answer = hit.answer
        durations = self._requests.get((answer.route, hit.status))
        if durations is None:
            self._requests[answer.route, hit.status] = [seconds]
        else:
            durations.append(seconds)
        if answer.count is not None:
            self._answers[answer] = self._answers.get(answer, 0) + 1
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_later(_TELL_AFTER, self.tell)

    def tell(self) -> None:
        """Tell the metrics and the log of all that has been counted."""
        self._armed = False
        requests, self._requests = self._requests, {}
        answers, self._answers = self._answers, {}
        for (route, status), durations in requests.items():
            route = "/" + route
            count_requests("GET", route, status, durations)
            count_ready(route, "hit" if status == 200 else "not_modified", len(durations))
            logger.info(
                "ready answers",
                extra={
                    "method": "GET",
                    "route": route,
                    "status": status,
                    "count": len(durations),
                    "duration_ms": round(sum(durations) / len(durations) * 1000, 3),
                },
            )
        for answer, times in answers.items():
            assert answer.count is not None
            try:
                answer.count(times)
            except Exception:
                # One's trouble is not the others'.
                logger.exception("answers can't be counted", extra={"route": answer.route})
