"""People, tokens, events and jobs in the admin."""

import contextlib
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.core.validators import URLValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from shop import bulk
from shop.accounts.models import AccessToken, User
from shop.bulk import few
from shop.events.delivery import skip, try_again
from shop.events.models import Event, SinkOffset
from shop.events.sinks import forget
from shop.jobs.models import Job
from shop.jobs.queue import cancel, enqueue, run_again
from shop.lists import DaysFilter, LatelyFilter, LongList, ReadOnly
from shop.outgoing import new_secret
from shop.webhooks import sending
from shop.webhooks.bulk import SEND_DAY_AGAIN
from shop.webhooks.models import Attempt, AttemptQuerySet, Webhook

admin.site.site_header = gettext_lazy("Shop")
admin.site.site_title = gettext_lazy("Shop")
admin.site.index_title = gettext_lazy("Back office")


@admin.register(User)
class PeopleAdmin(LongList, UserAdmin):
    """Customers and staff. Only superusers make staff and touch staff.

    Whoever could set an administrator's password, or make one of themselves, would be one.
    """

    search_help_text = gettext_lazy(
        "The beginning of the user name or e-mail; where nobody has it, any part of a name."
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """Find by what has an index, else by reading everybody."""
        text = search_term.strip()
        if not text:
            return queryset, False
        found = queryset.filter(
            Q(username__startswith=text)
            | Q(username__startswith=text.lower())
            | Q(email__istartswith=text)
        )
        return (
            (found, False)
            if found.exists()
            else super().get_search_results(request, queryset, search_term)
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who is what is shown, and changed by superusers."""
        fields = super().get_readonly_fields(request, obj)
        if _is_superuser(request):
            return fields
        return (*fields, "is_staff", "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Customers by whoever has the right, staff by superusers."""
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Likewise."""
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def _may_touch(self, request: HttpRequest, user: User | None) -> bool:
        return user is None or _is_superuser(request) or not (user.is_staff or user.is_superuser)


admin.site.unregister(Group)


@admin.register(Group)
class Groups(GroupAdmin):
    """Groups of staff, changed by superusers: whoever may change their own group may do all."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers."""
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers."""
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers."""
        return _is_superuser(request)


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_superuser


@admin.register(AccessToken)
class AccessTokenAdmin(ReadOnly):
    """Tokens: to be seen and revoked."""

    list_display = ["__str__", "user", "created_at", "expires_at"]
    list_select_related = ["user"]
    search_fields = ["user__username", "name"]
    exclude = ["digest"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting revokes."""
        return super(ReadOnly, self).has_delete_permission(request, obj)


@admin.register(Event)
class EventAdmin(ReadOnly):
    """What happened."""

    list_display = ["time", "type", "subject", "sequence", "actor"]
    list_filter = [("type", LatelyFilter), ("time", DaysFilter)]
    list_select_related = ["actor"]
    ordering = ["-time"]
    sortable_by = ["time"]
    days = "time"
    # Without this there is no box to type into.
    search_fields = ["subject"]
    search_help_text = gettext_lazy(
        "The subject, an order's number, or the correlation id of a request of the last week."
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """Find by subject, through its index, or by request among the latest."""
        text = search_term.strip()
        if not text:
            return queryset, False
        subjects = [text]
        with contextlib.suppress(ValueError):
            subjects.append(f"order/{UUID(text)}")
        lately = Q(correlation_id=text, time__gte=timezone.now() - timedelta(days=7))
        return queryset.filter(Q(subject__in=subjects) | lately), False


class DeliveryFilter(admin.SimpleListFilter):
    """By what becomes of it."""

    title = gettext_lazy("delivery")
    parameter_name = "delivery"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The choices."""
        return [("behind", gettext_lazy("waiting")), ("dead", gettext_lazy("given up"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SinkOffset]
    ) -> QuerySet[SinkOffset]:
        """Narrow the list."""
        if self.value() == "behind":
            return queryset.filter(pk__in=SinkOffset.objects.behind())
        if self.value() == "dead":
            return queryset.filter(state=SinkOffset.State.DEAD)
        return queryset


@admin.register(SinkOffset)
class SinkOffsetAdmin(ReadOnly):
    """How far each sink has got, and what it would not take."""

    list_display = [
        "sink", "subject", "state", "delivered", "newest", "attempts", "due_at", "updated_at",
        "error",
    ]  # fmt: skip
    list_filter = [DeliveryFilter, ("sink", LatelyFilter)]
    search_fields = ["=subject"]
    list_display_links = None
    actions = ["try_again", "skip", "send_again"]

    def _decide(self, request: HttpRequest, queryset: QuerySet[SinkOffset], decide: Any) -> None:
        done = sum(map(decide, few(self, request, queryset.values_list("pk", flat=True))))
        self.message_user(
            request, _("%d will go on.") % done, messages.SUCCESS if done else messages.WARNING
        )

    @admin.action(description=gettext_lazy("Try again"), permissions=["decide"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[SinkOffset]) -> None:
        """Give the same event once more, to those that were given up."""
        self._decide(request, queryset, try_again)

    @admin.action(description=gettext_lazy("Pass over this event"), permissions=["decide"])
    def skip(self, request: HttpRequest, queryset: QuerySet[SinkOffset]) -> None:
        """Go on with the next event, for those that were given up."""
        self._decide(request, queryset, skip)

    @admin.action(description=gettext_lazy("Send again"), permissions=["again"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[SinkOffset]) -> None:
        """Send a webhook all events of the chosen subjects once more, also those it has had."""
        chosen = few(self, request, queryset.values_list("sink", "subject"))
        webhooks = {webhook.sink: webhook for webhook in Webhook.objects.all()}
        found, off = 0, False
        for sink, subject in chosen:
            try:
                if sink in webhooks:
                    found += sending.order_again(webhooks[sink], subject=subject)
            except sending.SwitchedOff:
                off = True
        if off:
            text = _("Switch the webhook on, and then have the day sent again from there.")
            self.message_user(request, text, messages.WARNING)
        text = ngettext("%d event is on its way.", "%d events are on their way.", found) % found
        self.message_user(request, text, messages.SUCCESS if found else messages.WARNING)

    def has_again_permission(self, request: HttpRequest) -> bool:
        """Whoever may change webhooks."""
        return request.user.has_perm("shop.change_webhook")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whoever may change deliveries."""
        return request.user.has_perm("shop.change_sinkoffset")


class WebhookForm(forms.ModelForm):
    """Where to, and which events."""

    url = forms.URLField(
        label=gettext_lazy("address"), max_length=500, assume_scheme="https",
        validators=[URLValidator(schemes=["http", "https"])],
    )  # fmt: skip
    types = forms.JSONField(
        label=gettext_lazy("types"), required=False,
        help_text=gettext_lazy('A list, as ["order.paid"]; empty: all.'),
    )  # fmt: skip

    class Meta:
        model = Webhook
        fields = ["name", "url", "types"]

    def clean_types(self) -> list[str]:
        """Refuse what is no list of texts."""
        types = self.cleaned_data["types"] or []
        if not isinstance(types, list) or not all(isinstance(kind, str) for kind in types):
            raise forms.ValidationError(_("A list of texts."))
        return types


@admin.register(Webhook)
class WebhookAdmin(LongList):
    """Who is told of events. Secrets are shown once, when they are made."""

    form = WebhookForm
    list_display = ["name", "url", "enabled", "failing_since", "switched_off_at", "reason"]
    list_filter = ["enabled"]
    search_fields = ["name"]
    readonly_fields = ["enabled", "failing_since", "switched_off_at", "reason", "created_by"]
    actions = ["switch_on", "switch_off", "send_test", "send_day_again"]

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Not by a secret: `?secret__startswith=` would tell it letter by letter."""
        return "secret" not in lookup and super().lookup_allowed(lookup, value, request)

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:
        """Make the secret, and show it this once."""
        if change:
            # Whether it is on and how it stands may have changed meanwhile.
            obj.save(update_fields=WebhookForm.Meta.fields)
        else:
            obj.secret = new_secret()
            obj.created_by = request.user  # type: ignore[assignment]
            obj.save()
            messages.warning(
                request, _("The secret to check signatures with, shown this once: %s") % obj.secret
            )
        forget()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Whoever may delete a webhook deletes its log with it."""
        deleted, count, needed, protected = super().get_deleted_objects(objs, request)
        return deleted, count, needed - {Attempt._meta.verbose_name}, protected

    @admin.action(description=gettext_lazy("Switch on"), permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Send what happens from now on."""
        done = sum(map(sending.switch_on, few(self, request, queryset)))
        self.message_user(request, _("%d switched on.") % done, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Switch off"), permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Send no more."""
        for webhook in few(self, request, queryset):
            sending.switch_off_by_hand(webhook)
        self.message_user(request, _("Switched off."), messages.SUCCESS)

    @admin.action(description=gettext_lazy("Send a test"), permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        """Send an event of nothing to the chosen, soon."""
        for pk in few(self, request, queryset.values_list("pk", flat=True)):
            enqueue("shop.test_webhook", webhook_id=pk)
        self.message_user(request, _("On its way; the log of attempts tells."), messages.SUCCESS)

    @admin.action(description=gettext_lazy("Send a day again"), permissions=["change"])
    def send_day_again(
        self, request: HttpRequest, queryset: QuerySet[Webhook]
    ) -> HttpResponse | None:
        """Ask which day, then send its events once more."""
        return bulk.run(self, request, queryset, SEND_DAY_AGAIN)


class TakenFilter(admin.SimpleListFilter):
    """By whether the receiver took it."""

    title = gettext_lazy("taken")
    parameter_name = "taken"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The choices."""
        return [("yes", gettext_lazy("Yes")), ("no", gettext_lazy("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        """Narrow the list."""
        assert isinstance(queryset, AttemptQuerySet)
        if self.value() == "yes":
            return queryset.taken()
        return queryset.not_taken() if self.value() == "no" else queryset


@admin.register(Attempt)
class AttemptAdmin(ReadOnly):
    """What was sent to webhooks and what came back."""

    list_display = [
        "time", "webhook", "type", "subject", "number", "status", "milliseconds", "error",
    ]  # fmt: skip
    list_filter = ["webhook", TakenFilter, ("type", LatelyFilter), ("time", DaysFilter)]
    list_select_related = ["webhook"]
    search_fields = ["=subject"]
    sortable_by = ()
    days = "time"
    actions = ["send_again"]

    @admin.action(description=gettext_lazy("Send again"), permissions=["again"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> None:
        """Send the events of the chosen attempts once more, soon, under their same ids."""
        chosen = few(self, request, queryset.values_list("webhook_id", "event_id"))
        for webhook_id, event_id in set(chosen):
            enqueue("shop.send_webhook_again", webhook_id=webhook_id, event_id=str(event_id))
        self.message_user(request, _("On its way; the log of attempts tells."), messages.SUCCESS)

    def has_again_permission(self, request: HttpRequest) -> bool:
        """Whoever may change webhooks."""
        return request.user.has_perm("shop.change_webhook")


@admin.register(Job)
class JobAdmin(ReadOnly):
    """Background work: what waits, runs, failed and is done."""

    list_display = [
        "__str__", "state", "became", "due_at", "attempts", "finished_at",
    ]  # fmt: skip
    list_filter = ["state", "queue", ("task", LatelyFilter)]
    sortable_by = ()
    search_fields = ["task", "error", "correlation_id"]
    actions = ["run_again", "cancel"]
    fields = [
        "task", "arguments", "state", "how_far", "cancel_requested", "result", "why",
        "caused_by", "attempts", "queue", "unique_key", "created_at", "due_at", "started_at",
        "lease_until", "finished_at",
    ]  # fmt: skip
    readonly_fields = ["how_far", "why", "caused_by"]

    @admin.display(description=gettext_lazy("progress"))
    def how_far(self, row: Job) -> str:
        """How much of it is done, while it runs."""
        if row.state != Job.State.RUNNING:
            return "-"
        return f"{int(row.progress * 100)} % {row.phase}".rstrip()

    @admin.display(description=gettext_lazy("result"))
    def became(self, row: Job) -> str:
        """How far it is, the result, or the last line of the error."""
        if row.state == Job.State.RUNNING:
            return self.how_far(row)
        return row.result or row.error.rstrip().rpartition("\n")[2][:200]

    @admin.display(description=gettext_lazy("error"))
    def why(self, row: Job) -> str:
        """The error, line for line."""
        return format_html("<pre>{}</pre>", row.error) if row.error else "-"

    @admin.display(description=gettext_lazy("correlation id"))
    def caused_by(self, row: Job) -> str:
        """The request that wanted it, with a way to what else that request did."""
        if not row.correlation_id:
            return "-"
        query = urlencode({"q": row.correlation_id})
        return format_html(
            '{} <a href="{}?{}">{}</a> <a href="{}?{}">{}</a>',
            row.correlation_id,
            reverse("admin:shop_event_changelist"),
            query,
            _("events"),
            reverse("admin:shop_job_changelist"),
            query,
            _("jobs"),
        )

    @admin.action(description=gettext_lazy("Run again"), permissions=["run"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Queue the chosen jobs once more, those that have ended."""
        chosen = few(self, request, queryset.values_list("pk", flat=True))
        again = [pk for pk in chosen if run_again(pk)]
        self.message_user(
            request, _("%d queued.") % len(again), messages.SUCCESS if again else messages.WARNING
        )

    @admin.action(description=gettext_lazy("Cancel"), permissions=["run"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """End the chosen jobs: those that wait at once, those that run when they next tell."""
        chosen = few(self, request, queryset.values_list("pk", flat=True))
        ended = [pk for pk in chosen if cancel(pk)]
        self.message_user(
            request,
            _("%d cancelled.") % len(ended),
            messages.SUCCESS if ended else messages.WARNING,
        )

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whoever may change jobs."""
        return request.user.has_perm("shop.change_job")
