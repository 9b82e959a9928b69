"""Failed sign-ins are logged, for whoever watches over the door."""

import logging
from typing import Any

from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from shop.accounts.throttles import address_of

logger = logging.getLogger(__name__)


@receiver(user_login_failed, dispatch_uid="shop.note_failure")
def note_failure(sender: Any, request: HttpRequest | None = None, **_: Any) -> None:
    """Log from where; not under which name, since people type their passwords there."""
    logger.warning("sign-in failed", extra={"address": address_of(request) if request else None})
