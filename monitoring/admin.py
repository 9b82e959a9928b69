"""Alerts in the admin."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitoring import alerts, notify
from monitoring.metrics import CATALOGUE
from monitoring.models import AlertChange, AlertRule, Channel, Delivery, Silence
from shop.lists import ReadOnly
from shop.outgoing import new_secret


class RuleForm(forms.ModelForm):
    """A rule that can be evaluated."""

    metric_name = forms.ChoiceField(
        label=gettext_lazy("metric"), choices=[(name, name) for name in sorted(CATALOGUE)]
    )
    aggregation = forms.CharField(
        label=gettext_lazy("aggregation"),
        required=False,
        help_text=gettext_lazy("Empty: the usual one of the metric."),
    )

    class Meta:
        model = AlertRule
        fields = [
            "name", "metric_name", "aggregation", "condition", "threshold", "resolve_threshold",
            "window", "for_seconds", "keep_firing_seconds", "min_samples", "no_data", "enabled",
        ]  # fmt: skip

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            try:
                alerts.check_rule(self.instance)
            except ValidationError as error:
                self._update_errors(error)  # type: ignore[attr-defined]


@admin.register(AlertRule)
class AlertRuleAdmin(admin.ModelAdmin):
    """Rules with where they stand."""

    form = RuleForm
    list_display = ["name", "state", "value", "since", "metric_name", "threshold", "enabled"]
    list_filter = ["state", "enabled"]
    search_fields = ["name", "metric_name"]
    readonly_fields = ["state", "since", "value", "evaluated_at"]

    def save_model(
        self, request: HttpRequest, obj: AlertRule, form: RuleForm, change: bool
    ) -> None:
        """Keep what staff wrote from being overwritten by code, and the state from the form."""
        obj.edited = True
        if change:
            obj.save(update_fields=[*RuleForm.Meta.fields, "edited"])
        else:
            obj.save()


@admin.register(AlertChange)
class AlertChangeAdmin(ReadOnly):
    """The history."""

    list_display = ["time", "rule", "before", "state", "value"]
    list_filter = ["state", "rule"]
    list_select_related = ["rule"]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    """The log of notices."""

    list_display = ["created_at", "channel", "change", "state", "attempts", "status_code", "answer"]
    list_filter = ["state", "channel"]
    list_select_related = ["channel", "change__rule"]


@admin.register(Silence)
class SilenceAdmin(admin.ModelAdmin):
    """Times without notices."""

    list_display = ["rule", "starts_at", "ends_at", "reason", "actor"]
    list_select_related = ["rule", "actor"]

    def save_model(self, request: HttpRequest, obj: Silence, form: Any, change: bool) -> None:
        """Note who wants it quiet."""
        if not change:
            obj.actor = request.user  # type: ignore[assignment]
        obj.save()


class ChannelForm(forms.ModelForm):
    """A channel whose address fits its kind."""

    class Meta:
        model = Channel
        fields = ["name", "kind", "target", "enabled"]

    def clean(self) -> dict[str, Any]:
        """Check the address."""
        data: dict[str, Any] = super().clean() or {}
        target = data.get("target", "")
        check = (
            validate_email
            if data.get("kind") == Channel.Kind.EMAIL
            # A name without a dot is a host of one's own network.
            else URLValidator(schemes=["http", "https"])
        )
        try:
            check(target)
        except ValidationError as error:
            self.add_error("target", error)
        return data


@admin.register(Channel)
class ChannelAdmin(admin.ModelAdmin):
    """Where notices go."""

    form = ChannelForm
    list_display = ["name", "kind", "target", "enabled"]
    actions = ["send_test"]

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Not by the secret: `?secret__startswith=` would tell it letter by letter."""
        return not lookup.startswith("secret") and super().lookup_allowed(lookup, value, request)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        """Make the secret of a webhook, and show it this once."""
        if obj.kind == Channel.Kind.WEBHOOK and not obj.secret:
            obj.secret = new_secret()
            messages.warning(
                request, _("The secret to check signatures with, shown this once: %s") % obj.secret
            )
        obj.save()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Say why a channel stays that has told something; not in a list of all its notices."""
        keys = [channel.pk for channel in objs]
        used = Channel.objects.filter(pk__in=keys, deliveries__isnull=False).distinct()
        text = _("%s: its notices are kept. Switch the channel off instead.")
        if protected := [text % channel for channel in used]:
            return [], {}, set(), protected
        return super().get_deleted_objects(objs, request)

    @admin.action(description=gettext_lazy("Send a test"), permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        """Try the chosen channels."""
        for channel in queryset:
            notify.try_channel(channel)
        self.message_user(request, _("On its way; the log of notices tells."), messages.SUCCESS)
