"""Migrations of big tables beside running code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import AddIndex, AlterField, RemoveIndex
from django.db.models import Index


class AddIndexLive(AddIndexConcurrently):
    """Add an index while others write; the migration needs `atomic = False`.

    On PostgreSQL it is built CONCURRENTLY, without the time-outs of requests:
    it may take minutes, and waits for every transaction that is open. One that
    was broken off has left an invalid index behind, which goes first. SQLite
    has one writer at a time, so there it is an ordinary index.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Build the index."""
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)
            return
        with _patiently(schema_editor):
            schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{self.index.name}"')
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Drop the index."""
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)
            return
        with _patiently(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class RemoveIndexLive(RemoveIndexConcurrently):
    """Drop an index while others read and write; the migration needs `atomic = False`."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Drop the index."""
        if schema_editor.connection.vendor != "postgresql":
            RemoveIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)
            return
        with _patiently(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Build the index again."""
        if schema_editor.connection.vendor != "postgresql":
            RemoveIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)
            return
        with _patiently(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class UnindexFieldLive(AlterField):
    """Drop a column's own index (`db_index=False`) while others read and write.

    The migration needs `atomic = False`. Nothing else of the field may differ. On
    SQLite the index is dropped as well, where Django would write the table anew.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Drop the index."""
        model = from_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        named = {index.name for index in model._meta.indexes}
        column = model._meta.get_field(self.name).column
        with _patiently(schema_editor):
            for name in schema_editor._constraint_names(
                model, [column], index=True, type_=Index.suffix, exclude=named
            ):
                schema_editor.execute(f'DROP INDEX {_live(schema_editor)} IF EXISTS "{name}"')

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Build the index again, under the name that Django gives it."""
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table = model._meta.db_table
        column = model._meta.get_field(self.name).column
        name = schema_editor._create_index_name(table, [column])
        live = _live(schema_editor)
        with _patiently(schema_editor):
            schema_editor.execute(f'DROP INDEX {live} IF EXISTS "{name}"')
            schema_editor.execute(f'CREATE INDEX {live} "{name}" ON "{table}" ("{column}")')


def _live(schema_editor: Any) -> str:
    return "CONCURRENTLY" if schema_editor.connection.vendor == "postgresql" else ""


@contextmanager
def _patiently(schema_editor: Any) -> Iterator[None]:
    if schema_editor.connection.vendor != "postgresql":
        yield
        return
    names = ("statement_timeout", "lock_timeout")
    for name in names:
        schema_editor.execute(f"SET {name} = 0")
    try:
        yield
    finally:
        for name in names:
            schema_editor.execute(f"RESET {name}")
