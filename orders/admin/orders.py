"""Orders in the admin: the list, an order's page, and the buttons that call the API's code."""

from decimal import Decimal
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
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator, format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from orders import books, exports
from orders.actions import move_order, record_payment, return_items, settle_refund
from orders.admin.booking import NothingReturned, PaymentForm, ReturnForm
from orders.admin.filters import RefundFilter, UnpaidFilter
from orders.admin.history import movements, timeline
from orders.admin.inlines import ItemInline, PaymentInline, ReturnInline
from orders.bulk import BUTTONS, move_title, move_work
from orders.models import Order, Payment
from orders.search import find_orders
from orders.states import Status
from shop import bulk
from shop.errors import ShopError
from shop.lists import DaysFilter, ReadOnly


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


@admin.register(Order)
class OrderAdmin(ReadOnly):
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
                "events": timeline(order),
                "movements": movements(request, order),
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
