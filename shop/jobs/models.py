"""Job rows: the truth behind Celery."""

from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class JobQuerySet(models.QuerySet["Job"]):
    """Verbs on jobs."""

    def due(self, now: datetime) -> "JobQuerySet":
        """Jobs that wait and whose time has come."""
        return self.filter(state=Job.State.QUEUED, due_at__lte=now)

    def abandoned(self, now: datetime) -> "JobQuerySet":
        """Jobs that run and whose lease nobody has renewed: their worker is gone."""
        # Code from before there were leases may run beside this one; its longest
        # job takes 25 minutes.
        unleased = models.Q(lease_until=None, started_at__lt=now - timedelta(minutes=30))
        return self.filter(models.Q(lease_until__lt=now) | unleased, state=Job.State.RUNNING)

    def long_ago(self, now: datetime, keep: timedelta) -> "JobQuerySet":
        """Jobs that ended well, or were cancelled, longer than `keep` ago.

        And those that failed, once nobody has seen to them for six times as long.
        """
        done = [Job.State.FINISHED, Job.State.CANCELLED]
        return self.filter(
            models.Q(state__in=done, finished_at__lt=now - keep)
            | models.Q(state=Job.State.FAILED, finished_at__lt=now - 6 * keep)
        )


class Job(models.Model):
    """One piece of background work."""

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        FAILED = "failed", _("failed")
        FINISHED = "finished", _("finished")
        CANCELLED = "cancelled", _("cancelled")

    class Queue(models.TextChoices):
        DEFAULT = "default", _("default")
        LONG = "long", _("long")

    task = models.CharField(_("task"), max_length=100)
    arguments = models.JSONField(_("arguments"), default=dict, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.QUEUED)
    # Work of seconds, and work of minutes that must not hold it up.
    queue = models.CharField(
        _("queue"),
        max_length=10,
        choices=Queue.choices,
        default=Queue.DEFAULT,
        db_default="default",
    )
    # While a job with this key waits, another is not added.
    unique_key = models.CharField(_("unique key"), max_length=200, blank=True)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    # Whose run it is, and until when that is believed without a word from them.
    claim = models.UUIDField(_("claim"), null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    # From 0 to 1, and what is being done.
    progress = models.FloatField(_("progress"), default=0, db_default=0)
    phase = models.CharField(_("phase"), max_length=100, blank=True, default="", db_default="")
    cancel_requested = models.BooleanField(_("cancel requested"), default=False, db_default=False)
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
                condition=models.Q(
                    state__in=["queued", "running", "failed", "finished", "cancelled"]
                ),
                name="job_state_valid",
            ),
            models.CheckConstraint(
                condition=models.Q(queue__in=["default", "long"]), name="job_queue_valid"
            ),
        ]
        indexes = [
            models.Index(
                fields=["queue", "due_at", "id"],
                condition=models.Q(state="queued"),
                name="job_queue_due",
            ),
            models.Index(
                fields=["lease_until"],
                condition=models.Q(state="running"),
                name="job_running_lease",
            ),
            models.Index(fields=["finished_at"], name="job_finished_at"),
            models.Index(fields=["-id"], condition=models.Q(state="failed"), name="job_failed"),
        ]

    def __str__(self) -> str:
        return f"{self.task} #{self.pk}"
