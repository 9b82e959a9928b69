"""Who is at the other end of a WebSocket.

By bearer token, in the header or, for browsers, which can't set one, as a
subprotocol beside `bearer`; or by session, then only from our own pages. Never
by the query string, which ends up in logs.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie
from django.http.request import split_domain_port, validate_host
from rest_framework.exceptions import AuthenticationFailed

from shop.accounts.authentication import BearerAuthentication
from shop.accounts.models import User

Scope = MutableMapping[str, Any]
PROTOCOL = "bearer"


@dataclass(frozen=True)
class Credentials:
    """What a handshake brought; all of it as it was sent."""

    host: str
    secure: bool
    origin: str | None
    token: str | None
    by_protocol: bool
    session: str | None

    @classmethod
    def of(cls, scope: Scope) -> "Credentials":
        """Read a handshake."""
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        token = None
        kind, _space, secret = headers.get(b"authorization", "").partition(" ")
        if kind.lower() == "bearer":
            token = secret.strip()
        offered = [name.strip() for name in scope.get("subprotocols", ())]
        by_protocol = PROTOCOL in offered
        if by_protocol and token is None:
            token = next((name for name in offered if name != PROTOCOL), None)
        cookies = parse_cookie(headers.get(b"cookie", ""))
        return cls(
            host=headers.get(b"host", ""),
            secure=scope.get("scheme") == "wss",
            origin=headers.get(b"origin"),
            token=token,
            by_protocol=by_protocol,
            session=cookies.get(settings.SESSION_COOKIE_NAME),
        )

    @property
    def from_our_pages(self) -> bool:
        """Whether the page that opened it is ours; where there is none, a token is needed."""
        domain, _port = split_domain_port(self.host)
        if not validate_host(domain, settings.ALLOWED_HOSTS):
            return False
        if self.origin is None:
            return self.token is not None
        if self.origin in settings.CSRF_TRUSTED_ORIGINS:
            return True
        try:
            page = urlsplit(self.origin)
        except ValueError:
            return False
        # A page without TLS may be anybody's who stands in between.
        return page.netloc == self.host and not (self.secure and page.scheme != "https")

    def user(self) -> User | None:
        """Return who it is, None for nobody. Asks the database."""
        request = HttpRequest()
        if self.token is not None:
            request.META["HTTP_AUTHORIZATION"] = f"Bearer {self.token}"
            try:
                found = BearerAuthentication().authenticate(request)  # type: ignore[arg-type]
            except AuthenticationFailed:
                return None
            return found[0] if found else None
        if not self.session:
            return None
        engine = import_module(settings.SESSION_ENGINE)
        request.session = engine.SessionStore(self.session)
        user = get_user(request)
        return user if isinstance(user, User) and user.is_active else None
