"""One value of a row: made clean and exact, or the reason why it can't be."""

import re
import unicodedata
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from products.stock import MAX_STOCK
from shop.money import MAX_MINOR, exponent, from_minor, to_minor

_SPACES = re.compile(r"\s+")
# Zero width space, word joiner, byte order mark: seen by nobody, met in many files.
_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}|[0-9]{1,3}(?:,[0-9]{3}){1,10})(?:\.[0-9]{1,40})?\Z")
_EXACT = Context(prec=200, rounding=ROUND_HALF_UP)


class BadRow(Exception):
    """What is wrong with a row."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def fold(text: str) -> str:
    """Return what texts that differ in case, spaces and composition have in common."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(_INVISIBLE.sub("", folded).split())


def printable(text: str) -> str:
    """Return the beginning of a text that nobody has checked, fit for a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)[:100]


def clean_text(
    values: Mapping[str, Any], column: str, limit: int, *, keep_lines: bool = False
) -> str:
    """Return a column's text, empty where the row has none.

    Raises:
        BadRow: it holds control characters, is no text, or is longer than `limit`.
    """
    value = values.get(column, "")
    if isinstance(value, int) and not isinstance(value, bool):
        # A SKU of digits, say. Beyond this no column has room for it.
        value = str(value) if abs(value) < 10**300 else "9" * 301
    if not isinstance(value, str):
        raise BadRow(f"{column}_not_text", _("The column %s is not a text.") % column)
    if _CONTROL.search(value):
        raise BadRow("control_character", _("The column %s has control characters in it.") % column)
    value = _INVISIBLE.sub("", unicodedata.normalize("NFC", value))
    if keep_lines:
        lines = [_SPACES.sub(" ", line).strip() for line in value.splitlines()]
        value = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    else:
        value = _SPACES.sub(" ", value).strip()
    if len(value) > limit:
        raise BadRow(
            f"{column}_too_long",
            _("The column %(column)s has more than %(limit)d characters.")
            % {"column": column, "limit": limit},
        )
    return value


def _number(values: Mapping[str, Any], column: str) -> Decimal | None:
    """Return an exact number, None where there is none; `1,299` is read as thousands.

    Raises:
        BadRow: it is not a number.
    """
    value = values.get(column)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if value is None or isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        text = _INVISIBLE.sub("", value).strip()
        if not text:
            return None
        if _NUMBER.match(text):
            return Decimal(text.replace(",", ""))
    raise BadRow(f"{column}_not_a_number", _("The column %s is not a number.") % column)


def _decimals(number: Decimal) -> int:
    """Return how many decimals a finite number needs; `9900.0` needs none."""
    if not number:
        return 0
    _sign, digits, places = number.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -int(places) - zeros)


def first_stock(values: Mapping[str, Any]) -> int:
    """Return a first stock, 0 where the row has none; raises BadRow where it can't be one."""
    number = _number(values, "stock_quantity")
    if number is None:
        return 0
    if number < 0:
        raise BadRow("stock_negative", _("The stock is below 0."))
    if number > MAX_STOCK:
        raise BadRow("stock_too_large", _("The stock is too large."))
    if _decimals(number):
        raise BadRow("stock_not_whole", _("The stock is not a whole number."))
    return int(number)


class Prices:
    """Prices of a file into the shop's currency, exactly."""

    def __init__(self, rate: Decimal | None, step: Decimal | None) -> None:
        if rate is not None and not (
            rate.is_finite() and 0 < rate < 10**9 and _decimals(rate) < 18
        ):
            raise ValueError(_("The rate is a number above 0."))
        if step is not None:
            try:
                if to_minor(step) <= 0:
                    raise ValueError(_("The step for rounding is above 0."))
            except ValidationError as error:
                raise ValueError(error.messages[0]) from None
        self._rounds = rate is not None or step is not None
        self._rate = rate or Decimal(1)
        self._step = step or from_minor(1)

    def read(self, values: Mapping[str, Any]) -> Decimal:
        """Return a row's price in the shop's currency.

        Raises:
            BadRow: there is none, or none that could be asked for.
        """
        amount = _number(values, "price")
        if amount is None:
            raise BadRow("price_missing", _("The row has no price."))
        if amount <= 0:
            raise BadRow("price_not_positive", _("The price is not above 0."))
        # The size first: 1E+999999 must not be written out.
        if amount.adjusted() > 15:
            raise BadRow("price_too_large", _("The price is too large."))
        if _decimals(amount) > (18 if self._rounds else exponent()):
            raise BadRow("price_too_precise", _("The price has too many decimals."))
        if self._rounds:
            whole, rest = _EXACT.divmod(_EXACT.multiply(amount, self._rate), self._step)
            if _EXACT.add(rest, rest) >= self._step:
                whole = _EXACT.add(whole, 1)
            amount = _EXACT.multiply(whole, self._step)
        if amount > from_minor(MAX_MINOR):
            raise BadRow("price_too_large", _("The price is too large."))
        if not amount:
            raise BadRow("price_not_positive", _("The price is rounded to 0."))
        return from_minor(to_minor(amount))
