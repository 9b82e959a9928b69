"""What a product list can be narrowed by."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from products.catalogue import ORDERS
from products.listing import Filter, read_branch
from shop.cache import Tag
from shop.fields import Text
from shop.inputs import CONTRADICTION, NO_SUCH_THING, ListQuery, StrictSerializer, read_query
from shop.money import parse, text_pattern

# Characters of a query whose reading is remembered: spaces and the like may make one long.
_LONGEST = 800


class AmountParameter(serializers.Field):  # type: ignore[type-arg]
    """An amount written in a query string; empty means none."""

    default_error_messages = {"invalid": _("Not an amount.")}

    def to_internal_value(self, data: Any) -> Decimal:
        """Return the amount; ValidationError where it is none."""
        if not re.fullmatch(text_pattern(), data):
            self.fail("invalid")
        return parse(data)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """Take an empty string for an absent parameter."""
        return None if data == "" else super().run_validation(data)


class ProductQuery(ListQuery):
    """The parameters of a product list."""

    category = serializers.SlugField(
        required=False,
        allow_blank=True,
        max_length=120,
        help_text=_("A category's slug; takes in all below it."),
    )
    min_price = AmountParameter(required=False)
    max_price = AmountParameter(required=False)
    in_stock = serializers.ChoiceField(["true", "false"], allow_blank=True, required=False)
    ordering = serializers.ChoiceField(sorted(ORDERS), default="newest")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a price range that no price can be in."""
        attrs = super().validate(attrs)
        low, high = attrs.get("min_price"), attrs.get("max_price")
        if low is not None and high is not None and low > high:
            raise ValidationError({"max_price": [_("This is below min_price.")]}, CONTRADICTION)
        return attrs


class SearchQuery(ProductQuery):
    """The parameters of a search: a list's filters, by page, in the order of the match."""

    q = Text(max_length=100, help_text=_("What was typed."))
    cursor = None  # type: ignore[assignment]
    ordering = None  # type: ignore[assignment]


class SuggestionQuery(StrictSerializer):
    """What is being typed."""

    q = Text(max_length=100, help_text=_("What was typed."))


def read_product_query(request: Request) -> dict[str, Any]:
    """Return the validated parameters; the same text is checked only once.

    Raises:
        ValidationError: an unknown or bad parameter.
    """
    query_string = request.META.get("QUERY_STRING", "")
    read = _read if len(query_string) <= _LONGEST else _read.__wrapped__
    return read(query_string, _Carrier)


class _Carrier:
    """Just enough of a request for `read_query`."""

    def __init__(self, query_string: str) -> None:
        self.query_params = QueryDict(query_string)


@lru_cache(maxsize=4096)
def _read(query_string: str, carrier: Any) -> dict[str, Any]:
    # Bad input raises and so is never kept. Nobody changes what comes out.
    return read_query(carrier(query_string), ProductQuery)


def tags_of_filters(query: dict[str, Any]) -> set[Tag]:
    """Return the tags of what decides which products the filters let through."""
    tags: set[Tag] = {"members"}
    if query.get("category"):
        tags |= {"category", "tree"}
    if query.get("min_price") is not None or query.get("max_price") is not None:
        tags.add("price")
    if query.get("in_stock"):
        tags.add("in_stock")
    return tags


def filter_products(query: dict[str, Any]) -> Filter:
    """Return what builds the queryset that `query` asks for.

    Raises:
        ValidationError: there is no such category.
    """
    branch: tuple[int, ...] = ()
    if slug := query.get("category"):
        branch = read_branch(slug)
        if not branch:
            raise ValidationError({"category": [_("There is no such category.")]}, NO_SUCH_THING)
    in_stock = query.get("in_stock")
    return Filter(
        slug or "",
        branch,
        query.get("min_price"),
        query.get("max_price"),
        in_stock == "true" if in_stock else None,
    )
