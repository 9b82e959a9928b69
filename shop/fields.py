"""Fields that take what they say, and nothing that merely resembles it.

Django REST framework's own read `"5"` as a number, `5` as a text, `"yes"` as
true and `"nan"` as a float. In a query string there are only texts: a form's
`Whole` reads its own there (`from_text`), so that both ways are checked alike.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import Http404
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

# Every number of so many digits fits into a BigAutoField.
KEY_PATTERN = "^[0-9]{1,18}$"
_KEY = re.compile(r"[0-9]{1,18}\Z")
_WHOLE = re.compile(r"(-?[1-9][0-9]{0,17}|0)\Z")
# RFC 3339: what JSON Schema calls a date-time.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)
# Beyond, a moment or a day of the shop has no midnight in every zone.
FIRST_YEAR, LAST_YEAR = 1900, 8999
YEARS = "(19[0-9]{2}|[2-8][0-9]{3})"
OTHER_YEAR = _("A year between {first} and {last}.")


def read_key(text: str) -> int:
    """Return the key behind an id in a path; Http404 where nothing can have it."""
    if not _KEY.match(text):
        raise Http404
    return int(text)


def from_text(fields: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a query with its whole numbers read; what is none is left for its field to refuse."""
    return {
        name: int(text) if isinstance(fields.get(name), Whole) and _WHOLE.match(text) else text
        for name, text in query.items()
    }


class Text(serializers.CharField):
    """A text; spaces at its ends are taken off, but count as part of its length."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text."""
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A whole number; `5.0` is one, as JSON has it."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number."""
        if isinstance(data, Decimal) and data.adjusted() < 19 and data == data.to_integral_value():
            data = int(data)
        if type(data) is not int:
            self.fail("invalid")
        return data


class Number(serializers.FloatField):
    """A number that a float holds."""

    def to_internal_value(self, data: Any) -> float:
        """Return the nearest float."""
        if isinstance(data, bool) or not isinstance(data, int | Decimal):
            self.fail("invalid")
        try:
            return float(data)
        except OverflowError:
            self.fail("invalid")


class Flag(serializers.BooleanField):
    """True or false."""

    def to_internal_value(self, data: Any) -> bool:
        """Return it."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


@extend_schema_field({"type": "string", "format": "date-time", "pattern": f"^{YEARS}-"})
class Moment(serializers.DateTimeField):
    """A moment, with its offset."""

    default_error_messages = {"year": OTHER_YEAR}

    def to_internal_value(self, data: Any) -> datetime:
        """Return the moment."""
        if not (isinstance(data, str) and _MOMENT.match(data)):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss[.uuuuuu](+HH:MM|-HH:MM|Z)")
        moment = super().to_internal_value(data)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            self.fail("year", first=FIRST_YEAR, last=LAST_YEAR)
        return moment


@extend_schema_field({"type": "string", "pattern": KEY_PATTERN})
class Key(serializers.Field):  # type: ignore[type-arg]
    """An id that is a string of digits outside and a number within."""

    default_error_messages = {"invalid": _("Not an id.")}

    def to_internal_value(self, data: Any) -> int:
        """Return the key behind it."""
        if not (isinstance(data, str) and _KEY.match(data)):
            self.fail("invalid")
        return int(data)

    def to_representation(self, value: int) -> str:
        """Return the id."""
        return str(value)
