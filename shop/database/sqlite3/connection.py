"""Connections of the sqlite3 module whose writers wait their turn in the process.

A connection takes the turn before a statement that wants SQLite's write lock,
and has it for as long as its transaction is open; what ends the transaction,
or keeps it from beginning, gives it up. Nothing of Django is known here.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, TypeVar
from weakref import WeakSet

from shop.database.sqlite3.statements import writes
from shop.database.sqlite3.writers import Turn, Writers, writers_of

T = TypeVar("T")

# Seconds: to take shorter waits off SQLite's would cost two statements each.
_SHORT = 0.1


def _locked(code: int, name: str, text: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


class Cursor(sqlite3.Cursor):
    """A cursor whose statements take the turn where they need it."""

    connection: "Connection"
    _rows: Iterator[Any] | None = None

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        """Run a statement, in its turn if it writes."""
        self._rows = None
        connection = self.connection
        if not connection.has_turn and not writes(sql):
            return super().execute(sql, parameters)
        return connection.in_turn(partial(self._execute, sql, parameters))

    def executemany(self, sql: str, parameters: Any) -> Any:
        """Run a statement with each of the parameters, all in one turn."""
        self._rows = None
        connection = self.connection
        run = partial(super().executemany, sql, parameters)
        if not connection.has_turn and not writes(sql):
            return run()
        return connection.in_turn(run)

    def executescript(self, script: str) -> Any:
        """Run a script in one turn; nobody looks what is in it."""
        self._rows = None
        return self.connection.in_turn(partial(super().executescript, script))

    def _execute(self, sql: str, parameters: Any) -> Any:
        super().execute(sql, parameters)
        if self.description is not None and not self.connection.in_transaction:
            # INSERT … RETURNING by itself: SQLite has all of its rows ready,
            # but commits only when the last one is fetched. Who fetches may
            # take its time; the turn ends here.
            self._rows = iter(super().fetchall())
        return self

    def __next__(self) -> Any:
        """Return the next row."""
        return super().__next__() if self._rows is None else next(self._rows)

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return super().fetchone() if self._rows is None else next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return up to so many rows."""
        if size is None:
            size = self.arraysize
        return super().fetchmany(size) if self._rows is None else list(islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        return super().fetchall() if self._rows is None else list(self._rows)

    def close(self) -> None:
        """Close it; no more rows."""
        self._rows = None
        super().close()


class Connection(sqlite3.Connection):
    """A connection that waits for its file's other writers, and they for it.

    `timeout`, in seconds, is for both: waiting here for writers of this
    process, and then in SQLite for those of others.
    """

    _turn: Turn | None = None

    def __init__(
        self, database: Any, timeout: float = 5.0, *args: Any, factory: Any = None, **options: Any
    ) -> None:
        super().__init__(database, timeout, *args, **options)
        self.timeout = timeout
        self._writers = self._find_writers(database)
        self._process = os.getpid()
        _left.connections.add(self)

    def _find_writers(self, database: Any) -> Writers:
        path = super().execute("PRAGMA database_list").fetchone()[2]
        if path:
            with suppress(OSError):
                # As SQLite tells files apart, whatever they are called.
                file = os.stat(path)
                return writers_of((file.st_dev, file.st_ino))
        elif "cache=shared" in str(database):
            return writers_of(str(database))
        return Writers()

    @property
    def has_turn(self) -> bool:
        """Whether this connection is the one that writes."""
        return self._turn is not None

    def in_turn(self, run: Callable[[], T]) -> T:
        """Run what may write; afterwards the turn is kept only by an open transaction.

        Raises:
            sqlite3.OperationalError: SQLITE_BUSY when `timeout` has run out, SQLITE_LOCKED
                when this thread has the turn already, through another connection.
        """
        try:
            waited = self._take_turn() if self._turn is None else 0.0
            if waited < _SHORT:
                return run()
            self._wait_in_sqlite(self.timeout - waited)
            try:
                return run()
            finally:
                self._wait_in_sqlite(self.timeout)
        finally:
            self.settle()

    def _take_turn(self) -> float:
        """Wait for the turn; returns how many seconds that took."""
        if self._writers.written_by_this_thread():
            raise _locked(
                sqlite3.SQLITE_LOCKED,
                "SQLITE_LOCKED",
                "database is locked: this thread is writing to it through another connection",
            )
        started = time.monotonic()
        turn = Turn()
        try:
            if not self._writers.enter(turn, self.timeout):
                raise _locked(sqlite3.SQLITE_BUSY, "SQLITE_BUSY", "database is locked")
            self._turn = turn
        except BaseException:
            self._writers.give_up(turn)
            raise
        return time.monotonic() - started

    def _wait_in_sqlite(self, seconds: float) -> None:
        super().execute(f"PRAGMA busy_timeout = {max(0, int(seconds * 1000))}")

    def settle(self) -> None:
        """Give the turn up, unless a transaction is open."""
        if self._turn is not None and not self.in_transaction:
            self._give_up()

    def _give_up(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            self._writers.give_up(turn)

    def commit(self) -> None:
        """Commit; the next may write, unless it failed and the transaction goes on."""
        try:
            super().commit()
        finally:
            self.settle()

    def rollback(self) -> None:
        """Roll back; the next may write."""
        try:
            super().rollback()
        finally:
            self.settle()

    def close(self) -> None:
        """Close; SQLite rolls back what is open, and the next may write."""
        try:
            super().close()
        finally:
            self._give_up()

    def __exit__(self, *raised: Any) -> Any:
        """Commit or roll back, as the connection that it is."""
        try:
            return super().__exit__(*raised)
        finally:
            self.settle()

    # The shortcuts of sqlite3 go past `cursor`.

    def cursor(self, factory: Any = Cursor) -> Any:
        """Return a cursor that waits its turn."""
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        """Run a statement in a new cursor."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> Any:
        """Run a statement with each of the parameters in a new cursor."""
        return self.cursor().executemany(sql, parameters)

    def executescript(self, script: str) -> Any:
        """Run a script in a new cursor."""
        return self.cursor().executescript(script)

    def abandon(self) -> None:
        """Roll back what the thread that ends now has begun and nobody will end."""
        turn = self._turn
        # After a fork it is the other process that may still end it.
        if turn is None or turn.thread != threading.get_ident() or self._process != os.getpid():
            return
        try:
            with suppress(sqlite3.Error):
                self.rollback()
        finally:
            self._give_up()

    def __del__(self) -> None:
        # Closed first, so that the next finds the file free.
        if self._turn is not None:
            with suppress(sqlite3.Error):
                self.close()


class _Opened:
    """The connections that one thread has opened. It goes when the thread does."""

    def __init__(self) -> None:
        self.connections: WeakSet[Connection] = WeakSet()

    def __del__(self) -> None:
        for connection in self.connections:
            connection.abandon()


class _Left(threading.local):
    """What a thread leaves behind.

    Django's wrappers are cycles, and the collector may come to them much later.
    """

    def __init__(self) -> None:
        self._opened = _Opened()

    @property
    def connections(self) -> "WeakSet[Connection]":
        return self._opened.connections


_left = _Left()
