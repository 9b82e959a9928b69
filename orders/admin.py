"""Orders in the admin: looked at, and moved by buttons that call the API's code."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator, format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from orders import books, exports
from orders.actions import move_order, record_payment, return_items, settle_refund
from orders.bulk import BUTTONS, move_title, move_work
from orders.models import SHORT_ID, Order, OrderItem, Payment, Return
from orders.reading import event_name
from orders.search import by_number, find_orders
from orders.states import Status
from products.models import StockMovement
from shop import bulk
from shop.errors import ShopError
from shop.events.models import Event
from shop.lists import DaysFilter, LongList
from shop.money import to_minor, written


class ItemInline(admin.TabularInline):
    """What was bought."""

    model = OrderItem
    fields = readonly_fields = ("bought_as", "sku", "price", "quantity", "line_total")
    extra = 0
    can_delete = False

    @admin.display(description=gettext_lazy("product"))
    def bought_as(self, item: OrderItem) -> str:
        """Lead to the product by the name that it had."""
        url = reverse("admin:products_product_change", args=[item.product_id])
        return format_html('<a href="{}">{}</a>', url, item.product_name)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An order's lines are what was bought."""
        return False


class _ReadOnly(admin.TabularInline):
    """Rows that are written by actions alone."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Through the buttons."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books are not edited."""
        return False


class PaymentInline(_ReadOnly):
    """Money in and back."""

    model = Payment
    fields = readonly_fields = (
        "created_at", "kind", "method", "reference", "amount", "state", "note", "actor",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        """Fetch who booked them."""
        return super().get_queryset(request).select_related("actor")


class ReturnInline(_ReadOnly):
    """What came back."""

    model = Return
    fields = readonly_fields = ("created_at", "what", "reason", "restock", "refund", "actor")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Return]:
        """Fetch the lines as well."""
        rows = super().get_queryset(request).select_related("actor", "refund")
        return rows.prefetch_related("items__item")

    @admin.display(description=gettext_lazy("items"))
    def what(self, made: Return) -> str:
        """How much of what."""
        return ", ".join(f"{part.quantity} × {part.item.product_name}" for part in made.items.all())


class PaymentForm(forms.Form):
    """Money that came in."""

    amount = forms.DecimalField(label=gettext_lazy("Amount"), max_digits=15, min_value=0)
    method = forms.ChoiceField(label=gettext_lazy("Method"), choices=Payment.Method.choices)
    reference = forms.CharField(label=gettext_lazy("Reference"), max_length=100, required=False)
    note = forms.CharField(label=gettext_lazy("Note"), max_length=200, required=False)

    def clean_amount(self) -> Any:
        """Take what the currency can express, and more than nothing."""
        amount = self.cleaned_data["amount"]
        to_minor(amount)
        if amount <= 0:
            raise forms.ValidationError(_("A payment is more than nothing."))
        return amount


class NothingReturned(ShopError):
    """A return without a line."""


