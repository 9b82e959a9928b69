"""What `manage.py check --deploy` says about settings that start, and are dangerous."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register


@register(Tags.security, deploy=True)
def check_doors(**_: Any) -> list[CheckMessage]:
    """Look for doors that stand open."""
    found: list[CheckMessage] = []
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning(
                "ALLOWED_HOSTS takes any host.",
                hint="Links in mails, to reset a password say, go to the host that was asked.",
                id="shop.W001",
            )
        )
    if any(network.prefixlen == 0 for network in settings.METRICS_NETWORKS):
        found.append(
            Warning(
                "METRICS_NETWORKS lets everybody read /metrics and the details of /health.",
                id="shop.W002",
            )
        )
    if not settings.RATE_LIMITS:
        found.append(
            Warning(
                "RATE_LIMITS is off: passwords can be guessed as fast as they are checked.",
                id="shop.W003",
            )
        )
    return found
