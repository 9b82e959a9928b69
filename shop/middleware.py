"""The edge of Django: what goes with every answer, and what no request may hold."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from shop import errors

# Nothing from outside, nothing inline: pages bring their scripts and styles
# as files. `data:` images are the icons of the API's docs page.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# What pages never ask a browser for, so that nothing that got into one can.
PERMISSIONS = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
_JSON = ("application/json", "application/problem+json")
# For the answers that are made before Django is reached; they are all JSON.
BEFORE_DJANGO = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)

Next = Callable[[HttpRequest], HttpResponseBase]


class SecurityHeaders:
    """Completes the headers of every answer; JSON is never rendered, so it needs less.

    The outermost, so that it also sees what the others refuse by themselves:
    a wrong Host gets its page from SecurityMiddleware or CommonMiddleware.
    """

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the headers attached."""
        response = self.get_response(request)
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        if not headers.get("Content-Type", "").startswith(_JSON):
            headers.setdefault("Content-Security-Policy", POLICY)
            headers.setdefault("Permissions-Policy", PERMISSIONS)
            headers.setdefault("X-Frame-Options", "DENY")
            headers.setdefault("Referrer-Policy", "same-origin")
            headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        if "Cache-Control" not in headers and _depends_on_who_asks(request, response):
            headers["Cache-Control"] = "private, no-store"
        return response


def _depends_on_who_asks(request: HttpRequest, response: HttpResponseBase) -> bool:
    return (
        request.method not in ("GET", "HEAD")
        or "HTTP_AUTHORIZATION" in request.META
        or settings.SESSION_COOKIE_NAME in request.META.get("HTTP_COOKIE", "")
        or bool(response.cookies)
    )


class RefuseNul:
    """Refuses addresses that hold a NUL: none of ours does, and PostgreSQL stores none."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Refuse or pass on."""
        if "\0" in request.path:
            return errors.not_found(request, Http404())
        if "%00" not in request.META.get("QUERY_STRING", ""):
            return self.get_response(request)
        if not errors.is_api(request):
            return errors.bad_request(request, BadRequest())
        return errors.invalid(
            {
                name: [_("Null characters are not allowed.")]
                for name, values in request.GET.lists()
                if "\0" in name or any("\0" in value for value in values)
            }
        )
