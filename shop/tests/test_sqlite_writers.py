"""SQLite's writers wait in a queue of the process: first come, first served, and never for ever."""

import gc
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from copy import deepcopy
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from prometheus_client import REGISTRY

from conftest import ADDRESS
from shop import db
from shop.database.sqlite3 import connection as queued
from shop.database.sqlite3.connection import Connection
from shop.database.sqlite3.statements import writes
from shop.database.sqlite3.writers import Turn, Writers

pytestmark = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="the queue of writers is SQLite's"
)

ALIAS = "writers"
PATIENCE = 20


@pytest.fixture
def path(tmp_path) -> str:
    """A database file of the test's own."""
    return str(tmp_path / "shop.sqlite3")


@pytest.fixture
def ours(path, django_db_blocker) -> Iterator[Any]:
    """Django's connection to that file, one a thread as everywhere; with a table `line`."""
    connections.settings[ALIAS] = deepcopy(connections.settings["default"]) | {"NAME": path}
    with django_db_blocker.unblock():
        ours = connections[ALIAS]
        run("CREATE TABLE line (place INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT UNIQUE)")
        yield ours
        ours.close()
    del connections[ALIAS]
    del connections.settings[ALIAS]


def run(sql: str, *params: str | int) -> list[tuple[Any, ...]]:
    """Run a statement on this thread's connection and return its rows."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(sql, params or None)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def add(who: str) -> None:
    run("INSERT INTO line (who) VALUES (%s)", who)


def in_line() -> list[str]:
    return [who for (who,) in run("SELECT who FROM line ORDER BY place")]


def atomic() -> Any:
    return transaction.atomic(using=ALIAS)


def start(work: Callable[[], Any]) -> "Future[Any]":
    """Do something in a thread, with a connection that is closed at its end."""
    future: Future[Any] = Future()

    def thread() -> None:
        try:
            result = work()
        except BaseException as error:
            connections[ALIAS].close()
            future.set_exception(error)
        else:
            connections[ALIAS].close()
            future.set_result(result)

    threading.Thread(target=thread, daemon=True).start()
    return future


@pytest.fixture
def waits(monkeypatch) -> threading.Semaphore:
    """Released by each writer that has to wait, when it stands in the queue."""
    waits = threading.Semaphore(0)

    class Seen(Turn):
        def wait(self, seconds: float) -> bool:
            if super().wait(0):
                return True
            waits.release()
            return super().wait(seconds)

    monkeypatch.setattr(queued, "Turn", Seen)
    return waits


def other(path: str, **options: Any) -> Connection:
    """Open another connection of this process to the file; it waits for nobody."""
    return sqlite3.connect(
        path, **{"timeout": 0, "isolation_level": None} | options, factory=Connection
    )


def is_taken(path: str) -> bool:
    """Whether somebody has the turn; that it was only SQLite's lock would raise."""
    someone = other(path)
    try:
        someone.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_LOCKED":
            return True
        raise
    finally:
        someone.close()
    return False


# --- First come, first served ----------------------------------------------


def test_writers_come_in_the_order_in_which_they_asked(ours, waits) -> None:
    def in_a_transaction(who: str) -> None:
        with atomic():
            add(who)

    with atomic():
        add("first")
        ways = [add, in_a_transaction] * 4
        started = []
        for number, way in enumerate(ways):
            started.append(start(partial(way, str(number))))
            assert waits.acquire(timeout=PATIENCE)
    # Whoever comes back at once stands behind those who are there.
    add("again")
    for future in started:
        future.result(PATIENCE)
    assert in_line() == ["first", *map(str, range(len(ways))), "again"]


def test_nobody_slips_in_between_two_turns() -> None:
    """The turn is handed over, not put down: who has yet to wake up has it already."""
    writers = Writers()
    first, second, third = Turn(), Turn(), Turn()
    assert writers.enter(first, 0)
    assert not writers.enter(second, 0)
    writers.give_up(first)
    assert not writers.enter(third, 0)
    assert second.wait(0)
    writers.give_up(second)
    assert third.wait(0)


