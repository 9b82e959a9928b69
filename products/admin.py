"""The catalogue in the admin. Stock is changed through its ledger and nowhere else."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.storage import default_storage
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from products import stock
from products.actions import retire_product
from products.categories import place_category
from products.images import add_image, read_upload
from products.models import Category, Product, ProductImage, Reason, StockMovement
from products.search import matching
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


class ImageForm(forms.ModelForm):
    """An image: a new one comes with its file, and its file stays what it was."""

    upload = forms.FileField(label=gettext_lazy("File"))

    class Meta:
        model = ProductImage
        fields = ["alt", "position"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["upload"] = forms.FileField(required=False, widget=forms.HiddenInput)

    def clean_upload(self) -> Any:
        """Read the picture; what comes out of here is clean."""
        upload = self.cleaned_data["upload"]
        if not self.instance._state.adding:
            return None
        try:
            return read_upload(upload.file, upload.size)
        except ShopError as error:
            raise forms.ValidationError(error.detail) from None

    def save(self, commit: bool = True) -> ProductImage:
        """Keep a new picture, or change what is said about an old one."""
        if not self.instance._state.adding or not commit:
            image: ProductImage = super().save(commit)
            return image
        return add_image(
            product_id=self.instance.product_id,
            picture=self.cleaned_data["upload"],
            alt=self.cleaned_data["alt"],
            actor=self.instance.added_by,
        )


class ImageInline(admin.TabularInline):
    """A product's images."""

    model = ProductImage
    form = ImageForm
    fields = ["preview", "upload", "alt", "position", "state", "made"]
    readonly_fields = ["preview", "state", "made"]
    extra = 1

    @admin.display(description=gettext_lazy("image"))
    def preview(self, image: ProductImage) -> str:
        """The smallest rendition, else the placeholder."""
        if image._state.adding:
            return ""
        shown = [found["name"] for found in image.renditions if found["format"] == "webp"]
        return format_html(
            '<a href="{}"><img src="{}" alt="{}" width="80"></a>',
            image.file.url,
            default_storage.url(shown[0]) if shown else image.file.url,
            image.alt,
        )

    @admin.display(description=gettext_lazy("renditions"))
    def made(self, image: ProductImage) -> str:
        """Each rendition with its size."""
        return format_html_join(
            ", ",
            '<a href="{}">{} {}</a> ({} KB)',
            (
                (
                    default_storage.url(found["name"]),
                    found["format"],
                    found["width"],
                    -(-found["bytes"] // 1024),
                )
                for found in image.renditions
            ),
        )

    # Whoever may change a product may change its images.
    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("products.change_product")

    has_add_permission = has_change_permission = has_delete_permission = _may

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the product."""
        return request.user.has_perm("products.view_product") or self._may(request)


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
    inlines = [ImageInline]
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

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Product], search_term: str
    ) -> tuple[QuerySet[Product], bool]:
        """Find what the shop's own search finds."""
        return matching(queryset, search_term), False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save, with who added an image."""
        for row in formset.forms:
            if isinstance(row.instance, ProductImage) and row.instance._state.adding:
                row.instance.added_by = request.user  # type: ignore[assignment]
        super().save_formset(request, form, formset, change)

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
