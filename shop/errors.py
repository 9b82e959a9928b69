"""Errors of the shop, and the one place that turns any error into problem+json (RFC 9457)."""

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext as _
from django.views.debug import SafeExceptionReporterFilter
from rest_framework import exceptions

from shop.context import correlation_id

logger = logging.getLogger(__name__)


class ShopError(Exception):
    """A refusal with a stable code. Raise a subclass where the reason is known.

    Keyword arguments become members of the answer, so that a client can act
    on them without reading the text.
    """

    status: int = 409
    code = "conflict"
    # In English; it is translated where it is shown.
    title = gettext_noop("Conflict")

    def __init__(self, detail: str, **data: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.data = data
        self.headers: dict[str, str] = {}


class BadRequest(ShopError):
    """Input that no check of shapes could have caught."""

    status = 400
    code = "invalid"
    title = gettext_noop("Bad request")


View = TypeVar("View", bound=Callable[..., Any])


def refuses(*errors: type[ShopError] | tuple[int, str]) -> Callable[[View], View]:
    """Name the refusals that a view may end with, for the API's schema: errors, or status and code.

    Those that any request may meet go without saying.
    """

    def mark(view: View) -> View:
        told = {
            error if isinstance(error, tuple) else (error.status, error.code) for error in errors
        }
        view.refusals = refusals_of(view) | told  # type: ignore[attr-defined]
        return view

    return mark


def refusals_of(view: object) -> frozenset[tuple[int, str]]:
    """Return the statuses and codes that a view was marked with."""
    return frozenset(getattr(view, "refusals", ()))


_TITLES = {
    400: gettext_noop("Bad request"),
    401: gettext_noop("Sign in first"),
    403: gettext_noop("Not allowed"),
    404: gettext_noop("Not found"),
    405: gettext_noop("Method not allowed"),
    406: gettext_noop("Not acceptable"),
    408: gettext_noop("Request time-out"),
    409: gettext_noop("Conflict"),
    413: gettext_noop("Request too large"),
    415: gettext_noop("Unsupported media type"),
    422: gettext_noop("Unprocessable"),
    429: gettext_noop("Too many requests"),
    500: gettext_noop("Internal error"),
    503: gettext_noop("Service unavailable"),
    504: gettext_noop("Time-out"),
}
_CODES = {
    400: "invalid",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}


def title_of(status: int) -> str:
    """Return what a status means."""
    return _TITLES.get(status, "Error")


def problem_bytes(
    status_code: int, code: str, detail: str, *, title: str = "", **members: Any
) -> bytes:
    """Return the body of one problem; also used before Django is reached."""
    return orjson.dumps(
        {
            "type": f"urn:shop:problem:{code}",
            "title": _(title or title_of(status_code)),
            "status": status_code,
            "detail": detail,
            "code": code,
            **members,
            "correlation_id": correlation_id.get(),
        },
        default=str,
    )


def problem(
    status_code: int,
    detail: str,
    *,
    code: str = "",
    title: str = "",
    headers: dict[str, str] | None = None,
    **members: Any,
) -> HttpResponse:
    """Return a problem+json response. `members` are added to the body as they are."""
    code = code or _CODES.get(status_code, "error")
    return HttpResponse(
        problem_bytes(status_code, code, detail, title=title, **members),
        status=status_code,
        content_type="application/problem+json",
        headers=headers,
    )


def _field_errors(detail: Any) -> dict[str, Any]:
    """Flatten DRF's nested errors to `{"items.0.quantity": [{"code", "detail"}]}`."""
    flat: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}" if path else str(key), inner)
        elif isinstance(value, list):
            messages = [item for item in value if isinstance(item, str)]
            if messages:
                flat.setdefault(path or "non_field_errors", []).extend(
                    {"code": getattr(item, "code", "invalid"), "detail": str(item)}
                    for item in messages
                )
            for index, inner in enumerate(value):
                if isinstance(inner, dict | list):
                    walk(f"{path}.{index}" if path else str(index), inner)
        else:
            walk(path, [value])

    walk("", detail)
    return flat


def _api_exception(error: exceptions.APIException) -> HttpResponse:
    headers: dict[str, str] = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, int(wait + 0.999)))
    if isinstance(error, exceptions.ValidationError):
        return problem(
            400,
            _("The request has errors; see `errors`."),
            errors=_field_errors(error.detail),
            headers=headers,
        )
    detail = error.detail
    text = str(detail) if isinstance(detail, str) else str(error.default_detail)
    if "Retry-After" in headers:
        # DRF fills in the number before it looks for a translation.
        text = _("Too many requests. Try again in %(seconds)s s.") % {
            "seconds": headers["Retry-After"]
        }
    code = getattr(detail, "code", error.default_code)
    if error.status_code in {405, 406, 415, 429}:
        code = _CODES[error.status_code]
    elif code == "parse_error":
        code = "malformed"
    return problem(error.status_code, text, code=code, headers=headers)


