"""What staff do to many webhooks at once in the admin, after a page that asks."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminDateWidget
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from shop.accounts.models import User
from shop.bulk import Line, Work
from shop.webhooks import sending
from shop.webhooks.models import Webhook


class DayForm(forms.Form):
    """Which day."""

    day = forms.DateField(label=gettext_lazy("Day"), widget=AdminDateWidget)


def _look(pks: Sequence[int]) -> list[Line]:
    return [
        Line(
            webhook.pk,
            webhook.name,
            reverse("admin:shop_webhook_change", args=[webhook.pk]),
            facts=[webhook.url, ", ".join(webhook.types) or _("all")],
            effect=_("The day's events are sent once more, under their same ids."),
            refusal="" if webhook.enabled else _("The webhook is switched off."),
        )
        for webhook in Webhook.objects.filter(pk__in=pks).order_by("pk")
    ]


def _do(pk: int, _actor: User, data: dict[str, Any]) -> str:
    midnight = timezone.make_aware(datetime.combine(data["day"], time.min))
    tomorrow = timezone.make_aware(datetime.combine(data["day"] + timedelta(days=1), time.min))
    webhook = Webhook.objects.get(pk=pk)
    found = sending.order_again(webhook, since=midnight, until=tomorrow)
    return ngettext("%d event is on its way.", "%d events are on their way.", found) % found


SEND_DAY_AGAIN = Work(
    name="send_day_again",
    title=gettext_lazy("Send a day again"),
    button=gettext_lazy("Send again"),
    look=_look,
    do=_do,
    columns=[gettext_lazy("address"), gettext_lazy("types")],
    form=DayForm,
)
