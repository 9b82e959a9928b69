"""What drf-spectacular can't see by itself."""

from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import is_list_serializer
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework.serializers import CharField, IntegerField, Serializer


class ShopSchema(AutoSchema):
    """Describes answers as they are declared: a list is a page, an object with `results`."""

    def _is_list_view(self, serializer: Any = None) -> bool:
        # Without one it is asked for the operation's name.
        if serializer is None:
            return super()._is_list_view()
        return bool(is_list_serializer(serializer))


def only_v2(endpoints: list[Any], **_: Any) -> list[Any]:
    """Leave the plain v1 out: it is there to migrate from, not to build on."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v2/")]


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem. Further members depend on the code.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable and machine-readable."},
        "errors": {
            "type": "object",
            "description": "Per field, where input was bad.",
            "additionalProperties": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
                    "required": ["code", "detail"],
                },
            },
        },
        "correlation_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "code", "correlation_id"],
    "additionalProperties": True,
}
_HTTP_METHODS = {"get", "post", "put", "patch", "delete"}


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Document that every operation answers its errors as problem+json."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
    answer = {
        "description": "A problem; `code` says which.",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for path in result.get("paths", {}).values():
        for method, operation in path.items():
            if method in _HTTP_METHODS:
                operation.setdefault("responses", {})["4XX"] = answer
                operation["responses"]["503"] = answer
    return result


def page_of(item: type[Serializer[Any]]) -> Any:
    """Return the schema of a list of `item`, paged by number or by cursor."""
    return inline_serializer(
        name=f"{item.__name__.removesuffix('Output')}Page",
        fields={
            "results": item(many=True),
            "total": IntegerField(required=False, help_text="Not with a cursor."),
            "page": IntegerField(required=False, help_text="Not with a cursor."),
            "per_page": IntegerField(required=False, help_text="Not with a cursor."),
            "pages": IntegerField(required=False, help_text="Not with a cursor."),
            "next": CharField(allow_null=True, help_text="Path and query of the next page."),
            "previous": CharField(allow_null=True),
        },
    )


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="One effect per key: the same request again gets the first answer.",
)


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes `shop.accounts.authentication.BearerAuthentication`."""

    target_class = "shop.accounts.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {"type": "http", "scheme": "bearer"}


class MoneyScheme(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Describes an amount in a request."""

    target_class = "shop.money.MoneySerializerField"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        """Return the field's schema."""
        return {"type": "number", "minimum": 0, "description": "Exact, in the shop's currency."}
