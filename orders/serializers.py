"""The shapes of orders: input checked, output described."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from orders.models import Payment
from orders.states import Status
from shop.fields import Flag, Key, Text, Whole
from shop.inputs import CONTRADICTION, StrictSerializer
from shop.money import MoneySerializerField

MAX_LINES = 100
MAX_QUANTITY = 10_000


class LineInput(StrictSerializer):
    """One product of an order; `price` is what the buyer saw."""

    product_id = Key()
    quantity = Whole(min_value=1, max_value=MAX_QUANTITY)
    price = MoneySerializerField(required=False)


class AddressInput(StrictSerializer):
    """Where it goes."""

    street = Text(max_length=200)
    city = Text(max_length=100)
    postal_code = Text(max_length=20)


class OrderInput(StrictSerializer):
    """An order to place."""

    items = serializers.ListField(child=LineInput(), min_length=1, max_length=MAX_LINES)
    shipping_address = AddressInput()
    recipient = Text(max_length=100, allow_blank=True, required=False)
    phone = Text(max_length=30, allow_blank=True, required=False)
    email = serializers.EmailField(max_length=254, allow_blank=True, required=False)
    memo = Text(max_length=500, allow_blank=True, required=False)


class TransitionInput(StrictSerializer):
    """A move to another state."""

    status = serializers.ChoiceField(Status.choices)
    carrier = Text(max_length=60, allow_blank=True, default="")
    tracking_number = Text(max_length=60, allow_blank=True, default="")
    reason = Text(max_length=100, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse details that the move would drop."""
        for name, status in (
            ("carrier", Status.SHIPPED),
            ("tracking_number", Status.SHIPPED),
            ("reason", Status.CANCELLED),
        ):
            if attrs[name] and attrs["status"] != status:
                raise serializers.ValidationError(
                    {name: [_("Only with the status %s.") % status.value]}, CONTRADICTION
                )
        return attrs


class CancelInput(StrictSerializer):
    """Why an order is cancelled."""

    reason = Text(max_length=100)


class PaymentInput(StrictSerializer):
    """Money that came in."""

    amount = MoneySerializerField(more_than_nothing=True)
    method = serializers.ChoiceField(Payment.Method.choices)
    reference = Text(max_length=100, allow_blank=True, default="")
    note = Text(max_length=200, allow_blank=True, default="")


class SettleInput(StrictSerializer):
    """By what a refund that was sent is known."""

    reference = Text(max_length=100, allow_blank=True, default="")


class ReturnLineInput(StrictSerializer):
    """How much of one product came back."""

    product_id = Key()
    quantity = Whole(min_value=1, max_value=MAX_QUANTITY)


class ReturnInput(StrictSerializer):
    """Goods that came back."""

    items = serializers.ListField(child=ReturnLineInput(), min_length=1, max_length=MAX_LINES)
    reason = Text(max_length=100)
    restock = Flag()


class PaymentOutput(serializers.Serializer[Any]):
    """A payment or refund."""

    id = Key()
    kind = serializers.ChoiceField(Payment.Kind.choices)
    method = serializers.ChoiceField(Payment.Method.choices)
    reference = serializers.CharField()
    amount = MoneySerializerField()
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

    product_id = Key()
    quantity = serializers.IntegerField(min_value=1)


class RefundOutput(serializers.Serializer[Any]):
    """The refund of a return."""

    id = Key()
    amount = MoneySerializerField()
    state = serializers.ChoiceField(Payment.State.choices)


class ReturnOutput(serializers.Serializer[Any]):
    """Goods that came back."""

    id = Key()
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

    product_id = Key()
    name = serializers.CharField()
    sku = serializers.CharField()
    quantity = serializers.IntegerField(min_value=1)
    price = MoneySerializerField()
    line_total = MoneySerializerField()


class AddressOutput(serializers.Serializer[Any]):
    """Where it goes."""

    street = serializers.CharField()
    city = serializers.CharField()
    postal_code = serializers.CharField()


class OrderOutput(serializers.Serializer[Any]):
    """An order as the API shows it."""

    id = serializers.UUIDField()
    customer = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(Status.choices)
    items = ItemOutput(many=True)
    currency = serializers.CharField()
    items_total = MoneySerializerField()
    shipping_fee = MoneySerializerField()
    total = MoneySerializerField()
    paid = MoneySerializerField()
    refunded = MoneySerializerField()
    refund_due = MoneySerializerField()
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

    id = serializers.UUIDField()
    type = serializers.CharField()
    sequence = serializers.IntegerField(min_value=1)
    time = serializers.DateTimeField()
    by = serializers.CharField(allow_null=True, help_text=_("Null: the shop itself."))
    data = serializers.DictField()  # type: ignore[assignment]


class TrackingOutput(serializers.Serializer[Any]):
    """An order's timeline and what comes next."""

    order_id = serializers.UUIDField()
    status = serializers.ChoiceField(Status.choices)
    carrier = serializers.CharField()
    tracking_number = serializers.CharField()
    next = serializers.ChoiceField(Status.choices, allow_null=True)
    events = EventOutput(many=True)


class FiguresOutput(serializers.Serializer[Any]):
    """What was sold in a span; orders.analytics defines each figure."""

    revenue = MoneySerializerField(help_text=_("Of sold orders, before refunds."))
    orders = serializers.IntegerField(min_value=0, help_text=_("Sold: paid for and not cancelled."))
    items = serializers.IntegerField(min_value=0, help_text=_("Units in sold orders."))
    average_order_value = MoneySerializerField(allow_null=True)
    placed = serializers.IntegerField(
        min_value=0, help_text=_("All orders, whatever became of them.")
    )
    pending = serializers.IntegerField(min_value=0)
    cancelled = serializers.IntegerField(min_value=0)
    cancellation_rate = serializers.FloatField(
        allow_null=True, min_value=0, max_value=1, help_text=_("Of all placed.")
    )


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
    revenue = MoneySerializerField()
    items = serializers.IntegerField(min_value=1)
    orders = serializers.IntegerField(min_value=1)


class ProductSoldOutput(serializers.Serializer[Any]):
    """What a product sold."""

    product_id = Key()
    name = serializers.CharField()
    revenue = MoneySerializerField()
    items = serializers.IntegerField(min_value=1)
    orders = serializers.IntegerField(min_value=1)


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