class ReturnForm(forms.Form):
    """Goods that came back: a quantity for each line."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=100)
    restock = forms.BooleanField(label=gettext_lazy("Back into stock"), required=False)

    def __init__(self, order: Order, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for item in order.items.all():
            self.fields[f"item_{item.product_id}"] = forms.IntegerField(
                label=item.product_name,
                min_value=0,
                max_value=item.quantity,
                required=False,
                initial=0,
            )
        self.order_fields(sorted(self.fields, key=lambda name: not name.startswith("item_")))

    @property
    def quantities(self) -> dict[int, int]:
        """What came back, by product."""
        return {
            int(name.removeprefix("item_")): value
            for name, value in self.cleaned_data.items()
            if name.startswith("item_") and value
        }


def _move_action(to: Status) -> Any:
    work = move_work(to)

    @admin.action(description=move_title(to), permissions=["move"])
    def move_to(
        modeladmin: "OrderAdmin", request: HttpRequest, queryset: QuerySet[Order]
    ) -> HttpResponse | None:
        return bulk.run(modeladmin, request, queryset, work)

    move_to.__name__ = work.name
    return move_to


def _export_action(kind: exports.Format) -> Any:
    @admin.action(
        description=format_lazy("{} {}", gettext_lazy("Export as"), kind.upper()),
        permissions=["view"],
    )
    def export(
        modeladmin: "OrderAdmin", request: HttpRequest, queryset: QuerySet[Order]
    ) -> StreamingHttpResponse | None:
        try:
            exports.check_size(queryset)
        except ShopError as error:
            modeladmin.message_user(request, error.detail, messages.ERROR)
            return None
        return exports.response(queryset, kind)

    export.__name__ = f"export_{kind}"
    return export


class RefundFilter(admin.SimpleListFilter):
    """Orders for which money has to go back."""

    title = gettext_lazy("refund due")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The one choice."""
        return [("yes", gettext_lazy("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Narrow the list."""
        return queryset.filter(refund_due__gt=0) if self.value() else queryset


class UnpaidFilter(admin.SimpleListFilter):
    """Orders that have waited for their money."""

    title = gettext_lazy("unpaid for more than")
    parameter_name = "unpaid"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Hours, up to those after which an order is cancelled."""
        return [
            (str(hours), ngettext("%d hour", "%d hours", hours) % hours)
            for hours in sorted({1, 6, 24, settings.UNPAID_ORDER_HOURS})
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Narrow the list."""
        if self.value() not in {value for value, _title in self.lookup_choices}:
            return queryset
        waited = timedelta(hours=int(str(self.value())))
        # The whole list is of this queryset's class.
        return queryset.unpaid_since(timezone.now() - waited)  # type: ignore[attr-defined, no-any-return]


# Of one order, on its page.
_SHOWN = 200


@admin.register(Order)
class OrderAdmin(LongList):
    """Orders. Nothing of an order is edited; it is moved."""

    list_display = [
        "number", "status", "placed", "customer", "recipient", "bought", "total", "due",
    ]  # fmt: skip
    list_filter = ["status", RefundFilter, UnpaidFilter, ("created_at", DaysFilter)]
    list_select_related = ["customer"]
    list_prefetch_related = ("items",)
    ordering = ["-id"]
    # By any other column the database would sort them all.
    sortable_by = ["placed"]
    days = "created_at"
    # What is searched is said in orders.search; without this there is no box.
    search_fields = ["id"]
    search_help_text = gettext_lazy(
        "Number or its last 12 characters, customer, e-mail, recipient, phone or its last 4"
        " digits, tracking number, product or SKU. Names from their beginning."
    )
    inlines = [ItemInline, PaymentInline, ReturnInline]
    actions = [
        *(_move_action(status) for status in Status if status is not Status.PENDING),
        _export_action("csv"),
        _export_action("xlsx"),
    ]
    fieldsets = [
        (None, {"fields": ["id", "customer", "status", "created_at", "updated_at", "live_page"]}),
        (
            gettext_lazy("Money"),
            {
                "fields": [
                    "items_total", "shipping_fee", "total", "currency", "paid", "refunded",
                    "refund_due",
                ]
            },
        ),
        (
            gettext_lazy("Delivery"),
            {
                "fields": [
                    "recipient", "phone", "email", "street", "city", "postal_code", "memo",
                    "carrier", "tracking_number", "cancel_reason",
                ]
            },
        ),
    ]  # fmt: skip
    change_form_template = "admin/orders/order/change_form.html"

    @admin.display(description=gettext_lazy("order"))
    def number(self, order: Order) -> str:
        """Return what it is called by."""
        return order.short_id

    @admin.display(description=gettext_lazy("placed"), ordering="created_at")
    def placed(self, order: Order) -> str:
        """Return when, in few letters."""
        return date_format(timezone.localtime(order.created_at), "SHORT_DATETIME_FORMAT")

    @admin.display(description=gettext_lazy("items"))
    def bought(self, order: Order) -> str:
        """Name the first of what was bought, and say how many more there are."""
        items = list(order.items.all())
        more = f" +{len(items) - 1}" if len(items) > 1 else ""
        return f"{Truncator(str(items[0])).chars(40)}{more}" if items else ""

    @admin.display(description=gettext_lazy("refund due"), empty_value="")
    def due(self, order: Order) -> Decimal | None:
        """Return what has to be sent back, nothing where that is nothing."""
        return order.refund_due or None

    @admin.display(description=gettext_lazy("the buyer's page"))
    def live_page(self, order: Order) -> str:
        """Lead to what the buyer sees."""
        url = reverse("order-track", args=[order.pk])
        return format_html('<a href="{}">{}</a>', url, _("Follow it live"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find by anything that people have at hand."""
        if not search_term.strip():
            return queryset, False
        found = find_orders(queryset, search_term)
        if found.is_cut and request.method == "GET":
            text = _("More orders match than are looked through; write more of what you look for.")
            self.message_user(request, text, messages.WARNING)
        return queryset.filter(pk__in=found.pks), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Orders are placed by customers."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No field is edited: what can be done are moves."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books stay whole."""
        return False

    def has_move_permission(self, request: HttpRequest) -> bool:
        """Whoever may change orders."""
        return request.user.has_perm("orders.change_order")

    def get_urls(self) -> list[URLPattern]:
        """Add the buttons' address."""
        move = path(
            "<uuid:pk>/move/", self.admin_site.admin_view(self.move_page), name="orders_order_move"
        )
        view = self.admin_site.admin_view
        return [
            move,
            path("<uuid:pk>/payment/", view(self.payment_page), name="orders_order_payment"),
            path("<uuid:pk>/return/", view(self.return_page), name="orders_order_return"),
            path(
                "<uuid:pk>/refund/<int:refund>/",
                view(self.refund_page),
                name="orders_order_refund",
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the order with its timeline and the moves that it can make."""
        order = self.get_object(request, object_id)
        extra: dict[str, Any] = {"show_close": True}
        if order is not None:
            extra |= {
                "moves": [(to, BUTTONS[to]) for to in order.moves]
                if self.has_move_permission(request)
                else [],
                "events": _timeline(order),
                "movements": _movements(request, order),
                **self._money_forms(request, order),
            }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def _money_forms(self, request: HttpRequest, order: Order) -> dict[str, Any]:
        """What can be booked for this order by whoever looks at it."""
        may = request.user.has_perm
        rest = books.open_amount(order)
        delivered = order.status in (Status.DELIVERED, Status.COMPLETED)
        return {
            "payment_form": PaymentForm(initial={"amount": rest})
            if rest and order.status != Status.CANCELLED and may("orders.add_payment")
            else None,
            "return_form": ReturnForm(order) if delivered and may("orders.add_return") else None,
            "refunds_due": order.payments.filter(state=Payment.State.DUE)
            if order.refund_due and may("orders.change_payment")
            else [],
        }

    def _back(self, pk: UUID) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:orders_order_change", args=[pk]))

    def _check(self, request: HttpRequest, permission: str) -> None:
        """Refuse who may not book, or not even see orders; before anything is looked up."""
        if not (request.user.has_perm(permission) and self.has_view_permission(request)):
            raise PermissionDenied

    def _book(self, request: HttpRequest, form: forms.Form | None, book: Any, done: str) -> None:
        """Check the form, then book; tell what came of it."""
        if form is not None and not form.is_valid():
            for name, errors in form.errors.items():
                messages.error(request, f"{name}: {' '.join(map(str, errors))}")
            return
        try:
            book()
        except ShopError as error:
            messages.error(request, error.detail)
        except (Order.DoesNotExist, Payment.DoesNotExist):
            raise Http404 from None
        else:
            messages.success(request, done)

    @method_decorator(require_POST)
    def payment_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Write down money that came in."""
        self._check(request, "orders.add_payment")
        form = PaymentForm(request.POST)
        self._book(
            request,
            form,
            lambda: record_payment(order_id=pk, actor=request.user, **form.cleaned_data),  # type: ignore[arg-type]
            _("The payment is booked."),
        )
        return self._back(pk)

    @method_decorator(require_POST)
    def return_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Take goods back."""
        self._check(request, "orders.add_return")
        form = ReturnForm(get_object_or_404(Order, pk=pk), request.POST)

        def book() -> None:
            if not form.quantities:
                raise NothingReturned(_("Say how many of which product came back."))
            return_items(
                order_id=pk,
                quantities=form.quantities,
                reason=form.cleaned_data["reason"],
                restock=form.cleaned_data["restock"],
                actor=request.user,  # type: ignore[arg-type]
            )

        self._book(request, form, book, _("The return is booked."))
        return self._back(pk)

    @method_decorator(require_POST)
    def refund_page(self, request: HttpRequest, pk: UUID, refund: int) -> HttpResponse:
        """Write down that a refund was sent."""
        self._check(request, "orders.change_payment")
        reference = request.POST.get("reference", "").strip()[:100]
        self._book(
            request,
            None,
            lambda: settle_refund(
                order_id=pk,
                refund_id=refund,
                reference=reference,
                actor=request.user,  # type: ignore[arg-type]
            ),
            _("The refund is settled."),
        )
        return self._back(pk)

    def move_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Move one order and go back to it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_move_permission(request):
            raise PermissionDenied
        to = request.POST.get("status", "")
        if to not in Status.values:
            messages.error(request, _("There is no such state."))
        elif self.move(
            request,
            pk,
            Status(to),
            carrier=request.POST.get("carrier", "").strip()[:60],
            tracking_number=request.POST.get("tracking_number", "").strip()[:60],
            reason=request.POST.get("reason", "").strip()[:100],
        ):
            messages.success(request, _("The order is %s now.") % Status(to).label)
        return HttpResponseRedirect(reverse("admin:orders_order_change", args=[pk]))

    def move(self, request: HttpRequest, order_id: UUID, to: Status, **details: str) -> bool:
        """Move one order; tell of a refusal. Returns whether it moved."""
        if to is not Status.SHIPPED:
            details.pop("carrier", None)
            details.pop("tracking_number", None)
        try:
            move_order(order_id=order_id, to=to, actor=request.user, **details)  # type: ignore[arg-type]
        except (ShopError, Order.DoesNotExist) as error:
            detail = error.detail if isinstance(error, ShopError) else _("There is no such order.")
            self.message_user(request, f"{order_id}: {detail}", messages.ERROR)
            return False
        return True


def _timeline(order: Order) -> list[tuple[Event, str, str]]:
    events = Event.objects.filter(subject=order.subject).select_related("actor")
    return [
        (event, event_name(event.type), _details(event.data))
        for event in events.order_by("sequence")[:_SHOWN]
    ]


def _amount(text: str) -> str:
    amount = Decimal(text)
    return written(amount) if amount else ""


# What of an event's data is told beside its name, and how.
_DETAILS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "amount": (gettext_lazy("amount"), _amount),
    "method": (gettext_lazy("method"), lambda method: Payment.Method(method).label),
    "carrier": (gettext_lazy("carrier"), str),
    "tracking_number": (gettext_lazy("tracking number"), str),
    "reason": (gettext_lazy("reason"), str),
    "refund_due": (gettext_lazy("refund due"), _amount),
}


def _details(data: dict[str, Any]) -> str:
    facts = [
        (label, show(data[name])) for name, (label, show) in _DETAILS.items() if data.get(name)
    ]
    told = [f"{label}: {fact}" for label, fact in facts if fact]
    for item in data.get("items", ()):
        product = _("product %s") % item["product_id"]
        told.append(f"{item['quantity']} × {product}")
    return ", ".join(told)


def _movements(request: HttpRequest, order: Order) -> QuerySet[StockMovement] | None:
    if not request.user.has_perm("products.view_stockmovement"):
        return None
    rows = StockMovement.objects.filter(order_id=order.pk).select_related("product", "actor")
    return rows.order_by("pk")[:_SHOWN]


class DueFilter(admin.SimpleListFilter):
    """What has to be sent back."""

    title = gettext_lazy("refund due")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The one choice."""
        return [("yes", gettext_lazy("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        """Narrow the list."""
        return queryset.filter(state=Payment.State.DUE) if self.value() else queryset


@admin.register(Payment)
class PaymentAdmin(LongList):
    """Payments and refunds, to be read; booked on the order's page."""

    list_display = ["created_at", "kind", "order_link", "method", "amount", "state", "reference"]
    list_filter = [DueFilter, "kind", "method", ("created_at", DaysFilter)]
    sortable_by = ["created_at"]
    days = "created_at"
    # Without this there is no box to type into.
    search_fields = ["reference"]
    search_help_text = gettext_lazy(
        "The provider's reference, or the order's number or its last 12 characters."
    )
    list_display_links = None
    ordering = ["-id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        """Find by what the provider or the shop calls it."""
        text = search_term.strip()
        if not text:
            return queryset, False
        of_orders = list(by_number(Order.objects.all(), text).values_list("pk", flat=True)[:10])
        if of_orders:
            return queryset.filter(order__in=of_orders), False
        return queryset.exclude(reference="").filter(reference=text), False

    @admin.display(description=gettext_lazy("order"))
    def order_link(self, payment: Payment) -> str:
        """Where it can be booked."""
        url = reverse("admin:orders_order_change", args=[payment.order_id])
        return format_html('<a href="{}">{}</a>', url, str(payment.order_id)[-SHORT_ID:])

    def has_add_permission(self, request: HttpRequest) -> bool:
        """On the order's page."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books are not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books stay whole."""
        return False
