"""Orders in the admin: looked at, and moved by buttons that call the API's code."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from orders.actions import move_order
from orders.models import Order, OrderItem
from orders.states import Status
from shop.errors import ShopError
from shop.events.models import Event


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


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders. Nothing of an order is edited; it is moved."""

    list_display = ["id", "customer", "status", "total", "recipient", "created_at"]
    list_filter = ["status", "created_at"]
    list_select_related = ["customer"]
    search_fields = ["=id", "customer__username", "recipient", "phone", "email", "tracking_number"]
    inlines = [ItemInline]
    actions = [_move_action(status) for status in Status if status is not Status.PENDING]
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
        return [move, *super().get_urls()]

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
            }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

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
