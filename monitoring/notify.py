"""Notices: by e-mail, signed webhook and Slack-compatible webhook.

A notice is a row, written with the change that it tells of, and a job that
sends it; so each change is told once through each channel, however many
evaluators run, and is tried again when it fails.
"""

import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring.models import AlertChange, Channel, Delivery
from shop.jobs.queue import MAX_ATTEMPTS, enqueue, job

_SECONDS = 5.0
_ANSWER = 500


class Refused(Exception):
    """The receiver did not take the notice."""


def new_secret() -> str:
    """Return a secret to sign with."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


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
        delivery.answer = f"{type(error).__name__}: {error}"[:_ANSWER]
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


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return a signature as Standard Webhooks 1.0 has it: HMAC-SHA256 of id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Post JSON and return status and the beginning of the answer.

    Redirects are not followed: they may lead where we may not go.

    Raises:
        Refused: the address is not allowed, or the answer is not 2xx.
        httpx.HTTPError: no answer.
    """
    import httpx

    check_target(url)
    with (
        httpx.Client(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream(
            "POST", url, content=body, headers={"content-type": "application/json", **headers}
        ) as response,
    ):
        answer = b""
        for chunk in response.iter_bytes(_ANSWER):
            answer += chunk
            if len(answer) >= _ANSWER:
                break
    text = answer[:_ANSWER].decode("utf-8", "replace").replace("\0", " ")
    if not response.is_success:
        raise Refused(f"{response.status_code} {text}")
    return response.status_code, text


def check_target(url: str) -> None:
    """Refuse addresses inside our own network, unless the settings allow them.

    Between this look at the name and the connection its address may change.

    Raises:
        Refused.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("Not an http(s) address.")
    if settings.ALERT_PRIVATE_TARGETS:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(f"No such host: {error}") from None
    for *_rest, address in found:
        if not ipaddress.ip_address(address[0]).is_global:
            raise Refused("An address inside our own network.")
