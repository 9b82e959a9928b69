"""Bearer tokens for DRF."""

import functools

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from shop.accounts.models import AccessToken, User
from shop.prepared import Prepared

_USER_COLUMNS = [field.attname for field in User._meta.concrete_fields]


@functools.cache
def _lookup() -> Prepared:
    """Find a token that lives, with its user; takes the time and the digest."""
    return Prepared(
        AccessToken.objects.filter(user__is_active=True)
        .filter(expires_at__gt=timezone.now())
        .filter(digest="")
        .order_by()
        .values_list("pk", *(f"user__{column}" for column in _USER_COLUMNS))
    )


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`."""

    def authenticate(self, request: Request) -> tuple[User, int] | None:
        """Return the token's user and key; None where the request brings no bearer token.

        Raises:
            AuthenticationFailed: the token is malformed, unknown, expired or
                its user is switched off. One message for all of them: which
                it was is nobody's business.
        """
        kind, *rest = get_authorization_header(request).split(maxsplit=1) or [b""]
        if kind.lower() != b"bearer":
            return None
        try:
            digest = AccessToken.digest_of(b"".join(rest).strip().decode("ascii"))
        except UnicodeDecodeError:
            raise AuthenticationFailed(_("The token is not valid.")) from None
        found = _lookup().fetch(connection.ops.adapt_datetimefield_value(timezone.now()), digest)
        if not found:
            raise AuthenticationFailed(_("The token is not valid."))
        token_id, *values = found[0]
        return User.from_db("default", _USER_COLUMNS, values), token_id

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme in a 401."""
        return "Bearer"
