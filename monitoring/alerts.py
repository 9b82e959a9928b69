"""Alert rules: when they hold, how their state moves, who is told.

A rule looks at one metric over its `window` and compares what it comes to
with its `threshold`; while it fires, with its `resolve_threshold`. The states:

| from | the condition | to |
|---|---|---|
| ok, resolved | holds, `for_seconds` is 0 | firing |
| ok, resolved | holds | pending |
| pending | holds since `for_seconds` | firing |
| pending | does not hold | ok |
| firing | has not held for `keep_firing_seconds` | resolved |
| resolved | has not held for RESOLVED_SHOWN | ok |

With fewer than `min_samples` in the window there is no data: that is no
alarm, or leaves the state alone, or is an alarm, as `no_data` says.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring import notify, series
from monitoring.metrics import CATALOGUE
from monitoring.models import AlertChange, AlertRule, Silence
from monitoring.series import Point, Value

RESOLVED_SHOWN = timedelta(minutes=5)

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
AGGREGATIONS: dict[str, tuple[str, ...]] = {
    "gauge": ("avg", "min", "max"),
    "counter": ("sum", "rate"),
    "histogram": ("p95", "p50", "p99", "avg", "count", "rate"),
}
_SHARE = ("share", "sum", "rate")
EVERY_AGGREGATION = sorted({*_SHARE, *(name for names in AGGREGATIONS.values() for name in names)})
State = AlertRule.State


def aggregations_of(metric_name: str) -> tuple[str, ...]:
    """Return what a metric can be aggregated by, the usual one first; none for an unknown one."""
    metric = CATALOGUE.get(metric_name)
    if metric is None:
        return ()
    if metric_name == "http.request.error":
        return _SHARE
    return AGGREGATIONS[metric.kind]


def check_rule(rule: AlertRule) -> None:
    """Refuse what can't be evaluated, and fill in the usual aggregation.

    Raises:
        ValidationError: by field.
    """
    known = aggregations_of(rule.metric_name)
    if not known:
        raise ValidationError({"metric_name": _("There is no such metric.")})
    rule.aggregation = rule.aggregation or known[0]
    if rule.aggregation not in known:
        raise ValidationError({"aggregation": _("One of %s.") % ", ".join(known)})
    # The samples that are compared are ten seconds apart and kept for two hours.
    if not 10 <= rule.window <= 3600:
        raise ValidationError({"window": _("From 10 to 3600 seconds.")})


class AlertManager:
    """Rules as code."""

    def add_rule(
        self,
        *,
        name: str,
        metric_name: str,
        condition: str,
        threshold: float,
        window: int = 300,
        **options: Any,
    ) -> AlertRule:
        """Add a rule, or bring the one of this name up to date.

        What staff have edited stays as they left it. `options` are other
        fields of AlertRule.

        Raises:
            ValidationError: it can't be evaluated.
        """
        rule = AlertRule.objects.filter(name=name).first() or AlertRule(name=name)
        if rule.edited:
            return rule
        told = {
            "metric_name": metric_name,
            "condition": condition,
            "threshold": threshold,
            "window": window,
            **options,
        }
        for field, value in told.items():
            setattr(rule, field, value)
        check_rule(rule)
        rule.full_clean()
        rule.save()
        return rule


alert_manager = AlertManager()


def add_shipped_rules(**_: Any) -> None:
    """Add the rules that come with the shop; called after each migrate."""
    alert_manager.add_rule(
        name="High CPU Usage",
        metric_name="system.cpu.usage",
        condition="gt",
        threshold=80.0,
        window=300,
    )
    alert_manager.add_rule(
        name="High Error Rate",
        metric_name="http.request.error",
        condition="gt",
        threshold=0.05,
        window=60,
        # One failed request in a quiet minute is no rate.
        min_samples=20,
    )


@dataclass(frozen=True)
class Standing:
    """Where a rule stands, apart from its row."""

    state: str
    since: datetime
    held_at: datetime | None = None


def holds(rule: AlertRule, value: Value, state: str) -> bool | None:
    """Return whether the rule's condition holds, None for a state that stays as it is."""
    if value.value is None or value.samples < rule.min_samples:
        return {"ok": False, "keep": None, "firing": True}[rule.no_data]
    threshold = rule.threshold
    if state == State.FIRING and rule.resolve_threshold is not None:
        threshold = rule.resolve_threshold
    return _COMPARE[rule.condition](value.value, threshold)


