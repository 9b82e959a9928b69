"""The shapes of benchmarks: input checked, output described."""

from typing import Any

from rest_framework import serializers

from benchmarks.models import BenchmarkRun
from benchmarks.scenarios import SCENARIOS
from shop.fields import Text, Whole
from shop.inputs import StrictSerializer


class RunInput(StrictSerializer):
    """What to measure; the bounds keep a run within minutes."""

    benchmark_type = serializers.ChoiceField(sorted(SCENARIOS))
    iterations = Whole(min_value=10, max_value=5000, default=100)
    users = Whole(min_value=1, max_value=64, default=8)
    products = Whole(min_value=100, max_value=20_000, default=2000)
    orders = Whole(min_value=0, max_value=50_000, default=2000)


class ResultsQuery(StrictSerializer):
    """Which results."""

    limit = Whole(min_value=1, max_value=100, default=10)
    benchmark_type = serializers.ChoiceField(sorted(SCENARIOS), required=False)


class DownloadQuery(StrictSerializer):
    """How a result is wanted."""

    download = serializers.ChoiceField(["true", "false"], default="false")


class CompareQuery(StrictSerializer):
    """Names or ids, with or without `.json`."""

    baseline = Text(max_length=90)
    current = Text(max_length=90)


class RunOutput(serializers.Serializer[Any]):
    """A run; the result is there when it has finished."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    benchmark_type = serializers.CharField()
    parameters = serializers.DictField()
    state = serializers.ChoiceField(BenchmarkRun.State.choices)
    progress = serializers.FloatField(min_value=0, max_value=1)
    phase = serializers.CharField()
    error = serializers.CharField()
    by = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    result = serializers.DictField(allow_null=True)


class RunList(serializers.Serializer[Any]):
    """Runs, newest first."""

    results = RunOutput(many=True)


class ComparedStep(serializers.Serializer[Any]):
    """One step of one version: the current run against the baseline."""

    name = serializers.CharField()
    version = serializers.ChoiceField(["v1", "v2"])
    ratio = serializers.FloatField(min_value=0)
    low = serializers.FloatField(min_value=0)
    high = serializers.FloatField(min_value=0)
    p = serializers.FloatField(min_value=0, max_value=1)
    effect = serializers.FloatField()
    verdict = serializers.ChoiceField(["faster", "slower", "equivalent", "inconclusive"])


class Difference(serializers.Serializer[Any]):
    """Something that differs between two environments."""

    name = serializers.CharField()
    baseline = serializers.JSONField(allow_null=True)
    current = serializers.JSONField(allow_null=True)


class CompareOutput(serializers.Serializer[Any]):
    """Two runs compared."""

    baseline = serializers.CharField()
    current = serializers.CharField()
    steps = ComparedStep(many=True)
    environment_differs = Difference(many=True)
