"""The web process, from the outside in.

Trusted proxies, correlation id and request metrics, then the one hop into
Django. Imported by servers only.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

import django

django.setup()

from django.conf import settings

from monitoring.health import Live
from monitoring.middleware import App, Receive, RequestLayer, Scope, Send
from shop.proxies import TrustedProxies
from shop.server import from_settings


class ByProtocol:
    """HTTP goes to Django. Nothing else is served, and says so in its own protocol."""

    def __init__(self, http: App) -> None:
        self.http = http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on, or refuse it."""
        if scope["type"] == "http":
            await self.http(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4404})
        elif scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})


application = TrustedProxies(
    ByProtocol(RequestLayer(Live(from_settings()))), settings.TRUSTED_PROXIES
)
