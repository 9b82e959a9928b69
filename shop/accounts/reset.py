"""Mails with a link to choose a new password.

By a job, so that nobody learns from the time that an answer takes whether there
is an account. The link is made by the job: its arguments are in the database, and
a link is a secret.
"""

from collections.abc import Sequence

from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import override

from shop.accounts.models import User
from shop.jobs.queue import enqueue, job


def leave_links(users: Sequence[int], *, host: str, https: bool, language: str) -> None:
    """Have these users, of whom there may be none, sent a link to `host`."""
    enqueue("shop.mail_reset_links", users=list(users), host=host, https=https, language=language)


@job("shop.mail_reset_links")
def mail_reset_links(users: list[int], host: str, https: bool, language: str) -> str:
    """Send each user who is still there a link of their own."""
    sent = 0
    for user in User.objects.filter(pk__in=users, is_active=True):
        context = {
            "user": user,
            "uid": urlsafe_base64_encode(force_bytes(user.pk)),
            "token": default_token_generator.make_token(user),
            "protocol": "https" if https else "http",
            "domain": host,
            "site_name": host,
        }
        with override(language):
            subject = render_to_string("registration/password_reset_subject.txt", context)
            body = render_to_string("registration/password_reset_email.html", context)
        EmailMessage("".join(subject.splitlines()), body, to=[user.email]).send()
        sent += 1
    return f"{sent} sent"
