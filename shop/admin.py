"""People, tokens, events and jobs in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from shop.accounts.models import AccessToken, User
from shop.events.models import Event
from shop.jobs.models import Job
from shop.jobs.queue import run_again

admin.site.site_header = gettext_lazy("Shop")
admin.site.site_title = gettext_lazy("Shop")
admin.site.index_title = gettext_lazy("Back office")


@admin.register(User)
class People(UserAdmin):
    """Users. Only superusers make staff and touch staff: else the right to change users were all.

    Whoever could set an administrator's password, or make one of themselves, would be one.
    """

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


class ReadOnly(admin.ModelAdmin):
    """Rows that are looked at, never written by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False


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
    list_filter = ["type"]
    list_select_related = ["actor"]
    search_fields = ["subject", "correlation_id"]
    ordering = ["-time"]
    show_full_result_count = False


@admin.register(Job)
class JobAdmin(ReadOnly):
    """Background work: what waits, runs, failed and is done."""

    list_display = ["__str__", "state", "due_at", "attempts", "finished_at", "result"]
    list_filter = ["state", "task"]
    search_fields = ["task", "error"]
    actions = ["run_again"]
    show_full_result_count = False

    @admin.action(description=gettext_lazy("Run again"), permissions=["run"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Queue the chosen jobs once more, those that have ended."""
        again = [job for job in queryset if run_again(job.pk)]
        self.message_user(
            request, _("%d queued.") % len(again), messages.SUCCESS if again else messages.WARNING
        )

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whoever may change jobs."""
        return request.user.has_perm("shop.change_job")
