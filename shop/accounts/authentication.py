"""Bearer tokens for DRF."""

from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from shop.accounts.models import AccessToken, User


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`."""

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        """Return the token's user; None where the request brings no bearer token.

        Raises:
            AuthenticationFailed: the token is malformed, unknown, expired or
                its user is switched off. One message for all of them: which
                it was is nobody's business.
        """
        kind, _space, secret = get_authorization_header(request).partition(b" ")
        if kind.lower() != b"bearer":
            return None
        try:
            digest = AccessToken.digest_of(secret.strip().decode("ascii"))
        except UnicodeDecodeError:
            raise AuthenticationFailed(_("The token is not valid.")) from None
        token = (
            AccessToken.objects.live()
            .filter(digest=digest, user__is_active=True)
            .select_related("user")
            .first()
        )
        if token is None:
            raise AuthenticationFailed(_("The token is not valid."))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme in a 401."""
        return "Bearer"
