"""The sign-in page, with the same limit on tries as the API."""

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from shop.accounts.throttles import address_of, sign_in_wait


class SignInForm(AuthenticationForm):
    """Refuses more tries than the limit before it looks at the password."""

    def clean(self) -> dict[str, object]:
        """Check the limit, then the password."""
        username = str(self.cleaned_data.get("username", ""))
        address = address_of(self.request) if self.request is not None else ""
        wait = sign_in_wait(address=address, username=username)
        if wait is not None:
            raise ValidationError(
                _("Too many tries. Wait %(seconds)d seconds."),
                code="rate_limited",
                params={"seconds": int(wait) + 1},
            )
        return super().clean()


class SignInView(LoginView):
    """The sign-in page."""

    authentication_form = SignInForm
