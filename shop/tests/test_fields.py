"""Fields take what they say, and a query's texts are read as what a form asks for."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rest_framework.exceptions import ValidationError

from shop.fields import Flag, Key, Moment, Number, Text, Whole, from_text


@pytest.mark.parametrize(
    ("field", "given", "taken"),
    [
        (Text(), " 노트북 ", "노트북"),
        (Text(max_length=3), "abc", "abc"),
        (Whole(), 5, 5),
        (Whole(), Decimal("5.0"), 5),
        (Whole(), Decimal("1E+2"), 100),
        (Number(), 5, 5.0),
        (Number(), Decimal("1e-400"), 0.0),
        (Flag(), False, False),
        (Key(), "0012", 12),
        (Moment(), "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        (Moment(), "2026-01-01t09:00:00.5+09:00", datetime(2026, 1, 1, 0, 0, 0, 500000, UTC)),
    ],
)
def test_what_is_taken(field, given, taken):
    assert field.run_validation(given) == taken


@pytest.mark.parametrize(
    ("field", "given"),
    [
        *((Text(), given) for given in (5, True, ["a"], {"a": 1}, " ", "")),
        # As long as the schema says, whatever is taken off.
        (Text(max_length=3), " abc"),
        *((Whole(), given) for given in ("5", True, Decimal("0.5"), [5], Decimal("1E+400"))),
        *((Number(max_value=1e15), given) for given in ("5", "nan", True, 10**400)),
        (Number(max_value=1e15), Decimal("1E+400")),
        *((Flag(), given) for given in ("true", 1, 0, "yes", [True])),
        *((Key(), given) for given in (5, "", "-5", " 5", "5\n", "５", "9" * 19)),
        *(
            (Moment(), given)
            for given in (
                *("2026-01-01", "2026-01-01T00:00:00", "2026-W01-1T00:00:00Z", "20260101T000000Z"),
                *("2026-01-01 00:00:00Z", "2026-01-01T00:00Z", "2026-02-30T00:00:00Z", 5, ""),
                *("2026-01-01T00:00:00Z\n", "９999-01-01T00:00:00Z", "1899-01-01T00:00:00Z"),
                *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"),
            )
        ),
    ],
)
def test_what_is_refused(field, given):
    with pytest.raises(ValidationError):
        field.run_validation(given)


def test_whole_numbers_of_a_query_are_read_and_nothing_else_is():
    fields = {"page": Whole(), "q": Text()}
    assert from_text(fields, {"page": "-12", "q": "12", "other": "3"}) == {
        "page": -12,
        "q": "12",
        "other": "3",
    }
    for odd in ("", "1_000", "٣", " 5", "5 ", "+5", "5.0", "1e3", "05", "-0", "9" * 5000):
        assert from_text(fields, {"page": odd}) == {"page": odd}