# PostgreSQL, of classes that are no OperationalError: a server that only reads
# since another took over, a transaction that was ended because this process slept.
_AWAY_STATES = {"25006", "25P03"}
_COME_BACK = {"Retry-After": "2"}


def _database_is_away(error: BaseException | None) -> bool:
    if isinstance(error, OperationalError | InterfaceError):
        return True
    sqlstate = getattr(error.__cause__, "sqlstate", None) if error is not None else None
    return sqlstate in _AWAY_STATES


def _away() -> HttpResponse:
    return problem(
        503,
        _("The database can't be reached just now."),
        code="database_unavailable",
        headers=_COME_BACK,
    )


def invalid(texts: Mapping[str, Iterable[str]]) -> HttpResponse:
    """Return a 400 with what is wrong, by field."""
    return problem(
        400,
        _("The request has errors; see `errors`."),
        errors={
            name: [{"code": "invalid", "detail": text} for text in each]
            for name, each in texts.items()
        },
    )


def problem_for(error: BaseException) -> HttpResponse | None:
    """Return the response for an expected error, None for one that is a fault of ours."""
    if isinstance(error, ShopError):
        return problem(
            error.status,
            error.detail,
            code=error.code,
            title=error.title,
            headers=error.headers,
            **error.data,
        )
    if isinstance(error, exceptions.APIException):
        return _api_exception(error)
    if isinstance(error, Http404):
        return problem(404, _("There is nothing here by that name."))
    if isinstance(error, PermissionDenied):
        return problem(403, _("You are not allowed to do that."))
    if isinstance(error, RequestDataTooBig):
        return problem(413, _("The request body is too large."))
    if isinstance(error, SuspiciousOperation):
        # Too many fields or files, say.
        return problem(400, _("The request can't be understood."))
    if isinstance(error, DjangoValidationError):
        return invalid(error.message_dict if hasattr(error, "error_dict") else {"": error.messages})
    if _database_is_away(error):
        return _away()
    return None


def handle_exception(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's exception handler: always an answer, never a stack trace."""
    request = context.get("request")
    response = problem_for(error)
    if response is None:
        got_request_exception.send(
            sender=handle_exception, request=getattr(request, "_request", None)
        )
        logger.exception("unexpected error in the API", exc_info=error)
        return problem(500, _("Something went wrong on our side."))
    if response.status_code == 503:
        logger.warning("database unavailable", exc_info=error)
    elif response.status_code == 401 and not response.has_header("WWW-Authenticate"):
        response["WWW-Authenticate"] = "Bearer"
    return response


def is_api(request: HttpRequest) -> bool:
    """Whether it asks for something under /api, where every error is a problem."""
    return request.path == "/api" or request.path.startswith("/api/")


def _page(request: HttpRequest, status_code: int, detail: str) -> HttpResponse:
    if is_api(request):
        return problem(status_code, detail)
    return render(
        request,
        "error.html",
        {"status": status_code, "title": _(_TITLES[status_code]), "detail": detail},
        status=status_code,
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400."""
    return _page(request, 400, _("The request can't be understood."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403."""
    return _page(request, 403, _("You are not allowed to do that."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404."""
    return _page(request, 404, _("There is nothing here by that name."))


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500. Touches neither session nor database: either may be the cause."""
    # Django calls it while it handles the error.
    away = _database_is_away(sys.exc_info()[1])
    if is_api(request):
        return _away() if away else problem(500, _("Something went wrong on our side."))
    status_code = 503 if away else 500
    detail = (
        _("The database can't be reached just now.")
        if away
        else _("Something went wrong on our side.")
    )
    return HttpResponse(
        f"<!doctype html><html lang={get_language()}><meta charset=utf-8>"
        f"<title>{status_code}</title>"
        f"<h1>{status_code}</h1><p>{detail}</p><p><code>{correlation_id.get()}</code></p>",
        status=status_code,
        headers=_COME_BACK if away else None,
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW."""
    return _page(request, 403, _("The form has expired or came from elsewhere: load it again."))


class WithoutAddresses(SafeExceptionReporterFilter):
    """DEFAULT_EXCEPTION_REPORTER_FILTER: what DEBUG's pages leave out of the settings.

    Django's hides what is named like a password; ours stand in the addresses of servers.
    """

    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern + "|URL|LOCATION|HOSTS", re.I
    )
