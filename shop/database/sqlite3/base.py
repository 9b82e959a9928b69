"""SQLite: the stock backend with its metrics, and writers that wait their turn in a fair queue.

Which connection may write is decided where the statements pass, in
`connection.py`; transactions, savepoints, migrations and single statements are
all just statements there.
"""

from typing import Any

from django.db.backends.sqlite3 import base
from django.utils.functional import cached_property

from shop.database.counting import CountedConnections, counting
from shop.database.sqlite3.connection import Connection, Cursor


class _Cursor(base.SQLiteCursorWrapper, Cursor):
    """Django's placeholders above, the turn below."""


class DatabaseWrapper(CountedConnections, base.DatabaseWrapper):
    """Django's SQLite backend on connections that queue."""

    def get_connection_params(self) -> dict[str, Any]:
        """Have sqlite3 make connections that queue."""
        params: dict[str, Any] = super().get_connection_params()
        params["factory"] = Connection
        return params

    @cached_property
    def _cursor_class(self) -> type[Any]:
        return counting(_Cursor, self.alias, self.vendor)

    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor that queues and counts."""
        return self.connection.cursor(self._cursor_class)

    def _set_autocommit(self, autocommit: bool) -> None:
        try:
            super()._set_autocommit(autocommit)  # type: ignore[misc]
        finally:
            # To sqlite3, turning it on means to commit.
            self.connection.settle()
