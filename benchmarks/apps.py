"""The app that measures: the plain v1 API, and the runs against it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BenchmarksConfig(AppConfig):
    """Benchmarks."""

    name = "benchmarks"
    verbose_name = _("Benchmarks")

    def ready(self) -> None:
        """Register the job."""
        from benchmarks import tasks

        assert tasks
