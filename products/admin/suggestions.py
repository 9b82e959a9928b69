"""Suggestions in the admin: what they propose, and the decision."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from products.models import Category, Product, Suggestion
from products.search import meant_by
from products.suggestions import accept_suggestion, reject_suggestion
from shop.bulk import few
from shop.errors import ShopError
from shop.lists import LatelyFilter, ReadOnly

# Other categories that are less likely only distract.
_WORTH_NAMING = 0.05


def described(suggestions: list[Suggestion]) -> list[tuple[Suggestion, list[tuple[str, str]]]]:
    """Return suggestions with what they propose, as label and text. One query."""
    wanted = {
        pk
        for suggestion in suggestions
        if suggestion.kind == Suggestion.Kind.CATEGORY
        for pk in (
            suggestion.data["category"],
            *(also["category"] for also in suggestion.data["also"]),
        )
    }
    names = {pk: str(category) for pk, category in Category.objects.in_bulk(wanted).items()}
    shown = []
    for suggestion in suggestions:
        data = suggestion.data
        if suggestion.kind == Suggestion.Kind.CATEGORY:
            also = ", ".join(
                f"{names.get(other['category'], '–')} {other['confidence']:.0%}"
                for other in data["also"]
                if other["confidence"] >= _WORTH_NAMING
            )
            lines = [(_("category"), names.get(data["category"], "–")), (_("or"), also)]
        else:
            lines = [
                (_("title"), data["title"]),
                (_("description"), data["description"]),
                (_("keywords"), ", ".join(data["keywords"])),
                (_("slug"), data["slug"]),
            ]
        shown.append((suggestion, [(label, text) for label, text in lines if text]))
    return shown


@admin.register(Suggestion)
class SuggestionAdmin(ReadOnly):
    """What waits for a decision, and what was decided by whom."""

    list_display = [
        "product", "kind", "proposed", "confidence", "state", "decided_by", "decided_at",
        "created_at",
    ]  # fmt: skip
    list_filter = ["state", "kind", ("provider", LatelyFilter)]
    list_select_related = ["product", "decided_by"]
    list_display_links = None
    # Without this there is no box to type into.
    search_fields = ["product"]
    search_help_text = gettext_lazy("SKU or words of the product.")
    actions = ["accept", "reject"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Suggestion], search_term: str
    ) -> tuple[QuerySet[Suggestion], bool]:
        """Find those for products that the shop's own search finds."""
        if not search_term.strip():
            return queryset, False
        named = meant_by(Product.objects.order_by(), search_term).values("pk")
        return queryset.filter(product__in=named), False

    @admin.display(description=gettext_lazy("proposal"))
    def proposed(self, suggestion: Suggestion) -> str:
        """The category's name, or the title."""
        if suggestion.kind == Suggestion.Kind.SEO:
            return str(suggestion.data["title"])
        return str(suggestion.data["name"])

    def _decide(self, request: HttpRequest, queryset: QuerySet[Suggestion], decide: Any) -> None:
        done = 0
        for suggestion in few(self, request, queryset):
            try:
                decide(suggestion.pk, actor=request.user)
            except ShopError as error:
                self.message_user(request, f"{suggestion}: {error.detail}", messages.ERROR)
            else:
                done += 1
        if done:
            self.message_user(request, _("%d decided.") % done, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Accept"), permissions=["decide"])
    def accept(self, request: HttpRequest, queryset: QuerySet[Suggestion]) -> None:
        """Make the products what was suggested."""
        self._decide(request, queryset, accept_suggestion)

    @admin.action(description=gettext_lazy("Reject"), permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Suggestion]) -> None:
        """Turn the suggestions down."""
        self._decide(request, queryset, reject_suggestion)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whoever may change products."""
        return request.user.has_perm("products.change_product")
