"""The triggers that note each change of the catalogue (products.freshness says what for).

In the database, so that nothing gets past them: no bulk update, no SQL typed by
hand. They note in the transaction that changes: one row a changed product; one for
all where a statement adds products, or changes very many.

They are put in place after each migrate, if they are not there: SQLite changes a
table by making it anew, and loses what hung from the old one.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from products.models import Change

# Part of each trigger's name: whoever changes one of them counts it up.
_VERSION = 3
_PREFIX = f"products_change_{_VERSION}_"
_ANY_VERSION = "products_change_%"
# A statement that changes more products than this is noted as one that changes all.
_ALL_FROM = 2000

_SHOWN_BY_ALL = Change.SHOWN | Change.CATEGORY | Change.TREE
_EVERYTHING = (
    Change.SHOWN
    | Change.MEMBERS
    | Change.PRICE
    | Change.NAME
    | (Change.CATEGORY | Change.IN_STOCK | Change.SOLD)
)


def _bits(new: str, old: str) -> str:
    """SQL for what an UPDATE of a product changed; true on both databases."""
    differs = "IS DISTINCT FROM"
    tests = {
        Change.MEMBERS: f"({new}.retired_at IS NULL) <> ({old}.retired_at IS NULL)",
        Change.PRICE: f"{new}.price <> {old}.price",
        Change.NAME: (
            f"{new}.name <> {old}.name OR {new}.brand <> {old}.brand"
            f" OR {new}.sku {differs} {old}.sku"
        ),
        Change.CATEGORY: f"{new}.category_id {differs} {old}.category_id",
        Change.IN_STOCK: f"({new}.stock_quantity = 0) <> ({old}.stock_quantity = 0)",
        Change.SOLD: f"{new}.sold_quantity <> {old}.sold_quantity",
    }
    return " + ".join(
        [
            str(int(Change.SHOWN)),
            *(f"CASE WHEN {test} THEN {int(bit)} ELSE 0 END" for bit, test in tests.items()),
        ]
    )


_TREE_DIFFERS = " OR ".join(
    f"n.{column} IS DISTINCT FROM o.{column}"
    for column in ("name_en", "name_ko", "slug", "path", "parent_id")
)

# --- PostgreSQL ------------------------------------------------------------

_NOTE = "INSERT INTO products_productchange (product_id, position, changed, at)"
_VALUES = "pg_current_xact_id()::text::bigint, {bits}, clock_timestamp()"


def _note(product: str, bits: object, rest: str = "") -> str:
    return f"{_NOTE} SELECT {product}, {_VALUES.format(bits=bits)} {rest};"


def _function(name: str, body: str) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {_PREFIX}{name}() RETURNS trigger LANGUAGE plpgsql"
        # Who writes may have another path: pg_restore has none. And a plan that was made
        # for one row, and is kept by the connection, takes seconds for a thousand.
        " SET search_path FROM CURRENT SET enable_nestloop = off AS"
        f" $$ BEGIN {body} RETURN NULL; END $$"
    )


def _once(rows: str, bits: object, which: str = "") -> str:
    """One row for a statement that touched any."""
    some = f"EXISTS (SELECT 1 FROM {rows} {which})"  # noqa: S608
    return f"IF {some} THEN {_note('NULL', bits)} END IF;"


def _each(rows: str, bits: object, which: str) -> str:
    """One row a product, or one for all where there are very many."""
    many = f"(SELECT count(*) FROM {rows}) > {_ALL_FROM}"  # noqa: S608
    return (
        f"IF {many} THEN {_note('NULL', int(_EVERYTHING))}"
        f" ELSE {_note(f'{rows}.id', bits, which)} END IF;"
    )


_UPDATED = "FROM n JOIN o USING (id) WHERE n IS DISTINCT FROM o"
_POSTGRESQL_BODIES = {
    "product_insert": _once("n", int(Change.MEMBERS)),
    "product_update": _each("n", _bits("n", "o"), _UPDATED),
    "product_delete": _each("o", int(Change.SHOWN | Change.MEMBERS), "FROM o"),
    "category_insert": _once("n", int(Change.TREE)),
    "category_update": _once("n", int(_SHOWN_BY_ALL), f"JOIN o USING (id) WHERE {_TREE_DIFFERS}"),
    "category_delete": _once("o", int(Change.TREE)),
    **{
        f"{table}_{event}": _note(f"DISTINCT {rows}.product_id", int(Change.DETAIL), f"FROM {rows}")
        for table in ("productimage", "productseo")
        for event, rows in (("insert", "n"), ("update", "n"), ("delete", "o"))
    },
}
_TRANSITION = {
    "insert": "NEW TABLE AS n",
    "update": "OLD TABLE AS o NEW TABLE AS n",
    "delete": "OLD TABLE AS o",
}


def _postgresql() -> dict[str, list[str]]:
    made = {}
    for table in ("product", "category", "productimage", "productseo"):
        name = f"{table}_truncate"
        made[name] = [
            _function(name, _note("NULL", int(_EVERYTHING | Change.TREE))),
            f"CREATE TRIGGER {_PREFIX}{name} AFTER TRUNCATE ON products_{table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {_PREFIX}{name}()",
        ]
    for name, body in _POSTGRESQL_BODIES.items():
        table, event = name.rsplit("_", 1)
        made[name] = [
            _function(name, body),
            f"CREATE TRIGGER {_PREFIX}{name} AFTER {event.upper()} ON products_{table}"
            f" REFERENCING {_TRANSITION[event]}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {_PREFIX}{name}()",
        ]
    return made


# --- SQLite ----------------------------------------------------------------


def _sqlite() -> dict[str, list[str]]:
    now = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"

    def trigger(name: str, product: str, bits: object, when: str = "") -> list[str]:
        table, event = name.rsplit("_", 1)
        return [
            f"CREATE TRIGGER {_PREFIX}{name} AFTER {event.upper()} ON products_{table} {when}"
            f" BEGIN {_NOTE} VALUES ({product}, 0, {bits}, {now}); END"
        ]

    tree = _TREE_DIFFERS.replace("n.", "NEW.").replace("o.", "OLD.")
    made = {
        # REPLACE puts one in another's place, and fires no trigger of a DELETE.
        "product_insert": ("NEW.id", int(_EVERYTHING)),
        "product_update": ("NEW.id", _bits("NEW", "OLD")),
        "product_delete": ("OLD.id", int(Change.SHOWN | Change.MEMBERS)),
        "category_insert": ("NULL", int(Change.TREE)),
        "category_update": ("NULL", int(_SHOWN_BY_ALL), f"WHEN {tree}"),
        "category_delete": ("NULL", int(Change.TREE)),
    }
    for table in ("productimage", "productseo"):
        for event, row in (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD")):
            made[f"{table}_{event}"] = (f"{row}.product_id", int(Change.DETAIL))
    return {name: trigger(name, *arguments) for name, arguments in made.items()}  # type: ignore[arg-type]


# --- Putting them in place --------------------------------------------------


def _present(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return the triggers that there are, with their tables."""
    query = (
        "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE NOT tgisinternal AND tgname LIKE %s"
        " AND pg_table_is_visible(tgrelid)"
        if connection.vendor == "postgresql"
        else "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [_ANY_VERSION])
        return dict(cursor.fetchall())


def install(sender: Any = None, using: str = "default", **_: Any) -> None:
    """Put the triggers in place where they are not; after each migrate. One query else."""
    connection = connections[using]
    is_postgresql = connection.vendor == "postgresql"
    wanted = _postgresql() if is_postgresql else _sqlite()
    present = _present(connection)
    if set(present) == {_PREFIX + name for name in wanted}:
        return
    if "products_productchange" not in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        _drop(cursor, connection, present)
        for statements in wanted.values():
            for statement in statements:
                cursor.execute(statement)
        # What was written while they were not there, nobody has noted.
        position = "pg_current_xact_id()::text::bigint" if is_postgresql else "0"
        cursor.execute(
            f"{_NOTE} VALUES (NULL, {position}, %s, %s)",
            [
                int(_EVERYTHING | Change.TREE),
                connection.ops.adapt_datetimefield_value(timezone.now()),
            ],
        )


def remove(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers away: without their table nothing could be written."""
    with connection.cursor() as cursor:
        _drop(cursor, connection, _present(connection))


def _drop(cursor: Any, connection: BaseDatabaseWrapper, present: dict[str, str]) -> None:
    for name, table in present.items():
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
            cursor.execute(f"DROP FUNCTION IF EXISTS {name}()")
        else:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