def test_many_writers_lose_nothing(ours) -> None:
    run("CREATE TABLE counter (n INTEGER)")
    run("INSERT INTO counter VALUES (0)")

    def count() -> None:
        for number in range(25):
            if number % 2:
                with atomic():
                    (n,) = run("SELECT n FROM counter")[0]
                    run("UPDATE counter SET n = %s", n + 1)
            else:
                run("UPDATE counter SET n = n + 1")

    for future in [start(count) for _ in range(8)]:
        future.result(3 * PATIENCE)
    assert run("SELECT n FROM counter") == [(200,)]


# --- Giving the turn up ----------------------------------------------------


class Broken(Exception):
    pass


def commit(ours) -> None:
    with atomic():
        add("a")


def roll_back(ours) -> None:
    with pytest.raises(Broken), atomic():
        add("a")
        raise Broken


def close_within(ours) -> None:
    with atomic():
        add("a")
        ours.close()


def cannot_roll_back(ours) -> None:
    def broken() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    ours.ensure_connection()
    thrown_away = ours.connection
    with pytest.raises(Broken), atomic():
        add("a")
        thrown_away.rollback = broken
        raise Broken
    assert ours.connection is not thrown_away


def commit_by_hand(ours) -> None:
    run("BEGIN IMMEDIATE")
    add("a")
    run("COMMIT")


def commit_after_writing_late(ours) -> None:
    run("BEGIN")
    run("SELECT * FROM line")
    add("a")
    run("END")


def single_statement(ours) -> None:
    add("a")


def statement_that_fails(ours) -> None:
    add("a")
    with pytest.raises(IntegrityError):
        add("a")


def many(ours) -> None:
    with ours.cursor() as cursor:
        cursor.executemany("INSERT INTO line (who) VALUES (%s)", [("a",), ("b",)])


def script(ours) -> None:
    with ours.cursor() as cursor:
        cursor.executescript("BEGIN IMMEDIATE; INSERT INTO line (who) VALUES ('a'); COMMIT;")


def without_autocommit(ours) -> None:
    path = ours.settings_dict["NAME"]
    ours.set_autocommit(False)
    add("a")
    assert is_taken(path)
    ours.commit()
    assert not is_taken(path)
    add("b")
    assert is_taken(path)
    ours.rollback()
    assert not is_taken(path)
    # A savepoint outside of a transaction is one itself, to SQLite.
    with atomic():
        add("c")
        assert is_taken(path)
    assert not is_taken(path)
    ours.set_autocommit(True)
    assert in_line() == ["a", "c"]


def autocommit_turned_on(ours) -> None:
    ours.set_autocommit(False)
    add("a")
    assert is_taken(ours.settings_dict["NAME"])
    ours.set_autocommit(True)


def migration(ours) -> None:
    with ours.schema_editor() as editor:
        assert run("PRAGMA foreign_keys") == [(0,)]
        editor.execute("CREATE TABLE other (n INTEGER)")
    assert run("PRAGMA foreign_keys") == [(1,)]


def plain_context_manager(ours) -> None:
    ours.ensure_connection()
    with ours.connection as plain:
        plain.execute("BEGIN IMMEDIATE")
        plain.execute("INSERT INTO line (who) VALUES (?)", ["a"])


def thrown_away(ours) -> None:
    copy = ours.copy()
    copy.cursor().execute("BEGIN IMMEDIATE")
    assert is_taken(ours.settings_dict["NAME"])
    del copy
    gc.collect()


def interrupted_while_waiting(ours) -> None:
    class Interrupted(Turn):
        def wait(self, seconds: float) -> bool:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(queued, "Turn", Interrupted)
        add("a")


def vacuum(ours) -> None:
    run("VACUUM")


