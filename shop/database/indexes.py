"""Indexes that Django's own don't cover."""

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
