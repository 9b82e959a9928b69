"""Bearer tokens under /api/v2/auth/tokens."""

from typing import Any, ClassVar

from django.contrib.auth import authenticate
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from shop.accounts.models import AccessToken
from shop.accounts.throttles import CallerThrottle, SignInThrottle
from shop.errors import ShopError, refuses
from shop.fields import Key, Text, read_key
from shop.inputs import ListQuery, StrictSerializer, checked, read_query
from shop.pages import newest_first, paginate
from shop.rest import json_response, local
from shop.schema import page_of
from shop.viewsets import ShopViewSet, caller


class WrongCredentials(ShopError):
    """The user name or the password is wrong, or the account is switched off."""

    status = 401
    code = "wrong_credentials"
    title = gettext_noop("Wrong credentials")


class TokenInput(StrictSerializer):
    """Who signs in, and what to call the token."""

    username = Text(max_length=150)
    password = Text(max_length=200, trim_whitespace=False)
    name = Text(max_length=100, allow_blank=True, default="")


class TokenOutput(serializers.Serializer[Any]):
    """A token, without its secret."""

    id = Key()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class NewTokenOutput(TokenOutput):
    """A token with its secret, which is shown this once."""

    token = serializers.CharField(min_length=20)


_TOKENS = newest_first(AccessToken)


class TokenViewSet(ShopViewSet):
    """One's own tokens."""

    lookup_url_kwarg = "id"
    rights: ClassVar[dict[str, str | bool | None]] = {"create": None, "list": True, "destroy": True}
    with_query = frozenset({"list"})

    def get_throttles(self) -> list[Any]:
        """Sign-in tries have a limit of their own."""
        throttles: list[Any] = [CallerThrottle()]
        return [*throttles, SignInThrottle()] if self.action == "create" else throttles

    @extend_schema(request=TokenInput, responses={201: NewTokenOutput}, auth=[])
    @refuses(WrongCredentials)
    def create(self, request: Request) -> HttpResponse:
        """Sign in; the answer holds the only copy of the token."""
        data = checked(TokenInput, request.data)
        user = authenticate(request._request, username=data["username"], password=data["password"])
        if user is None:
            raise WrongCredentials(_("The user name or the password is wrong."))
        row, secret = AccessToken.issue(user, name=data["name"])
        return json_response({**_as_json(row), "token": secret}, 201)

    @extend_schema(parameters=[ListQuery], responses=page_of(TokenOutput))
    def list(self, request: Request) -> HttpResponse:
        """One's tokens that have not expired, newest first."""
        query = {**read_query(request, ListQuery), "ordering": "newest"}
        mine = AccessToken.objects.live().filter(user=caller(request))
        window = paginate(request, query, mine.all, _TOKENS)
        return json_response({"results": [_as_json(row) for row in window.rows], **window.envelope})

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, id: str) -> HttpResponse:
        """Revoke a token, at once."""
        mine = AccessToken.objects.filter(user=caller(request))
        deleted, _rows = mine.filter(pk=read_key(id)).delete()
        if not deleted:
            raise Http404
        return HttpResponse(status=204)


def _as_json(row: AccessToken) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "name": row.name,
        "created_at": local(row.created_at),
        "expires_at": local(row.expires_at),
    }
