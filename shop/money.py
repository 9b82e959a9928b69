"""Money: integer minor units in the database, `Decimal` in code, a number on the wire."""

import re
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Any

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.forms import Field as FormField

    _Column = models.BigIntegerField[Decimal | int, Decimal]
    _SerializerField = serializers.Field[Decimal, Any, Any, Any]
else:
    _Column = models.BigIntegerField
    _SerializerField = serializers.Field

# ISO 4217: currencies whose minor unit is not a hundredth.
_EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
# Sums of many amounts stay below 2**53 too, so that every JSON reader keeps them.
MAX_MINOR = 10**12

# The usual one would round 1E-999999999, and the thirtieth decimal, to something exact.
_EXACT = Context(prec=40, traps=[Inexact])
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?\Z")


def exponent(currency: str = "") -> int:
    """Return how many decimals a currency has, the shop's where none is named."""
    return _EXPONENTS.get(currency or settings.CURRENCY, 2)


def to_minor(amount: Decimal) -> int:
    """Return `amount` in minor units; ValidationError where it is not exact."""
    if not amount.is_finite():
        raise ValidationError(_("Not a number."), code="invalid")
    # The size comes first: 1E+999999 must not be written out.
    if amount.adjusted() > 15:
        raise _too_large()
    try:
        scaled = amount.scaleb(exponent(), _EXACT)
    except Inexact:
        raise _too_fine() from None
    if abs(scaled) > MAX_MINOR:
        raise _too_large()
    minor = int(scaled)
    if minor != scaled:
        raise _too_fine()
    return minor


def _too_large() -> ValidationError:
    return ValidationError(_("The amount is too large."), code="max_value")


def _too_fine() -> ValidationError:
    return ValidationError(
        _("%(currency)s has %(decimals)s decimals."),
        code="max_decimal_places",
        params={"currency": settings.CURRENCY, "decimals": exponent()},
    )


def from_minor(minor: int) -> Decimal:
    """Return the amount that `minor` units are."""
    return Decimal(minor).scaleb(-exponent())


def parse(text: str) -> Decimal:
    """Read a plain decimal number as people and files write it; ValidationError otherwise."""
    if not _PLAIN_NUMBER.match(text):
        raise ValidationError(_("Not an amount."), code="invalid")
    return from_minor(to_minor(Decimal(text)))


def on_the_wire(amount: Decimal) -> int | orjson.Fragment:
    """Return what orjson writes as the exact number, with no float in between."""
    if exponent() == 0:
        return int(amount)
    return orjson.Fragment(format(amount, "f"))


# What people write before the number, where that is not the code of the currency.
_SIGNS = {"EUR": "€", "GBP": "£", "JPY": "¥", "USD": "$"}


def written(amount: Decimal | int, currency: str = "") -> str:
    """Return an amount as people write it in their language: ₩182,000 or 182,000원, $19.90.

    Exact: no digit is rounded away, and the currency's decimals are all there.
    """
    currency = currency or settings.CURRENCY
    sign, size = "-" if amount < 0 else "", abs(Decimal(amount))
    rounded = size.quantize(Decimal(1).scaleb(-exponent(currency)))
    number = number_format(rounded if rounded == size else size, force_grouping=True)
    if currency == "KRW":
        return sign + _("₩%(amount)s") % {"amount": number}
    return sign + _SIGNS.get(currency, f"{currency}\N{NO-BREAK SPACE}") + number


class MoneyField(_Column):
    """An amount in the shop's currency."""

    description = "Money in minor units"

    def from_db_value(self, value: Any, *_: object) -> Decimal | None:
        """Turn minor units, or a sum of them, into an amount."""
        return None if value is None else from_minor(int(value))

    def to_python(self, value: Any) -> Decimal | None:
        """Accept numbers and what forms and fixtures write."""
        if value is None or isinstance(value, Decimal):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return Decimal(value)
        try:
            return Decimal(str(value))
        except InvalidOperation:
            raise ValidationError(_("Not an amount."), code="invalid") from None

    def get_prep_value(self, value: Any) -> int | None:
        """Turn an amount into minor units."""
        amount = self.to_python(value)
        return None if amount is None else to_minor(amount)

    def get_db_prep_value(
        self, value: Any, connection: "BaseDatabaseWrapper", prepared: bool = False
    ) -> int | None:
        """Leave what get_prep_value made alone."""
        return value if prepared else self.get_prep_value(value)

    def run_validators(self, value: Any) -> None:
        """Check the size in minor units, not the database's range in major ones."""
        if value is not None:
            to_minor(value)

    def value_to_string(self, obj: models.Model) -> str:
        """Serialise as the amount."""
        return str(self.value_from_object(obj))

    def formfield(self, *_: Any, **kwargs: Any) -> "FormField | None":
        """Offer a decimal input with the currency's decimals."""
        from django import forms

        kwargs.pop("form_class", None)
        kwargs.pop("choices_form_class", None)
        return forms.DecimalField(
            label=kwargs.get("label") or capfirst(self.verbose_name),
            required=not self.blank,
            help_text=self.help_text,
            max_digits=15,
            decimal_places=exponent(),
            initial=self.default if self.has_default() else None,
        )


def text_pattern() -> str:
    """Return the regular expression of an amount in a query string, in the shop's currency."""
    places = exponent()
    digits = len(str(MAX_MINOR)) - 1 - places
    zeros = r"(\.0{1,12})?"
    fraction = rf"(\.[0-9]{{1,{places}}}0{{0,12}})?" if places else zeros
    return f"([0-9]{{1,{digits}}}{fraction}|10{{{digits}}}{zeros})"


class MoneySerializerField(_SerializerField):
    """A JSON number; the parser has read it as an int or a Decimal."""

    default_error_messages = {
        "invalid": _("An amount is a JSON number."),
        "negative": _("The amount can't be negative."),
        "nothing": _("The amount is more than nothing."),
    }

    def __init__(self, *, more_than_nothing: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.more_than_nothing = more_than_nothing

    def to_internal_value(self, data: Any) -> Decimal:
        """Return the exact amount; ValidationError where it has too many decimals."""
        if isinstance(data, bool) or not isinstance(data, int | Decimal):
            self.fail("invalid")
        amount = Decimal(data)
        if amount < 0:
            self.fail("negative")
        if self.more_than_nothing and amount == 0:
            self.fail("nothing")
        try:
            return from_minor(to_minor(amount))
        except ValidationError as error:
            raise serializers.ValidationError(error.messages, code=error.code) from None

    def to_representation(self, value: Decimal) -> int | Decimal:
        """Return an int for currencies without decimals; the renderer writes Decimals exactly."""
        return int(value) if exponent() == 0 else value
