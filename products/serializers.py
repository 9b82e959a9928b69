"""The shapes of the catalogue: input checked, output described."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from products.models import Category, ProductImage, Reason
from products.stock import MAX_STOCK
from shop.fields import Key, Text, Whole
from shop.inputs import StrictSerializer
from shop.money import MoneySerializerField


@extend_schema_field({"type": "string", "pattern": "^[-a-zA-Z0-9_]{1,120}$"})
class CategoryField(serializers.SlugRelatedField[Category]):
    """A category by its slug."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            slug_field="slug", queryset=Category.objects.order_by(), allow_null=True, **kwargs
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """Refuse an empty text, which Django REST framework would take for null."""
        if data == "":
            self.fail("invalid")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> Category:
        """Return the category; anything but a string is an error, not a lookup."""
        if not isinstance(data, str) or len(data) > 120:
            self.fail("invalid")
        return super().to_internal_value(data)


class ProductInput(StrictSerializer):
    """A product to create."""

    name = Text(max_length=300)
    description = Text(max_length=20_000, allow_blank=True, default="")
    price = MoneySerializerField()
    stock_quantity = Whole(min_value=0, max_value=MAX_STOCK, default=0)
    category = CategoryField(required=False)
    sku = Text(max_length=64, required=False, allow_null=True)
    brand = Text(max_length=120, allow_blank=True, required=False)


class ProductChange(ProductInput):
    """The fields of a product to change. Stock changes through its ledger."""

    stock_quantity = None  # type: ignore[assignment]


@extend_schema_field(
    {"type": "integer", "minimum": -MAX_STOCK, "maximum": MAX_STOCK, "not": {"const": 0}}
)
class Change(Whole):
    """How much more or less; a change is not zero."""

    default_error_messages = {"zero": _("A change is not zero.")}

    def to_internal_value(self, data: Any) -> int:
        """Return the change."""
        change = super().to_internal_value(data)
        if change == 0:
            self.fail("zero")
        return change


class StockUpdateInput(StrictSerializer):
    """A change of stock by hand."""

    quantity_change = Change(min_value=-MAX_STOCK, max_value=MAX_STOCK)
    reason = serializers.ChoiceField(Reason.choices)
    note = Text(max_length=200, allow_blank=True, default="")


class LocalizedName(serializers.Serializer[Any]):
    """A name in both languages."""

    en = serializers.CharField()
    ko = serializers.CharField()


class ImageInput(StrictSerializer):
    """An image to add, as multipart/form-data."""

    # An empty one is no picture, and refused as such.
    image = serializers.FileField(allow_empty_file=True, help_text=_("JPEG, PNG, WebP or AVIF."))
    alt = Text(max_length=200, allow_blank=True, default="")


class RenditionOutput(serializers.Serializer[Any]):
    """An image in another format and size."""

    format = serializers.ChoiceField(["webp", "avif"])
    width = serializers.IntegerField(min_value=1)
    height = serializers.IntegerField(min_value=1)
    bytes = serializers.IntegerField(min_value=1)
    url = serializers.CharField()


class ImageOutput(serializers.Serializer[Any]):
    """An image; its renditions are there when its state is ready."""

    id = serializers.UUIDField()
    alt = serializers.CharField()
    position = serializers.IntegerField(min_value=0)
    state = serializers.ChoiceField(ProductImage.State.choices)
    url = serializers.CharField()
    width = serializers.IntegerField(min_value=1)
    height = serializers.IntegerField(min_value=1)
    placeholder = serializers.CharField(
        allow_null=True, help_text=_("A tiny picture as a data: address.")
    )
    renditions = RenditionOutput(many=True)


class ImageList(serializers.Serializer[Any]):
    """A product's images."""

    results = ImageOutput(many=True)


