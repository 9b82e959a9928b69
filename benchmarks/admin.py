"""Benchmark runs in the admin, to be read; the dashboard starts them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from benchmarks.models import BenchmarkRun


@admin.register(BenchmarkRun)
class BenchmarkRunAdmin(admin.ModelAdmin):
    """Runs."""

    list_display = ["name", "benchmark_type", "state", "created_at", "finished_at", "actor"]
    list_filter = ["benchmark_type", "state"]
    list_select_related = ["actor"]
    search_fields = ["name"]
    fields = readonly_fields = (
        "name", "benchmark_type", "parameters", "state", "error", "actor", "created_at",
        "finished_at",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """On the dashboard."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A result is not edited."""
        return False
