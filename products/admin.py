"""The catalogue in the admin. Stock is changed through its ledger and nowhere else."""

import contextlib
import re
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.core.files.storage import default_storage
from django.db.models import F, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_POST

from products import bulk, stock
from products.actions import add_product
from products.categories import place_category
from products.images import add_image, read_upload
from products.models import (
    Category,
    Product,
    ProductImage,
    ProductSeo,
    Reason,
    StockMovement,
    Suggestion,
)
from products.search import matching, meant_by
from products.suggestions import accept_suggestion, analyse, reject_suggestion
from shop.bulk import few, run
from shop.errors import ShopError
from shop.jobs.queue import enqueue
from shop.lists import DaysFilter, LatelyFilter, LongList

# Other categories that are less likely only distract.
_WORTH_NAMING = 0.05
# Of one choice in the list of products; each becomes a job.
_MOST_ANALYSED = 1000
# On a page of a product's ledger.
_MOVEMENTS = 100
# Products that a word may mean in a search of the ledger.
_PRODUCTS = 50
_FOUND = 1000


def indented(category: Category, name: str) -> str:
    """Return a category's name, further right the deeper it lies."""
    return "\u2003" * category.depth + name


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
        return indented(category, category.name_en)

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


class OneStockForm(bulk.StockForm):
    """A change of one product's stock with its reason."""

    change = bulk.ChangeField(
        label=gettext_lazy("Change"),
        help_text=gettext_lazy("-5 takes five away, 5 adds five."),
    )
    field_order = ["change", "reason", "note"]


class _Nothing(forms.Widget):
    """A field that is not asked for."""

    def render(self, *args: Any, **kwargs: Any) -> SafeString:
        """Nothing."""
        return mark_safe("")


class ImageForm(forms.ModelForm):
    """An image: a new one comes with its file, and its file stays what it was."""

    upload = forms.FileField(label=gettext_lazy("File"))

    class Meta:
        model = ProductImage
        fields = ["alt", "position"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            # Not hidden: the cell must be there for the cells after it.
            self.fields["upload"] = forms.FileField(required=False, widget=_Nothing)

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
            mark_safe("<br>"),
            '<a href="{}">{} {}</a> {} KB',
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


class SeoForm(forms.ModelForm):
    """Texts for search engines, keywords in one line."""

    keywords = forms.CharField(
        label=gettext_lazy("Keywords"),
        required=False,
        max_length=500,
        help_text=gettext_lazy("By commas."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )

    class Meta:
        model = ProductSeo
        fields = ["title", "description", "keywords", "slug"]
        widgets = {"description": forms.Textarea(attrs={"rows": 3, "cols": 80})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["keywords"] = ", ".join(self.instance.keywords)

    def clean_keywords(self) -> list[str]:
        """Return the words by themselves."""
        words = [word.strip() for word in self.cleaned_data["keywords"].split(",")]
        return [word for word in words if word]


class SeoInline(admin.StackedInline):
    """What search engines are told."""

    model = ProductSeo
    form = SeoForm
    readonly_fields = ["written_by", "accepted_by"]

    # Whoever may change a product may change its texts.
    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("products.change_product")

    has_add_permission = has_change_permission = has_delete_permission = _may

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the product."""
        return request.user.has_perm("products.view_product") or self._may(request)


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
            **(_ledger(product, request.GET.get("before", "")) if may_look else {}),
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


def _order_link(movement: StockMovement) -> str:
    if movement.order_id is None:
        return ""
    # An address and no import: orders know products, not the other way round.
    url = reverse("admin:orders_order_change", args=[movement.order_id])
    return format_html('<a href="{}">{}</a>', url, str(movement.order_id)[-12:])


def _ledger(product: Product, before: str) -> dict[str, Any]:
    """Return a page of a product's movements, newest first: those older than `before`."""
    rows = product.movements.select_related("actor").order_by("-pk")
    if re.fullmatch("[0-9]{1,18}", before):
        rows = rows.filter(pk__lt=int(before))
    found = list(rows[: _MOVEMENTS + 1])
    return {
        "movements": [(row, _order_link(row)) for row in found[:_MOVEMENTS]],
        "older": found[_MOVEMENTS - 1].pk if len(found) > _MOVEMENTS else None,
        "newest": not before,
    }


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
class SuggestionAdmin(LongList):
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

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only providers suggest."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Decided by the actions alone."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was decided by whom is kept."""
        return False


@admin.register(StockMovement)
class StockMovementAdmin(LongList):
    """The ledger, to be read."""

    list_display = [
        "created_at", "product_link", "change", "reason", "balance_after", "order_link", "actor",
        "note",
    ]  # fmt: skip
    list_filter = ["reason", ("created_at", DaysFilter)]
    list_select_related = ["product", "actor"]
    sortable_by = ["created_at"]
    days = "created_at"
    # Without this there is no box to type into.
    search_fields = ["product"]
    search_help_text = gettext_lazy("SKU or words of the product, or the number of an order.")

    @admin.display(description=gettext_lazy("product"))
    def product_link(self, movement: StockMovement) -> str:
        """Lead to the product's own ledger."""
        url = reverse("admin:products_product_stock", args=[movement.product_id])
        return format_html('<a href="{}">{}</a>', url, movement.product)

    @admin.display(description=gettext_lazy("order"))
    def order_link(self, movement: StockMovement) -> str:
        """Lead to the order that it was for."""
        return _order_link(movement)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StockMovement], search_term: str
    ) -> tuple[QuerySet[StockMovement], bool]:
        """Find by order or product: keys first, since a join would read the whole ledger."""
        text = search_term.strip()
        if not text:
            return queryset, False
        with contextlib.suppress(ValueError):
            return queryset.filter(order_id=UUID(text)), False
        best = meant_by(Product.objects.all(), text).order_by("-sold_quantity", "-pk")
        products = list(best.values_list("pk", flat=True)[: _PRODUCTS + 1])
        rows = queryset.filter(product__in=products[:_PRODUCTS])
        # Not by the key itself: the database would walk down all of the ledger.
        newest = rows.order_by((F("pk") + 0).desc()).values_list("pk", flat=True)
        pks = list(newest[: _FOUND + 1])
        if (len(products) > _PRODUCTS or len(pks) > _FOUND) and request.method == "GET":
            text = _("More match than are looked through; write more of what you look for.")
            self.message_user(request, text, messages.WARNING)
        return queryset.filter(pk__in=pks[:_FOUND]), False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only through products.stock."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False
