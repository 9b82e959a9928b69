"""A lost conflict between transactions is run again; nothing else is."""

from types import SimpleNamespace

import pytest
from django.db import OperationalError, transaction

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
