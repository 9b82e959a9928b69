"""Posting events to webhooks, as sinks of the event road.

What goes out is the CloudEvent as JSON, signed as Standard Webhooks 1.0 has it, under
the event's id however often it is tried. An answer of 2xx means taken. Each try is a row.

A receiver that gives no answer at all is down: all that is meant for it waits, so that
not every subject costs a time-out. One that answers otherwise than 2xx holds up the
subject alone. Either is tried again over about a day; then, or at once if it answers
410, the webhook is switched off and staff are told.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import override

from shop import outgoing
from shop.db import now
from shop.errors import ShopError
from shop.events import sinks
from shop.events.models import Event, SinkOffset
from shop.events.sinks import Sink, SinkDown, cloud_event
from shop.ids import uuid7
from shop.jobs.queue import enqueue, job, progress
from shop.redact import redact
from shop.webhooks.models import Attempt, Webhook

# Seconds before the second try, the third …: about a day in all.
PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
# Characters of a body that are kept.
_BODY = 4000
_ERROR = 500
_GONE = 410
# Events that are sent again by one order, and that one query reads.
RESENT = 20_000
_READ = 200


class SwitchedOff(ShopError):
    """The webhook is switched off."""

    code = "webhook_off"
    title = "Switched off"


def signatures(webhook: Webhook, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header's value: signed with each secret that is good, a space between them."""
    secrets = [webhook.secret]
    if webhook.previous_until is not None and webhook.previous_until > timezone.now():
        secrets.append(webhook.previous_secret)
    return " ".join(outgoing.sign(secret, message_id, timestamp, body) for secret in secrets)


def attempt(webhook: Webhook, event: Event) -> Attempt:
    """Post an event once, and note how it went. What it tells is in the row; nothing is raised."""
    body = orjson.dumps(cloud_event(event))
    began_at = timezone.now()
    message_id, timestamp = str(event.pk), int(began_at.timestamp())
    headers = {
        "content-type": "application/cloudevents+json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(webhook, message_id, timestamp, body),
    }
    row = Attempt(
        webhook=webhook,
        event_id=event.pk,
        type=event.type,
        subject=event.subject,
        time=began_at,
        headers=headers,
        body=body[:_BODY].decode("utf-8", "ignore"),
    )
    began = time.monotonic()
    try:
        row.status, answer = outgoing.post(webhook.url, body, headers)
        row.answer = redact(answer)
    except Exception as error:
        row.error = redact(f"{type(error).__name__}: {error}")[:_ERROR].replace("\0", " ")
    row.milliseconds = round((time.monotonic() - began) * 1000)
    row.number = Attempt.objects.filter(webhook=webhook, event_id=event.pk).count() + 1
    row.save()
    return row


def send_test(webhook: Webhook) -> Attempt:
    """Post an event of nothing now, to see whether it arrives."""
    data = {"webhook": webhook.name}
    return attempt(
        webhook,
        Event(id=uuid7(), type="webhook.test", subject=webhook.sink, sequence=1, data=data),
    )


def _deliver(webhook_id: int, event: Event) -> None:
    # As it stands now: whoever holds the sink may have read it a moment ago.
    webhook = Webhook.objects.filter(pk=webhook_id, enabled=True).first()
    if webhook is None:
        raise SinkDown("The webhook is switched off.", timedelta(seconds=PAUSES[0]))
    row = attempt(webhook, event)
    if row.taken:
        if webhook.failing_since is not None:
            _stands(webhook, failing_since=None, failures=0, paused_until=None)
        return
    if row.status == _GONE:
        switch_off(webhook, "The receiver answered 410: it wants no more.")
        raise SinkDown("410", timedelta(seconds=PAUSES[0]))
    since = webhook.failing_since or row.time
    if row.status is not None:
        if webhook.failing_since is None:
            _stands(webhook, failing_since=since)
        raise outgoing.Refused(f"{row.status} {row.answer}")
    if webhook.failures >= len(PAUSES):
        switch_off(webhook, f"No answer since {since:%Y-%m-%d %H:%M} UTC: {row.error}")
    pause = timedelta(seconds=PAUSES[min(webhook.failures, len(PAUSES) - 1)])
    _stands(
        webhook,
        failing_since=since,
        failures=F("failures") + 1,
        paused_until=now() + pause,
    )
    raise SinkDown(row.error, pause)


def _stands(webhook: Webhook, **fields: Any) -> None:
    Webhook.objects.filter(pk=webhook.pk).update(**fields)
    sinks.forget()


def _given_up(webhook_id: int, event: Event, error: Exception) -> None:
    webhook = Webhook.objects.filter(pk=webhook_id).first()
    if webhook is not None:
        text = redact(str(error))
        switch_off(webhook, f"{event.type} of {event.subject} was refused too often: {text}")


def switch_off(webhook: Webhook, reason: str) -> bool:
    """Send no more, and tell staff once. Returns whether it was this call that did it.

    Writes to the database only.
    """
    with transaction.atomic():
        changed = Webhook.objects.filter(pk=webhook.pk, enabled=True).update(
            enabled=False, switched_off_at=timezone.now(), reason=reason[:500]
        )
        if changed:
            enqueue("shop.tell_of_webhook", webhook_id=webhook.pk)
    sinks.forget()
    return bool(changed)


def switch_off_by_hand(webhook: Webhook) -> None:
    """Send no more; whoever does it needs no mail about it."""
    Webhook.objects.filter(pk=webhook.pk, enabled=True).update(
        enabled=False, switched_off_at=timezone.now(), reason="By hand."
    )
    sinks.forget()


