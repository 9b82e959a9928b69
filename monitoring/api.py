"""Alerts under /api/v2."""

from datetime import timedelta
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from monitoring import alerts
from monitoring.models import AlertChange, AlertRule, Silence
from monitoring.serializers import (
    AlertChangeOutput,
    AlertList,
    ReplayOutput,
    ReplayQuery,
    RuleInput,
    RuleList,
    RuleOutput,
    SilenceInput,
    SilenceList,
    SilenceOutput,
)
from shop.errors import ShopError, refuses
from shop.fields import read_key
from shop.inputs import CONTRADICTION, NO_SUCH_THING, ListQuery, checked, read_query
from shop.pages import newest_first, paginate
from shop.rest import json_response, local
from shop.schema import location_of, page_of
from shop.viewsets import ShopViewSet, caller


class NameTaken(ShopError):
    """Another rule has this name."""

    code = "name_taken"
    title = gettext_noop("Name taken")


_FIELDS = (
    "name", "metric_name", "aggregation", "condition", "threshold", "resolve_threshold", "window",
    "for_seconds", "keep_firing_seconds", "min_samples", "no_data", "enabled", "state", "value",
)  # fmt: skip


def _rule_json(rule: AlertRule) -> dict[str, Any]:
    return {
        "id": str(rule.pk),
        **{name: getattr(rule, name) for name in _FIELDS},
        "since": local(rule.since),
    }


class AlertViewSet(ShopViewSet):
    """How the rules stand."""

    rights: ClassVar[dict[str, str | bool | None]] = {
        "list": "monitoring.view_alertrule",
        "history": "monitoring.view_alertchange",
    }
    with_query = frozenset({"history"})

    @extend_schema(responses=AlertList)
    def list(self, request: Request) -> HttpResponse:
        """Every rule, what fires first."""
        return json_response({"results": alerts.current()})

    @extend_schema(parameters=[ListQuery], responses=page_of(AlertChangeOutput))
    @action(detail=False, methods=["get"])
    def history(self, request: Request) -> HttpResponse:
        """Changes of state, newest first."""
        query = {**read_query(request, ListQuery), "ordering": "newest"}
        rows = AlertChange.objects.select_related("rule")
        window = paginate(request, query, rows.all, _CHANGES)
        results = [
            {
                "id": str(change.pk),
                "rule": change.rule.name,
                "rule_id": str(change.rule_id),
                "before": change.before,
                "state": change.state,
                "value": change.value,
                "time": local(change.time),
            }
            for change in window.rows
        ]
        return json_response({"results": results, **window.envelope})


_CHANGES = newest_first(AlertChange)


class RuleViewSet(ShopViewSet):
    """Alert rules."""

    lookup_url_kwarg = "id"
    rights: ClassVar[dict[str, str | bool | None]] = {
        "list": "monitoring.view_alertrule",
        "retrieve": "monitoring.view_alertrule",
        "create": "monitoring.add_alertrule",
        "partial_update": "monitoring.change_alertrule",
        "destroy": "monitoring.delete_alertrule",
        "replay": "monitoring.view_alertrule",
    }
    with_query = frozenset({"replay"})

    @extend_schema(responses=RuleList)
    def list(self, request: Request) -> HttpResponse:
        """All rules."""
        return json_response({"results": [_rule_json(rule) for rule in AlertRule.objects.all()]})

    @extend_schema(responses=RuleOutput)
    def retrieve(self, request: Request, id: str) -> HttpResponse:
        """One rule."""
        return json_response(_rule_json(self._get(id)))

    @extend_schema(
        request=RuleInput,
        responses={201: RuleOutput},
        parameters=[location_of("/api/v2/alerts/rules", 201)],
    )
    @refuses(NameTaken)
    def create(self, request: Request) -> HttpResponse:
        """Add a rule."""
        rule = _save(AlertRule(), checked(RuleInput, request.data))
        location = f"/api/v2/alerts/rules/{rule.pk}"
        return json_response(_rule_json(rule), 201, {"Location": location})

    @extend_schema(request=RuleInput, responses=RuleOutput)
    @refuses(NameTaken)
    def partial_update(self, request: Request, id: str) -> HttpResponse:
        """Change some fields of a rule."""
        rule = self._get(id)
        data = checked(RuleInput, request.data, partial=True)
        if "metric_name" in data and "aggregation" not in data:
            # The usual one of the new metric.
            data["aggregation"] = ""
        return json_response(_rule_json(_save(rule, data)))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, id: str) -> HttpResponse:
        """Remove a rule and its history. One that came with the shop comes back; switch it off."""
        self._get(id).delete()
        return HttpResponse(status=204)

    @extend_schema(parameters=[ReplayQuery], responses=ReplayOutput)
    @action(detail=True, methods=["get"])
    def replay(self, request: Request, id: str) -> HttpResponse:
        """What the rule would have done over the last hours."""
        hours = read_query(request, ReplayQuery)["hours"]
        now = timezone.now()
        changes = alerts.replay(self._get(id), now - timedelta(hours=hours), now)
        return json_response(
            {"results": [{**change, "time": local(change["time"])} for change in changes]}
        )

    def _get(self, id: str) -> AlertRule:
        rule = AlertRule.objects.filter(pk=read_key(id)).first()
        if rule is None:
            raise Http404
        return rule


def _save(rule: AlertRule, data: dict[str, Any]) -> AlertRule:
    for name, value in data.items():
        setattr(rule, name, value)
    rule.edited = True
    try:
        alerts.check_rule(rule)
    except DjangoValidationError as error:
        raise ValidationError(error.message_dict, CONTRADICTION) from None
    fields = [*data, "aggregation", "edited"]
    try:
        with transaction.atomic():
            # A rule that is being evaluated keeps its state.
            rule.save(update_fields=fields if rule.pk else None)
    except IntegrityError:
        raise NameTaken(_("Another rule has this name.")) from None
    return rule


class SilenceViewSet(ShopViewSet):
    """Times without notices."""

    lookup_url_kwarg = "id"
    rights: ClassVar[dict[str, str | bool | None]] = {
        "list": "monitoring.view_silence",
        "create": "monitoring.add_silence",
        "destroy": "monitoring.delete_silence",
    }

    @extend_schema(responses=SilenceList)
    def list(self, request: Request) -> HttpResponse:
        """Those that are not over."""
        rows = Silence.objects.filter(ends_at__gt=timezone.now()).select_related("actor")
        return json_response({"results": [_silence_json(row) for row in rows]})

    @extend_schema(request=SilenceInput, responses={201: SilenceOutput})
    def create(self, request: Request) -> HttpResponse:
        """Tell nobody for a while. States and history go on."""
        data = checked(SilenceInput, request.data)
        rule_id = data.pop("rule_id", None)
        if rule_id is not None and not AlertRule.objects.filter(pk=rule_id).exists():
            raise ValidationError({"rule_id": [_("There is no such rule.")]}, NO_SUCH_THING)
        silence = Silence.objects.create(rule_id=rule_id, actor=caller(request), **data)
        return json_response(_silence_json(silence), 201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, id: str) -> HttpResponse:
        """End a silence."""
        deleted, _rows = Silence.objects.filter(pk=read_key(id)).delete()
        if not deleted:
            raise Http404
        return HttpResponse(status=204)


def _silence_json(silence: Silence) -> dict[str, Any]:
    return {
        "id": str(silence.pk),
        "rule_id": str(silence.rule_id) if silence.rule_id else None,
        "starts_at": local(silence.starts_at),
        "ends_at": local(silence.ends_at),
        "reason": silence.reason,
        "by": silence.actor.username if silence.actor else None,
    }
