"""Signing in and passwords, with limits on tries: the same for pages, the admin and the API."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, PasswordResetForm
from django.contrib.auth.views import LoginView, PasswordChangeView, PasswordResetView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from shop.accounts.reset import leave_links
from shop.accounts.throttles import address_of, reset_wait, sign_in_wait


class _Limited(forms.Form):
    """A form that is refused where there were too many tries; `wait` is then in seconds."""

    wait: int | None = None

    def stop(self, wait: float | None) -> None:
        """Refuse the form, if there is something to wait for."""
        if wait is not None:
            self.wait = int(wait) + 1
            raise ValidationError(
                _("Too many tries. Wait %(seconds)d seconds."),
                code="rate_limited",
                params={"seconds": self.wait},
            )


def told_to_wait(response: HttpResponse) -> HttpResponse:
    """Make a page whose form had too many tries a 429 that says when to come back."""
    form = (getattr(response, "context_data", None) or {}).get("form")
    if isinstance(form, _Limited) and form.wait is not None:
        response.status_code = 429
        response["Retry-After"] = str(form.wait)
    return response


class _Telling:
    """A page with such a form; beside a form view."""

    def form_invalid(self, form: Any) -> HttpResponse:
        """Show the form again."""
        return told_to_wait(super().form_invalid(form))  # type: ignore[misc]


class SignInForm(_Limited, AuthenticationForm):
    """Refuses more tries than the limit before it looks at the password."""

    def clean(self) -> dict[str, object]:
        """Check the limit, then the password."""
        username = str(self.cleaned_data.get("username", ""))
        address = address_of(self.request) if self.request is not None else None
        self.stop(sign_in_wait(username=username, address=address))
        return super().clean()


class SignInView(_Telling, LoginView):
    """The sign-in page."""

    authentication_form = SignInForm


class ChangeForm(_Limited, PasswordChangeForm):
    """Asks for the old password, as often as signing in does: a session may be stolen."""

    def clean_old_password(self) -> str:
        """Check the limit, then the password."""
        self.stop(sign_in_wait(username=self.user.get_username()))
        return super().clean_old_password()


class ChangeView(_Telling, PasswordChangeView):
    """Changing one's password. Other sessions and all bearer tokens end with the old one."""

    form_class = ChangeForm


class ResetForm(_Limited, PasswordResetForm):
    """Has the link sent by a job, and does the same whether there is such an account or not."""

    def __init__(self, *args: Any, request: HttpRequest | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_email(self) -> str:
        """Check the limit: the mails go to somebody who may not have asked."""
        email: str = self.cleaned_data["email"]
        address = address_of(self.request) if self.request is not None else None
        self.stop(reset_wait(email=email, address=address))
        return email

    def save(self, *args: Any, use_https: bool = False, request: Any = None, **kwargs: Any) -> None:
        """Leave the mails to a worker: the answer takes as long without any."""
        users = [user.pk for user in self.get_users(self.cleaned_data["email"])]
        leave_links(
            users, host=request.get_host(), https=use_https, language=get_language() or "en"
        )


class ResetView(_Telling, PasswordResetView):
    """Asking for a link by mail."""

    form_class = ResetForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """Tell the form who asks."""
        return {**super().get_form_kwargs(), "request": self.request}
