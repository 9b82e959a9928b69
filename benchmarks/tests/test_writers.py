"""Measuring SQLite's writers: what a window comes to, and on what it is measured."""

import subprocess
import sys
from collections import Counter

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from benchmarks.load import Load
from benchmarks.writers import Window


def test_who_was_answered_after_the_window_counts_into_the_tail_and_not_into_the_rate() -> None:
    load = Load(
        seconds=2, latencies=[0.01] * 98, late=[3.0, 0.02], statuses=Counter({201: 99, 503: 1})
    )
    assert Window.of(load) == Window(rate=49, p50=10, p99=20, longest=3000, errors=1)


def test_a_window_without_an_answer_has_no_times() -> None:
    assert Window.of(Load(seconds=1)) == Window(rate=0, p50=0, p99=0, longest=0, errors=0)


def test_the_other_side_has_the_stock_backend_and_all_else_the_same(tmp_path) -> None:
    code = (
        "from shop import settings as ours; from benchmarks import unqueued_settings as its;"
        "differ = {n for n in dir(its) if n.isupper() and getattr(ours, n) != getattr(its, n)};"
        "print(differ, its.DATABASES['default']['ENGINE'], its.DATABASES['default']['OPTIONS']"
        " == ours.DATABASES['default']['OPTIONS'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR, env={"DATA_DIR": str(tmp_path)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "{'DATABASES'} django_prometheus.db.backends.sqlite3 True\n"


@pytest.mark.postgresql
def test_there_is_nothing_to_measure_on_postgresql() -> None:
    with pytest.raises(CommandError, match="SQLite"):
        call_command("measure_writers")