@pytest.mark.parametrize(
    "end",
    [
        autocommit_turned_on, cannot_roll_back, close_within, commit, commit_after_writing_late,
        commit_by_hand, interrupted_while_waiting, many, migration, plain_context_manager,
        roll_back, script, single_statement, statement_that_fails, thrown_away, vacuum,
        without_autocommit,
    ],
)  # fmt: skip
def test_afterwards_the_next_may_write(ours, path, end) -> None:
    end(ours)
    assert not is_taken(path)
    with atomic():
        assert is_taken(path)


def test_the_turn_lasts_as_long_as_the_transaction(ours, path) -> None:
    with atomic():
        assert is_taken(path)
        with atomic():
            add("a")
        assert is_taken(path)
        with pytest.raises(Broken), atomic():
            add("b")
            raise Broken
        assert is_taken(path)
        with pytest.raises(IntegrityError), atomic():
            add("a")
        assert in_line() == ["a"]
        assert is_taken(path)
    assert not is_taken(path)


def test_a_thread_that_dies_leaves_nothing_locked(ours, path) -> None:
    began = threading.Event()

    def die() -> None:
        run("BEGIN IMMEDIATE")
        add("a")
        began.set()

    gc.disable()
    try:
        thread = threading.Thread(target=die)
        thread.start()
        thread.join(PATIENCE)
        assert began.is_set()
        assert not is_taken(path)
    finally:
        gc.enable()
    assert in_line() == []


def test_a_finaliser_in_the_middle_of_handing_over_holds_nobody_up() -> None:
    """The collector may drop a connection at any moment, in any thread."""
    writers = Writers()

    class Dropped(Turn):
        def call(self) -> None:
            super().call()
            writers.give_up(self)

    first, dropped, last = Turn(), Dropped(), Turn()
    assert writers.enter(first, 0)
    for turn in (dropped, last):
        assert not writers.enter(turn, 0)
    writers.give_up(first)
    assert last.wait(0)


def test_a_reader_that_takes_its_time_holds_no_turn(ours, path) -> None:
    for who in "abc":
        add(who)
    with ours.cursor() as cursor:
        cursor.execute("SELECT who FROM line ORDER BY place")
        assert cursor.fetchone() == ("a",)
        add("d")
        assert not is_taken(path)
        assert cursor.fetchall()[:2] == [("b",), ("c",)]


@pytest.mark.parametrize(
    "rest",
    [
        lambda cursor: cursor.fetchall(),
        lambda cursor: [cursor.fetchone(), cursor.fetchone()],
        lambda cursor: cursor.fetchmany(1) + cursor.fetchmany(5),
        lambda cursor: list(cursor),
        lambda cursor: cursor.fetchmany() + list(cursor),
    ],
)
def test_what_an_insert_returns_may_be_fetched_later(ours, path, rest) -> None:
    with ours.cursor() as cursor:
        cursor.execute("INSERT INTO line (who) VALUES ('a'), ('b') RETURNING who")
        assert not is_taken(path)
        assert rest(cursor) == [("a",), ("b",)]
        assert cursor.fetchone() is None
        assert cursor.fetchall() == []
        cursor.execute("SELECT who FROM line WHERE who = 'b'")
        assert cursor.fetchall() == [("b",)]