class ProductOutput(serializers.Serializer[Any]):
    """A product as the API shows it; products.catalogue builds it."""

    id = Key()
    sku = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    description = serializers.CharField()
    brand = serializers.CharField()
    price = MoneySerializerField()
    stock_quantity = serializers.IntegerField(min_value=0)
    in_stock = serializers.BooleanField()
    category = serializers.CharField(allow_null=True)
    category_name = LocalizedName(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    retired_at = serializers.DateTimeField(allow_null=True)


class SeoOutput(serializers.Serializer[Any]):
    """What search engines may be told of a product."""

    title = serializers.CharField()
    description = serializers.CharField()
    keywords = serializers.ListField(child=serializers.CharField())
    slug = serializers.CharField()
    written_by = serializers.CharField(help_text=_("The provider, or staff."))
    accepted = serializers.BooleanField(help_text=_("Whether staff have approved of it."))
    json_ld = serializers.DictField(help_text=_("schema.org Product."))


class ProductDetail(ProductOutput):
    """One product alone shows more than in a list."""

    images = ImageOutput(many=True)
    category_confidence = serializers.FloatField(
        allow_null=True,
        min_value=0,
        max_value=1,
        help_text=_("Where a provider chose the category."),
    )
    category_source = serializers.ChoiceField(["given", "ai"], allow_null=True)
    seo = SeoOutput(allow_null=True)


class GuessOutput(serializers.Serializer[Any]):
    """A category that may be the right one."""

    category = serializers.CharField()
    name = LocalizedName()
    path = LocalizedName(help_text=_("The names from the root down."))
    confidence = serializers.FloatField(min_value=0, max_value=1)


class WrittenOutput(serializers.Serializer[Any]):
    """A text and how it came about."""

    value = serializers.CharField()
    method = serializers.ChoiceField(["rule", "template", "extraction"])


class KeywordsOutput(serializers.Serializer[Any]):
    """Keywords and how they came about."""

    value = serializers.ListField(child=serializers.CharField())
    method = serializers.ChoiceField(["rule", "template", "extraction"])


class MendOutput(serializers.Serializer[Any]):
    """What would make a product easier to find."""

    code = serializers.CharField()
    detail = serializers.CharField()


class SeoAnalysis(serializers.Serializer[Any]):
    """Proposed texts, and a score of 0 to 100."""

    title = WrittenOutput()
    description = WrittenOutput()
    keywords = KeywordsOutput()
    slug = WrittenOutput()
    json_ld = serializers.DictField()
    confidence = serializers.FloatField(min_value=0, max_value=1)
    score = serializers.IntegerField(min_value=0, max_value=100)
    mend = MendOutput(many=True)


class ComparableOutput(serializers.Serializer[Any]):
    """A product to compare with."""

    product_id = Key()
    name = serializers.CharField()
    price = MoneySerializerField()
    similarity = serializers.FloatField(min_value=0, max_value=1)


class PriceAnalysis(serializers.Serializer[Any]):
    """Where the price stands. Null where there are fewer than 5 to compare with."""

    price = MoneySerializerField()
    compared = serializers.IntegerField(min_value=0)
    category = serializers.CharField(allow_null=True)
    percentile = serializers.FloatField(allow_null=True, min_value=0, max_value=1)
    median = MoneySerializerField(allow_null=True)
    suggested_low = MoneySerializerField(allow_null=True)
    suggested_high = MoneySerializerField(allow_null=True)
    is_outlier = serializers.BooleanField()
    confidence = serializers.FloatField(min_value=0, max_value=1)
    comparables = ComparableOutput(many=True)


class AnalysisOutput(serializers.Serializer[Any]):
    """What a provider makes of a product. Nothing is changed by it."""

    product_id = Key()
    provider = serializers.CharField()
    model_version = serializers.CharField()
    category = GuessOutput(many=True)
    seo = SeoAnalysis()
    pricing = PriceAnalysis()


class CategoryFacet(serializers.Serializer[Any]):
    """How many of the hits lie in a category."""

    slug = serializers.CharField()
    name = LocalizedName()
    count = serializers.IntegerField(min_value=0)


class PriceSpan(serializers.Serializer[Any]):
    """The lowest and the highest price among the hits."""

    min = MoneySerializerField()
    max = MoneySerializerField()


class FacetsOutput(serializers.Serializer[Any]):
    """What was found, by category (the commonest) and price; all pages together."""

    categories = CategoryFacet(many=True)
    price = PriceSpan(allow_null=True)
    is_estimate = serializers.BooleanField(
        help_text=_("Whether there were too many hits to look at each.")
    )


class SuggestionList(serializers.Serializer[Any]):
    """How what was typed may go on, the likeliest first."""

    results = serializers.ListField(child=serializers.CharField())


class SearchOutput(serializers.Serializer[Any]):
    """A page of what was found."""

    results = ProductOutput(many=True)
    suggestions = serializers.ListField(child=serializers.CharField())
    facets = FacetsOutput()
    total = serializers.IntegerField(min_value=0)
    total_is_estimate = serializers.BooleanField()
    page = serializers.IntegerField(min_value=1)
    per_page = serializers.IntegerField(min_value=1)
    pages = serializers.IntegerField(min_value=0)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    total_is_estimate = serializers.BooleanField(
        help_text=_("Whether there were too many hits to count each.")
    )


class MovementOutput(serializers.Serializer[Any]):
    """A row of the stock ledger."""

    id = Key()
    change = Change()
    reason = serializers.ChoiceField(Reason.choices)
    balance_after = serializers.IntegerField(min_value=0)
    note = serializers.CharField()
    by = serializers.CharField(allow_null=True)
    order_id = serializers.UUIDField(allow_null=True)
    time = serializers.DateTimeField()


class StockUpdateOutput(serializers.Serializer[Any]):
    """The stock after a change."""

    product_id = Key()
    stock_quantity = serializers.IntegerField(min_value=0)
    movement = MovementOutput()


class CategoryOutput(serializers.Serializer[Any]):
    """A category with what lies below it, as deep as was asked."""

    slug = serializers.CharField()
    name = LocalizedName()
    has_children = serializers.BooleanField()
    children = serializers.SerializerMethodField()

    @extend_schema_field(
        {"type": "array", "items": {"$ref": "#/components/schemas/CategoryOutput"}}
    )
    def get_children(self, obj: Any) -> Any:
        """Only describes the schema."""
        return obj["children"]


class CategoryList(serializers.Serializer[Any]):
    """The categories below one."""

    results = CategoryOutput(many=True)


class CategoryQuery(StrictSerializer):
    """Which part of the tree."""

    parent = serializers.SlugField(  # type: ignore[assignment]
        max_length=120, required=False, allow_blank=True
    )
    depth = Whole(min_value=1, max_value=10, default=1)
