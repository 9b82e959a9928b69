"""The shapes of alerts: input checked, output described."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from monitoring.alerts import EVERY_AGGREGATION
from monitoring.metrics import CATALOGUE
from monitoring.models import AlertRule
from shop.fields import Flag, Key, Moment, Number, Text, Whole
from shop.inputs import CONTRADICTION, StrictSerializer


class RuleInput(StrictSerializer):
    """A rule; monitoring.alerts says what the fields do. Times are seconds."""

    name = Text(max_length=100)
    metric_name = serializers.ChoiceField(sorted(CATALOGUE))
    aggregation = serializers.ChoiceField(
        EVERY_AGGREGATION, required=False, help_text=_("Not every metric has each of them.")
    )
    condition = serializers.ChoiceField(AlertRule.Condition.choices)
    threshold = Number(min_value=-1e15, max_value=1e15)
    resolve_threshold = Number(min_value=-1e15, max_value=1e15, required=False, allow_null=True)
    window = Whole(min_value=10, max_value=3600, required=False)
    for_seconds = Whole(min_value=0, max_value=86400, required=False)
    keep_firing_seconds = Whole(min_value=0, max_value=86400, required=False)
    min_samples = Whole(min_value=0, max_value=1_000_000, required=False)
    no_data = serializers.ChoiceField(AlertRule.NoData.choices, required=False)
    enabled = Flag(required=False)


class RuleOutput(serializers.Serializer[Any]):
    """A rule and where it stands."""

    id = Key()
    name = serializers.CharField()
    metric_name = serializers.CharField()
    aggregation = serializers.ChoiceField(EVERY_AGGREGATION)
    condition = serializers.ChoiceField(AlertRule.Condition.choices)
    threshold = serializers.FloatField()
    resolve_threshold = serializers.FloatField(allow_null=True)
    window = serializers.IntegerField(min_value=10)
    for_seconds = serializers.IntegerField(min_value=0)
    keep_firing_seconds = serializers.IntegerField(min_value=0)
    min_samples = serializers.IntegerField(min_value=0)
    no_data = serializers.ChoiceField(AlertRule.NoData.choices)
    enabled = serializers.BooleanField()
    state = serializers.ChoiceField(AlertRule.State.choices)
    since = serializers.DateTimeField()
    value = serializers.FloatField(allow_null=True)


class RuleList(serializers.Serializer[Any]):
    """All rules."""

    results = RuleOutput(many=True)


class AlertOutput(serializers.Serializer[Any]):
    """How one rule stands."""

    rule = serializers.CharField()
    rule_id = Key()
    metric = serializers.CharField()
    aggregation = serializers.ChoiceField(EVERY_AGGREGATION)
    condition = serializers.ChoiceField(AlertRule.Condition.choices)
    threshold = serializers.FloatField()
    window = serializers.IntegerField(min_value=10)
    enabled = serializers.BooleanField()
    state = serializers.ChoiceField(AlertRule.State.choices)
    since = serializers.DateTimeField()
    value = serializers.FloatField(allow_null=True)
    evaluated_at = serializers.DateTimeField(allow_null=True)


class AlertList(serializers.Serializer[Any]):
    """How all rules stand."""

    results = AlertOutput(many=True)


class AlertChangeOutput(serializers.Serializer[Any]):
    """A change of a rule's state."""

    id = Key()
    rule = serializers.CharField()
    rule_id = Key()
    before = serializers.ChoiceField(AlertRule.State.choices)
    state = serializers.ChoiceField(AlertRule.State.choices)
    value = serializers.FloatField(allow_null=True)
    time = serializers.DateTimeField()


class ReplayQuery(StrictSerializer):
    """How far back."""

    hours = Whole(min_value=1, max_value=24 * 30, default=24)


class ReplayedChange(serializers.Serializer[Any]):
    """A change that a rule would have made."""

    before = serializers.ChoiceField(AlertRule.State.choices)
    state = serializers.ChoiceField(AlertRule.State.choices)
    value = serializers.FloatField(allow_null=True)
    time = serializers.DateTimeField()


class ReplayOutput(serializers.Serializer[Any]):
    """What a rule would have done."""

    results = ReplayedChange(many=True)


class SilenceInput(StrictSerializer):
    """No notices for a while: of one rule, or of all."""

    rule_id = Key(required=False, allow_null=True)
    starts_at = Moment(required=False)
    ends_at = Moment()
    reason = Text(max_length=200, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a silence that is over, or endless."""
        starts: datetime = attrs.setdefault("starts_at", timezone.now())
        if attrs["ends_at"] <= starts or attrs["ends_at"] <= timezone.now():
            raise serializers.ValidationError(
                {"ends_at": [_("A silence ends after it starts.")]}, CONTRADICTION
            )
        if attrs["ends_at"] - starts > timedelta(days=366):
            raise serializers.ValidationError({"ends_at": [_("At most a year.")]}, CONTRADICTION)
        return attrs


class SilenceOutput(serializers.Serializer[Any]):
    """A silence."""

    id = Key()
    rule_id = Key(allow_null=True)
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    reason = serializers.CharField()
    by = serializers.CharField(allow_null=True)


class SilenceList(serializers.Serializer[Any]):
    """The silences that are not over."""

    results = SilenceOutput(many=True)
