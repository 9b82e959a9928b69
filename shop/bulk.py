"""Doing one thing to many rows of a list in the admin.

First a page that shows each chosen row, how it stands, and what will happen to
it or why nothing can; then each row in a transaction of its own, by the code
that does it to one; then a page that says what came of each. A second click on
the button, or loading the answer again, does nothing twice: each row is one
idempotency key. What failed may be tried again.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from shop.accounts.models import User
from shop.errors import ShopError
from shop.idempotency import AlreadyDone, once

logger = logging.getLogger(__name__)

# Two fields a row, a few besides: Django takes a thousand (and says 400 beyond).
MOST = 400
# In seconds, well within REQUEST_TIMEOUT: no row is begun after it.
PATIENCE = 20
# What the first page sends back as a sign that it was confirmed.
_KEY = re.compile(r"[\w-]{22}", re.ASCII)


@dataclass(frozen=True)
class Line:
    """A chosen row: what it is, where it is seen, how it stands, what will happen.

    `refusal` says why nothing can be done to it, where that is so.
    """

    pk: Any
    label: str
    url: str
    facts: Sequence[Any] = ()
    effect: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class Work:
    """What can be done to many rows.

    `look` reads rows that are there, in the order of their keys and in few
    queries; `do` does it to one, and returns what came of it. It is given the
    form's data; what was typed for the row itself, where there is an `own`
    field, is in it as "own". A row for which nothing was typed is left alone
    if that field is required.

    `do` may raise ShopError or ObjectDoesNotExist.
    """

    # Of the action; part of the keys.
    name: str
    title: Any
    button: Any
    look: Callable[[Sequence[Any]], list[Line]]
    do: Callable[[Any, User, dict[str, Any]], str]
    columns: Sequence[Any] = ()
    form: type[forms.Form] = forms.Form
    own: forms.Field | None = None


def run(
    modeladmin: admin.ModelAdmin, request: HttpRequest, queryset: QuerySet[Any], work: Work
) -> HttpResponse | None:
    """Be the admin action `work.name`: ask, or do what was confirmed."""
    key = request.POST.get("key", "")
    if _KEY.fullmatch(key):
        return _do(modeladmin, request, work, key)
    pks = few(modeladmin, request, queryset.values_list("pk", flat=True))
    if not pks:
        return None
    return _ask(modeladmin, request, work, pks, _form(work, pks))


def few(
    modeladmin: admin.ModelAdmin, request: HttpRequest, queryset: QuerySet[Any, Any]
) -> list[Any]:
    """Return what was chosen if it is no more than MOST; else say so, and return nothing."""
    rows = list(queryset[: MOST + 1])
    if len(rows) <= MOST:
        return rows
    text = _("At most %d at once, and these are more: narrow the list, or choose fewer.")
    modeladmin.message_user(request, text % MOST, messages.ERROR)
    return []


def _form(work: Work, pks: Sequence[Any], data: Any = None) -> forms.Form:
    form = work.form(data)
    if work.own is not None:
        for pk in pks:
            field = form.fields[f"own_{pk}"] = work.own.__deepcopy__({})
            field.required = False
    return form


def _page(
    modeladmin: admin.ModelAdmin, request: HttpRequest, name: str, work: Work, **context: Any
) -> HttpResponse:
    request.current_app = modeladmin.admin_site.name
    return TemplateResponse(
        request,
        f"admin/bulk/{name}.html",
        {
            **modeladmin.admin_site.each_context(request),
            "title": work.title,
            "opts": modeladmin.opts,
            "work": work,
            "back": request.get_full_path(),
            **context,
        },
    )


def _ask(
    modeladmin: admin.ModelAdmin,
    request: HttpRequest,
    work: Work,
    pks: Sequence[Any],
    form: forms.Form,
) -> HttpResponse:
    lines = work.look(pks)
    return _page(
        modeladmin,
        request,
        "confirm",
        work,
        ready=[
            (line, form[f"own_{line.pk}"] if work.own is not None else None)
            for line in lines
            if not line.refusal
        ],
        refused=[line for line in lines if line.refusal],
        form=form,
        fields=[form[name] for name in form.fields if not name.startswith("own_")],
        media=modeladmin.media + form.media,
        checkbox=ACTION_CHECKBOX_NAME,
        key=secrets.token_urlsafe(16),
    )


def _chosen(modeladmin: admin.ModelAdmin, request: HttpRequest) -> list[Any]:
    """Return the keys that were confirmed, each once, no more than were shown."""
    field = modeladmin.model._meta.pk
    assert field is not None
    texts = request.POST.getlist(ACTION_CHECKBOX_NAME)[:MOST]
    return list(dict.fromkeys(field.to_python(text) for text in texts))


def _do(modeladmin: admin.ModelAdmin, request: HttpRequest, work: Work, key: str) -> HttpResponse:
    assert isinstance(request.user, User)
    # As they were confirmed: what has been done to one may have taken it out of the list.
    pks = _chosen(modeladmin, request)
    form = _form(work, pks, request.POST)
    if not form.is_valid():
        return _ask(modeladmin, request, work, pks, form)
    known = {line.pk: line for line in work.look(pks)}
    done: list[tuple[Line, str]] = []
    failed: list[tuple[Line, str]] = []
    changed: list[Any] = []
    began = time.monotonic()
    for pk in pks:
        data = dict(form.cleaned_data)
        if work.own is not None:
            data["own"] = data[f"own_{pk}"]
            if work.own.required and data["own"] in work.own.empty_values:
                continue
        line = known.get(pk) or Line(pk, str(pk), "")
        if time.monotonic() - began > PATIENCE:
            failed.append((line, _("There was no time left for it: choose it again.")))
            continue
        try:
            done.append((line, _one(work, key, pk, request.user, data)))
            changed.append(pk)
        except AlreadyDone as error:
            done.append((line, error.detail))
        except ShopError as error:
            failed.append((line, error.detail))
        except ObjectDoesNotExist:
            failed.append((line, _("It is not there any more.")))
        except OperationalError:
            # Of one row: the report of the others must not be lost with it.
            logger.warning("a row of bulk work failed", exc_info=True, extra={"work": work.name})
            failed.append((line, _("The database was busy: choose it again.")))
    _log(modeladmin, request.user, work, changed)
    return _page(modeladmin, request, "report", work, done=done, failed=failed)


def _one(work: Work, key: str, pk: Any, user: User, data: dict[str, Any]) -> str:
    return once(f"admin {user.pk}", f"{work.name} {key} {pk}", lambda: work.do(pk, user, data))


def _log(modeladmin: admin.ModelAdmin, user: User, work: Work, pks: Sequence[Any]) -> None:
    """Leave it in each row's history in the admin, and among one's own latest actions."""
    rows = modeladmin.model._default_manager.filter(pk__in=pks)
    LogEntry.objects.log_actions(user.pk, rows, CHANGE, str(work.title))