# --- Who waits, and who does not -------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        " \n-- INSERT\n/* UPDATE */ select 'DELETE'",
        "(SELECT 1)",
        "VALUES (1)",
        "EXPLAIN QUERY PLAN INSERT INTO line VALUES (1)",
        "WITH a AS (SELECT 1), b(x) AS (SELECT 2) SELECT replace('a', 'b', 'c') FROM a, b",
        "WITH a AS (SELECT ') INSERT INTO') /* ) DELETE */ SELECT \"update\" FROM a",
        "WITH RECURSIVE a(n) AS NOT MATERIALIZED (SELECT 1 UNION SELECT n FROM a) SELECT 1",
        "BEGIN",
        "BEGIN DEFERRED TRANSACTION",
        "COMMIT",
        "ROLLBACK TO SAVEPOINT a",
        "SAVEPOINT a",
        "PRAGMA table_info(line)",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA journal_mode=WAL",
        "PRAGMA user_version",
        "VACUUM INTO '/tmp/copy'",
        "ATTACH 'a' AS b",
        "",
        "-- nothing",
    ],
)
def test_what_reads_is_no_writer(sql) -> None:
    assert not writes(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO line VALUES (1) RETURNING who",
        "\n  -- SELECT\n /* SELECT */ update line SET who = 'SELECT'",
        "DELETE FROM line",
        "REPLACE INTO line VALUES (1)",
        "CREATE TABLE a (b)",
        "WITH a AS (SELECT 1), b AS (SELECT ')') INSERT INTO line SELECT * FROM a",
        "with a(b) as materialized (select ((1))) -- select\n delete from line",
        'WITH "a)" AS (SELECT 1), [b)] AS (SELECT 2) UPDATE line SET who = 1',
        "BEGIN IMMEDIATE",
        "begin /* now */ exclusive transaction",
        "PRAGMA user_version = 3",
        "PRAGMA main.wal_checkpoint(TRUNCATE)",
        "VACUUM",
        "ANALYZE",
    ],
)
def test_what_writes_is_one(sql) -> None:
    assert writes(sql)


def test_readers_do_not_wait(ours, path) -> None:
    with atomic():
        add("a")
        reader = other(path)
        assert reader.execute("SELECT count(*) FROM line").fetchall() == [(0,)]
        assert reader.execute("WITH a AS (SELECT 1) SELECT * FROM a").fetchall() == [(1,)]
        assert reader.execute("EXPLAIN DELETE FROM line").fetchone()
        assert reader.execute("PRAGMA foreign_key_check").fetchall() == []
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM line").fetchall() == [(0,)]
        reader.execute("COMMIT")
        reader.close()
        # Nor does who only opens a connection, with all that Django does then.
        assert start(lambda: run("SELECT count(*) FROM line")).result(PATIENCE) == [(0,)]


@pytest.mark.parametrize(
    "write",
    [
        lambda other: other.execute("INSERT INTO line (who) VALUES ('b')"),
        lambda other: other.execute(
            "WITH a AS (SELECT 'b') INSERT INTO line (who) SELECT * FROM a"
        ),
        lambda other: other.executemany("INSERT INTO line (who) VALUES (?)", [("b",)]),
        lambda other: other.executescript("INSERT INTO line (who) VALUES ('b')"),
        lambda other: other.cursor().execute("BEGIN IMMEDIATE"),
        lambda other: other.execute("DROP TABLE line"),
    ],
)
def test_single_writes_do(ours, path, write) -> None:
    someone = other(path)
    with atomic():
        with pytest.raises(sqlite3.OperationalError) as caught:
            write(someone)
        # Not SQLite's own lock, but the queue.
        assert caught.value.sqlite_errorname == "SQLITE_LOCKED"
    write(someone)
    someone.close()


def test_a_late_writer_in_a_transaction_that_read_waits_as_well(ours, path) -> None:
    someone = other(path)
    someone.execute("BEGIN")
    someone.execute("SELECT * FROM line")
    with atomic(), pytest.raises(sqlite3.OperationalError, match="this thread"):
        someone.execute("INSERT INTO line (who) VALUES ('b')")
    someone.execute("INSERT INTO line (who) VALUES ('b')")
    assert is_taken(path)
    someone.close()
    assert not is_taken(path)


def test_each_file_has_a_queue_of_its_own(ours, path, tmp_path) -> None:
    (tmp_path / "link").symlink_to(path)
    with atomic():
        assert is_taken(str(tmp_path / "link"))
        assert not is_taken(str(tmp_path / "another"))
        assert not is_taken(":memory:")
    assert not is_taken(str(tmp_path / "link"))


