"""What the list of products is narrowed by."""

import re
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy, pgettext_lazy

from products.admin.categories import indented
from products.models import Category, Product


class SaleFilter(admin.SimpleListFilter):
    """By whether it can be bought."""

    title = gettext_lazy("sale")
    parameter_name = "sale"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The choices."""
        return [("on", gettext_lazy("on sale")), ("off", gettext_lazy("off sale"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        """Narrow the list."""
        if self.value() in ("on", "off"):
            return queryset.filter(retired_at__isnull=self.value() == "on")
        return queryset


class StockFilter(admin.SimpleListFilter):
    """By what is left."""

    title = gettext_lazy("stock")
    parameter_name = "stock"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The choices."""
        return [
            ("none", gettext_lazy("none")),
            ("low", gettext_lazy("up to 5")),
            ("some", pgettext_lazy("filter", "in stock")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        """Narrow the list."""
        if self.value() == "none":
            return queryset.filter(stock_quantity=0)
        if self.value() == "low":
            return queryset.filter(stock_quantity__lte=5)
        if self.value() == "some":
            return queryset.filter(stock_quantity__gt=0)
        return queryset


class BranchFilter(admin.SimpleListFilter):
    """By a category and all below it: the way down to it, then what lies beneath."""

    title = gettext_lazy("category")
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The categories above, the chosen one and those next below; two queries at most."""
        self.chosen: Category | None = None
        above: list[int] = []
        if value := self.value():
            pk = int(value) if re.fullmatch("[0-9]{1,18}", value) else 0
            self.chosen = Category.objects.filter(pk=pk).first()
            if self.chosen is None:
                raise IncorrectLookupParameters(value)
            above = [int(key) for key in self.chosen.path.strip("/").split("/")]
        rows = Category.objects.filter(Q(pk__in=above) | Q(parent=self.chosen))
        downwards = sorted(rows, key=lambda category: (category.depth, category.name_en))
        return [(str(category.pk), indented(category, str(category))) for category in downwards]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        """Narrow the list."""
        if self.chosen is None:
            return queryset
        below = Category.objects.within(self.chosen.path).order_by().values("pk")
        return queryset.filter(category__in=below)


class CategoryFilter(admin.SimpleListFilter):
    """By who chose the category."""

    title = gettext_lazy("who chose the category")
    parameter_name = "chosen"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The choices."""
        return [
            ("none", gettext_lazy("none")),
            ("ai", gettext_lazy("chosen by AI")),
            ("unsure", gettext_lazy("chosen by AI, below 50 %")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        """Narrow the list."""
        if self.value() == "none":
            return queryset.filter(category=None)
        if self.value() == "ai":
            return queryset.filter(category_confidence__isnull=False)
        if self.value() == "unsure":
            return queryset.filter(category_confidence__lt=0.5)
        return queryset
