"""Orders in the admin: looked at, and moved by buttons that call the API's code."""

from typing import Any
from uuid import UUID

from django import forms
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
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from orders import books, exports
from orders.actions import move_order, record_payment, return_items, settle_refund
from orders.models import Order, OrderItem, Payment, Return
from orders.states import Status
from shop.errors import ShopError
from shop.events.models import Event
from shop.money import to_minor


class ItemInline(admin.TabularInline):
    """What was bought."""

    model = OrderItem
    fields = readonly_fields = ("product", "product_name", "sku", "price", "quantity", "line_total")
    raw_id_fields = ["product"]
    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrderItem]:
        """Fetch the products with the lines."""
        return super().get_queryset(request).select_related("product")

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
    @admin.action(
        description=gettext_lazy("Move to: %(state)s") % {"state": to.label}, permissions=["move"]
    )
    def move_to(modeladmin: "OrderAdmin", request: HttpRequest, queryset: QuerySet[Order]) -> None:
        moved = 0
        for order_id in queryset.values_list("pk", flat=True):
            moved += modeladmin.move(request, order_id, to)
        if moved:
            modeladmin.message_user(request, _("%d moved.") % moved, messages.SUCCESS)

    move_to.__name__ = f"move_to_{to.value}"
    return move_to


def _export_action(kind: exports.Format) -> Any:
    @admin.action(description=gettext_lazy("Export as %s") % kind.upper(), permissions=["view"])
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


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders. Nothing of an order is edited; it is moved."""

    list_display = ["id", "customer", "status", "total", "recipient", "created_at"]
    list_filter = ["status", "created_at"]
    list_select_related = ["customer"]
    search_fields = ["=id", "customer__username", "recipient", "phone", "email", "tracking_number"]
    inlines = [ItemInline, PaymentInline, ReturnInline]
    actions = [
        *(_move_action(status) for status in Status if status is not Status.PENDING),
        _export_action("csv"),
        _export_action("xlsx"),
    ]
    change_form_template = "admin/orders/order/change_form.html"
    show_full_result_count = False

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
                "moves": order.moves if self.has_move_permission(request) else [],
                "events": Event.objects.filter(subject=order.subject).select_related("actor"),
                "ships": Status.SHIPPED in order.moves,
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
class PaymentAdmin(admin.ModelAdmin):
    """Payments and refunds, to be read; booked on the order's page."""

    list_display = ["created_at", "kind", "order_link", "method", "amount", "state", "reference"]
    list_filter = [DueFilter, "kind", "method"]
    search_fields = ["=order__id", "=reference"]
    list_display_links = None
    ordering = ["-id"]
    show_full_result_count = False

    @admin.display(description=gettext_lazy("order"))
    def order_link(self, payment: Payment) -> str:
        """Where it can be booked."""
        url = reverse("admin:orders_order_change", args=[payment.order_id])
        return format_html('<a href="{}">{}</a>', url, payment.order_id)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """On the order's page."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books are not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books stay whole."""
        return False
