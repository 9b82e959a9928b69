"""What a new password ends."""

from django.utils.translation import gettext as _

from shop.accounts.models import AccessToken, User


class EndTokens:
    """Revokes the bearer tokens of a user whose password was changed, as sessions end.

    Django tells its password validators of every change that is saved: by a form, the
    admin, the shell or a command. A hash that is only brought up to date is none.
    """

    def validate(self, password: str, user: User | None = None) -> None:
        """Accept any."""

    def get_help_text(self) -> str:
        """Tell people beforehand."""
        return _("With a new password all other sessions end, and all bearer tokens.")

    def password_changed(self, password: str, user: User | None = None) -> None:
        """Revoke what was issued before."""
        if user is not None and user.pk is not None:
            AccessToken.objects.filter(user=user).delete()
