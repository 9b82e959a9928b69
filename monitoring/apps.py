"""The app that watches the others and imports nothing of their business."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Metrics, health and logs."""

    name = "monitoring"
