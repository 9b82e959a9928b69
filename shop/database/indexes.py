"""Indexes that Django's own don't cover."""

from collections.abc import Sequence
from typing import Any

from django.db import models


class PrefixIndex(models.Index):
    """An index of one text expression that also finds what begins with a text.

    On PostgreSQL that takes an operator class, whatever the database's locale;
    Django's `OpClass` names one for PostgreSQL alone. SQLite gets an ordinary
    index.
    """

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        """Return the statement, with the operator class where there is one."""
        statement = super().create_sql(model, schema_editor, using=using, **kwargs)
        if schema_editor.connection.vendor == "postgresql":
            columns = f"{statement.parts['columns']} text_pattern_ops"
            statement.parts["columns"] = columns  # type: ignore[assignment]
        return statement


class CoveringIndex(models.Index):
    """An index that on PostgreSQL has the columns `holds` beside its keys (INCLUDE).

    They are read without the table then; and when they alone change, PostgreSQL
    still knows that the old entry has but a successor, and clears it away. SQLite
    could have them as keys alone, and would write the index whenever they change.
    """

    def __init__(self, *, holds: Sequence[str] = (), **kwargs: Any) -> None:
        """Take the names of the columns that are only held, and what any index takes."""
        super().__init__(**kwargs)
        # Not Django's `include`: each `migrate` on SQLite would warn of it.
        self.holds = tuple(holds)

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        """Return what it is made of, for migrations."""
        path, arguments, kwargs = super().deconstruct()
        return path, arguments, {**kwargs, "holds": self.holds}

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        """Return the statement."""
        holds = self.holds if schema_editor.connection.vendor == "postgresql" else ()
        plain = models.Index(
            fields=self.fields, include=holds or None, condition=self.condition, name=self.name
        )
        return plain.create_sql(model, schema_editor, using=using, **kwargs)
