"""The web process, from the outside in.

Trusted proxies, correlation id and request metrics, ready answers, then the one
hop into Django. Imported by servers only.
"""

import gc
import os
import re

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

import django

django.setup()

from channels.routing import URLRouter
from django.conf import settings
from django.urls import get_resolver, re_path

from monitoring.health import Live
from monitoring.middleware import App, Receive, RequestLayer, Scope, Send
from orders.urls import websocket_urlpatterns
from shop.events.follow import Follower
from shop.proxies import TrustedProxies
from shop.ready import ReadyAnswers
from shop.server import OneHop, from_settings


class Sockets:
    """Gives each WebSocket what it works with; a path that nobody serves is refused."""

    def __init__(self, hop: OneHop) -> None:
        self.hop = hop
        self.follower: Follower | None = None
        served = websocket_urlpatterns if "orders" in settings.SERVICES else []
        self.router = URLRouter(
            [*served, re_path("", _nothing_here)]  # type: ignore[arg-type]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket."""
        if self.follower is None:
            # Not before there is an event loop.
            self.follower = Follower(self.hop.call)
        scope = {**scope, "call": self.hop.call, "follower": self.follower}
        await self.router(scope, receive, send)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4404})


class ByProtocol:
    """HTTP goes to Django, WebSockets to Channels."""

    def __init__(self, http: App, websocket: App) -> None:
        self.http = http
        self.websocket = websocket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on, or refuse it."""
        if scope["type"] == "http":
            await self.http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})


# The paths whose answers are kept and given without the hop; their views call
# shop.ready.answer.
_READY = re.compile(r"/api/v2/(?:products(?:/(?:[0-9]{1,19}|search|suggestions))?|categories)")

# Loaded now, not by the first request.
assert get_resolver().url_patterns

hop = from_settings()
ready = ReadyAnswers(hop, _READY.fullmatch)
application = TrustedProxies(
    ByProtocol(RequestLayer(Live(ready), ready.find), Sockets(hop)), settings.TRUSTED_PROXIES
)

# What is loaded by now stays for good. The collector need not walk through it, tens
# of milliseconds each time, in which nobody is answered.
gc.collect()
gc.freeze()
