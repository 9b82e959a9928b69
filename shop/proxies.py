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
                scope["client"] = [_without_port(forwarded[-self.count].strip()), 0]
        await self.app(scope, receive, send)


def _without_port(entry: str) -> str:
    """Return the address; some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, rest = entry.partition(":")
    return host if colon and ":" not in rest else entry
