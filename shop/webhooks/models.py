"""Who wants to be told of events, and what became of each try."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Webhook(models.Model):
    """A subscription: events of some types are posted to an address."""

    name = models.CharField(_("name"), max_length=100)
    url = models.CharField(_("address"), max_length=500)
    # Event types, none for all.
    types = models.JSONField(_("types"), default=list, blank=True)
    secret = models.CharField(max_length=100, editable=False)
    # Signs too until `previous_until`, so that the receiver can change over in peace.
    previous_secret = models.CharField(max_length=100, blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)
    switched_off_at = models.DateTimeField(_("switched off"), null=True, editable=False)
    reason = models.CharField(_("reason"), max_length=500, blank=True, editable=False)
    # Since it last took something, while the receiver can't be reached: since when, how often
    # in a row, and not again before.
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)
    failures = models.PositiveIntegerField(_("failures"), default=0, editable=False)
    paused_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL,
        related_name="+", verbose_name=_("by"),
    )  # fmt: skip

    class Meta:
        app_label = "shop"
        ordering = ["-id"]
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")

    def __str__(self) -> str:
        return self.name

    @property
    def sink(self) -> str:
        """The name of the road that leads there."""
        return f"webhook:{self.pk}"


NOT_TAKEN = Q(status=None) | Q(status__lt=200) | Q(status__gte=300)


class AttemptQuerySet(models.QuerySet["Attempt"]):
    """Verbs on attempts."""

    def taken(self) -> "AttemptQuerySet":
        """Those that the receiver took."""
        return self.filter(status__gte=200, status__lt=300)

    def not_taken(self) -> "AttemptQuerySet":
        """Those without an answer, and those that were refused."""
        return self.filter(NOT_TAKEN)


class Attempt(models.Model):
    """One request to a webhook's address."""

    webhook = models.ForeignKey(
        Webhook, on_delete=models.CASCADE, related_name="attempts", verbose_name=_("webhook")
    )
    # The event's id; of a test there is no event.
    event_id = models.UUIDField(_("event"))
    type = models.CharField(_("type"), max_length=100)
    subject = models.CharField(_("subject"), max_length=100)
    # 1, 2, 3 … for this event.
    number = models.PositiveIntegerField(_("number"))
    time = models.DateTimeField(_("time"), default=timezone.now)
    milliseconds = models.PositiveIntegerField(_("milliseconds"), default=0)
    # None: no answer.
    status = models.PositiveIntegerField(_("status"), null=True)
    headers = models.JSONField(_("headers"), default=dict)
    body = models.TextField(_("body"))
    answer = models.TextField(_("answer"), blank=True)
    error = models.TextField(_("error"), blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        app_label = "shop"
        ordering = ["-id"]
        verbose_name = _("webhook attempt")
        verbose_name_plural = _("webhook attempts")
        indexes = [
            models.Index(fields=["webhook", "event_id"], name="attempt_event"),
            models.Index(fields=["webhook", "-id"], name="attempt_newest"),
            models.Index(fields=["time"], name="attempt_time"),
            models.Index(fields=["webhook", "-id"], condition=NOT_TAKEN, name="attempt_not_taken"),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.number}"

    @property
    def taken(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300
