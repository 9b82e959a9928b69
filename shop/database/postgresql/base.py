"""PostgreSQL: the same metrics and safety as the stock backends, at less cost a query."""

import select
import time
from typing import Any

from django.db.backends.postgresql import base
from django_prometheus.db import (
    connection_errors_total,
    connections_total,
    errors_total,
    execute_many_total,
    execute_total,
    query_duration_seconds,
)


def _counting(cursor_class: type[Any], alias: str, vendor: str) -> type[Any]:
    """Return a cursor class that feeds django-prometheus' database metrics.

    Its own wrapper looks the series up by their labels for each query; here
    they are looked up once.
    """
    executes = execute_total.labels(alias, vendor)
    many = execute_many_total.labels(alias, vendor)
    duration = query_duration_seconds.labels(alias=alias, vendor=vendor)

    def failed(error: BaseException) -> None:
        errors_total.labels(alias=alias, vendor=vendor, type=type(error).__name__).inc()

    class CountingCursor(cursor_class):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            executes.inc()
            started = time.perf_counter()
            try:
                return super().execute(*args, **kwargs)
            except Exception as error:
                failed(error)
                raise
            finally:
                duration.observe(time.perf_counter() - started)

        def executemany(self, query: Any, params_seq: Any, *args: Any, **kwargs: Any) -> Any:
            params = list(params_seq)
            executes.inc(len(params))
            many.inc(len(params))
            started = time.perf_counter()
            try:
                return super().executemany(query, params, *args, **kwargs)
            except Exception as error:
                failed(error)
                raise
            finally:
                duration.observe(time.perf_counter() - started)

    return CountingCursor


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's PostgreSQL backend with its metrics and a health check without a round trip."""

    def get_connection_params(self) -> dict[str, Any]:
        """Have psycopg make cursors that count."""
        params: dict[str, Any] = super().get_connection_params()
        params["cursor_factory"] = _counting(params["cursor_factory"], self.alias, self.vendor)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Open a connection and count it."""
        connections_total.labels(self.alias, self.vendor).inc()
        try:
            return super().get_new_connection(conn_params)
        except Exception:
            connection_errors_total.labels(self.alias, self.vendor).inc()
            raise

    def is_usable(self) -> bool:
        """Return whether the connection still stands.

        Django asks before the first query of each request and would send a
        `SELECT 1` for it. The server says nothing on an idle connection
        unless it ends it, so silence means that it stands; only where there
        is something to read is the question worth a round trip.
        """
        if self.connection is None or self.connection.closed:
            return False
        poller = select.poll()
        poller.register(self.connection.fileno(), select.POLLIN | select.POLLPRI)
        if not poller.poll(0):
            return True
        return bool(super().is_usable())