def test_a_database_in_memory_has_one_where_it_is_shared() -> None:
    name = "file:shared_by_test?mode=memory&cache=shared"
    first, second = other(name, uri=True), other(name, uri=True)
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="this thread"):
        second.execute("BEGIN IMMEDIATE")
    first.rollback()
    second.execute("BEGIN IMMEDIATE")
    first.close()
    second.close()


# --- Not for ever ----------------------------------------------------------


def test_who_has_waited_too_long_is_told_so_and_is_not_called_any_more(ours, path, waits) -> None:
    def impatient() -> None:
        connections[ALIAS].ensure_connection()
        connections[ALIAS].connection.timeout = 0.05
        with atomic():
            add("impatient")

    with atomic():
        gone = start(impatient)
        assert waits.acquire(timeout=PATIENCE)
        patient = start(lambda: add("patient"))
        assert waits.acquire(timeout=PATIENCE)
        with pytest.raises(OperationalError, match="^database is locked$") as caught:
            gone.result(PATIENCE)
        # What SQLite says itself, so that it is treated the same.
        cause = caught.value.__cause__
        assert isinstance(cause, sqlite3.OperationalError)
        assert cause.sqlite_errorname == "SQLITE_BUSY"
        assert db._conflicted(caught.value)
        assert in_line() == []
    patient.result(PATIENCE)
    assert in_line() == ["patient"]
    assert not is_taken(path)


def test_what_was_waited_here_is_not_waited_in_sqlite_again(ours, monkeypatch) -> None:
    now = 100.0

    class Slow(Turn):
        def wait(self, seconds: float) -> bool:
            nonlocal now
            assert seconds == 20
            now += 15
            return super().wait(0)

    monkeypatch.setattr(queued, "Turn", Slow)
    monkeypatch.setattr(queued, "time", SimpleNamespace(monotonic=lambda: now))
    said: list[str] = []
    ours.connection.set_trace_callback(said.append)
    with atomic():
        pass
    assert said == [
        "PRAGMA busy_timeout = 5000",
        "BEGIN IMMEDIATE",
        "PRAGMA busy_timeout = 20000",
        "COMMIT",
    ]


def test_a_thread_does_not_wait_for_itself(ours, path) -> None:
    second = other(path, timeout=20)
    with atomic():
        add("a")
        with pytest.raises(sqlite3.OperationalError, match="this thread is writing") as caught:
            second.execute("INSERT INTO line (who) VALUES ('b')")
        error = OperationalError()
        error.__cause__ = caught.value
        # To try again would not help.
        assert not db._conflicted(error)
    second.execute("INSERT INTO line (who) VALUES ('b')")
    second.close()
    assert in_line() == ["a", "b"]


