"""Time series, alert rules and what became of them."""

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Sample(models.Model):
    """One metric over one step of time.

    For a counter `total` is the increase; for a gauge `total` of `count`
    readings; for a histogram `total` of `count` observations, and how many
    fell into each bucket.
    """

    # The dotted name.
    metric = models.CharField(max_length=60)
    # "route=/api/v2/products", empty for all together.
    labels = models.CharField(max_length=200, blank=True)
    # Seconds: 10, 60 or 3600.
    step = models.PositiveSmallIntegerField()
    # Its beginning.
    time = models.DateTimeField()
    count = models.FloatField(default=0)
    total = models.FloatField(default=0)
    minimum = models.FloatField(null=True)
    maximum = models.FloatField(null=True)
    # {"0.005": 3, …}: each bucket's own, not cumulative.
    buckets = models.JSONField(null=True)

    class Meta:
        verbose_name = _("sample")
        verbose_name_plural = _("samples")
        permissions = [("empty_caches", "Can empty what web processes keep")]
        constraints = [
            models.UniqueConstraint(
                fields=["metric", "step", "time", "labels"], name="sample_once"
            ),
        ]
        indexes = [models.Index(fields=["step", "time"], name="sample_step_time")]

    def __str__(self) -> str:
        return f"{self.metric} {self.labels}"


class SamplerState(models.Model):
    """What the last sample was; one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sampled_at = models.DateTimeField(null=True)
    # Series with labels to the sum that was read.
    counters = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="samplerstate_one_row"),
        ]

    def __str__(self) -> str:
        return str(self.sampled_at)


class AlertRule(models.Model):
    """When to raise an alarm, and how it stands; monitoring.alerts says what the fields do."""

    class Condition(models.TextChoices):
        GT = "gt", _("above")
        GTE = "gte", _("at or above")
        LT = "lt", _("below")
        LTE = "lte", _("at or below")

    class NoData(models.TextChoices):
        OK = "ok", _("all is well")
        KEEP = "keep", _("stay as it is")
        FIRING = "firing", _("is an alarm")

    class State(models.TextChoices):
        OK = "ok", _("ok")
        PENDING = "pending", _("pending")
        FIRING = "firing", _("firing")
        RESOLVED = "resolved", _("resolved")

    name = models.CharField(_("name"), max_length=100, unique=True)
    metric_name = models.CharField(_("metric"), max_length=60)
    aggregation = models.CharField(_("aggregation"), max_length=10)
    condition = models.CharField(_("condition"), max_length=3, choices=Condition.choices)
    threshold = models.FloatField(_("threshold"))
    resolve_threshold = models.FloatField(
        _("resolve threshold"),
        null=True,
        blank=True,
        help_text=_("While it fires, this one counts; empty: the same."),
    )
    # All in seconds.
    window = models.PositiveIntegerField(_("window"), default=300)
    for_seconds = models.PositiveIntegerField(_("for"), default=0)
    keep_firing_seconds = models.PositiveIntegerField(_("keep firing"), default=0)
    min_samples = models.PositiveIntegerField(_("least samples"), default=1)
    no_data = models.CharField(
        _("no data"), max_length=6, choices=NoData.choices, default=NoData.OK
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    # As code or staff last wrote it, and whether staff did.
    edited = models.BooleanField(default=False, editable=False)

    state = models.CharField(
        _("state"), max_length=8, choices=State.choices, default=State.OK, editable=False
    )
    since = models.DateTimeField(_("since"), default=timezone.now, editable=False)
    # When the condition held last.
    held_at = models.DateTimeField(null=True, editable=False)
    value = models.FloatField(_("value"), null=True, editable=False)
    evaluated_at = models.DateTimeField(_("evaluated"), null=True, editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name = _("alert rule")
        verbose_name_plural = _("alert rules")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["ok", "pending", "firing", "resolved"]),
                name="alertrule_state_valid",
            ),
            models.CheckConstraint(
                condition=models.Q(condition__in=["gt", "gte", "lt", "lte"]),
                name="alertrule_condition_valid",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AlertChange(models.Model):
    """A rule went from one state to another. Never edited."""

    rule = models.ForeignKey(
        AlertRule, on_delete=models.CASCADE, related_name="changes", verbose_name=_("rule")
    )
    before = models.CharField(_("before"), max_length=8, choices=AlertRule.State.choices)
    state = models.CharField(_("state"), max_length=8, choices=AlertRule.State.choices)
    value = models.FloatField(_("value"), null=True)
    time = models.DateTimeField(_("time"))

    class Meta:
        ordering = ["-id"]
        verbose_name = _("alert")
        verbose_name_plural = _("alert history")
        indexes = [models.Index(fields=["time"], name="alertchange_time")]

    def __str__(self) -> str:
        return f"{self.rule}: {self.get_state_display()}"


class Silence(models.Model):
    """No notices for a while; states and history go on."""

    # None: for all rules.
    rule = models.ForeignKey(
        AlertRule,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="silences",
        verbose_name=_("rule"),
    )
    starts_at = models.DateTimeField(_("from"), default=timezone.now)
    ends_at = models.DateTimeField(_("until"))
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        editable=False,
        verbose_name=_("actor"),
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")),
                name="silence_ends_after_it_starts",
                violation_error_message=_("A silence ends after it starts."),
            ),
        ]

    def __str__(self) -> str:
        name, ends_at = self.rule or _("all rules"), timezone.localtime(self.ends_at)
        return f"{name} – {date_format(ends_at, 'SHORT_DATETIME_FORMAT')}"


class Channel(models.Model):
    """Where notices go."""

    class Kind(models.TextChoices):
        EMAIL = "email", _("e-mail")
        WEBHOOK = "webhook", _("signed webhook")
        SLACK = "slack", _("Slack")

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=7, choices=Kind.choices)
    target = models.CharField(
        _("address"), max_length=500, help_text=_("An e-mail address, or a URL.")
    )
    # "whsec_" and base64, for a webhook; shown once, when it is made.
    secret = models.CharField(max_length=100, blank=True, editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("channel")
        verbose_name_plural = _("channels")

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """A notice of one change through one channel."""

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        SILENCED = "silenced", _("silenced")

    # None: somebody tries the channel.
    change = models.ForeignKey(
        AlertChange,
        null=True,
        on_delete=models.CASCADE,
        related_name="deliveries",
        verbose_name=pgettext_lazy("alert", "change"),
    )
    # A channel that has told something is switched off rather than deleted.
    channel = models.ForeignKey(
        Channel, on_delete=models.PROTECT, related_name="deliveries", verbose_name=_("channel")
    )
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    status_code = models.PositiveSmallIntegerField(pgettext_lazy("HTTP", "status"), null=True)
    # The beginning of the answer, or what went wrong.
    answer = models.CharField(_("answer"), max_length=500, blank=True)
    created_at = models.DateTimeField(_("time"), auto_now_add=True)
    sent_at = models.DateTimeField(pgettext_lazy("time", "sent"), null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        constraints = [
            models.UniqueConstraint(fields=["change", "channel"], name="delivery_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=["queued", "sent", "failed", "silenced"]),
                name="delivery_state_valid",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.get_state_display()}"
