"""Rate limits: a token bucket a caller, and a strict one for sign-in tries."""

import hashlib
import threading
import time
import unicodedata
from collections import OrderedDict
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle


class Buckets:
    """Token buckets in this process, at most `size` of them.

    In the process, because a limit that costs a network round trip on every
    request would cost more than it protects; N processes therefore let N
    times the limit through. The buckets longest unused are forgotten first,
    which can only forgive.
    """

    def __init__(self, size: int = 50_000) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, *, rate: float, burst: float, now: float) -> tuple[bool, float]:
        """Take one token from `key`'s bucket.

        `rate` is tokens a second, `burst` the bucket's size, `now` seconds on
        any clock that does not go back. Returns whether there was one, and
        how many are left (negative: how many are missing).
        """
        with self._lock:
            level, since = self._buckets.pop(key, (burst, now))
            level = min(burst, level + (now - since) * rate)
            allowed = level >= 1
            if allowed:
                level -= 1
            self._buckets[key] = (level, now)
            if len(self._buckets) > self._size:
                self._buckets.popitem(last=False)
        return allowed, level if allowed else level - 1

    def clear(self) -> None:
        """Forget everybody."""
        with self._lock:
            self._buckets.clear()


buckets = Buckets()


def address_of(request: Request | HttpRequest) -> str:
    """Return where the client is; shop/asgi.py has already seen through our proxies."""
    return whole_network(str(request.META.get("REMOTE_ADDR", "")))


def whole_network(text: str) -> str:
    """Return an address; of IPv6 the network, since whoever has one address has 2**64 of them."""
    if ":" not in text:
        return text
    try:
        address = IPv6Address(text)
    except ValueError:
        return text
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), 64), strict=False))


def address_key(address: str) -> str:
    """Return the name of the bucket of those who are nobody and come from `address`."""
    return f"address:{whole_network(address)}"


class CallerThrottle(BaseThrottle):
    """A bucket a user, or an address where nobody is signed in."""

    _wait: float | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        """Take a token, and leave the figures for the RateLimit headers."""
        if not settings.RATE_LIMITS:
            return True
        user = request.user
        scope: Any = getattr(request._request, "scope", {})
        if user is not None and user.is_authenticated:
            key, (rate, burst) = f"user:{user.pk}", settings.RATE_LIMIT_USER
        elif paid := scope.get("shop", {}).get("rate_limit"):
            # Who waited for another's answer in vain (shop.ready) has been counted.
            request._request.rate_limit = paid  # type: ignore[attr-defined]
            return True
        else:
            key = address_key(str(request.META.get("REMOTE_ADDR", "")))
            rate, burst = settings.RATE_LIMIT_ANONYMOUS
        allowed, left = buckets.take(key, rate=rate, burst=burst, now=time.monotonic())
        if not allowed:
            self._wait = -left / rate
        request._request.rate_limit = (rate, burst, left)  # type: ignore[attr-defined]
        return allowed

    def wait(self) -> float | None:
        """Seconds until the next token."""
        return self._wait


def rate_limit_headers(rate: float, burst: float, left: float) -> dict[str, str]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers: quota, window, rest."""
    window = max(1, round(burst / rate))
    refill = max(0, round((burst - left) / rate))
    return {
        "RateLimit-Policy": f'"default";q={int(burst)};w={window}',
        "RateLimit": f'"default";r={max(0, int(left))};t={refill}',
    }


class SignInThrottle(BaseThrottle):
    """A fixed number of tries a minute for an address, and for a name.

    Kept in the cache, since each process guessing for itself would multiply
    the tries. With the cache gone it lets people in: the password hash still
    costs an attacker hundreds of milliseconds a try.
    """

    _wait: float | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count this try against the address and against the name that it is for."""
        name = request.data.get("username", "") if isinstance(request.data, dict) else ""
        self._wait = sign_in_wait(address=address_of(request), username=str(name))
        return self._wait is None

    def wait(self) -> float | None:
        """Seconds until the next minute begins."""
        return self._wait


def sign_in_wait(*, username: str, address: str | None = None) -> float | None:
    """Count one look at a password; return the seconds to wait if there were too many, else None.

    Without an `address` it counts against the name alone.
    """
    # As the forms read it: nobody gets more tries by spelling a name differently.
    name = unicodedata.normalize("NFKC", username).strip().casefold()
    return _wait("sign-in", 60, settings.SIGN_IN_TRIES_PER_MINUTE, address=address, name=name)


def reset_wait(*, email: str, address: str | None = None) -> float | None:
    """Count a request for a reset link; return the seconds to wait if there were too many."""
    name = unicodedata.normalize("NFKC", email).strip().casefold()
    return _wait("reset", 3600, settings.RESETS_PER_HOUR, address=address, name=name)


def _wait(what: str, seconds: int, most: int, **whose: str | None) -> float | None:
    """Count one try against each of `whose`, until one of them has had too many.

    In their order: an address that is refused already uses up nobody's name.
    """
    if not settings.RATE_LIMITS:
        return None
    period, over = divmod(time.time(), seconds)
    for kind, value in whose.items():
        if value is None:
            continue
        digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:32]
        key = f"{what}:{kind}:{digest}:{int(period)}"
        cache.add(key, 0, timeout=2 * seconds)
        try:
            tries = cache.incr(key)
        except ValueError:  # the cache is gone, or dropped the key between the two calls
            continue
        if tries is not None and tries > most:
            return seconds - over
    return None