def switch_on(webhook: Webhook) -> bool:
    """Send what happens from now on. Returns whether it was off.

    What waited, and what happened meanwhile, is not sent: the old position goes.
    """
    with transaction.atomic():
        changed = Webhook.objects.filter(pk=webhook.pk, enabled=False).update(
            enabled=True, switched_off_at=None, reason="", failing_since=None, failures=0,
            paused_until=None,
        )  # fmt: skip
        if changed:
            SinkOffset.objects.filter(sink=webhook.sink).delete()
    sinks.forget()
    return bool(changed)


def rotate_secret(webhook: Webhook, *, hours: int) -> str:
    """Give a new secret; the old one signs too for so many hours. Returns the new one."""
    secret = outgoing.new_secret()
    Webhook.objects.filter(pk=webhook.pk).update(
        previous_secret=F("secret"),
        previous_until=timezone.now() + timedelta(hours=hours),
        secret=secret,
    )
    return secret


@job("shop.tell_of_webhook")
def tell_of_webhook(webhook_id: int) -> str:
    """Write to the staff who look after webhooks that one was switched off."""
    webhook = Webhook.objects.filter(pk=webhook_id, enabled=False).first()
    if webhook is None:
        return "nothing to tell"
    people = (
        get_user_model()
        .objects.filter(is_active=True, is_staff=True)
        .filter(Q(is_superuser=True) | Q(groups__name="Operations"))
        .exclude(email="")
        .values_list("email", flat=True)
        .distinct()
    )
    with override(settings.LANGUAGE_CODE):
        subject = f"[{settings.SHOP_NAME}] " + _("The webhook %s was switched off") % webhook.name
        told = [send_mail(subject, webhook.reason, None, [address]) for address in people]
    return f"{len(told)} told"


@job("shop.test_webhook", attempts=1)
def test_webhook(webhook_id: int) -> str:
    """Send an event of nothing."""
    webhook = Webhook.objects.filter(pk=webhook_id).first()
    return "no such webhook" if webhook is None else _told(send_test(webhook))


@job("shop.send_webhook_again", attempts=1)
def send_again(webhook_id: int, event_id: str) -> str:
    """Send an event once more, under its same id."""
    webhook = Webhook.objects.filter(pk=webhook_id, enabled=True).first()
    event = Event.objects.filter(pk=event_id).first()
    if webhook is None or event is None:
        return "nothing to send, or switched off"
    return _told(attempt(webhook, event))


def events_again(
    webhook: Webhook, *, since: datetime | None, until: datetime | None, subject: str
) -> QuerySet[Event]:
    """Return the events of its types of a time, or of a subject; the oldest RESENT of them."""
    rows = Event.objects.all()
    if webhook.types:
        rows = rows.filter(type__in=webhook.types)
    if since is not None:
        rows = rows.filter(time__gte=since)
    if until is not None:
        rows = rows.filter(time__lt=until)
    if subject:
        rows = rows.filter(subject=subject).order_by("sequence")
    else:
        rows = rows.order_by("time", "sequence")
    return rows[:RESENT]


def order_again(
    webhook: Webhook,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    subject: str = "",
) -> int:
    """Have a time's events, or a subject's, sent once more, soon; returns how many they are.

    Raises:
        SwitchedOff: the webhook is.
    """
    if not webhook.enabled:
        raise SwitchedOff(_("The webhook is switched off."))
    # Not what happens from now on: that comes by itself.
    until = min(until or timezone.now(), timezone.now())
    found = events_again(webhook, since=since, until=until, subject=subject).count()
    if found:
        enqueue(
            "shop.send_events_again",
            webhook_id=webhook.pk,
            since=since.isoformat() if since else "",
            until=until.isoformat(),
            subject=subject,
        )
    return found


@job("shop.send_events_again", queue="long", attempts=1)
def send_events_again(webhook_id: int, since: str, until: str, subject: str) -> str:
    """Send the events of a time or a subject once more, oldest first, under their same ids.

    Refusals are counted, and the log of attempts has them. A receiver that gives no
    answer, or wants no more, ends it.
    """
    webhook = Webhook.objects.filter(pk=webhook_id).first()
    if webhook is None:
        return "no such webhook"
    wanted = events_again(
        webhook,
        since=parse_datetime(since) if since else None,
        until=parse_datetime(until),
        subject=subject,
    )
    pks = list(wanted.values_list("pk", flat=True))
    sent = refused = 0
    for start in range(0, len(pks), _READ):
        events = Event.objects.in_bulk(pks[start : start + _READ])
        for pk in pks[start : start + _READ]:
            progress(sent / len(pks), f"{sent} of {len(pks)}")
            # As it stands now: its address, its secrets, and whether it is on.
            webhook = Webhook.objects.filter(pk=webhook_id, enabled=True).first()
            if webhook is None:
                raise outgoing.Refused(f"switched off after {sent} of {len(pks)}")
            row = attempt(webhook, events[pk])
            if row.status in (None, _GONE):
                raise outgoing.Refused(f"{_told(row)} after {sent} of {len(pks)}")
            sent += 1
            refused += not row.taken
    told = f"{sent} sent, {refused} refused"
    if sent == RESENT:
        told += f", and there may be more from {events[pks[-1]].time.isoformat()}"
    return told


def _told(row: Attempt) -> str:
    return f"answered {row.status}" if row.status is not None else row.error


def _sinks() -> Iterable[Sink]:
    for webhook in Webhook.objects.filter(enabled=True).only("types", "paused_until"):
        yield Sink(
            webhook.sink,
            partial(_deliver, webhook.pk),
            types=frozenset(webhook.types),
            attempts=len(PAUSES) + 1,
            pauses=PAUSES,
            paused_until=webhook.paused_until,
            given_up=partial(_given_up, webhook.pk),
        )


def register() -> None:
    """Have every webhook that is on be a sink."""
    sinks.add_source(_sinks)
