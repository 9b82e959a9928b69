"""The app that measures: the plain v1 API, and later the runs against it."""

from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    """Benchmarks."""

    name = "benchmarks"
