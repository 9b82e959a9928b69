"""What every viewset of v2 has.

Apart from shop.rest, which DRF's own defaults name: they must be importable
before DRF's views are.
"""

from typing import Any, ClassVar

from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.utils.mediatypes import media_type_matches
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from shop.accounts.models import User
from shop.accounts.permissions import ByAction
from shop.accounts.throttles import rate_limit_headers
from shop.fields import KEY_PATTERN
from shop.inputs import NoQuery, read_query


def caller(request: Request) -> User:
    """Return who asks, in a view that only signed-in people reach."""
    assert isinstance(request.user, User)
    return request.user


class OnlyJSON(BaseContentNegotiation):
    """JSON is all there is; weighing what the client would like costs and changes nothing."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the parser for the body's type, None where there is none."""
        for parser in parsers:
            if media_type_matches(parser.media_type, request.content_type):
                return parser
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


class LimitedFirst(APIView):
    """Counts a request against its caller's rate limit before anything can refuse it.

    The framework checks rights first, so that whoever is refused, or guesses
    at tokens, would never be limited.
    """

    def perform_authentication(self, request: Request) -> None:
        """See who it is; who is nobody counts by address."""
        try:
            super().perform_authentication(request)
        except APIException:
            super().check_throttles(request)
            raise
        super().check_throttles(request)

    def check_throttles(self, request: Request) -> None:
        """Done already."""


class ShopViewSet(LimitedFirst, ViewSet):
    """Rights by action, and RateLimit headers.

    `rights` maps an action to a model permission, to True for anybody who is
    signed in, or to None for everybody; see ByAction.
    """

    permission_classes = (ByAction,)
    content_negotiation_class = OnlyJSON
    rights: ClassVar[dict[str, str | bool | None]] = {}
    # The actions with parameters in their query; to the others any is unknown.
    with_query: ClassVar[frozenset[str]] = frozenset()
    # An `id` in a path, as the schema describes it.
    id_schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": KEY_PATTERN}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse parameters that nobody would read, once it is settled who asks."""
        super().initial(request, *args, **kwargs)
        if request._request.META.get("QUERY_STRING") and self.action not in (
            *self.with_query,
            "metadata",
            None,
        ):
            read_query(request, NoQuery)

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Name the allowed methods where HTTP asks for it, not in every answer."""
        if self.request.method == "OPTIONS" or self.action is None:
            return {"Allow": ", ".join(self.allowed_methods)}
        return {}

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Copy the throttle's figures into the answer."""
        response = super().finalize_response(request, response, *args, **kwargs)
        figures = getattr(request._request, "rate_limit", None)
        if figures is not None:
            for name, value in rate_limit_headers(*figures).items():
                response[name] = value
        return response