def step(rule: AlertRule, standing: Standing, held: bool | None, now: datetime) -> Standing:
    """Return where the rule stands after one evaluation; the table above, nothing else."""
    if held is None:
        return standing
    state, since = standing.state, standing.since
    held_at = now if held else standing.held_at
    if state in (State.OK, State.RESOLVED):
        if held:
            state = State.PENDING if rule.for_seconds else State.FIRING
        elif state == State.RESOLVED and now - since >= RESOLVED_SHOWN:
            state = State.OK
    elif state == State.PENDING:
        if not held:
            state = State.OK
        elif now - since >= timedelta(seconds=rule.for_seconds):
            state = State.FIRING
    elif not held:
        quiet = now - (standing.held_at or since)
        if quiet >= timedelta(seconds=rule.keep_firing_seconds):
            state = State.RESOLVED
    return Standing(state, now if state != standing.state else since, held_at)


def evaluate(now: datetime | None = None) -> int:
    """Evaluate every rule that is switched on; returns how many changed their state."""
    now = now or timezone.now()
    return sum(_evaluate(rule, now) for rule in AlertRule.objects.filter(enabled=True))


def _evaluate(rule: AlertRule, now: datetime) -> bool:
    value = series.window(
        rule.metric_name,
        start=now - timedelta(seconds=rule.window),
        end=now,
        aggregation=rule.aggregation,  # type: ignore[arg-type]
    )
    old = Standing(rule.state, rule.since, rule.held_at)
    new = step(rule, old, holds(rule, value, rule.state), now)
    with transaction.atomic():
        # Compare-and-set: of several evaluators, one makes the change and
        # tells of it.
        mine = AlertRule.objects.filter(pk=rule.pk, state=old.state, since=old.since).update(
            state=new.state,
            since=new.since,
            held_at=new.held_at,
            value=value.value,
            evaluated_at=now,
        )
        if not mine or new.state == old.state:
            return False
        change = AlertChange.objects.create(
            rule=rule, before=old.state, state=new.state, value=value.value, time=now
        )
        if new.state in (State.FIRING, State.RESOLVED):
            notify.tell(change, silenced=is_silenced(rule, now))
    return True


def is_silenced(rule: AlertRule, now: datetime) -> bool:
    """Whether nobody is to be told of this rule now."""
    running = Silence.objects.filter(starts_at__lte=now, ends_at__gt=now)
    return running.filter(Q(rule=rule) | Q(rule=None)).exists()


def current() -> list[dict[str, Any]]:
    """Return how every rule stands, what fires first."""
    order = {State.FIRING: 0, State.PENDING: 1, State.RESOLVED: 2, State.OK: 3}
    rules = sorted(AlertRule.objects.all(), key=lambda rule: (order[State(rule.state)], rule.name))
    return [
        {
            "rule": rule.name,
            "rule_id": str(rule.pk),
            "metric": rule.metric_name,
            "aggregation": rule.aggregation,
            "condition": rule.condition,
            "threshold": rule.threshold,
            "window": rule.window,
            "enabled": rule.enabled,
            "state": rule.state,
            "since": rule.since,
            "value": rule.value,
            "evaluated_at": rule.evaluated_at,
        }
        for rule in rules
    ]


def replay(rule: AlertRule, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return the changes that the rule would have made over stored history.

    In steps of what is kept that far back: ten seconds for two hours, then
    minutes and hours, in which a short window sees less. Two queries at most.
    """
    width = series.step_for(start, end)
    first = start - timedelta(seconds=max(rule.window, width))
    found = series.points(rule.metric_name, first, end, step=width)
    asked: list[Point] = []
    if rule.aggregation == "share":
        asked = series.points("http.request.count", first, end, step=width)
    standing = Standing(State.OK, start)
    changes: list[dict[str, Any]] = []
    span = timedelta(seconds=max(rule.window, width))
    now = start
    while now <= end:
        value = series.combine(
            (point for point in found if now - span <= point.time < now),
            (point for point in asked if now - span <= point.time < now),
            rule.aggregation,  # type: ignore[arg-type]
            span.total_seconds(),
        )
        new = step(rule, standing, holds(rule, value, standing.state), now)
        if new.state != standing.state:
            changes.append(
                {
                    "time": now,
                    "before": str(standing.state),
                    "state": str(new.state),
                    "value": value.value,
                }
            )
        standing = new
        now += timedelta(seconds=width)
    return changes
