"""The checker of freshness: a short run finds nothing, and it would find something."""

import os
import shutil

import pytest
from django.db import connection

from benchmarks import freshness
from benchmarks.freshness import Checker, Register, measure

# By hand: 300, or manage.py check_freshness.
SECONDS = float(os.environ.get("SHOP_FRESHNESS_SECONDS", "12"))


@pytest.mark.django_db(transaction=True)
def test_nothing_that_is_read_is_old_or_goes_backwards():
    redis = connection.vendor == "postgresql" and shutil.which("redis-server") is not None
    outcome = measure(seconds=SECONDS, redis=redis)
    assert outcome.is_good, outcome.text()
    assert outcome.redis_stops == (3 if redis else 0)
    assert sum(outcome.writes.values()) > 20, outcome.text()


class Arena:
    class data:  # noqa: N801
        last = 40


@pytest.fixture
def checker():
    made = Checker(Arena(), [1, 2], 1)
    register = Register(values=[2, 3], times=[100.0, 101.0])
    made.registers[40, "price"] = register
    return made


def read(checker, price, *, asked, before=0):
    product = {"id": "40", "price": price, "stock_quantity": 5, "seo": None}
    checker._check(product, 1, asked, {(40, "price"): before}, "/")
    checker.judge(asked + 1)


def test_an_old_value_is_found_once_a_newer_has_been_there_for_a_second(checker):
    read(checker, 1, asked=100.9)
    assert (checker.outcome.stale, len(checker.outcome.ages)) == ([], 1)
    read(checker, 1, asked=100.0 + freshness.ALLOWED + 0.1)
    assert len(checker.outcome.stale) == 1
    read(checker, 2, asked=101.5)
    read(checker, 3, asked=500.0)
    assert len(checker.outcome.stale) == 1


def test_a_value_that_falls_is_found(checker):
    read(checker, 3, asked=101.0, before=3)
    assert checker.outcome.backwards == []
    read(checker, 2, asked=101.1, before=3)
    assert len(checker.outcome.backwards) == 1


def test_a_run_in_which_nothing_was_read_proves_nothing(checker):
    assert not checker.outcome.is_good
