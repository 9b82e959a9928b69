"""Money is exact on every road."""

import json
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from shop import money
from shop.rest import dump_json

amounts = st.integers(0, money.MAX_MINOR)


@given(minor=amounts)
@pytest.mark.parametrize("currency", ["KRW", "USD", "KWD"])
def test_an_amount_survives_the_database_and_the_wire(minor, currency):
    from django.test import override_settings

    with override_settings(CURRENCY=currency):
        amount = money.from_minor(minor)
        assert money.to_minor(amount) == minor
        assert money.parse(format(amount, "f")) == amount
        written = dump_json({"price": money.on_the_wire(amount)})
        assert json.loads(written, parse_float=Decimal)["price"] == amount


@pytest.mark.parametrize(
    ("currency", "amount"),
    [
        ("KRW", "0.5"),
        ("USD", "0.001"),
        ("KWD", "0.0001"),
        ("KRW", "1E+13"),
        ("KRW", "1E+999999"),
        ("KRW", "NaN"),
        ("KRW", "Infinity"),
        # Decimal's own precision would round these to what the currency has.
        ("KRW", "1E-999999999"),
        ("USD", "1." + "0" * 40 + "1"),
    ],
)
def test_what_the_currency_does_not_have_is_refused(settings, currency, amount):
    settings.CURRENCY = currency
    with pytest.raises(ValidationError):
        money.to_minor(Decimal(amount))


@pytest.mark.parametrize("text", ["", "1e3", " 1", "1,000", "+1", "٣", "0x1", "1.", ".5", "1" * 19])
def test_only_plain_numbers_are_read(text):
    with pytest.raises(ValidationError):
        money.parse(text)


@pytest.mark.django_db
def test_sums_are_exact(make_product, settings):
    from django.db.models import Sum

    from products.models import Product

    settings.CURRENCY = "USD"
    for _ in range(10):
        make_product(price="0.10")
    assert Product.objects.aggregate(sum=Sum("price"))["sum"] == Decimal("1.00")
