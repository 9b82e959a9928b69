"""Notices: by e-mail, signed webhook and Slack-compatible webhook.

A notice is a row, written with the change that it tells of, and a job that
sends it; so each change is told once through each channel, however many
evaluators run, and is tried again when it fails.
"""

from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring.models import AlertChange, Channel, Delivery
from shop import outgoing
from shop.jobs.queue import MAX_ATTEMPTS, enqueue, job
from shop.outgoing import Refused, sign
from shop.redact import redact


def tell(change: AlertChange, *, silenced: bool) -> None:
    """Write a notice for each channel that is on, in the transaction of the change."""
    for channel in Channel.objects.filter(enabled=True):
        delivery = Delivery.objects.create(
            change=change,
            channel=channel,
            state=Delivery.State.SILENCED if silenced else Delivery.State.QUEUED,
        )
        if not silenced:
            enqueue("monitoring.deliver", delivery_id=delivery.pk)


def try_channel(channel: Channel) -> Delivery:
    """Send a notice of nothing, to see whether it arrives."""
    delivery = Delivery.objects.create(channel=channel)
    enqueue("monitoring.deliver", delivery_id=delivery.pk)
    return delivery


@job("monitoring.deliver")
def deliver(delivery_id: int) -> str:
    """Send one notice, if it has not been sent."""
    delivery = (
        Delivery.objects.select_related("channel", "change__rule").filter(pk=delivery_id).first()
    )
    if delivery is None or delivery.state != Delivery.State.QUEUED:
        return "nothing to do"
    delivery.attempts += 1
    try:
        delivery.status_code, delivery.answer = _send(delivery)
        delivery.state, delivery.sent_at = Delivery.State.SENT, timezone.now()
    except Exception as error:
        delivery.answer = redact(f"{type(error).__name__}: {error}")[: outgoing.ANSWER]
        if delivery.attempts >= MAX_ATTEMPTS:
            delivery.state = Delivery.State.FAILED
        raise
    finally:
        delivery.save()
    return "sent"


def message_of(delivery: Delivery) -> dict[str, Any]:
    """Return what is told, as JSON: what a webhook gets."""
    change = delivery.change
    if change is None:
        return {"type": "alert.test", "timestamp": _stamp(delivery.created_at), "data": {}}
    return {
        "type": f"alert.{change.state}",
        "timestamp": _stamp(change.time),
        "data": {
            "rule": change.rule.name,
            "metric": change.rule.metric_name,
            "state": change.state,
            "before": change.before,
            "value": change.value,
            "condition": change.rule.condition,
            "threshold": change.rule.threshold,
        },
    }


def text_of(delivery: Delivery) -> str:
    """Return what is told, in one line for people."""
    change = delivery.change
    if change is None:
        return _("A test of the channel %s.") % delivery.channel.name
    value = "–" if change.value is None else f"{change.value:g}"
    text = _("%(rule)s: %(state)s (%(metric)s %(value)s, %(condition)s %(threshold)s)") % {
        "rule": change.rule.name,
        "state": change.get_state_display(),
        "metric": change.rule.metric_name,
        "value": value,
        "condition": change.rule.get_condition_display(),
        "threshold": f"{change.rule.threshold:g}",
    }
    return f"[{settings.SHOP_NAME}] {text}"


def _stamp(moment: datetime) -> str:
    return moment.isoformat()


def _send(delivery: Delivery) -> tuple[int | None, str]:
    channel = delivery.channel
    if channel.kind == Channel.Kind.EMAIL:
        text = text_of(delivery)
        body = (
            f"{text}\n\n{orjson.dumps(message_of(delivery), option=orjson.OPT_INDENT_2).decode()}"
        )
        send_mail(text, body, None, [channel.target])
        return None, ""
    if channel.kind == Channel.Kind.SLACK:
        return _post(channel.target, orjson.dumps({"text": text_of(delivery)}), {})
    body_bytes = orjson.dumps(message_of(delivery))
    # The same id at each attempt: by it the receiver knows a repetition.
    message_id = f"alert_{delivery.pk}"
    timestamp = int(timezone.now().timestamp())
    return _post(
        channel.target,
        body_bytes,
        {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(channel.secret, message_id, timestamp, body_bytes),
        },
    )


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Post and return status and the beginning of the answer; Refused unless it is 2xx."""
    status, text = outgoing.post(url, body, headers)
    if not 200 <= status < 300:
        raise Refused(f"{status} {text}")
    return status, text
