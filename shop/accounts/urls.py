"""Signing in and out in a browser."""

from django.contrib.auth import views
from django.urls import path

from shop.accounts.views import ChangeView, ResetView, SignInView

# The names are those of django.contrib.auth, whose mails and redirects use them.
urlpatterns = [
    path("login", SignInView.as_view(), name="login"),
    path("logout", views.LogoutView.as_view(), name="logout"),
    path("password", ChangeView.as_view(), name="password_change"),
    path("password/done", views.PasswordChangeDoneView.as_view(), name="password_change_done"),
    path("reset", ResetView.as_view(), name="password_reset"),
    path("reset/sent", views.PasswordResetDoneView.as_view(), name="password_reset_done"),
    path(
        "reset/<uidb64>/<token>",
        views.PasswordResetConfirmView.as_view(),
        name="password_reset_confirm",
    ),
    path("reset/done", views.PasswordResetCompleteView.as_view(), name="password_reset_complete"),
]
