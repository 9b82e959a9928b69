"""The shapes of orders: input checked, output described."""

from decimal import Decimal
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orders.models import Payment
from orders.states import Status
from shop.money import MoneySerializerField
from shop.rest import StrictSerializer

MAX_LINES = 100
MAX_QUANTITY = 10_000


class _Text(serializers.CharField):
    """A text; numbers are not quietly turned into one."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "pattern": "^[0-9]{1,18}$"})
class ProductIdField(serializers.Field):  # type: ignore[type-arg]
    """A product's id: a string of digits."""

    default_error_messages = {"invalid": _("Not a product id.")}

    def to_internal_value(self, data: Any) -> int:
        """Return the key behind it."""
        if not (isinstance(data, str) and data.isascii() and data.isdecimal() and len(data) <= 18):
            self.fail("invalid")
        return int(data)


class LineInput(StrictSerializer):
    """One product of an order; `price` is what the buyer saw."""

    product_id = ProductIdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MAX_QUANTITY)
    price = MoneySerializerField(required=False)


class AddressInput(StrictSerializer):
    """Where it goes."""

    street = _Text(max_length=200)
    city = _Text(max_length=100)
    postal_code = _Text(max_length=20)


class OrderInput(StrictSerializer):
    """An order to place."""

    items = serializers.ListField(child=LineInput(), min_length=1, max_length=MAX_LINES)
    shipping_address = AddressInput()
    recipient = _Text(max_length=100, allow_blank=True, required=False)
    phone = _Text(max_length=30, allow_blank=True, required=False)
    email = serializers.EmailField(max_length=254, allow_blank=True, required=False)
    memo = _Text(max_length=500, allow_blank=True, required=False)


