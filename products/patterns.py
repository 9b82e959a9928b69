"""Texts that fit a pattern in which `*` is any text, also none; and the index for it.

For columns of folded text (products.hangul), in which no wild card of either
database can stand. SQLite's GLOB takes half the time of its LIKE, and with a
fixed beginning it uses an ordinary index.

What stands anywhere in a text is found by trigrams: on PostgreSQL with LIKE by
the index alone, on SQLite by a table of FTS5 that triggers keep in step with
ProductSearch, asked for the trigrams (`trigrams`); what comes of it is only
likely, and GLOB has the last word.
"""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.models import CharField, Lookup, TextField

FTS = "products_searchtrigrams"
_INDEXED = "products_productsearch"
_COLUMNS = ("text", "initials")


@CharField.register_lookup
@TextField.register_lookup
class Glob(Lookup):
    """`column__glob="*word*"`."""

    lookup_name = "glob"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the condition with LIKE."""
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        patterns = [str(pattern).replace("*", "%") for pattern in right_params]
        return f"{left} LIKE {right}", (*left_params, *patterns)

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the condition with GLOB."""
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} GLOB {right}", (*left_params, *right_params)


def glob(column: str, pattern: str) -> tuple[str, str]:
    """Return such a condition for SQL that is written by hand, and its parameter."""
    if connection.vendor == "sqlite":
        return f"{column} GLOB %s", pattern
    return f"{column} LIKE %s", pattern.replace("*", "%")


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a text fits, for texts that are in memory."""
    first, *parts = pattern.split("*")
    if not parts:
        return first.__eq__
    *inside, last = parts
    if not first and not last and len(inside) == 1:
        (wanted,) = inside
        return lambda text: wanted in text
    if not last and not inside:
        return lambda text: text.startswith(first)

    def fits(text: str) -> bool:
        position = len(first)
        if not text.startswith(first):
            return False
        for wanted in inside:
            found = text.find(wanted, position)
            if found < 0:
                return False
            position = found + len(wanted)
        return len(text) - len(last) >= position and text.endswith(last)

    return fits


def trigrams(column: str, pattern: str) -> str:
    """Return what FTS5 is asked for so that it finds all that fits; nothing where it can't."""
    if column not in _COLUMNS:
        return ""
    asked = dict.fromkeys(
        part[start : start + 3] for part in pattern.split("*") for start in range(len(part) - 2)
    )
    return f"{column} : ({' AND '.join(map(_quoted, asked))})" if asked else ""


def _quoted(text: str) -> str:
    return f'"{text}"'


def add_trigram_table(schema_editor: Any) -> None:
    """Make SQLite's index of ProductSearch, with the triggers that keep it, and fill it.

    Also once more: a migration that has Django write the indexed table anew
    loses the triggers and must call this again.
    """
    remove_trigram_table(schema_editor)
    own = ", ".join(_COLUMNS)
    new, old = (", ".join(f"{row}.{column}" for column in _COLUMNS) for row in ("new", "old"))
    add = f"INSERT INTO {FTS} (rowid, {own}) VALUES (new.product_id, {new});"  # noqa: S608
    remove = f"INSERT INTO {FTS} ({FTS}, rowid, {own}) VALUES ('delete', old.product_id, {old});"  # noqa: S608
    for statement in (
        # No positions: a third of the size, and the pattern is looked at anyway.
        f"CREATE VIRTUAL TABLE {FTS} USING fts5({own}, content='{_INDEXED}', "
        "content_rowid='product_id', tokenize='trigram case_sensitive 1', detail=column)",
        f"INSERT INTO {FTS} ({FTS}) VALUES ('rebuild')",  # noqa: S608
        f"CREATE TRIGGER {FTS}_added AFTER INSERT ON {_INDEXED} BEGIN {add} END",
        f"CREATE TRIGGER {FTS}_removed AFTER DELETE ON {_INDEXED} BEGIN {remove} END",
        f"CREATE TRIGGER {FTS}_changed AFTER UPDATE OF {own} ON {_INDEXED}"
        f" BEGIN {remove} {add} END",
    ):
        schema_editor.execute(statement)


def remove_trigram_table(schema_editor: Any) -> None:
    """Undo `add_trigram_table`."""
    for name in ("added", "removed", "changed"):
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {FTS}_{name}")
    schema_editor.execute(f"DROP TABLE IF EXISTS {FTS}")
