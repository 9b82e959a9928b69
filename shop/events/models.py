"""The event table: timeline, history and outbox in one."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from shop.ids import uuid7


class EventQuerySet(models.QuerySet["Event"]):
    """Verbs on events."""

    def pending(self) -> "EventQuerySet":
        """Events that no sink has been told of."""
        return self.filter(pending=True)


class Event(models.Model):
    """Something that happened to a subject, written in the transaction in which it did.

    The fields are those of a CloudEvent (id, type, subject, time, data) with
    a sequence per subject. What it tells is never edited.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    type = models.CharField(_("type"), max_length=100)
    # "order/<id>"
    subject = models.CharField(_("subject"), max_length=100)
    # 1, 2, 3 … within the subject, with no gap.
    sequence = models.PositiveIntegerField(_("sequence"))
    time = models.DateTimeField(_("time"), default=timezone.now)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("actor"),
    )
    data = models.JSONField(_("data"), default=dict)
    correlation_id = models.CharField(_("correlation id"), max_length=100, blank=True)
    # Until shop.events.delivery has put it down for the sinks. False for what
    # older code writes while a new one is put in place: that code sends by itself.
    pending = models.BooleanField(default=True, db_default=False, editable=False)

    objects = EventQuerySet.as_manager()

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
            models.Index(fields=["id"], condition=Q(pending=True), name="event_pending"),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.sequence}"


class SinkOffsetQuerySet(models.QuerySet["SinkOffset"]):
    """Verbs on offsets."""

    def behind(self) -> "SinkOffsetQuerySet":
        """Sinks that have not had all of a subject's events, and will be given them."""
        return self.filter(newest__gt=F("delivered"), state=SinkOffset.State.OPEN)

    def due(self, sink: str, now: datetime) -> "SinkOffsetQuerySet":
        """What can be given to `sink` now."""
        return self.behind().filter(sink=sink, due_at__lte=now)

    def dead(self) -> "SinkOffsetQuerySet":
        """Sinks that were tried too often; staff decide."""
        return self.filter(state=SinkOffset.State.DEAD)


class SinkOffset(models.Model):
    """How far one sink has got in one subject's events.

    Since a subject's events are given to a sink by whoever holds this row's
    claim, in the order of their gapless sequence, one number says it all; a
    row for each event and sink would say the same in many more.
    """

    class State(models.TextChoices):
        OPEN = "open", pgettext_lazy("delivery", "open")
        # Given up; the subject's later events wait behind it.
        DEAD = "dead", _("given up")

    sink = models.CharField(_("sink"), max_length=60)
    subject = models.CharField(_("subject"), max_length=100)
    # Sequences: the last one that the sink took, and the last one that it wants.
    delivered = models.PositiveIntegerField(_("delivered"))
    newest = models.PositiveIntegerField(_("newest"))
    state = models.CharField(_("state"), max_length=4, choices=State.choices, default=State.OPEN)
    # Not before then; a claim puts it off for as long as the claim is good.
    due_at = models.DateTimeField(_("due"))
    # The time of the oldest event that waits, where one does.
    waiting_since = models.DateTimeField(_("waiting since"))
    claim = models.UUIDField(null=True, editable=False)
    # Of the event after `delivered`.
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = SinkOffsetQuerySet.as_manager()

    class Meta:
        app_label = "shop"
        ordering = ["-id"]
        verbose_name = _("delivery of events")
        verbose_name_plural = _("deliveries of events")
        constraints = [
            models.UniqueConstraint(fields=["sink", "subject"], name="sinkoffset_unique"),
            models.CheckConstraint(
                condition=Q(newest__gte=F("delivered")), name="sinkoffset_not_ahead"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["open", "dead"]), name="sinkoffset_state_valid"
            ),
        ]
        indexes = [
            models.Index(
                fields=["sink", "due_at"],
                condition=Q(newest__gt=F("delivered"), state="open"),
                name="sinkoffset_due",
            ),
            models.Index(fields=["-id"], condition=Q(state="dead"), name="sinkoffset_dead"),
            models.Index(fields=["updated_at"], name="sinkoffset_updated"),
        ]

    def __str__(self) -> str:
        return f"{self.sink} {self.subject}"
