"""Orders under /api/v2."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from orders import actions, analytics, books, exports, reading
from orders.filters import ExportQuery, OrderQuery, SummaryQuery, filter_orders
from orders.metrics import counted
from orders.models import Order, OrderQuerySet, Payment
from orders.serializers import (
    CancelInput,
    OrderInput,
    OrderOutput,
    PaymentInput,
    PaymentList,
    ReturnInput,
    ReturnList,
    ReturnOutput,
    SettleInput,
    SummaryOutput,
    TrackingOutput,
    TransitionInput,
)
from orders.states import Status, table
from products.models import Category
from products.stock import InsufficientStock, StockLimit
from shop.errors import refuses
from shop.fields import read_key
from shop.idempotency import once_per_key
from shop.inputs import NO_SUCH_THING, checked, read_query, read_query_and_body
from shop.pages import paginate
from shop.rest import json_response
from shop.schema import ATTACHMENT, IDEMPOTENCY_KEY, location_of, page_of
from shop.viewsets import ShopViewSet, caller

T = TypeVar("T")


class OrderViewSet(ShopViewSet):
    """Orders: one's own, or all for the order desk."""

    lookup_url_kwarg = "id"
    rights: ClassVar[dict[str, str | bool | None]] = {
        "list": True,
        "retrieve": True,
        "create": True,
        "cancel": True,
        "transitions": "orders.change_order",
        "tracking": True,
        "summary": "orders.view_analytics",
        "export": True,
        "payments": True,
        "add_payment": "orders.add_payment",
        "settle_refund": "orders.change_payment",
        "returns": True,
        "add_return": "orders.add_return",
    }
    with_query = frozenset({"list", "cancel", "summary", "export"})
    id_schema: ClassVar[dict[str, Any]] = {"type": "string", "format": "uuid"}

    @extend_schema(parameters=[OrderQuery], responses=page_of(OrderOutput))
    def list(self, request: Request) -> HttpResponse:
        """Orders, newest first."""
        query = read_query(request, OrderQuery)
        rows = filter_orders(Order.objects.visible_to(caller(request)), query)
        window = paginate(request, query, rows.all, reading.SOURCE)
        return json_response({"results": window.rows, **window.envelope})

    @extend_schema(responses=OrderOutput)
    def retrieve(self, request: Request, id: str) -> HttpResponse:
        """One order."""
        found = reading.read_orders(self._visible(request, id))
        if not found:
            raise Http404
        return json_response(found[0])

    @extend_schema(
        request=OrderInput,
        responses={201: OrderOutput},
        parameters=[IDEMPOTENCY_KEY, location_of("/api/v2/orders", 201)],
    )
    @refuses(
        actions.UnknownProducts, actions.PriceChanged, actions.AmountTooLarge, InsufficientStock
    )
    @counted
    @once_per_key
    def create(self, request: Request) -> HttpResponse:
        """Place an order and take its stock, all or nothing."""
        data = checked(OrderInput, request.data)
        customer = caller(request)
        placed = actions.place_order(
            customer=customer,
            lines=[actions.Line(**item) for item in data.pop("items")],
            address={**data.pop("shipping_address"), **data, "language": get_language() or ""},
        )
        location = f"/api/v2/orders/{placed.order.pk}"
        return json_response(reading.placed_json(placed, customer), 201, {"Location": location})

    @extend_schema(
        request=CancelInput,
        responses=OrderOutput,
        parameters=[CancelInput, IDEMPOTENCY_KEY],
        description="Query parameters or a JSON body, not the same name in both.",
    )
    @action(detail=True, methods=["post"])
    @refuses(actions.IllegalTransition, StockLimit)
    @once_per_key
    def cancel(self, request: Request, id: str) -> HttpResponse:
        """Cancel an order that has not been shipped; its stock returns."""
        data = read_query_and_body(request, CancelInput)
        order = self._get(request, id, "orders.change_order")
        actions.cancel_order(order_id=order.pk, actor=caller(request), reason=data["reason"])
        return json_response(_read(order.pk))

    @extend_schema(
        request=TransitionInput,
        responses=OrderOutput,
        parameters=[IDEMPOTENCY_KEY],
        description=f"Move an order to another state.\n\n{table()}",
    )
    @action(detail=True, methods=["post"])
    @refuses(actions.IllegalTransition, StockLimit)
    @once_per_key
    def transitions(self, request: Request, id: str) -> HttpResponse:
        """Move an order to another state."""
        data = checked(TransitionInput, request.data)
        order = self._get(request, id)
        to = Status(data.pop("status"))
        actions.move_order(order_id=order.pk, to=to, actor=caller(request), **data)
        return json_response(_read(order.pk))

    @extend_schema(responses=TrackingOutput)
    @action(detail=True, methods=["get"])
    def tracking(self, request: Request, id: str) -> HttpResponse:
        """The order's timeline and what comes next."""
        rows = self._visible(request, id)
        return json_response(_found(reading.read_tracking(UUID(id), rows)))

    @extend_schema(responses=PaymentList)
    @action(detail=True, methods=["get"])
    def payments(self, request: Request, id: str) -> HttpResponse:
        """An order's payments and refunds."""
        shown = self._part(request, id, "orders.view_payment", reading.read_payments)
        return json_response({"results": shown})

    @extend_schema(request=PaymentInput, responses={201: OrderOutput}, parameters=[IDEMPOTENCY_KEY])
    @payments.mapping.post
    @refuses(actions.OrderCancelled, books.Overpaid, books.DuplicatePayment)
    @once_per_key
    def add_payment(self, request: Request, id: str) -> HttpResponse:
        """Write down money that came in. When it covers the total, the order is paid."""
        data = checked(PaymentInput, request.data)
        order = self._get(request, id)
        actions.record_payment(order_id=order.pk, actor=caller(request), **data)
        return json_response(_read(order.pk), 201)

    @extend_schema(request=SettleInput, responses=OrderOutput, parameters=[IDEMPOTENCY_KEY])
    @action(detail=True, methods=["post"], url_path="refunds/<str:refund>/settle")
    @refuses(books.AlreadySettled)
    @once_per_key
    def settle_refund(self, request: Request, id: str, refund: str) -> HttpResponse:
        """Write down that a refund was sent."""
        data = checked(SettleInput, request.data)
        order = self._get(request, id)
        try:
            actions.settle_refund(
                order_id=order.pk, refund_id=read_key(refund), actor=caller(request), **data
            )
        except Payment.DoesNotExist:
            raise Http404 from None
        return json_response(_read(order.pk))

    @extend_schema(responses=ReturnList)
    @action(detail=True, methods=["get"])
    def returns(self, request: Request, id: str) -> HttpResponse:
        """What came back of an order."""
        shown = self._part(request, id, "orders.view_return", reading.read_returns)
        return json_response({"results": shown})

    @extend_schema(request=ReturnInput, responses={201: ReturnOutput}, parameters=[IDEMPOTENCY_KEY])
    @returns.mapping.post
    @refuses(actions.UnknownProducts, actions.NotDelivered, actions.ReturnExceedsOrder, StockLimit)
    @once_per_key
    def add_return(self, request: Request, id: str) -> HttpResponse:
        """Take goods back after delivery; what they cost becomes a refund that is due."""
        data = checked(ReturnInput, request.data)
        order = self._get(request, id)
        quantities: dict[int, int] = {}
        for line in data.pop("items"):
            product_id = line["product_id"]
            quantities[product_id] = quantities.get(product_id, 0) + line["quantity"]
        made = actions.return_items(
            order_id=order.pk, quantities=quantities, actor=caller(request), **data
        )
        (shown,) = _found(reading.read_returns(Order.objects.filter(returns=made.pk)))
        return json_response(shown, 201)

    @extend_schema(parameters=[SummaryQuery], responses=SummaryOutput)
    @action(detail=False, methods=["get"], url_path="analytics/summary")
    def summary(self, request: Request) -> HttpResponse:
        """What was sold, by day, week or month, by category and product."""
        query = read_query(request, SummaryQuery)
        path = None
        if slug := query.get("category"):
            path = Category.objects.filter(slug=slug).values_list("path", flat=True).first()
            if path is None:
                raise ValidationError(
                    {"category": [_("There is no such category.")]}, NO_SUCH_THING
                )
        question = analytics.Question(
            start=query["start_date"],
            end=query["end_date"],
            interval=query["interval"],
            category=path,
            product=query.get("product"),
            top=query["top"],
            compare=query["compare"] == "true",
        )
        return json_response(analytics.summarise(question))

    @extend_schema(
        parameters=[ExportQuery, ATTACHMENT],
        responses={(200, "text/csv"): bytes, (200, exports.XLSX): bytes},
    )
    @action(detail=False, methods=["get"])
    @refuses(exports.ExportTooLarge, (503, "streams_busy"))
    def export(self, request: Request) -> StreamingHttpResponse:
        """The list as a file, with the list's filters and the caller's rights."""
        query = read_query(request, ExportQuery)
        rows = filter_orders(Order.objects.visible_to(caller(request)), query)
        exports.check_size(rows)
        return exports.response(rows, query["format"])

    def _visible(self, request: Request, id: str) -> OrderQuerySet:
        """Narrow to one order; somebody else's is not there, for whoever asks."""
        try:
            return Order.objects.visible_to(caller(request)).filter(pk=UUID(id))
        except ValueError:
            raise Http404 from None

    def _get(self, request: Request, id: str, right: str = "") -> Order:
        """Return one order that the caller may see.

        With `right`, whose it is not needs that one besides seeing it.
        """
        order = self._visible(request, id).first()
        if order is None:
            raise Http404
        user = caller(request)
        if right and order.customer_id != user.pk and not user.has_perm(right):
            raise PermissionDenied
        return order

    def _part(
        self, request: Request, id: str, right: str, read: Callable[[OrderQuerySet], T | None]
    ) -> T:
        """Return what `read` makes of one order; rights as for `_get`, without reading it first."""
        rows, user = self._visible(request, id), caller(request)
        # Of a customer only their own are visible.
        if not user.is_staff or user.has_perm(right):
            return _found(read(rows))
        shown = read(rows.filter(customer=user))
        if shown is None and rows.exists():
            raise PermissionDenied
        return _found(shown)


def _found(shown: T | None) -> T:
    if shown is None:
        raise Http404
    return shown


def _read(order_id: UUID) -> dict[str, Any]:
    return reading.read_orders(Order.objects.filter(pk=order_id))[0]
