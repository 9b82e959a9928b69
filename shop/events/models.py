"""The event table: timeline, history and outbox in one."""

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from shop.ids import uuid7


class Event(models.Model):
    """Something that happened to a subject, written in the transaction in which it did.

    The fields are those of a CloudEvent (id, type, subject, time, data) with
    a sequence per subject. A row is never edited.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    type = models.CharField(_("type"), max_length=100)
    # "order/<id>"
    subject = models.CharField(_("subject"), max_length=100)
    # 1, 2, 3 … within the subject, with no gap.
    sequence = models.PositiveIntegerField(_("sequence"))
    time = models.DateTimeField(_("time"), default=timezone.now)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    data = models.JSONField(_("data"), default=dict)
    correlation_id = models.CharField(_("correlation id"), max_length=100, blank=True)

    class Meta:
        app_label = "shop"
        ordering = ["subject", "sequence"]
        verbose_name = _("event")
        verbose_name_plural = _("events")
        constraints = [
            models.UniqueConstraint(fields=["subject", "sequence"], name="event_sequence_unique"),
        ]
        indexes = [
            models.Index(fields=["time"], name="event_time"),
            models.Index(fields=["type", "-time"], name="event_type"),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.sequence}"
