"""Webhooks under /api/v2/webhooks."""

from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import URLValidator
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from shop.errors import refuses
from shop.events import sinks
from shop.events.models import Event
from shop.fields import Flag, Key, Moment, Text, Whole, read_key
from shop.inputs import (
    CONTRADICTION,
    NO_SUCH_THING,
    ListQuery,
    StrictSerializer,
    checked,
    read_query,
)
from shop.outgoing import new_secret
from shop.pages import newest_first, paginate
from shop.rest import json_response, local
from shop.schema import location_of, page_of
from shop.viewsets import ShopViewSet, caller
from shop.webhooks import sending
from shop.webhooks.models import Attempt, AttemptQuerySet, Webhook

_check_url = URLValidator(schemes=["http", "https"])


class WebhookInput(StrictSerializer):
    """Where to, and which events: no types are all."""

    name = Text(max_length=100)
    url = Text(max_length=500)
    types = serializers.ListField(child=Text(max_length=100), required=False, max_length=50)
    enabled = Flag(required=False)


class RotateInput(StrictSerializer):
    """For how many hours the old secret signs too."""

    hours = Whole(min_value=0, max_value=24 * 7, default=24)


class AgainInput(StrictSerializer):
    """Which event."""

    event_id = serializers.UUIDField()


class ResendInput(StrictSerializer):
    """Which events: those of a time, or a subject's, or a subject's of a time."""

    since = Moment(required=False)
    until = Moment(required=False)
    subject = Text(max_length=100, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse everything there ever was, and a time that ends before it begins."""
        since, until = attrs.get("since"), attrs.get("until")
        if since is None and "subject" not in attrs:
            raise ValidationError({"since": [_("Give since or subject.")]}, CONTRADICTION)
        if since is not None and until is not None and until <= since:
            raise ValidationError({"until": [_("This is not after since.")]}, CONTRADICTION)
        return attrs


class ResendOutput(serializers.Serializer[Any]):
    """How many events will be sent."""

    events = serializers.IntegerField(min_value=0, max_value=sending.RESENT)


class AttemptQuery(ListQuery):
    """What the log can be narrowed by."""

    taken = serializers.ChoiceField(["true", "false"], allow_blank=True, required=False)
    status = Whole(min_value=100, max_value=599, required=False)
    event_id = serializers.UUIDField(required=False)
    type = Text(required=False, allow_blank=True, max_length=100)
    subject = Text(required=False, allow_blank=True, max_length=100)


class WebhookOutput(serializers.Serializer[Any]):
    """A webhook and how it stands, without its secret."""

    id = Key()
    name = serializers.CharField()
    url = serializers.CharField()
    types = serializers.ListField(child=serializers.CharField())
    enabled = serializers.BooleanField()
    reason = serializers.CharField()
    switched_off_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True)
    previous_secret_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(allow_null=True)


class NewWebhookOutput(WebhookOutput):
    """A webhook with its secret, which is shown this once."""

    secret = serializers.CharField()


class AttemptOutput(serializers.Serializer[Any]):
    """One request to the address, and the answer, both cut."""

    id = Key()
    event_id = serializers.UUIDField()
    type = serializers.CharField()
    subject = serializers.CharField()
    number = serializers.IntegerField(min_value=1)
    time = serializers.DateTimeField()
    milliseconds = serializers.IntegerField(min_value=0)
    status = serializers.IntegerField(allow_null=True)
    taken = serializers.BooleanField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.CharField()
    answer = serializers.CharField()
    error = serializers.CharField()


_WEBHOOKS, _ATTEMPTS = newest_first(Webhook), newest_first(Attempt)


class WebhookViewSet(ShopViewSet):
    """Who is told of events."""

    lookup_url_kwarg = "id"
    rights: ClassVar[dict[str, str | bool | None]] = {
        "list": "shop.view_webhook",
        "retrieve": "shop.view_webhook",
        "create": "shop.add_webhook",
        "partial_update": "shop.change_webhook",
        "destroy": "shop.delete_webhook",
        "rotate": "shop.change_webhook",
        "attempts": "shop.view_attempt",
        "resend": "shop.change_webhook",
        "test": "shop.change_webhook",
        "again": "shop.change_webhook",
    }
    with_query = frozenset({"list", "attempts"})

    @extend_schema(parameters=[ListQuery], responses=page_of(WebhookOutput))
    def list(self, request: Request) -> HttpResponse:
        """All webhooks, newest first."""
        query = {**read_query(request, ListQuery), "ordering": "newest"}
        rows = Webhook.objects.select_related("created_by")
        window = paginate(request, query, rows.all, _WEBHOOKS)
        return json_response({"results": [_as_json(row) for row in window.rows], **window.envelope})

    @extend_schema(responses=WebhookOutput)
    def retrieve(self, request: Request, id: str) -> HttpResponse:
        """One webhook."""
        return json_response(_as_json(_get(id)))

    @extend_schema(
        request=WebhookInput,
        responses={201: NewWebhookOutput},
        parameters=[location_of("/api/v2/webhooks", 201)],
    )
    def create(self, request: Request) -> HttpResponse:
        """Add one. The answer holds the only copy of the secret to check signatures with."""
        data = _checked(request)
        webhook = Webhook.objects.create(secret=new_secret(), created_by=caller(request), **data)
        sinks.forget()
        told = {**_as_json(webhook), "secret": webhook.secret}
        return json_response(told, 201, {"Location": f"/api/v2/webhooks/{webhook.pk}"})

    @extend_schema(request=WebhookInput, responses=WebhookOutput)
    def partial_update(self, request: Request, id: str) -> HttpResponse:
        """Change some fields. Switched on, it gets what happens from then on."""
        webhook = _get(id)
        data = _checked(request, partial=True)
        enabled = data.pop("enabled", None)
        if data:
            Webhook.objects.filter(pk=webhook.pk).update(**data)
            sinks.forget()
        if enabled is True:
            sending.switch_on(webhook)
        elif enabled is False:
            sending.switch_off_by_hand(webhook)
        return json_response(_as_json(_get(id)))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, id: str) -> HttpResponse:
        """Remove it, with its log."""
        _get(id).delete()
        sinks.forget()
        return HttpResponse(status=204)

    @extend_schema(request=RotateInput, responses=NewWebhookOutput)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, id: str) -> HttpResponse:
        """Give it a new secret, shown this once. The old one signs too for a while."""
        webhook = _get(id)
        secret = sending.rotate_secret(webhook, **checked(RotateInput, request.data))
        return json_response({**_as_json(_get(id)), "secret": secret})

    @extend_schema(parameters=[AttemptQuery], responses=page_of(AttemptOutput))
    @action(detail=True, methods=["get"])
    def attempts(self, request: Request, id: str) -> HttpResponse:
        """What was sent and what came back, newest first."""
        query = {**read_query(request, AttemptQuery), "ordering": "newest"}
        rows = _narrowed(Attempt.objects.filter(webhook=read_key(id)), query)
        window = paginate(request, query, rows.all, _ATTEMPTS)
        if not window.rows:
            # Nothing was sent, or there is nothing to send to.
            _get(id)
        results = [_attempt_json(row) for row in window.rows]
        return json_response({"results": results, **window.envelope})

    @extend_schema(request=None, responses=AttemptOutput)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, id: str) -> HttpResponse:
        """Send an event of nothing now; the answer tells how it went."""
        return json_response(_attempt_json(sending.send_test(_get(id))))

    @extend_schema(request=AgainInput, responses=AttemptOutput)
    @refuses(sending.SwitchedOff)
    @action(detail=True, methods=["post"])
    def again(self, request: Request, id: str) -> HttpResponse:
        """Send an event now, once more, under its same id; the answer tells how it went."""
        webhook = _get(id)
        wanted: UUID = checked(AgainInput, request.data)["event_id"]
        event = Event.objects.filter(pk=wanted).first()
        if event is None:
            raise ValidationError({"event_id": [_("There is no such event.")]}, NO_SUCH_THING)
        if not webhook.enabled:
            raise sending.SwitchedOff(_("The webhook is switched off."))
        return json_response(_attempt_json(sending.attempt(webhook, event)))

    @extend_schema(request=ResendInput, responses={202: ResendOutput})
    @refuses(sending.SwitchedOff)
    @action(detail=True, methods=["post"])
    def resend(self, request: Request, id: str) -> HttpResponse:
        """Send the events of a time or a subject once more, soon; the log tells how it went."""
        found = sending.order_again(_get(id), **checked(ResendInput, request.data))
        return json_response({"events": found}, 202)


def _narrowed(rows: AttemptQuerySet, query: dict[str, Any]) -> AttemptQuerySet:
    if query.get("taken"):
        rows = rows.taken() if query["taken"] == "true" else rows.not_taken()
    wanted = {name: query.get(name) for name in ("status", "event_id", "type", "subject")}
    return rows.filter(**{name: value for name, value in wanted.items() if value})


def _get(id: str) -> Webhook:
    webhook = Webhook.objects.select_related("created_by").filter(pk=read_key(id)).first()
    if webhook is None:
        raise Http404
    return webhook


def _checked(request: Request, *, partial: bool = False) -> dict[str, Any]:
    data = checked(WebhookInput, request.data, partial=partial)
    if "url" in data:
        try:
            _check_url(data["url"])
        except DjangoValidationError as error:
            raise ValidationError({"url": error.messages}, NO_SUCH_THING) from None
    return data


def _as_json(webhook: Webhook) -> dict[str, Any]:
    off, since, until = (
        webhook.switched_off_at,
        webhook.failing_since,
        webhook.previous_until,
    )
    return {
        "id": str(webhook.pk),
        "name": webhook.name,
        "url": webhook.url,
        "types": webhook.types,
        "enabled": webhook.enabled,
        "reason": webhook.reason,
        "switched_off_at": local(off) if off else None,
        "failing_since": local(since) if since else None,
        "previous_secret_until": local(until) if until and until > timezone.now() else None,
        "created_at": local(webhook.created_at),
        "created_by": webhook.created_by.username if webhook.created_by else None,
    }


def _attempt_json(row: Attempt) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        **{
            name: getattr(row, name)
            for name in (
                "event_id", "type", "subject", "number", "milliseconds", "status", "taken",
                "headers", "body", "answer", "error",
            )
        },
        "time": local(row.time),
    }  # fmt: skip
