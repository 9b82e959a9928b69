"""Runs and their results."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from shop.ids import uuid7


class BenchmarkRunQuerySet(models.QuerySet["BenchmarkRun"]):
    """Verbs on runs."""

    def active(self) -> "BenchmarkRunQuerySet":
        """Those that wait or run: one at most."""
        return self.filter(state__in=BenchmarkRun.ACTIVE)

    def called(self, name: str) -> "BenchmarkRun | None":
        """Return the run of this name, with or without `.json`, or with this id."""
        name = name.removesuffix(".json")
        if "\0" in name:
            # No text of the database can hold it, and PostgreSQL's driver refuses to ask.
            return None
        return self.filter(Q(name=name) | Q(id=name) if _is_id(name) else Q(name=name)).first()


def _is_id(text: str) -> bool:
    try:
        models.UUIDField().to_python(text)
    except Exception:
        return False
    return True


class BenchmarkRun(models.Model):
    """One run: what was asked, how far it is, what came out."""

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        FINISHED = "finished", _("finished")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    ACTIVE = (State.QUEUED, State.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=80, unique=True)
    benchmark_type = models.CharField(_("type"), max_length=20)
    parameters = models.JSONField(_("parameters"), default=dict)
    state = models.CharField(_("state"), max_length=9, choices=State.choices, default=State.QUEUED)
    # From 0 to 1, and what is being done.
    progress = models.FloatField(default=0)
    phase = models.CharField(max_length=100, blank=True)
    cancel_requested = models.BooleanField(default=False)
    # benchmarks.runner.run says what is in it.
    result = models.JSONField(null=True)
    error = models.TextField(_("error"), blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("actor"),
    )
    created_at = models.DateTimeField(_("time"), default=timezone.now)
    # Written with each step of the progress: silence means that the worker is gone.
    seen_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True)

    objects = BenchmarkRunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("benchmark run")
        verbose_name_plural = _("benchmark runs")
        constraints = [
            models.UniqueConstraint(
                models.Value(1),
                condition=Q(state__in=["queued", "running"]),
                name="benchmarkrun_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "finished", "failed", "cancelled"]),
                name="benchmarkrun_state_valid",
            ),
        ]
        indexes = [models.Index(fields=["-created_at"], name="benchmarkrun_created")]

    def __str__(self) -> str:
        return self.name

    @property
    def environment(self) -> dict[str, Any]:
        """What the result depends on."""
        told: dict[str, Any] = (self.result or {}).get("environment", {})
        return told
