"""Posting to addresses that others name: never inside our own network, and within bounds.

Alerts and webhooks go this way. Whoever names an address must not reach through us what
only we can reach, nor hold us up, nor fill our memory.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
import ssl
import threading
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

from django.conf import settings

# For looking the name up, connecting, sending and hearing the answer.
SECONDS = 10.0
# Bytes of an answer that are read.
ANSWER = 500


class Refused(Exception):
    """The receiver did not take it, or may not be asked."""


def new_secret() -> str:
    """Return a secret to sign with."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return a signature as Standard Webhooks 1.0 has it: HMAC-SHA256 of id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Post JSON and return status and the beginning of the answer.

    Redirects are not followed: they may lead where we may not go. The whole takes
    SECONDS at most, however slowly the receiver speaks.

    Raises:
        Refused: the address is not allowed.
        httpx.HTTPError: no answer.
        TimeoutError: not in time.
    """
    status, answer = asyncio.run(asyncio.wait_for(_exchange(url, body, headers), SECONDS))
    return status, answer[:ANSWER].decode("utf-8", "replace").replace("\0", " ")


@lru_cache
def _tls() -> ssl.SSLContext:
    # Reading the world's certificates costs more than a whole exchange.
    import httpx

    return httpx.create_ssl_context(trust_env=False)


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
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, verify=_tls()) as client:
        response = await client.send(request, stream=True)
        try:
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) >= ANSWER:
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
        found = await _look_up(host, port or 443)
    except (OSError, UnicodeError) as error:
        raise Refused(f"No such host: {error}") from None
    addresses = [str(address[0]) for *_rest, address in found]
    if not settings.PRIVATE_TARGETS and not all(map(_is_outside, addresses)):
        raise Refused("An address inside our own network.")
    return addresses[0]


async def _look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    """Look a name up in a thread that nobody has to wait for.

    The loop's own way to do it ends when the resolver does, however soon it was given
    up: minutes, where name servers are silent.
    """
    found: Future[list[tuple[Any, ...]]] = Future()

    def work() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            found.set_exception(error)

    # Not cancelled with the one who waits: a thread can't be, and would set a result then.
    found.set_running_or_notify_cancel()
    threading.Thread(target=work, name="look up", daemon=True).start()
    return await asyncio.wrap_future(found)


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
