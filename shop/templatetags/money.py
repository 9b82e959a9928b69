"""Amounts in templates."""

from decimal import Decimal

from django import template

from shop.money import written

register = template.Library()


@register.filter
def money(amount: Decimal, currency: str = "") -> str:
    """Write an amount as people do; of the shop's currency where none is named."""
    return written(amount, currency)
