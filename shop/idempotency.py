"""One effect per key: the `Idempotency-Key` header."""

import functools
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import OperationalError, models
from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop
from rest_framework.request import Request

from shop.db import in_transaction
from shop.errors import ShopError, refuses
from shop.ids import uuid7

KEY_MAX_LENGTH = 200


class InvalidKey(ShopError):
    """The header is not a key."""

    status = 400
    code = "invalid_idempotency_key"
    title = gettext_noop("Invalid Idempotency-Key")


class KeyReused(ShopError):
    """The key stands for another request."""

    status = 422
    code = "idempotency_key_reused"
    title = gettext_noop("Idempotency key reused")


class KeyInUse(ShopError):
    """The first request with this key is still running."""

    code = "idempotency_key_in_use"
    title = gettext_noop("Request in progress")


class AlreadyDone(ShopError):
    """What this key stands for has been done."""

    code = "already_done"
    title = gettext_noop("Already done")


class IdempotencyKey(models.Model):
    """A key with the fingerprint of its request and the answer's bytes.

    Written in the transaction that it protects: either both are there or
    neither is.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    caller = models.CharField(max_length=50)
    key = models.CharField(max_length=KEY_MAX_LENGTH)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "shop"
        constraints = [
            models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key_unique"),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_created")]

    def __str__(self) -> str:
        return self.key


T = TypeVar("T")
View = TypeVar("View", bound=Callable[..., HttpResponse])

_KEPT_HEADERS = ("Content-Type", "Location")


def _fingerprint(request: Request) -> str:
    digest = hashlib.sha256()
    for part in (
        request.method or "",
        request.path,
        request.META.get("QUERY_STRING", ""),
    ):
        digest.update(part.encode() + b"\0")
    digest.update(request._request.body)
    return digest.hexdigest()


def _claim(row: IdempotencyKey) -> None:
    # ON CONFLICT DO NOTHING waits for a rival that is still running, for as
    # long as the database's lock_timeout, and goes on alone if that one rolls
    # back.
    try:
        IdempotencyKey.objects.bulk_create([row], ignore_conflicts=True)
    except OperationalError as error:
        # PostgreSQL: lock_not_available.
        if getattr(error.__cause__, "sqlstate", None) != "55P03":
            raise
        raise KeyInUse(str(_("The first request with this key is still running."))) from error


def _replay(row: IdempotencyKey, fingerprint: str) -> HttpResponse:
    if row.fingerprint != fingerprint:
        raise KeyReused(str(_("This Idempotency-Key was used for a different request.")))
    response = HttpResponse(bytes(row.body), status=row.status, headers=row.headers)
    response["Idempotency-Replayed"] = "true"
    return response


def once(caller: str, key: str, work: Callable[[], T]) -> T:
    """Run `work` in one transaction with a key's row, and so never twice.

    Raises:
        AlreadyDone: it was run before.
        KeyInUse: it is running, and has been for as long as a lock is waited for.
    """

    def attempt() -> T:
        row = IdempotencyKey(caller=caller, key=key)
        _claim(row)
        if not IdempotencyKey.objects.filter(pk=row.pk).exists():
            raise AlreadyDone(str(_("This was done already.")))
        return work()

    return in_transaction(attempt)


def once_per_key(view: View) -> View:
    """Make a view method honour `Idempotency-Key`.

    The view's whole effect must be in the database; it runs inside one
    transaction with the key's row. A refusal is raised, so it rolls back the
    row as well, and the same request is simply tried again.
    """

    @functools.wraps(view)
    def wrapper(self: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(self, request, *args, **kwargs)
        if not (0 < len(key) <= KEY_MAX_LENGTH and key.isascii() and key.isprintable()):
            raise InvalidKey(
                str(
                    _("An Idempotency-Key has 1 to %d printable ASCII characters.") % KEY_MAX_LENGTH
                )
            )
        caller = str(request.user.pk)
        fingerprint = _fingerprint(request)

        def work() -> HttpResponse:
            row = IdempotencyKey(caller=caller, key=key, fingerprint=fingerprint)
            _claim(row)
            held = IdempotencyKey.objects.get(caller=caller, key=key)
            if held.pk != row.pk:
                return _replay(held, fingerprint)
            response = view(self, request, *args, **kwargs)
            IdempotencyKey.objects.filter(pk=row.pk).update(
                status=response.status_code,
                headers={
                    name: response[name] for name in _KEPT_HEADERS if response.has_header(name)
                },
                body=response.content,
            )
            return response

        return in_transaction(work)

    return refuses(InvalidKey, KeyReused, KeyInUse)(wrapper)  # type: ignore[return-value]
