"""PostgreSQL with a health check that costs no round trip."""

import select

from django_prometheus.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]
    """Django's PostgreSQL backend, counted by django-prometheus."""

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
