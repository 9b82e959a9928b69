"""Model serializers of the plain API."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from orders.models import Order, OrderItem
from orders.serializers import MAX_LINES, MAX_QUANTITY
from products.models import Category, Product
from products.stock import MAX_STOCK
from shop.money import MAX_MINOR, exponent, from_minor


class PriceField(serializers.DecimalField):
    """An amount as a JSON number.

    Django REST framework writes a Decimal as a string. Up to MAX_MINOR an
    amount has at most 13 digits, and a float is written with the digits it
    came from up to 15: the number on the wire is exact.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Made anew for each serializer, so the currency is the one of now.
        super().__init__(
            max_digits=15,
            decimal_places=exponent(),
            min_value=from_minor(0),
            max_value=from_minor(MAX_MINOR),
            **kwargs,
        )

    def to_representation(self, value: Any) -> Any:
        """Return an int for a currency without decimals, else a float."""
        return int(value) if exponent() == 0 else float(value)


class CategorySerializer(serializers.ModelSerializer[Category]):
    """A category inside a product."""

    class Meta:
        model = Category
        fields = ["slug", "name_en", "name_ko"]


class ProductSerializer(serializers.ModelSerializer[Product]):
    """A product as it is shown."""

    price = PriceField()
    in_stock = serializers.SerializerMethodField()
    category = CategorySerializer(read_only=True)

    class Meta:
        model = Product
        fields = [
            "id",
            "sku",
            "name",
            "description",
            "brand",
            "price",
            "stock_quantity",
            "in_stock",
            "category",
            "created_at",
            "updated_at",
            "retired_at",
        ]

    def get_in_stock(self, product: Product) -> bool:
        """Whether it can be bought now."""
        return product.is_on_sale and product.stock_quantity > 0


class CategorySlugField(serializers.SlugRelatedField[Category]):
    """A category by its slug; a NUL would be an error of the database's driver."""

    def to_internal_value(self, data: Any) -> Category:
        """Return the category."""
        if not isinstance(data, str) or "\0" in data:
            self.fail("invalid")
        return super().to_internal_value(data)


class ProductWriteSerializer(serializers.ModelSerializer[Product]):
    """A product as it is sent: the category by its slug."""

    price = PriceField()
    stock_quantity = serializers.IntegerField(min_value=0, max_value=MAX_STOCK, required=False)
    category = CategorySlugField(
        slug_field="slug", queryset=Category.objects.all(), allow_null=True, required=False
    )

    class Meta:
        model = Product
        fields = ["sku", "name", "description", "brand", "price", "stock_quantity", "category"]
        extra_kwargs = {"sku": {"allow_blank": False}}

    def validate_stock_quantity(self, value: int) -> int:
        """Refuse a change of stock here: it goes through the ledger."""
        if self.instance is not None and value != self.instance.stock_quantity:
            raise serializers.ValidationError(_("Stock is not changed here."))
        return value

    def to_representation(self, instance: Product) -> Any:
        """Answer with the product as it is shown."""
        return ProductSerializer(instance, context=self.context).data


class OrderItemSerializer(serializers.ModelSerializer[OrderItem]):
    """A line of an order; `price`, where sent, is what the buyer saw."""

    product_id = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    name = serializers.CharField(source="product_name", read_only=True)
    quantity = serializers.IntegerField(min_value=1, max_value=MAX_QUANTITY)
    price = PriceField(required=False)
    line_total = PriceField(read_only=True)

    class Meta:
        model = OrderItem
        fields = ["product_id", "name", "sku", "quantity", "price", "line_total"]
        read_only_fields = ["sku"]


class AddressSerializer(serializers.ModelSerializer[Order]):
    """The part of an order that says where it goes."""

    class Meta:
        model = Order
        fields = ["street", "city", "postal_code"]


class OrderSerializer(serializers.ModelSerializer[Order]):
    """An order with its items."""

    customer = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    items = serializers.ListSerializer[Any](
        child=OrderItemSerializer(), min_length=1, max_length=MAX_LINES
    )
    items_total = PriceField(read_only=True)
    shipping_fee = PriceField(read_only=True)
    total = PriceField(read_only=True)
    shipping_address = AddressSerializer(source="*")

    class Meta:
        model = Order
        fields = [
            "id",
            "customer",
            "status",
            "items",
            "currency",
            "items_total",
            "shipping_fee",
            "total",
            "shipping_address",
            "recipient",
            "phone",
            "email",
            "memo",
            "carrier",
            "tracking_number",
            "cancel_reason",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["status", "currency", "carrier", "tracking_number", "cancel_reason"]