@pytest.mark.django_db(transaction=True)
def test_an_order_that_cannot_be_written_is_refused_and_may_be_sent_again(
    alice, make_product, client_of, monkeypatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    product = make_product(stock=3)
    began, end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                began.set()
                end.wait(PATIENCE)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert began.wait(PATIENCE)
    client = client_of(alice)
    order = {
        "items": [{"product_id": str(product.pk), "quantity": 1}], "shipping_address": ADDRESS,
    }  # fmt: skip
    monkeypatch.setattr(connection.connection, "timeout", 0)
    try:
        answer = client.post("/api/v2/orders", order)
    finally:
        end.set()
        thread.join(PATIENCE)
    assert answer.status_code == 503
    assert answer.json()["code"] == "database_unavailable"
    assert answer["Retry-After"] == "2"
    product.refresh_from_db()
    assert product.stock_quantity == 3
    assert client.post("/api/v2/orders", order).status_code == 201


# --- Other processes -------------------------------------------------------

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO line (who) VALUES ('another process')")
print("began", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


@pytest.fixture
def another_process(ours, path) -> Iterator[Callable[[], None]]:
    """Has SQLite's lock, until it is told to commit."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"

    def end() -> None:
        process.communicate("\n", timeout=PATIENCE)

    yield end
    if process.poll() is None:
        process.kill()
        process.communicate()


def test_a_beginning_that_failed_gives_the_turn_up(ours, path, another_process) -> None:
    ours.close()
    ours.settings_dict["OPTIONS"]["timeout"] = 0
    with pytest.raises(OperationalError, match="locked"), atomic():
        raise AssertionError("unreachable: it can't begin")
    with pytest.raises(OperationalError, match="locked"):
        add("a")
    # SQLite's lock is what is left; the turn is not taken.
    with pytest.raises(sqlite3.OperationalError, match="^database is locked$"):
        is_taken(path)
    another_process()
    add("a")
    assert in_line() == ["another process", "a"]


def test_other_processes_are_waited_for_in_sqlite(ours, path, waits, another_process) -> None:
    begins = threading.Event()

    def first() -> None:
        connections[ALIAS].ensure_connection()
        connections[ALIAS].connection.set_trace_callback(lambda sql: begins.set())
        with atomic():
            add("first")

    one = start(first)
    assert begins.wait(PATIENCE)
    two = start(lambda: add("second"))
    assert waits.acquire(timeout=PATIENCE)
    another_process()
    for future in (one, two):
        future.result(PATIENCE)
    assert in_line() == ["another process", "first", "second"]


FORK = """
import os, sys, threading
from shop.database.sqlite3.connection import Connection
from shop.database.sqlite3.writers import Turn

def connect():
    return Connection(sys.argv[1], timeout=2, isolation_level=None)

ours = connect()
# Not in SQLite itself: its library doesn't take a transaction across a fork.
turns = []
def enter():
    turns.append(Turn())
    assert ours._writers.enter(turns[0], 0)
thread = threading.Thread(target=enter)
thread.start()
thread.join()

child = os.fork()
if not child:
    code = 1
    try:
        connect().execute("DELETE FROM line")
        left_open = connect()
        left_open.execute("BEGIN IMMEDIATE")
        code = 0
    finally:
        os._exit(code)
assert os.waitpid(child, 0)[1] == 0, "the child waited for a thread of its parent"
ours._writers.give_up(turns[0])
# What the child took is not taken here.
ours.execute("INSERT INTO line (who) VALUES ('parent')")
"""


def test_a_forked_child_starts_with_nobody_waiting(ours, path) -> None:
    add("a")
    done = subprocess.run(
        [sys.executable, "-c", FORK, path], cwd=settings.BASE_DIR,
        check=False, capture_output=True, text=True, timeout=3 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert in_line() == ["parent"]


def test_a_process_that_ends_within_a_transaction_ends_quietly(ours, path) -> None:
    code = (
        "import sys; from shop.database.sqlite3.connection import Connection\n"
        "connection = Connection(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute('DELETE FROM line')\n"
    )
    add("a")
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=settings.BASE_DIR,
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stderr == b""
    assert in_line() == ["a"]


# --- Metrics ---------------------------------------------------------------


def test_statements_and_errors_are_counted_as_before(ours) -> None:
    labels = {"alias": ALIAS, "vendor": "sqlite"}

    def counts() -> list[float]:
        return [
            REGISTRY.get_sample_value(name, labels | more) or 0
            for name, more in (
                ("django_db_new_connections_total", {}),
                ("django_db_execute_total", {}),
                ("django_db_execute_many_total", {}),
                ("django_db_errors_total", {"type": "IntegrityError"}),
                ("django_db_query_duration_seconds_count", {}),
            )
        ]

    before = counts()
    ours.close()
    with pytest.raises(IntegrityError), atomic():
        with ours.cursor() as cursor:
            cursor.executemany("INSERT INTO line (who) VALUES (%s)", [("a",), ("b",)])
        add("a")
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 4, 2, 1, 3]