class TransitionInput(StrictSerializer):
    """A move to another state."""

    status = serializers.ChoiceField(Status.choices)
    carrier = _Text(max_length=60, allow_blank=True, default="")
    tracking_number = _Text(max_length=60, allow_blank=True, default="")
    reason = _Text(max_length=100, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse details that the move would drop."""
        for name, status in (
            ("carrier", Status.SHIPPED),
            ("tracking_number", Status.SHIPPED),
            ("reason", Status.CANCELLED),
        ):
            if attrs[name] and attrs["status"] != status:
                raise serializers.ValidationError(
                    {name: [_("Only with the status %s.") % status.value]}
                )
        return attrs


class CancelInput(StrictSerializer):
    """Why an order is cancelled."""

    reason = _Text(max_length=100)


class PaymentInput(StrictSerializer):
    """Money that came in."""

    amount = MoneySerializerField()
    method = serializers.ChoiceField(Payment.Method.choices)
    reference = _Text(max_length=100, allow_blank=True, default="")
    note = _Text(max_length=200, allow_blank=True, default="")

    def validate_amount(self, value: Decimal) -> Decimal:
        """Refuse a payment of nothing."""
        if value <= 0:
            raise serializers.ValidationError(_("A payment is more than nothing."))
        return value


class SettleInput(StrictSerializer):
    """By what a refund that was sent is known."""

    reference = _Text(max_length=100, allow_blank=True, default="")


class ReturnLineInput(StrictSerializer):
    """How much of one product came back."""

    product_id = ProductIdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MAX_QUANTITY)


class ReturnInput(StrictSerializer):
    """Goods that came back."""

    items = serializers.ListField(child=ReturnLineInput(), min_length=1, max_length=MAX_LINES)
    reason = _Text(max_length=100)
    restock = serializers.BooleanField()


class PaymentOutput(serializers.Serializer[Any]):
    """A payment or refund."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(Payment.Kind.choices)
    method = serializers.ChoiceField(Payment.Method.choices)
    reference = serializers.CharField()
    amount = serializers.FloatField()
    state = serializers.ChoiceField(Payment.State.choices)
    note = serializers.CharField()
    by = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


class PaymentList(serializers.Serializer[Any]):
    """An order's payments and refunds."""

    results = PaymentOutput(many=True)


class ReturnLineOutput(serializers.Serializer[Any]):
    """How much of one product came back."""

    product_id = serializers.CharField()
    quantity = serializers.IntegerField()


class RefundOutput(serializers.Serializer[Any]):
    """The refund of a return."""

    id = serializers.CharField()
    amount = serializers.FloatField()
    state = serializers.ChoiceField(Payment.State.choices)


class ReturnOutput(serializers.Serializer[Any]):
    """Goods that came back."""

    id = serializers.CharField()
    items = ReturnLineOutput(many=True)
    reason = serializers.CharField()
    restock = serializers.BooleanField()
    refund = RefundOutput(allow_null=True)
    by = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()


class ReturnList(serializers.Serializer[Any]):
    """An order's returns."""

    results = ReturnOutput(many=True)


class ItemOutput(serializers.Serializer[Any]):
    """A line of an order."""

    product_id = serializers.CharField()
    name = serializers.CharField()
    sku = serializers.CharField()
    quantity = serializers.IntegerField()
    price = serializers.FloatField()
    line_total = serializers.FloatField()


class AddressOutput(serializers.Serializer[Any]):
    """Where it goes."""

    street = serializers.CharField()
    city = serializers.CharField()
    postal_code = serializers.CharField()


class OrderOutput(serializers.Serializer[Any]):
    """An order as the API shows it."""

    id = serializers.CharField()
    customer = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(Status.choices)
    items = ItemOutput(many=True)
    currency = serializers.CharField()
    items_total = serializers.FloatField()
    shipping_fee = serializers.FloatField()
    total = serializers.FloatField()
    paid = serializers.FloatField()
    refunded = serializers.FloatField()
    refund_due = serializers.FloatField()
    shipping_address = AddressOutput()
    recipient = serializers.CharField()
    phone = serializers.CharField()
    email = serializers.CharField()
    memo = serializers.CharField()
    carrier = serializers.CharField()
    tracking_number = serializers.CharField()
    cancel_reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class EventOutput(serializers.Serializer[Any]):
    """One entry of an order's timeline."""

    id = serializers.CharField()
    type = serializers.CharField()
    sequence = serializers.IntegerField()
    time = serializers.DateTimeField()
    by = serializers.CharField(allow_null=True, help_text=_("Null: the shop itself."))
    data = serializers.DictField()  # type: ignore[assignment]


class TrackingOutput(serializers.Serializer[Any]):
    """An order's timeline and what comes next."""

    order_id = serializers.CharField()
    status = serializers.ChoiceField(Status.choices)
    carrier = serializers.CharField()
    tracking_number = serializers.CharField()
    next = serializers.ChoiceField(Status.choices, allow_null=True)
    events = EventOutput(many=True)


class FiguresOutput(serializers.Serializer[Any]):
    """What was sold in a span; orders.analytics defines each figure."""

    revenue = serializers.FloatField(help_text=_("Of sold orders, before refunds."))
    orders = serializers.IntegerField(help_text=_("Sold: paid for and not cancelled."))
    items = serializers.IntegerField(help_text=_("Units in sold orders."))
    average_order_value = serializers.FloatField(allow_null=True)
    placed = serializers.IntegerField(help_text=_("All orders, whatever became of them."))
    pending = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    cancellation_rate = serializers.FloatField(allow_null=True, help_text=_("Of all placed."))


class PeriodOutput(FiguresOutput):
    """One day, week or month."""

    start = serializers.DateField()
    end = serializers.DateField()


class PreviousOutput(FiguresOutput):
    """The span of equal length before."""

    start_date = serializers.DateField()
    end_date = serializers.DateField()


class ChangeOutput(serializers.Serializer[Any]):
    """Growth against the span before, as a ratio; null where there was nothing."""

    revenue = serializers.FloatField(allow_null=True)
    orders = serializers.FloatField(allow_null=True)
    items = serializers.FloatField(allow_null=True)
    cancelled = serializers.FloatField(allow_null=True)


class SoldName(serializers.Serializer[Any]):
    """A category's name in both languages."""

    en = serializers.CharField()
    ko = serializers.CharField()


class CategorySoldOutput(serializers.Serializer[Any]):
    """What a category sold by itself."""

    category = serializers.CharField(allow_null=True)
    name = SoldName(allow_null=True)
    revenue = serializers.FloatField()
    items = serializers.IntegerField()
    orders = serializers.IntegerField()


class ProductSoldOutput(serializers.Serializer[Any]):
    """What a product sold."""

    product_id = serializers.CharField()
    name = serializers.CharField()
    revenue = serializers.FloatField()
    items = serializers.IntegerField()
    orders = serializers.IntegerField()


class SummaryOutput(serializers.Serializer[Any]):
    """What was sold."""

    start_date = serializers.DateField()
    end_date = serializers.DateField()
    interval = serializers.ChoiceField(["day", "week", "month"])
    currency = serializers.CharField()
    totals = FiguresOutput()
    previous = PreviousOutput(allow_null=True)
    change = ChangeOutput(allow_null=True)
    series = PeriodOutput(many=True)
    by_category = CategorySoldOutput(many=True)
    top_products = ProductSoldOutput(many=True)
