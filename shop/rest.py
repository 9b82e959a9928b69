"""How the API reads and writes: exact JSON.

Reads on hot paths build their rows with `.values()` and answer with
`json_response`; serializers check input and describe the schema.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

# Of a JSON body, far more than any call needs: a list of empty lists takes
# twenty times its length in memory, and each thread may be reading one.
JSON_MAX_BYTES = 1024 * 1024


def _write_other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    # Lazy translations, and DRF's ReturnDict and ErrorDetail.
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def dump_json(data: Any) -> bytes:
    """Return UTF-8 JSON; Decimals as exact numbers, times in the shop's zone."""
    written = orjson.dumps(data, default=_write_other, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    # A copy: orjson gives away the buffer it wrote in, 4 to 128 KB whatever is in it, and
    # many of these are kept for long (products.fragments, shop.ready).
    return bytes(memoryview(written))


def json_response(
    data: Any, status: int = 200, headers: dict[str, str] | None = None
) -> HttpResponse:
    """Answer with JSON without DRF's renderer in between."""
    return HttpResponse(
        dump_json(data), status=status, content_type="application/json", headers=headers
    )


def local(value: datetime) -> datetime:
    """Return a moment in the shop's zone; orjson writes it as ISO 8601 with that offset."""
    return value.astimezone(timezone.get_default_timezone())


def read_json_body(stream: Any) -> bytes:
    """Return the body that is to be parsed.

    Raises:
        RequestDataTooBig: over JSON_MAX_BYTES.
    """
    body: bytes = stream.read(JSON_MAX_BYTES + 1)
    if len(body) > JSON_MAX_BYTES:
        raise RequestDataTooBig(f"over {JSON_MAX_BYTES} bytes of JSON")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class JSONParser(BaseParser):
    """Strict JSON, with every fraction as a Decimal."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: not UTF-8, not JSON, NaN or Infinity, nested too deep,
                or a NUL or lone surrogate that no database would store.
            RequestDataTooBig: over JSON_MAX_BYTES.
        """
        try:
            text = read_json_body(stream).decode("utf-8")
            data = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, InvalidOperation) as error:
            raise ParseError(_("The body is not valid JSON: %s") % error) from error
        except RecursionError:
            raise ParseError(_("The body is nested too deep.")) from None
        if "\\u" in text or "\0" in text:
            refuse_unstorable(data)
        return data


def refuse_unstorable(data: Any) -> None:
    """Look for strings that no database would store, through lists and dicts.

    Raises:
        ParseError: a NUL or a lone surrogate.
    """
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ParseError(_("A string holds half of a surrogate pair.")) from None
            if "\0" in value:
                raise ParseError(_("A string holds a NUL character."))


class JSONRenderer(BaseRenderer):
    """orjson for what DRF renders itself."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the body."""
        return b"" if data is None else dump_json(data)
