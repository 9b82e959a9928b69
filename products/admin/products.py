"""Products in the admin: the list, what is done to many, and a product's pages."""

import re
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from products import bulk, stock
from products.actions import add_product
from products.admin.filters import BranchFilter, CategoryFilter, SaleFilter, StockFilter
from products.admin.images import ImageInline
from products.admin.ledger import ledger_page
from products.admin.seo import SeoInline
from products.admin.suggestions import described
from products.models import Product, ProductImage, ProductSeo, Reason, Suggestion
from products.search import matching, meant_by
from products.suggestions import accept_suggestion, analyse, reject_suggestion
from shop.bulk import run
from shop.errors import ShopError
from shop.jobs.queue import enqueue
from shop.lists import LongList

# Of one choice in the list of products; each becomes a job.
_MOST_ANALYSED = 1000


class OneStockForm(bulk.StockForm):
    """A change of one product's stock with its reason."""

    change = bulk.ChangeField(
        label=gettext_lazy("Change"),
        help_text=gettext_lazy("-5 takes five away, 5 adds five."),
    )
    field_order = ["change", "reason", "note"]


@admin.register(Product)
class ProductAdmin(LongList):
    """Products, with a page of their own for stock."""

    # A catalogue is counted in a moment.
    most = 100_000
    list_display = ["name", "price", "stock_quantity", "sku", "brand", "category", "retired_at"]
    list_filter = [SaleFilter, StockFilter, BranchFilter, CategoryFilter]
    list_select_related = ["category"]
    search_fields = ["name", "sku", "brand"]
    search_help_text = gettext_lazy(
        "Any part of name, brand or SKU, or first consonants; or the id."
    )
    autocomplete_fields = ["category"]
    readonly_fields = [
        "chosen_by", "stock_and_history", "sold_quantity", "created_at", "updated_at", "retired_at",
    ]  # fmt: skip
    fields = ["name", "sku", "brand", "category", "price", "description", *readonly_fields]
    actions = ["book_stock", "categorise", "retire", "suggest"]
    inlines = [ImageInline, SeoInline]
    change_form_template = "admin/products/product/change_form.html"

    @admin.display(description=gettext_lazy("category chosen by"))
    def chosen_by(self, product: Product) -> str:
        """Who chose the category, and how sure."""
        if product.category_id is None:
            return _("nobody yet") if product.pk else _("left empty, it is suggested")
        if product.category_confidence is None:
            return _("people")
        return _("AI, %d %% sure") % round(100 * product.category_confidence)

    @admin.display(description=gettext_lazy("stock"))
    def stock_and_history(self, product: Product) -> str:
        """What is left, and where to change it."""
        if product._state.adding:
            return _("Save the product first, then receive its stock.")
        return format_html(
            '{} &nbsp; <a href="{}">{}</a>',
            product.stock_quantity,
            reverse("admin:products_product_stock", args=[product.pk]),
            _("Change the stock and see its history"),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Product], search_term: str
    ) -> tuple[QuerySet[Product], bool]:
        """Find what the shop's own search finds, or a product by its id."""
        if re.fullmatch("[0-9]{1,18}", search_term.strip()):
            named = matching(Product.objects.order_by(), search_term).values("pk")
            return queryset.filter(Q(pk=int(search_term)) | Q(pk__in=named)), False
        return meant_by(queryset, search_term), False

    def save_model(
        self, request: HttpRequest, obj: Product, form: "ModelForm[Product]", change: bool
    ) -> None:
        """Save; a category that was chosen here is people's choice."""
        if not change:
            add_product(obj, actor=request.user)  # type: ignore[arg-type]
            return
        if "category" in form.changed_data:
            obj.categorise(obj.category)
        super().save_model(request, obj, form, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save, with who added an image or wrote a text."""
        for row in formset.forms:
            if isinstance(row.instance, ProductImage) and row.instance._state.adding:
                row.instance.added_by = request.user  # type: ignore[assignment]
            if isinstance(row.instance, ProductSeo) and row.has_changed():
                row.instance.written_by = ""
                row.instance.accepted_by = request.user  # type: ignore[assignment]
        super().save_formset(request, form, formset, change)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the product with what is suggested for it."""
        extra: dict[str, Any] = {}
        if request.user.has_perm("products.change_product") and re.fullmatch(
            "[0-9]{1,18}", object_id
        ):
            rows = Suggestion.objects.filter(product_id=object_id).select_related("decided_by")
            extra = {"suggestions": described(list(rows[:20])), "may_analyse": True}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def get_urls(self) -> list[URLPattern]:
        """Add the stock page."""
        stock_page = path(
            "<int:pk>/stock/",
            self.admin_site.admin_view(self.stock_page),
            name="products_product_stock",
        )
        view = self.admin_site.admin_view
        return [
            stock_page,
            path("<int:pk>/analyse/", view(self.analyse_page), name="products_product_analyse"),
            path(
                "<int:pk>/suggestions/<int:suggestion>/",
                view(self.decide_page),
                name="products_product_decide",
            ),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def analyse_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for suggestions, and show where the price stands."""
        if not request.user.has_perm("products.change_product"):
            raise PermissionDenied
        product = get_object_or_404(Product, pk=pk)
        context = {
            **self.admin_site.each_context(request),
            "title": product.name,
            "product": product,
            "found": analyse(pk),
            "suggestions": described(list(product.suggestions.filter(state=Suggestion.State.OPEN))),
            "opts": self.opts,
        }
        return render(request, "admin/products/product/analysis.html", context)

    @method_decorator(require_POST)
    def decide_page(self, request: HttpRequest, pk: int, suggestion: int) -> HttpResponse:
        """Accept or reject one suggestion."""
        if not request.user.has_perm("products.change_product"):
            raise PermissionDenied
        get_object_or_404(Suggestion, pk=suggestion, product_id=pk)
        decide = {"accept": accept_suggestion, "reject": reject_suggestion}.get(
            request.POST.get("decision", "")
        )
        if decide is not None:
            try:
                decide(suggestion, actor=request.user)  # type: ignore[arg-type]
            except ShopError as error:
                messages.error(request, error.detail)
            else:
                messages.success(request, _("Decided."))
        return HttpResponseRedirect(reverse("admin:products_product_change", args=[pk]))

    def stock_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Change one product's stock; show its ledger."""
        may_change = request.user.has_perm("products.adjust_stock")
        may_look = request.user.has_perm("products.view_stockmovement")
        if not (may_change or may_look):
            raise PermissionDenied
        product = get_object_or_404(Product, pk=pk)
        form = OneStockForm(request.POST or None)
        if request.method == "POST":
            if not may_change:
                raise PermissionDenied
            if form.is_valid() and self._adjust(request, product, form):
                return HttpResponseRedirect(request.path)
        product.refresh_from_db()
        context = {
            **self.admin_site.each_context(request),
            "title": product.name,
            "product": product,
            "form": form if may_change else None,
            "opts": self.opts,
            "may_look": may_look,
            **(ledger_page(product, request.GET.get("before", "")) if may_look else {}),
        }
        return render(request, "admin/products/product/stock.html", context)

    def _adjust(self, request: HttpRequest, product: Product, form: OneStockForm) -> bool:
        try:
            movement = stock.adjust(
                product_id=product.pk,
                change=form.cleaned_data["change"],
                reason=Reason(form.cleaned_data["reason"]),
                note=form.cleaned_data["note"],
                actor=request.user,  # type: ignore[arg-type]
            )
        except ShopError as error:
            form.add_error("change", error.detail)
            return False
        messages.success(request, _("The stock is %d now.") % movement.balance_after)
        return True

    @admin.action(description=bulk.BOOK.title, permissions=["adjust"])
    def book_stock(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        """Change the stock of the chosen products, each by its own number."""
        return run(self, request, queryset, bulk.BOOK)

    @admin.action(description=bulk.CATEGORISE.title, permissions=["change"])
    def categorise(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        """Put the chosen products into one category."""
        return run(self, request, queryset, bulk.CATEGORISE)

    @admin.action(description=bulk.RETIRE.title, permissions=["delete"])
    def retire(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        """Retire the chosen products."""
        return run(self, request, queryset, bulk.RETIRE)

    def has_adjust_permission(self, request: HttpRequest) -> bool:
        """Whoever may change stock."""
        return request.user.has_perm("products.adjust_stock")

    @admin.action(description=gettext_lazy("Suggest categories and texts"), permissions=["change"])
    def suggest(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        """Have the chosen products analysed, each by a job."""
        pks = list(queryset.values_list("pk", flat=True)[: _MOST_ANALYSED + 1])
        for pk in pks[:_MOST_ANALYSED]:
            enqueue("products.analyse", unique_key=f"products.analyse {pk}", product_id=pk)
        text = _("%d will be analysed.") % len(pks[:_MOST_ANALYSED])
        if len(pks) > _MOST_ANALYSED:
            text += " " + _("The rest was too many for one go.")
        self.message_user(request, text, messages.SUCCESS)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Products are retired; `delete_product` is the right to do so, not to delete rows."""
        return obj is None and super().has_delete_permission(request)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Leave out the bulk delete."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions
