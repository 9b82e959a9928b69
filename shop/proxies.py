"""Seeing the client through the proxies that are ours."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]


class TrustedProxies:
    """Takes the client's address and scheme from our own proxies' headers.

    With `count` proxies of ours in front, the entry that the outermost of
    them wrote stands `count` from the right in X-Forwarded-For. Anything
    further left was written by the client and is not believed. With none,
    the headers are ignored.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], count: int) -> None:
        self.app = app
        self.count = count

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass on the connection with its true address."""
        if self.count and scope["type"] in ("http", "websocket"):
            forwarded: list[str] = []
            for name, value in scope["headers"]:
                if name == b"x-forwarded-for":
                    forwarded += value.decode("latin1").split(",")
                elif name == b"x-forwarded-proto" and value in (b"http", b"https"):
                    secure = value == b"https"
                    scheme = "https" if secure else "http"
                    if scope["type"] == "websocket":
                        scheme = "wss" if secure else "ws"
                    scope["scheme"] = scheme
            if len(forwarded) >= self.count:
                scope["client"] = [forwarded[-self.count].strip(), 0]
        await self.app(scope, receive, send)
