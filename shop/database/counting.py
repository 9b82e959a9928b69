"""django-prometheus' database metrics, for backends of our own and at less cost a query."""

import time
from typing import Any

from django_prometheus.db import (
    connection_errors_total,
    connections_total,
    errors_total,
    execute_many_total,
    execute_total,
    query_duration_seconds,
)


def counting(cursor_class: type[Any], alias: str, vendor: str) -> type[Any]:
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


class CountedConnections:
    """For a backend's DatabaseWrapper: counts the connections that it opens."""

    alias: str
    vendor: str
    # Set before it connects: a thread that serves no request counts apart.
    counted_as: str | None = None

    @property
    def counted_alias(self) -> str:
        """The label `alias` of the metrics: the database's own alias, or what the thread is."""
        return self.counted_as or self.alias

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Open a connection and count it."""
        connections_total.labels(self.counted_alias, self.vendor).inc()
        try:
            return super().get_new_connection(conn_params)  # type: ignore[misc]
        except Exception:
            connection_errors_total.labels(self.counted_alias, self.vendor).inc()
            raise
