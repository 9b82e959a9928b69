"""The shop's settings with a stock backend for SQLite: no queue of writers."""

from shop.settings import *  # noqa: F403
from shop.settings import DATABASES as _DATABASES

DATABASES = {
    alias: database | {"ENGINE": "django_prometheus.db.backends.sqlite3"}
    for alias, database in _DATABASES.items()
}
