"""Lists in the admin that stay fast however long the table is.

Counting a million rows costs more than all the rest of a page, and a page far
down reads everything above it. So a list counts to its `most` and ends there;
search and filters lead to what lies behind.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters, ShowFacets
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _


class BoundedPaginator(Paginator):
    """Pages of at most so many rows; `is_cut` says whether there are more."""

    def __init__(self, object_list: QuerySet[Any], per_page: int, *, most: int) -> None:
        super().__init__(object_list, per_page)
        self.most = most

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.most + 1].count()

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, as far as the list goes."""
        return min(self._counted, self.most)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than the list shows."""
        return self._counted > self.most


class LongChangeList(ChangeList):
    """A list that fetches, for the rows it shows, what `list_prefetch_related` names."""

    def get_results(self, request: HttpRequest) -> None:
        """Cut out the page, then have its relations fetched with it."""
        super().get_results(request)
        # Beside the search box, how many were found is worth saying only of a search.
        if self.paginator.is_cut or not (self.query or self.has_active_filters):
            self.full_result_count = self.result_count
        names = self.model_admin.list_prefetch_related  # type: ignore[attr-defined]
        if names:
            self.result_list = self.result_list.prefetch_related(*names)


class LongList(admin.ModelAdmin):
    """A model of which there may be millions.

    `days` names the column of its DaysFilter. Under that filter the list is in
    that column's order: with another one the database would look for a page of
    last year's rows among all of this year's.
    """

    most: ClassVar[int] = 10_000
    days: ClassVar[str] = ""
    list_prefetch_related: ClassVar[tuple[str, ...]] = ()
    show_full_result_count = False
    # Each of them would be counted over the whole table.
    show_facets = ShowFacets.NEVER

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *args: Any, **kw: Any
    ) -> BoundedPaginator:
        """Return pages that end at `most` rows."""
        return BoundedPaginator(queryset, per_page, most=self.most)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list's class."""
        return LongChangeList

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Do what was chosen for the rows that were, unless those are no keys."""
        key = self.opts.pk
        for text in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                key.to_python(text)
            except ValidationError as error:
                raise BadRequest(text) from error
        return super().response_action(request, queryset, *args, **kwargs)

    def get_ordering(self, request: HttpRequest) -> Any:
        """Return the order, which is that of the days where they are filtered."""
        if self.days and any(request.GET.get(name) for name in DaysFilter.parameters):
            return [f"-{self.days}", "-pk"]
        return super().get_ordering(request)


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


class DaysFilter(admin.FieldListFilter):
    """From one day to another, both included, by a click or by hand."""

    template = "admin/days_filter.html"
    parameters = ("from", "to")

    def expected_parameters(self) -> list[str | None]:
        """Name the parameters in the address."""
        return list(self.parameters)

    def _day(self, name: str) -> date | None:
        values: Any = self.used_parameters.get(name)
        text = str(values[-1]) if values else ""
        if not text:
            return None
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise IncorrectLookupParameters(error) from error
        # A day before or after the calendar has no midnight in every zone.
        if not 1900 <= day.year <= 9000:
            raise IncorrectLookupParameters(text)
        return day

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        first, last = self._day("from"), self._day("to")
        if first:
            queryset = queryset.filter(**{f"{self.field_path}__gte": _start_of(first)})
        if last:
            after = _start_of(last + timedelta(days=1))
            queryset = queryset.filter(**{f"{self.field_path}__lt": after})
        return queryset

    @property
    def typed(self) -> dict[str, str]:
        """What the two inputs hold."""
        return {name: day.isoformat() for name in self.parameters if (day := self._day(name))}

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield the spans that are asked for most; leave the template what the others take."""
        self.others = [
            (name, value)
            for name, values in changelist.filter_params.items()
            if name not in self.parameters
            for value in values
        ]
        today = timezone.localdate()
        month = today.replace(day=1)
        before = month - timedelta(days=1)
        spans: list[tuple[Any, date | None, date | None]] = [
            (_("Any date"), None, None),
            (_("Today"), today, today),
            (_("Yesterday"), today - timedelta(days=1), today - timedelta(days=1)),
            (_("Past 7 days"), today - timedelta(days=6), today),
            (_("This month"), month, today),
            (_("Last month"), before.replace(day=1), before),
        ]
        chosen = self._day("from"), self._day("to")
        for title, first, last in spans:
            yield {
                "selected": chosen == (first, last),
                "query_string": changelist.get_query_string(
                    {"from": first and first.isoformat(), "to": last and last.isoformat()}
                ),
                "display": title,
            }


class LatelyFilter(admin.FieldListFilter):
    """By a value that occurred among the newest rows; to find every value, all would be read."""

    newest = 1000

    def __init__(
        self,
        field: Any,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: Any,
        model_admin: Any,
        field_path: str,
    ) -> None:
        self.lookup_kwarg = field_path
        super().__init__(field, request, params, model, model_admin, field_path)
        newest = model_admin.get_queryset(request).order_by("-pk")[: self.newest]
        self.chosen: list[str] = list(self.used_parameters.get(field_path, []))  # type: ignore[call-overload]
        self.values = sorted({*newest.values_list(field_path, flat=True), *self.chosen})

    def expected_parameters(self) -> list[str | None]:
        """Name the parameter in the address."""
        return [self.lookup_kwarg]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield all, then each value."""
        yield {
            "selected": not self.chosen,
            "query_string": changelist.get_query_string({self.lookup_kwarg: None}),
            "display": _("All"),
        }
        for value in self.values:
            yield {
                "selected": value in self.chosen,
                "query_string": changelist.get_query_string({self.lookup_kwarg: value}),
                "display": value,
            }


class ReadOnly(LongList):
    """Rows that are looked at: nobody adds, edits or deletes one by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False
