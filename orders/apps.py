"""Orders and their states."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OrdersConfig(AppConfig):
    """Orders."""

    name = "orders"
    verbose_name = _("Orders")

    def ready(self) -> None:
        """Register the jobs, and mail as a road for events."""
        from orders import mail, tasks
        from shop.events.sinks import register

        register(mail.SINK)
        assert tasks
