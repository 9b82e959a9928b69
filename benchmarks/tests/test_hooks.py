"""Measuring webhooks: `manage.py measure_events --webhook` on a few events."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from benchmarks import hooks
from benchmarks.arena import ArenaError


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


@pytest.mark.django_db
def test_each_event_arrives_once_and_in_order() -> None:
    out = StringIO()
    call_command("measure_events", "--webhook", "--events=20", "--senders=2", stdout=out)
    header, _rule, row = out.getvalue().splitlines()
    told = dict(zip(cells(header), cells(row), strict=True))
    assert (told["deliveries"], told["senders"]) == ("20", "2")
    assert (told["doubled"], told["missing"], told["out of order"]) == ("0", "0", "0")
    assert float(told["seconds"]) > 0


def test_an_arena_that_fails_is_told_in_one_line(monkeypatch) -> None:
    def fails(**_options):
        raise ArenaError("no database")

    monkeypatch.setattr(hooks, "measure", fails)
    with pytest.raises(CommandError, match="no database"):
        call_command("measure_events", "--webhook", "--events=5")
