"""What a request may say: strict queries and bodies, in which nothing is taken for noise."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.utils.translation import get_language
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from shop.fields import Text, Whole, from_text

PER_PAGE = 20
PER_PAGE_MAX = 100
# An offset costs what it skips. Whoever goes deeper uses a cursor.
PAGE_MAX = 10_000

# The codes of errors that no schema foretells: a value that is well formed and
# names nothing, and one that goes ill with another.
NO_SUCH_THING = "does_not_exist"
CONTRADICTION = "contradiction"


class StrictSerializer(serializers.Serializer[Any]):
    """Input in which a field that nobody knows is an error, not noise."""

    def to_internal_value(self, data: Any) -> Any:
        """Validate, after refusing unknown names."""
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                raise ValidationError(
                    {str(name): [_("There is no such field.")] for name in unknown[:20]},
                    code="unknown_field",
                )
        return super().to_internal_value(data)


class NoQuery(StrictSerializer):
    """A query string with nothing in it."""


class ListQuery(StrictSerializer):
    """The parameters that every list takes."""

    page = Whole(min_value=1, max_value=PAGE_MAX, required=False)
    per_page = Whole(min_value=1, max_value=PER_PAGE_MAX, default=PER_PAGE)
    cursor = Text(required=False, allow_blank=True, max_length=600, trim_whitespace=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse `page` and `cursor` together: they are two ways of paging."""
        if "page" in attrs and "cursor" in attrs:
            raise ValidationError({"cursor": [_("Give either page or cursor.")]}, CONTRADICTION)
        return attrs


def read_query(request: Request, form: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """Return the validated query parameters.

    Raises:
        ValidationError: an unknown name, a name given twice, or a bad value.
    """
    return checked(form, _query(request, form))


def read_query_and_body(
    request: Request, form: type[serializers.Serializer[Any]]
) -> dict[str, Any]:
    """Return the validated query parameters and JSON body, for calls that take either.

    Raises:
        ValidationError: an unknown name, one given twice, or a bad value; the body is no object.
    """
    query = _query(request, form)
    body = request.data
    if not isinstance(body, Mapping):
        raise ValidationError(_("The body must be an object."))
    both = [name for name in query if name in body]
    if both:
        raise ValidationError(
            {name: [_("Given in the query and the body.")] for name in both}, CONTRADICTION
        )
    return checked(form, {**query, **body})


def _query(request: Request, form: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    twice = [name for name, values in request.query_params.lists() if len(values) > 1]
    if twice:
        raise ValidationError({name: [_("Given more than once.")] for name in twice})
    return from_text(_form(form, False).fields, request.query_params.dict())


def checked(
    form: type[serializers.Serializer[Any]], data: Any, *, partial: bool = False
) -> dict[str, Any]:
    """Return the validated input; ValidationError otherwise.

    With `partial` nothing is required and no default is filled in, but a
    change of nothing is refused.
    """
    if partial and data == {}:
        raise ValidationError(_("There is nothing to change."), "empty")
    validated: dict[str, Any] = _form(form, partial).run_validation(data)
    return validated


def _form(form: type[serializers.Serializer[Any]], partial: bool) -> serializers.Serializer[Any]:
    return _form_in(get_language(), form, partial)


@lru_cache
def _form_in(
    language: str | None, form: type[serializers.Serializer[Any]], partial: bool
) -> serializers.Serializer[Any]:
    # One instance serves every request in its language: a serializer copies all
    # its fields when it is made, which costs more than checking them, and
    # `run_validation` leaves nothing behind in them but the text of a refusal,
    # which stays in the language that it was first told in.
    return form(partial=partial)
