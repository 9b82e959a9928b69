"""What every viewset of v2 has.

Apart from shop.rest, which DRF's own defaults name: they must be importable
before DRF's views are.
"""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from shop.accounts.models import User
from shop.accounts.permissions import ByAction
from shop.accounts.throttles import rate_limit_headers


def caller(request: Request) -> User:
    """Return who asks, in a view that only signed-in people reach."""
    assert isinstance(request.user, User)
    return request.user


class ShopViewSet(ViewSet):
    """Rights by action, and RateLimit headers.

    `rights` maps an action to a model permission, to True for anybody who is
    signed in, or to None for everybody; see ByAction.
    """

    permission_classes = (ByAction,)
    rights: ClassVar[dict[str, str | bool | None]] = {}

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Copy the throttle's figures into the answer."""
        response = super().finalize_response(request, response, *args, **kwargs)
        figures = getattr(request._request, "rate_limit", None)
        if figures is not None:
            for name, value in rate_limit_headers(*figures).items():
                response[name] = value
        return response
