"""The shop's settings with a stock backend for SQLite: no queue of writers."""

from shop import settings
from shop.settings import *  # noqa: F403

DATABASES = {
    alias: database | {"ENGINE": "django_prometheus.db.backends.sqlite3"}
    for alias, database in settings.DATABASES.items()
}
