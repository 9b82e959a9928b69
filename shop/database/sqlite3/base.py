"""SQLite: the stock backend with its metrics, and writers that wait their turn in a fair queue.

Which connection may write is decided where the statements pass, in
`connection.py`; transactions, savepoints, migrations and single statements are
all just statements there.
"""

import random
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.models import QuerySet
from django.utils.functional import cached_property

from shop.database.counting import CountedConnections, counting
from shop.database.sqlite3.connection import Connection, Cursor

# Rows that are looked at for an estimate: one of a quarter of the table is off
# by less than 6 % two times in three.
_SAMPLE = 1000


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
        return counting(_Cursor, self.counted_alias, self.vendor)

    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor that queues and counts."""
        return self.connection.cursor(self._cursor_class)

    def _set_autocommit(self, autocommit: bool) -> None:
        try:
            super()._set_autocommit(autocommit)  # type: ignore[misc]
        finally:
            # To sqlite3, turning it on means to commit.
            self.connection.settle()

    def estimated_rows(self, rows: QuerySet[Any]) -> int:
        """Return about how many rows there are, by looking at a sample. Two queries.

        SQLite has no statistics unless somebody runs ANALYZE. The same rows are
        looked at until the table grows, so that the answer doesn't flicker.
        """
        table = self.ops.quote_name(rows.model._meta.db_table)
        with self.cursor() as cursor:
            # Both at once would read the whole table.
            cursor.execute(
                f"SELECT (SELECT min(rowid) FROM {table}), (SELECT max(rowid) FROM {table})"  # noqa: S608
            )
            first, last = cursor.fetchone()
        if first is None:
            return 0
        span = range(first, last + 1)
        drawn = random.Random(0).sample(span, min(_SAMPLE, len(span)))  # noqa: S311
        wanted = f"{table}.rowid IN ({','.join(map(str, drawn))})"
        return rows.order_by().extra(where=[wanted]).count() * len(span) // len(drawn)  # noqa: S610
