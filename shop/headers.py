"""Security headers that Django does not set itself."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

# Nothing from outside, nothing inline: pages bring their scripts and styles
# as files. `data:` images are the icons of the API's docs page.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_JSON = ("application/json", "application/problem+json")


class ContentSecurityPolicy:
    """Puts the policy on every page; JSON is never rendered, so it needs none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the policy attached."""
        response = self.get_response(request)
        if not response.get("Content-Type", "").startswith(_JSON):
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
