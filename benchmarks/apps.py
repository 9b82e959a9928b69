"""The app that measures: the plain v1 API, and the runs against it."""

from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    """Benchmarks."""

    name = "benchmarks"

    def ready(self) -> None:
        """Register the job."""
        from benchmarks import tasks

        assert tasks
