"""SQL that is built once and run many times.

Building a query costs the ORM several times what running it costs (see
docs/performance.md). On hot paths the text never changes, only its values do.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet

Row = tuple[Any, ...]


class Prepared:
    """One `.values_list()` queryset, compiled for the default database."""

    def __init__(self, rows: QuerySet[Any, Any]) -> None:
        """Compile `rows`, which must not be sliced; its values are the defaults."""
        compiler = rows.query.get_compiler("default")
        sql, params = compiler.as_sql()
        self._sql = sql
        self._params = tuple(params)
        # What turns a database's values into Python's: money everywhere,
        # times and booleans on SQLite.
        self._converters = [
            (position, functions, expression)
            for position, (functions, expression) in compiler.get_converters(
                [column for column, *_ in compiler.select]
            ).items()
        ]

    def fetch(self, *last: Any, limit: int | None = None, offset: int = 0) -> list[Row]:
        """Run the query and return its rows.

        `last` takes the place of as many of the query's last parameters, in
        the form that the database takes (not that of the field).
        """
        sql = self._sql
        if limit is not None:
            sql = f"{sql} LIMIT {int(limit)} OFFSET {int(offset)}"
        params: Sequence[Any] = self._params
        if last:
            params = (*self._params[: -len(last)], *last)
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            rows: list[Row] = cursor.fetchall()
        if not self._converters:
            return rows
        return [self._convert(row) for row in rows]

    def _convert(self, row: Row) -> Row:
        values = list(row)
        for position, functions, expression in self._converters:
            value = values[position]
            for function in functions:
                value = function(value, expression, connection)
            values[position] = value
        return tuple(values)


def insert(objects: Sequence[Model]) -> None:
    """Insert new rows of one model with one statement, as `bulk_create` would.

    Keys that the database makes are not read back; signals are not sent.
    Values go through the fields' own conversions, `auto_now` included.
    """
    if not objects:
        return
    meta = objects[0]._meta
    fields = [
        field
        for field in meta.local_concrete_fields
        if not (field.primary_key and objects[0].pk is None)
    ]
    params = [
        field.get_db_prep_save(field.pre_save(obj, add=True), connection)
        for obj in objects
        for field in fields
    ]
    row = f"({', '.join(['%s'] * len(fields))})"
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    table = connection.ops.quote_name(meta.db_table)
    rows = ", ".join([row] * len(objects))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({columns}) VALUES {rows}", params)  # noqa: S608
    for obj in objects:
        obj._state.adding = False
        obj._state.db = "default"
