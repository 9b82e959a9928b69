"""The layers of shop/asgi.py around Django's own ASGI handler: the hop's opponent."""

import os

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()


def _build() -> object:
    # Importable only when Django is set up.
    from django.conf import settings

    from monitoring.health import Live
    from monitoring.middleware import RequestLayer
    from shop.proxies import TrustedProxies

    return TrustedProxies(RequestLayer(Live(ASGIHandler())), settings.TRUSTED_PROXIES)


application = _build()
