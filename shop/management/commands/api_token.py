"""`manage.py api_token USERNAME`: a bearer token for scripts."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.accounts.models import AccessToken, User


class Command(BaseCommand):
    """Print a new bearer token as the last word."""

    help = "Make a bearer token for a user. It is the last word printed and is shown only now."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who, and what to call it."""
        parser.add_argument("username")
        parser.add_argument("--name", default="command line")

    def handle(self, *args: Any, username: str, name: str, **options: Any) -> None:
        """Make and print it."""
        try:
            user = User.objects.get(username=username, is_active=True)
        except User.DoesNotExist:
            raise CommandError(f"There is no active user named {username}.") from None
        row, secret = AccessToken.issue(user, name=name)
        self.stdout.write(f"Token for {username}, until {row.expires_at:%Y-%m-%d}: {secret}")
