"""Viewsets of the plain API."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils.translation import gettext as _
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import ParseError
from rest_framework.pagination import PageNumberPagination
from rest_framework.parsers import JSONParser
from rest_framework.permissions import (
    BasePermission,
    DjangoModelPermissionsOrAnonReadOnly,
    IsAuthenticated,
)
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from benchmarks.v1.serializers import (
    OrderSerializer,
    ProductSerializer,
    ProductWriteSerializer,
)
from orders.actions import AmountTooLarge, PriceChanged, UnknownProducts, shipping_fee_for
from orders.metrics import counted
from orders.models import Order, OrderItem
from orders.states import Status
from products import stock
from products.actions import change_product, create_product, retire_product
from products.models import Product
from shop.accounts.models import User
from shop.accounts.throttles import rate_limit_headers
from shop.events.record import record
from shop.idempotency import once_per_key
from shop.money import MAX_MINOR, from_minor, on_the_wire
from shop.rest import read_json_body
from shop.viewsets import LimitedFirst, caller

_SOLD = (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED, Status.COMPLETED)


class Pages(PageNumberPagination):
    """Twenty a page, with a count."""

    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


class Parser(JSONParser):
    """The framework's parser; a body nested too deep is the client's error, not ours."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the parsed body."""
        try:
            return super().parse(BytesIO(read_json_body(stream)), media_type, parser_context)
        except RecursionError:
            raise ParseError(_("The body is nested too deep.")) from None


def _rendered(response: Response) -> Response:
    """Render an answer at once: an Idempotency-Key keeps its bytes."""
    response.accepted_renderer = JSONRenderer()
    response.accepted_media_type = JSONRenderer.media_type
    response.renderer_context = {}  # type: ignore[attr-defined]
    return cast(Response, response.render())


class Plain(LimitedFirst, viewsets.GenericViewSet[Any]):
    """What both viewsets share."""

    renderer_classes = (JSONRenderer,)
    parser_classes = (Parser,)
    pagination_class = Pages

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Say what is left of the caller's rate limit."""
        response = super().finalize_response(request, response, *args, **kwargs)
        figures = getattr(request._request, "rate_limit", None)
        if figures is not None:
            for name, value in rate_limit_headers(*figures).items():
                response[name] = value
        return response


class ProductViewSet(Plain, viewsets.ModelViewSet[Product]):
    """Products: readable by everybody, changed by staff."""

    permission_classes = (DjangoModelPermissionsOrAnonReadOnly,)
    queryset = Product.objects.select_related("category").order_by("-id")

    def get_queryset(self) -> QuerySet[Product]:
        """A list shows what is on sale; by its id, a retired product is found too."""
        products = super().get_queryset()
        return products.filter(retired_at__isnull=True) if self.action == "list" else products

    def get_serializer_class(self) -> type[BaseSerializer[Product]]:
        """One shape to read, one to write."""
        reading = self.action in ("list", "retrieve")
        return ProductSerializer if reading else ProductWriteSerializer

    @action(detail=False)
    def search(self, request: Request) -> Response:
        """Products on sale whose name contains `q`, best sellers first."""
        q = request.query_params.get("q", "")
        if "\0" in q:
            raise ParseError(_("A text holds a NUL character."))
        products = Product.objects.select_related("category").filter(
            retired_at__isnull=True, name__icontains=q
        )
        page = self.paginate_queryset(products.order_by("-sold_quantity", "-id"))
        return self.get_paginated_response(ProductSerializer(page, many=True).data)

    @once_per_key
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Create a product."""
        return _rendered(super().create(request, *args, **kwargs))

    def perform_create(self, serializer: BaseSerializer[Product]) -> None:
        """Create it with its first stock booked."""
        product = create_product(actor=caller(self.request), **serializer.validated_data)
        product.refresh_from_db()
        serializer.instance = product

    def perform_update(self, serializer: BaseSerializer[Product]) -> None:
        """Change all but the stock."""
        fields = {**serializer.validated_data}
        fields.pop("stock_quantity", None)
        change_product(cast(Product, serializer.instance), **fields)

    def perform_destroy(self, instance: Product) -> None:
        """Retire it: orders keep pointing at it."""
        retire_product(instance.pk)


class OrderViewSet(
    Plain,
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.ListModelMixin,
):
    """One's own orders."""

    permission_classes = (IsAuthenticated,)
    serializer_class = OrderSerializer
    queryset = Order.objects.select_related("customer").prefetch_related("items")

    def get_queryset(self) -> QuerySet[Order]:
        """Nobody else's."""
        return super().get_queryset().filter(customer=caller(self.request))

    @counted
    @once_per_key
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Place an order."""
        return _rendered(super().create(request, *args, **kwargs))

    def perform_create(self, serializer: BaseSerializer[Order]) -> None:
        """Place it, all or nothing."""
        serializer.instance = place(caller(self.request), serializer.validated_data)


class SeesAnalytics(BasePermission):
    """The right that v2 asks for as well: not every member of staff may see what was sold."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Ask for it."""
        return request.user.has_perm("orders.view_analytics")


