"""A lost conflict between transactions is run again, nothing else is; a snapshot is one moment."""

import threading
from types import SimpleNamespace

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from shop import db
from shop.accounts.models import User


class Conflict(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


class Busy(Exception):
    sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"


def failing(times, sqlstate, done):
    def work():
        User.objects.create_user(f"person{len(done)}")
        done.append(1)
        if len(done) <= times:
            raise OperationalError from Conflict(sqlstate)
        return "committed"

    return work


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(db.time, "sleep", lambda seconds: None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_deadlock_is_run_again_and_leaves_nothing_of_the_first_try(sqlstate):
    done = []
    assert db.in_transaction(failing(2, sqlstate, done)) == "committed"
    assert len(done) == 3
    assert User.objects.get().username == "person2"


@pytest.mark.django_db(transaction=True)
def test_it_gives_up_in_the_end():
    done = []
    with pytest.raises(OperationalError):
        db.in_transaction(failing(99, "40P01", done))
    assert len(done) == 5
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_other_faults_are_not_repeated():
    done = []
    with pytest.raises(OperationalError):
        db.in_transaction(failing(99, "08006", done))
    assert len(done) == 1


@pytest.mark.django_db(transaction=True)
def test_inside_another_transaction_only_the_outer_one_can_be_repeated():
    done = []
    with pytest.raises(OperationalError), transaction.atomic():
        db.in_transaction(failing(1, "40P01", done))
    assert len(done) == 1


def elsewhere(work):
    """Run `work` on a connection of its own and wait for it."""

    def run():
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_shows_one_moment_and_holds_up_no_writer():
    User.objects.create_user("before")
    with db.snapshot():
        assert User.objects.count() == 1
        elsewhere(lambda: User.objects.create_user("meanwhile"))
        assert User.objects.count() == 1
        elsewhere(lambda: User.objects.all().delete())
        assert User.objects.get().username == "before"
    assert not User.objects.exists()
    # And the connection writes again as before.
    with transaction.atomic():
        User.objects.create_user("after")
    assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_ends_with_an_error_too():
    with pytest.raises(LookupError), db.snapshot():
        User.objects.count()
        raise LookupError
    assert db.in_transaction(lambda: User.objects.create_user("after")).pk


@pytest.mark.django_db
def test_a_snapshot_inside_a_transaction_sees_what_that_sees():
    User.objects.create_user("before")
    with db.snapshot():
        assert User.objects.count() == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_snapshot_may_take_its_time_and_only_reads():
    def setting():
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return cursor.fetchone()[0]

    usual = setting()
    with db.snapshot():
        assert setting() == "0"
    assert setting() == usual != "0"
    with pytest.raises(DatabaseError, match="read-only"), db.snapshot():
        User.objects.create_user("never")
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("seconds", "attempts"), [(0.001, 5), (3, 3), (7.9, 2), (20, 1)])
@pytest.mark.parametrize("conflict", [Busy(), Conflict("40P01")])
def test_nobody_waits_many_times_over(seconds, attempts, conflict, monkeypatch):
    """An attempt that took so many seconds: SQLite's busy time-out is 20."""
    now = 1000.0

    def work():
        nonlocal now
        now += seconds
        done.append(now)
        raise OperationalError from conflict

    done = []
    monkeypatch.setattr(
        db, "time", SimpleNamespace(monotonic=lambda: now, sleep=lambda seconds: None)
    )
    with pytest.raises(OperationalError):
        db.in_transaction(work)
    assert len(done) == attempts
    assert now - 1000 <= 28
