"""The shop's own ASGI application around the tests' views, for real servers."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

from django.conf import settings

settings.ROOT_URLCONF = "shop.tests.hop_urls"
settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]

from shop.asgi import application  # noqa: E402  (after what it reads)

__all__ = ["application"]
