"""The admin's site: Django's, with the shop's own doors."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from shop.accounts.views import SignInForm, told_to_wait


class StaffSignInForm(SignInForm, AdminAuthenticationForm):
    """Staff alone, and no more tries than elsewhere."""


class BackOffice(AdminSite):
    """The admin. Signing in and changing a password have the limits that they have elsewhere."""

    login_form = StaffSignInForm

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Sign staff in."""
        return told_to_wait(super().login(request, extra_context))

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """One page does it for everybody."""
        return redirect("password_change")
