"""The shop's settings with `plain_urls` as the URL map; all else is the same."""

from shop.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.plain_urls"
