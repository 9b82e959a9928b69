"""What drf-spectacular can't see by itself: what is refused, how, and with which headers."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance, is_list_serializer, is_patched_serializer
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework.serializers import BooleanField, CharField, IntegerField, Serializer

from shop.context import SANE_CORRELATION_ID
from shop.errors import refusals_of, title_of
from shop.fields import KEY_PATTERN
from shop.idempotency import KEY_MAX_LENGTH
from shop.inputs import StrictSerializer
from shop.money import MAX_MINOR, exponent, from_minor, text_pattern


class ShopSchema(AutoSchema):
    """Describes what is declared, and with it what is refused and which headers there are."""

    # A ShopViewSet; the stubs know an APIView.
    view: Any

    def get_operation(self, *args: Any) -> dict[str, Any] | None:
        """Return the operation with its problems and headers."""
        operation: dict[str, Any] | None = super().get_operation(*args)
        if operation is None:
            return None
        if self.method == "PATCH":
            # A change of nothing is none.
            operation["requestBody"]["required"] = True
        self._either_query_or_body(operation)
        keyed = IDEMPOTENCY_KEY in self.get_override_parameters()
        for answer in operation["responses"].values():
            headers = _headers(*(["Idempotency-Replayed"] if keyed else []))
            answer["headers"] = {**headers, **answer.get("headers", {})}
        for status, codes in sorted(self._problems(operation).items()):
            name = ".".join([str(status), *sorted(codes)])
            operation["responses"][str(status)] = {"$ref": _RESPONSES + name}
        return operation

    def _either_query_or_body(self, operation: dict[str, Any]) -> None:
        """Require nothing in one place that may stand in the other."""
        if "requestBody" not in operation:
            return
        form = self.get_request_serializer()
        if form not in self.get_override_parameters():
            return
        for parameter in operation["parameters"]:
            if parameter["in"] == "query":
                parameter.pop("required", None)
        body = self._map_serializer(form, "request")
        body.pop("required", None)
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}

    def _problems(self, operation: dict[str, Any]) -> dict[int, set[str]]:
        """Return the codes of the problems that the operation may answer with, by status."""
        right = self.view.rights[self.view.action]
        codes = {status: {*named} for status, named in _CODES_OF_ALL.items()}
        if right is not None:
            codes[401].add("not_authenticated")
        # Who is signed in by a cookie needs the CSRF token to write.
        if isinstance(right, str) or self.method != "GET":
            codes[403] = {"permission_denied"}
        if "{" in self.path:
            codes[404] = {"not_found"}
        if "requestBody" in operation:
            codes[400].add("malformed")
            codes |= {
                408: {"body_timeout"},
                413: {"request_too_large"},
                415: {"unsupported_media_type"},
            }
        for status, code in refusals_of(getattr(self.view, self.view.action)):
            codes.setdefault(status, set()).add(code)
        return codes

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Say where nobody needs to sign in."""
        ways: list[dict[str, list[str]]] = super().get_auth()
        public = self.view.rights[self.view.action] is None
        return [*ways, {}] if public else ways

    def _resolve_path_parameters(self, variables: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._resolve_path_parameters(variables)
        for parameter in parameters:
            if parameter["name"] == "id":
                parameter["schema"] = dict(self.view.id_schema)
            elif parameter["schema"] == {"type": "string"}:
                parameter["schema"] = {"type": "string", "pattern": KEY_PATTERN}
        return parameters

    def _is_list_view(self, serializer: Any = None) -> bool:
        # Without one it is asked for the operation's name. A list is a page:
        # an object with `results`.
        if serializer is None:
            return super()._is_list_view()
        return bool(is_list_serializer(serializer))

    def _map_serializer(
        self, serializer: Any, direction: str, bypass_extensions: bool = False
    ) -> dict[str, Any]:
        serializer = force_instance(serializer)
        schema: dict[str, Any] = super()._map_serializer(serializer, direction, bypass_extensions)
        if direction == "request" and isinstance(serializer, StrictSerializer):
            schema["additionalProperties"] = False
            if is_patched_serializer(serializer, direction):
                schema["minProperties"] = 1
                for field in schema["properties"].values():
                    field.pop("default", None)
        return schema

    def _map_serializer_field(
        self, field: Any, direction: str, bypass_extensions: bool = False
    ) -> Any:
        schema = super()._map_serializer_field(field, direction, bypass_extensions)
        trimmed = isinstance(field, CharField) and field.trim_whitespace and not field.allow_blank
        if direction == "request" and trimmed and "pattern" not in schema:
            schema["pattern"] = _SOMETHING
        return schema


# What Python does not take for space, some of which is none to ECMAScript.
_SOMETHING = r"[^\s\u001c-\u001f\u0085]"


def only_v2(endpoints: list[Any], **_: Any) -> list[Any]:
    """Leave the plain v1 out: it is there to migrate from, not to build on."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v2/")]


# --- Problems --------------------------------------------------------------

# Any request may meet these, whatever it asks for.
_CODES_OF_ALL: dict[int, tuple[str, ...]] = {
    400: ("invalid",),
    401: ("authentication_failed",),
    429: ("rate_limited",),
    503: ("overloaded", "shutting_down", "database_unavailable"),
    504: ("timeout",),
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem. Further members depend on the code.",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:shop:problem:[a-z_]+$"},
        "title": {"type": "string", "minLength": 1},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "minLength": 1},
        "code": {
            "type": "string",
            "pattern": "^[a-z_]+$",
            "description": "Stable and machine-readable.",
        },
        "errors": {
            "type": "object",
            "description": "Per field, where input was bad.",
            "additionalProperties": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "code": {"type": "string", "minLength": 1},
                        "detail": {"type": "string", "minLength": 1},
                    },
                    "required": ["code", "detail"],
                    "additionalProperties": False,
                },
            },
        },
        "correlation_id": {"type": "string", "pattern": f"^{SANE_CORRELATION_ID}$"},
    },
    "required": ["type", "title", "status", "detail", "code", "correlation_id"],
    "additionalProperties": True,
}


_RESPONSES = "#/components/responses/"


def _problem_answer(name: str) -> dict[str, Any]:
    """Return the answer that is called by its status and codes: `409.one_code.another`."""
    status, *codes = name.split(".")
    told = {"status": {"const": int(status)}, "code": {"enum": codes}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": told}]}
    return {
        "description": title_of(int(status)),
        "content": {"application/problem+json": {"schema": schema}},
        "headers": _headers(*_HEADERS_OF.get(status, ())),
    }


# --- Headers ---------------------------------------------------------------

_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "required": True,
        "description": "The caller's, where it was sane; in each log line and event of it.",
        "schema": {"type": "string", "pattern": f"^{SANE_CORRELATION_ID}$"},
    },
    "RateLimit-Policy": {
        "description": "The quota `q` for each window of `w` seconds.",
        "schema": {"type": "string", "pattern": '^"default";q=[0-9]+;w=[0-9]+$'},
    },
    "RateLimit": {
        "description": "How many requests are left, `r`, and in how many seconds, `t`, all are.",
        "schema": {"type": "string", "pattern": '^"default";r=[0-9]+;t=[0-9]+$'},
    },
    "Retry-After": {
        "required": True,
        "description": "Seconds.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}},
    "Idempotency-Replayed": {
        "description": "There where this is the first answer to the key, again.",
        "schema": {"type": "string", "const": "true"},
    },
}
_HEADERS_OF = {
    "401": ("WWW-Authenticate",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}


def _headers(*names: str) -> dict[str, dict[str, str]]:
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("X-Request-ID", "RateLimit-Policy", "RateLimit", *names)
    }


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    # Spaces at its ends would not arrive.
    {"type": "string", "maxLength": KEY_MAX_LENGTH, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    OpenApiParameter.HEADER,
    description="One effect per key: the same request again gets the first answer.",
)

ATTACHMENT = OpenApiParameter(
    "Content-Disposition",
    {"type": "string", "pattern": '^attachment; filename="[^"/]+"$'},
    OpenApiParameter.HEADER,
    response=[200],
)


def location_of(path: str, *statuses: int) -> OpenApiParameter:
    """Return the description of the header that says where the new thing is."""
    return OpenApiParameter(
        "Location",
        {"type": "string", "pattern": f"^{path}/[^/]+$"},
        OpenApiParameter.HEADER,
        required=True,
        response=list(statuses),
    )


def add_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add what the operations refer to."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["headers"] = _HEADERS
    answers = [
        answer
        for operations in result["paths"].values()
        for operation in operations.values()
        for answer in operation["responses"].values()
    ]
    names = {answer["$ref"].removeprefix(_RESPONSES) for answer in answers if "$ref" in answer}
    components["responses"] = {name: _problem_answer(name) for name in sorted(names)}
    return result


# --- Pieces of answers -----------------------------------------------------


def page_of(item: type[Serializer[Any]]) -> Any:
    """Return the schema of a list of `item`, paged by number or by cursor."""
    return inline_serializer(
        name=f"{item.__name__.removesuffix('Output')}Page",
        fields={
            "results": item(many=True),
            "total": IntegerField(min_value=0, required=False, help_text="Not with a cursor."),
            "total_is_estimate": BooleanField(
                required=False, help_text="True beyond ten thousand rows. Not with a cursor."
            ),
            "page": IntegerField(min_value=1, required=False, help_text="Not with a cursor."),
            "per_page": IntegerField(min_value=1, required=False, help_text="Not with a cursor."),
            "pages": IntegerField(min_value=0, required=False, help_text="Not with a cursor."),
            "next": CharField(allow_null=True, help_text="Path and query of the next page."),
            "previous": CharField(allow_null=True),
        },
    )


class BearerScheme(OpenApiAuthenticationExtension):
    """Describes `shop.accounts.authentication.BearerAuthentication`."""

    target_class = "shop.accounts.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {"type": "http", "scheme": "bearer"}


class MoneyScheme(OpenApiSerializerFieldExtension):
    """Describes an amount."""

    target_class = "shop.money.MoneySerializerField"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        """Return the field's schema; sums have no maximum."""
        places = exponent()
        schema: dict[str, Any] = {
            "type": "number" if places else "integer",
            "minimum": 0,
            "description": f"Exact, in {settings.CURRENCY}, with at most {places} decimals.",
        }
        if direction == "request":
            schema["maximum"] = float(from_minor(MAX_MINOR)) if places else MAX_MINOR
            if self.target.more_than_nothing:
                schema["exclusiveMinimum"] = schema.pop("minimum")
        return schema


class AmountParameterScheme(OpenApiSerializerFieldExtension):
    """Describes an amount in a query string."""

    target_class = "products.filters.AmountParameter"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        """Return the field's schema; empty means none."""
        return {"type": "string", "pattern": f"^{text_pattern()}?$"}
