"""Job rows: the truth behind Celery."""

from datetime import datetime

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class JobQuerySet(models.QuerySet["Job"]):
    """Verbs on jobs."""

    def due(self, now: datetime) -> "JobQuerySet":
        """Jobs that wait and whose time has come."""
        return self.filter(state=Job.State.QUEUED, due_at__lte=now)

    def abandoned(self, before: datetime) -> "JobQuerySet":
        """Jobs that began before `before` and never ended: their worker is gone."""
        return self.filter(state=Job.State.RUNNING, started_at__lt=before)


class Job(models.Model):
    """One piece of background work."""

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        FAILED = "failed", _("failed")
        FINISHED = "finished", _("finished")

    task = models.CharField(_("task"), max_length=100)
    arguments = models.JSONField(_("arguments"), default=dict, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.QUEUED)
    # While a job with this key waits, another is not added.
    unique_key = models.CharField(_("unique key"), max_length=200, blank=True)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    result = models.TextField(_("result"), blank=True)
    error = models.TextField(_("error"), blank=True)
    correlation_id = models.CharField(_("correlation id"), max_length=100, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(pgettext_lazy("time", "finished"), null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        app_label = "shop"
        ordering = ["-id"]
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        constraints = [
            models.UniqueConstraint(
                fields=["unique_key"],
                condition=models.Q(state="queued") & ~models.Q(unique_key=""),
                name="job_unique_while_queued",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["queued", "running", "failed", "finished"]),
                name="job_state_valid",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=models.Q(state="queued"), name="job_queued_due"
            ),
            models.Index(fields=["finished_at"], name="job_finished_at"),
            models.Index(fields=["-id"], condition=models.Q(state="failed"), name="job_failed"),
        ]

    def __str__(self) -> str:
        return f"{self.task} #{self.pk}"
