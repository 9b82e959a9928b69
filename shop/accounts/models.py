"""People and their bearer tokens."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from shop.database.indexes import PrefixIndex


class User(AbstractUser):
    """The project's own user model, so that it can grow without a migration of foreign keys."""

    class Meta(AbstractUser.Meta):
        app_label = "shop"
        # Also for the reset of a password, which compares as this does.
        indexes = [PrefixIndex(Upper("email"), name="user_email")]


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    """Verbs on tokens."""

    def live(self) -> "AccessTokenQuerySet":
        """Tokens that have not expired."""
        return self.filter(expires_at__gt=timezone.now())

    def expired(self) -> "AccessTokenQuerySet":
        """Tokens that are past their time."""
        return self.filter(expires_at__lte=timezone.now())


class AccessToken(models.Model):
    """One bearer token, of which only the digest is kept."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="access_tokens",
        verbose_name=_("user"),
    )
    name = models.CharField(_("name"), max_length=100, blank=True)
    # SHA-256 without salt or stretching is enough: the token is 256 random
    # bits, so there is nothing to guess from a dictionary.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))

    objects = AccessTokenQuerySet.as_manager()

    class Meta:
        app_label = "shop"
        ordering = ["-id"]
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")

    def __str__(self) -> str:
        return self.name or str(_("token %d") % self.pk)

    @staticmethod
    def digest_of(token: str) -> str:
        """Return what is stored for `token`."""
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(cls, user: Any, *, name: str = "") -> tuple["AccessToken", str]:
        """Make a token for `user`; return its row and the secret, which is shown only now."""
        secret = f"shop_{secrets.token_urlsafe(32)}"
        row = cls.objects.create(
            user=user,
            name=name,
            digest=cls.digest_of(secret),
            expires_at=timezone.now() + timedelta(days=settings.TOKEN_DAYS),
        )
        return row, secret
