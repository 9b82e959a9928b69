"""Notices: by e-mail, signed webhook and Slack-compatible webhook.

A notice is a row, written with the change that it tells of, and a job that
sends it; so each change is told once through each channel, however many
evaluators run, and is tried again when it fails.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring.models import AlertChange, Channel, Delivery
from shop.jobs.queue import MAX_ATTEMPTS, enqueue, job
from shop.redact import redact

# For looking the name up, connecting, sending and hearing the answer.
_SECONDS = 10.0
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
        delivery.answer = redact(f"{type(error).__name__}: {error}")[:_ANSWER]
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

    Redirects are not followed: they may lead where we may not go. The whole takes
    _SECONDS at most, however slowly the receiver speaks.

    Raises:
        Refused: the address is not allowed, or the answer is not 2xx.
        httpx.HTTPError: no answer.
        TimeoutError: not in time.
    """
    status, answer = asyncio.run(asyncio.wait_for(_exchange(url, body, headers), _SECONDS))
    text = answer[:_ANSWER].decode("utf-8", "replace").replace("\0", " ")
    if not 200 <= status < 300:
        raise Refused(f"{status} {text}")
    return status, text


async def _exchange(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    import httpx

    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        raise Refused("Not an http(s) address.") from None
    # The connection goes to the very address that was looked at; a name that is
    # looked up again may have another by then. TLS asks for the name.
    host = target.raw_host.decode("ascii")
    address = await address_for(target.scheme, host, target.port)
    request = httpx.Request(
        "POST",
        target.copy_with(host=address),
        content=body,
        headers={
            "host": target.netloc.decode("ascii"),
            "content-type": "application/json",
            # What was packed may grow a thousandfold.
            "accept-encoding": "identity",
            **headers,
        },
        extensions={"sni_hostname": host},
    )
    answer = b""
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as client:
        response = await client.send(request, stream=True)
        try:
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) >= _ANSWER:
                    break
        finally:
            await response.aclose()
    return response.status_code, answer


async def address_for(scheme: str, host: str, port: int | None) -> str:
    """Return the address to connect to; none inside our own network, unless the settings allow it.

    Raises:
        Refused: not http(s), no such host, or any address of it is not out in the world.
    """
    if scheme not in ("http", "https") or not host:
        raise Refused("Not an http(s) address.")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port or 443, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise Refused(f"No such host: {error}") from None
    addresses = [str(address[0]) for *_rest, address in found]
    if not settings.ALERT_PRIVATE_TARGETS and not all(map(_is_outside, addresses)):
        raise Refused("An address inside our own network.")
    return addresses[0]


# Unicast addresses of the world; what lies outside names our own network, or wraps an
# IPv4 address of it (mapped, NAT64).
_WORLD = ipaddress.ip_network("2000::/3")


def _is_outside(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    # 6to4 wraps an IPv4 address as well.
    return address in _WORLD and address.sixtofour is None
