"""The app that watches the others and imports nothing of their business."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MonitoringConfig(AppConfig):
    """Metrics, health and logs."""

    name = "monitoring"
    verbose_name = _("Monitoring")

    def ready(self) -> None:
        """Register the jobs, and count how they end."""
        from django.db.models.signals import post_migrate

        from monitoring import alerts, tasks
        from monitoring.metrics import count_job
        from shop.jobs import queue

        queue.observe(count_job)
        post_migrate.connect(
            alerts.add_shipped_rules, sender=self, dispatch_uid="monitoring.shipped_rules"
        )
        assert tasks
