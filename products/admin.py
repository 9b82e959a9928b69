"""The catalogue in the admin. Stock is changed through its ledger and nowhere else."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from products import stock
from products.actions import retire_product
from products.categories import place_category
from products.models import Category, Product, Reason, StockMovement
from shop.errors import ShopError


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    """The tree, indented."""

    list_display = ["indented", "name_ko", "slug", "key"]
    search_fields = ["name_en", "name_ko", "slug", "key"]
    autocomplete_fields = ["parent"]
    prepopulated_fields = {"slug": ["name_en"]}
    ordering = ["path"]

    @admin.display(description=gettext_lazy("English name"))
    def indented(self, category: Category) -> str:
        """The name, further right the deeper it lies."""
        return "\u2003" * category.depth + category.name_en

    def save_model(
        self, request: HttpRequest, obj: Category, form: "ModelForm[Category]", change: bool
    ) -> None:
        """Save the row, then hang it where it belongs with all below it."""
        parent = obj.parent
        if change:
            obj.parent_id = form.initial.get("parent")
        else:
            obj.parent = None
        super().save_model(request, obj, form, change)
        place_category(category=obj, parent=parent)


class StockFilter(admin.SimpleListFilter):
    """By what is left."""

    title = gettext_lazy("stock")
    parameter_name = "stock"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The choices."""
        return [("none", gettext_lazy("none")), ("low", gettext_lazy("up to 5"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Product]) -> QuerySet[Product]:
        """Narrow the list."""
        if self.value() == "none":
            return queryset.filter(stock_quantity=0)
        if self.value() == "low":
            return queryset.filter(stock_quantity__lte=5)
        return queryset


class StockForm(forms.Form):
    """A change of stock with its reason."""

    change = forms.IntegerField(
        label=gettext_lazy("Change"),
        help_text=gettext_lazy("-5 takes five away, 5 adds five."),
        min_value=-stock.MAX_STOCK,
        max_value=stock.MAX_STOCK,
    )
    reason = forms.ChoiceField(label=gettext_lazy("Reason"), choices=Reason.choices)
    note = forms.CharField(label=gettext_lazy("Note"), max_length=200, required=False)

    def clean_change(self) -> int:
        """Refuse a change of nothing."""
        change: int = self.cleaned_data["change"]
        if change == 0:
            raise forms.ValidationError(_("A change is not zero."))
        return change


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products, with a page of their own for stock."""

    list_display = ["name", "price", "stock_quantity", "sku", "category", "retired_at"]
    list_filter = [("retired_at", admin.EmptyFieldListFilter), StockFilter]
    list_select_related = ["category"]
    search_fields = ["name", "sku", "brand"]
    autocomplete_fields = ["category"]
    readonly_fields = [
        "stock_and_history", "sold_quantity", "created_at", "updated_at", "retired_at",
    ]  # fmt: skip
    fields = ["name", "sku", "brand", "category", "price", "description", *readonly_fields]
    actions = ["retire"]
    show_full_result_count = False

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

    def get_urls(self) -> list[URLPattern]:
        """Add the stock page."""
        stock_page = path(
            "<int:pk>/stock/",
            self.admin_site.admin_view(self.stock_page),
            name="products_product_stock",
        )
        return [stock_page, *super().get_urls()]

    def stock_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Change one product's stock; show its ledger."""
        product = get_object_or_404(Product, pk=pk)
        if not self.has_view_permission(request, product):
            raise PermissionDenied
        may_change = request.user.has_perm("products.adjust_stock")
        form = StockForm(request.POST or None)
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
            "movements": product.movements.select_related("actor")[:200],
            "opts": self.opts,
        }
        return render(request, "admin/products/product/stock.html", context)

    def _adjust(self, request: HttpRequest, product: Product, form: StockForm) -> bool:
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

    @admin.action(description=gettext_lazy("Take off sale"), permissions=["delete"])
    def retire(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        """Retire the chosen products."""
        retired = sum(retire_product(pk) for pk in queryset.values_list("pk", flat=True))
        self.message_user(request, _("%d taken off sale.") % retired, messages.SUCCESS)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Products are retired; `delete_product` is the right to do so, not to delete rows."""
        return obj is None and super().has_delete_permission(request)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Leave out the bulk delete."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions


@admin.register(StockMovement)
class StockMovementAdmin(admin.ModelAdmin):
    """The ledger, to be read."""

    list_display = ["created_at", "product", "change", "reason", "balance_after", "actor"]
    list_filter = ["reason"]
    list_select_related = ["product", "actor"]
    search_fields = ["product__name", "product__sku", "=order_id"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only through products.stock."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False