class SummaryView(LimitedFirst, APIView):
    """What was sold: totals, days, the best ten."""

    renderer_classes = (JSONRenderer,)
    permission_classes = (SeesAnalytics,)

    def get(self, request: Request) -> Response:
        """Add it up from the orders between two days."""
        try:
            start = date.fromisoformat(request.query_params["start_date"])
            end = date.fromisoformat(request.query_params["end_date"])
        except (KeyError, ValueError):
            raise ParseError(_("start_date and end_date are days.")) from None
        orders = Order.objects.filter(
            created_at__date__gte=start, created_at__date__lte=end, status__in=_SOLD
        ).order_by()
        items = OrderItem.objects.filter(order__in=orders).order_by()
        days = (
            orders.annotate(day=TruncDate("created_at"))
            .values("day")
            .annotate(revenue=Sum("total"), orders=Count("id"))
            .order_by("day")
        )
        top = (
            items.values("product_id", "product_name")
            .annotate(revenue=Sum("line_total"), quantity=Sum("quantity"))
            .order_by("-revenue", "product_id")[:10]
        )
        return Response(
            {
                "revenue": float(orders.aggregate(total=Sum("total"))["total"] or 0),
                "orders": orders.count(),
                "items": items.aggregate(total=Sum("quantity"))["total"] or 0,
                "days": [{**day, "revenue": float(day["revenue"])} for day in days],
                "top_products": [
                    {**product, "revenue": float(product["revenue"])} for product in top
                ],
            }
        )


@transaction.atomic
def place(customer: User, data: Mapping[str, Any]) -> Order:
    """Lock the products, check, write the order, take the stock.

    Raises:
        UnknownProducts, PriceChanged, AmountTooLarge, stock.InsufficientStock.
    """
    fields = dict(data)
    lines = fields.pop("items")
    quantities: dict[int, int] = {}
    for line in lines:
        pk = line["product_id"]
        quantities[pk] = quantities.get(pk, 0) + line["quantity"]

    products = {
        product.pk: product
        for product in Product.objects.select_for_update()
        .filter(pk__in=quantities, retired_at__isnull=True)
        .order_by("pk")
    }
    if unknown := [str(pk) for pk in quantities if pk not in products]:
        raise UnknownProducts(_("Some products are not on sale."), product_ids=unknown)
    changed = [
        {
            "product_id": str(line["product_id"]),
            "old_price": on_the_wire(line["price"]),
            "new_price": on_the_wire(products[line["product_id"]].price),
        }
        for line in lines
        if "price" in line and line["price"] != products[line["product_id"]].price
    ]
    if changed:
        raise PriceChanged(_("Some prices have changed."), items=changed)
    items_total = sum(
        (products[pk].price * quantity for pk, quantity in quantities.items()), start=Decimal(0)
    )
    if items_total > from_minor(MAX_MINOR):
        raise AmountTooLarge(_("The order's total is too large."))
    shipping_fee = shipping_fee_for(items_total)

    order = Order.objects.create(
        customer=customer,
        currency=settings.CURRENCY,
        items_total=items_total,
        shipping_fee=shipping_fee,
        total=items_total + shipping_fee,
        **fields,
    )
    OrderItem.objects.bulk_create(
        OrderItem(
            order=order,
            product=products[pk],
            product_name=products[pk].name,
            sku=products[pk].sku or "",
            price=products[pk].price,
            quantity=quantity,
            line_total=products[pk].price * quantity,
        )
        for pk, quantity in quantities.items()
    )
    record(
        type="order.created",
        subject=order.subject,
        sequence=order.version,
        actor=customer,
        data={"status": order.status},
    )
    stock.take(quantities, order_id=order.pk, actor=customer)
    return order
