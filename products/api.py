"""The catalogue under /api/v2."""

from collections.abc import Collection
from typing import Any, ClassVar
from uuid import UUID

from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request

from monitoring import metrics
from products import actions, catalogue, past_searches, stock, suggestions
from products import images as pictures
from products import search as finding
from products.filters import (
    ProductQuery,
    SearchQuery,
    SuggestionQuery,
    filter_products,
    read_product_query,
    tags_of_filters,
)
from products.models import Category, Product, ProductImage, StockMovement
from products.search_hits import TAGS as SEARCHED
from products.search_hits import Shelf
from products.serializers import (
    AnalysisOutput,
    CategoryList,
    CategoryQuery,
    ImageInput,
    ImageList,
    ImageOutput,
    MovementOutput,
    ProductChange,
    ProductDetail,
    ProductInput,
    ProductOutput,
    SearchOutput,
    StockUpdateInput,
    StockUpdateOutput,
    SuggestionList,
)
from shop.cache import Tag
from shop.errors import refuses
from shop.fields import read_key
from shop.idempotency import once_per_key
from shop.inputs import NO_SUCH_THING, ListQuery, checked, read_query, read_query_and_body
from shop.money import on_the_wire
from shop.pages import Order, Slice, Source, Total, numbered, paginate
from shop.ready import answer
from shop.rest import dump_json, json_response, local
from shop.schema import IDEMPOTENCY_KEY, location_of, page_of
from shop.viewsets import ShopViewSet, caller

# A body, and the tags of what it was made from.
Made = tuple[bytes, Collection[Tag]]


def _facets_json(hits: finding.Hits) -> dict[str, Any]:
    facets = hits.facets
    price = None
    if facets.lowest is not None and facets.highest is not None:
        price = {"min": on_the_wire(facets.lowest), "max": on_the_wire(facets.highest)}
    return {
        "categories": [
            {
                "slug": facet.slug,
                "name": {"en": facet.name_en, "ko": facet.name_ko},
                "count": facet.hits,
            }
            for facet in facets.categories
        ],
        "price": price,
        "is_estimate": hits.is_estimate,
    }


def _ready(body: bytes, status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(body, status=status, content_type="application/json", headers=headers)


class ProductViewSet(ShopViewSet):
    """Products and their stock."""

    lookup_url_kwarg = "id"
    rights: ClassVar[dict[str, str | bool | None]] = {
        "list": None,
        "search": None,
        "suggestions": None,
        "retrieve": None,
        "create": "products.add_product",
        "partial_update": "products.change_product",
        "destroy": "products.delete_product",
        "update_stock": "products.adjust_stock",
        "movements": "products.view_stockmovement",
        "analyze": "products.change_product",
        "images": None,
        "add_image": "products.change_product",
        "remove_image": "products.change_product",
    }
    with_query = frozenset({"list", "search", "suggestions", "update_stock", "movements"})

    @extend_schema(parameters=[ProductQuery], responses=page_of(ProductOutput))
    def list(self, request: Request) -> HttpResponse:
        """Products on sale, filtered, by page or by cursor."""
        query = read_product_query(request)

        def make() -> Made:
            chosen = filter_products(query)
            members = tags_of_filters(query)
            source = catalogue.list_source(chosen, members)
            window = paginate(request, query, chosen, source)
            return (
                dump_json({"results": [body for _pk, body in window.rows], **window.envelope}),
                catalogue.tags_of_list(query["ordering"], members, window.rows),
            )

        return answer(request, make)

    @extend_schema(parameters=[SearchQuery], responses=SearchOutput)
    @action(detail=False, methods=["get"])
    def search(self, request: Request) -> HttpResponse:
        """Products on sale that are found by `q`, best match first, and how `q` may go on."""
        query = read_query(request, SearchQuery)
        page, per_page = query.get("page", 1), query["per_page"]
        finds = False

        def make() -> Made:
            nonlocal finds
            chosen = filter_products(query)
            tags = {*tags_of_filters(query), *SEARCHED}
            shelf = Shelf.of(chosen, key=chosen, tags=tags)
            hits = finding.search(query["q"], shelf, page=page, per_page=per_page)
            finds = hits.total > 0 and page == 1
            found = {
                "results": [body for _pk, body in catalogue.read_products(hits.pks)],
                "suggestions": hits.suggestions,
                "facets": _facets_json(hits),
                **numbered(request, Total(hits.total, hits.is_estimate), page, per_page),
            }
            return dump_json(found), {*tags, *hits.pks}

        def count(times: int) -> None:
            if finds:
                past_searches.note_search(query["q"], times)

        return answer(request, make, count)

    @extend_schema(parameters=[SuggestionQuery], responses=SuggestionList)
    @action(detail=False, methods=["get"])
    def suggestions(self, request: Request) -> HttpResponse:
        """How `q` may go on: words, past searches, categories, names. Quick: ask at each key."""
        query = read_query(request, SuggestionQuery)

        def make() -> Made:
            return dump_json({"results": finding.suggest(query["q"])}), SEARCHED

        return answer(request, make)

    @extend_schema(responses=ProductDetail)
    def retrieve(self, request: Request, id: str) -> HttpResponse:
        """One product, retired ones included."""
        pk = read_key(id)

        def make() -> Made:
            return catalogue.read_product(pk), catalogue.tags_of_product(pk)

        return answer(request, make, count=metrics.PRODUCT_VIEWED.inc)

    @extend_schema(
        request=ProductInput,
        responses={201: ProductDetail},
        parameters=[IDEMPOTENCY_KEY, location_of("/api/v2/products", 201)],
    )
    @refuses(actions.SkuTaken)
    @once_per_key
    def create(self, request: Request) -> HttpResponse:
        """Create a product; its first stock is booked as received.

        Without a category the likeliest one is chosen, and `category_source` is "ai".
        """
        product = actions.create_product(
            actor=caller(request), **checked(ProductInput, request.data)
        )
        return _ready(
            catalogue.read_product(product.pk), 201, Location=f"/api/v2/products/{product.pk}"
        )

    @extend_schema(request=ProductChange, responses=ProductDetail)
    @refuses(actions.SkuTaken, actions.Retired)
    def partial_update(self, request: Request, id: str) -> HttpResponse:
        """Change some fields."""
        product = self._get(id)
        actions.change_product(product, **checked(ProductChange, request.data, partial=True))
        return _ready(catalogue.read_product(product.pk))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, id: str) -> HttpResponse:
        """Retire a product. Orders keep pointing at it, and it can still be read."""
        actions.retire_product(self._get(id).pk)
        return HttpResponse(status=204)

    @extend_schema(
        request=StockUpdateInput,
        responses=StockUpdateOutput,
        parameters=[StockUpdateInput, IDEMPOTENCY_KEY],
        description="Query parameters or a JSON body, not the same name in both.",
    )
    @action(detail=True, methods=["post"], url_path="stock/update")
    @refuses(stock.InsufficientStock, stock.StockLimit)
    @once_per_key
    def update_stock(self, request: Request, id: str) -> HttpResponse:
        """Change the stock, with a reason that is kept."""
        data = read_query_and_body(request, StockUpdateInput)
        try:
            movement = stock.adjust(
                product_id=read_key(id),
                change=data["quantity_change"],
                reason=data["reason"],
                note=data["note"],
                actor=caller(request),
            )
        except Product.DoesNotExist:
            raise Http404 from None
        return json_response(
            {
                "product_id": id,
                "stock_quantity": movement.balance_after,
                "movement": _movement_json(_movement_row(movement)),
            }
        )

    @extend_schema(parameters=[ListQuery], responses=page_of(MovementOutput))
    @action(detail=True, methods=["get"], url_path="stock/movements")
    def movements(self, request: Request, id: str) -> HttpResponse:
        """The stock ledger of a product, newest first."""
        query = {**read_query(request, ListQuery), "ordering": "newest"}
        rows = StockMovement.objects.filter(product=read_key(id))
        window = paginate(request, query, rows.all, _MOVEMENTS)
        if not window.rows:
            # No movement may also mean no product.
            self._get(id)
        results = [_movement_json(row) for row in window.rows]
        return json_response({"results": results, **window.envelope})

    @extend_schema(request=None, responses=AnalysisOutput)
    @action(detail=True, methods=["post"])
    def analyze(self, request: Request, id: str) -> HttpResponse:
        """Suggest categories, texts for search engines and a price range. Changes nothing.

        Staff accept or reject the suggestions in the admin.
        """
        return json_response(suggestions.analyse(self._get(id).pk))

    @extend_schema(responses=ImageList)
    @action(detail=True, methods=["get"], parser_classes=[MultiPartParser])
    def images(self, request: Request, id: str) -> HttpResponse:
        """A product's images, in order."""
        return json_response({"results": pictures.read_images(self._get(id).pk)})

    @extend_schema(request={"multipart/form-data": ImageInput}, responses={201: ImageOutput})
    @images.mapping.post
    @refuses(pictures.BadImage, pictures.TooManyImages)
    def add_image(self, request: Request, id: str) -> HttpResponse:
        """Add a JPEG, PNG, WebP or AVIF image. Metadata is removed; renditions follow by a job."""
        product = self._get(id)
        data = checked(ImageInput, request.data)
        upload = data["image"]
        image = pictures.add_image(
            product_id=product.pk,
            picture=pictures.read_upload(upload.file, upload.size),
            alt=data["alt"],
            actor=caller(request),
        )
        return json_response(pictures.image_json(image), 201)

    @extend_schema(responses={204: None})
    @action(detail=True, methods=["delete"], url_path="images/<uuid:image>")
    def remove_image(self, request: Request, id: str, image: UUID) -> HttpResponse:
        """Remove an image and its files."""
        found = ProductImage.objects.filter(product=self._get(id), pk=image).first()
        if found is None:
            raise Http404
        found.delete()
        return HttpResponse(status=204)

    def _get(self, id: str) -> Product:
        try:
            return Product.objects.get(pk=read_key(id))
        except Product.DoesNotExist:
            raise Http404 from None


_MOVEMENT_COLUMNS = (
    "pk", "change", "reason", "balance_after", "note", "actor__username", "order_id", "created_at",
)  # fmt: skip


def _fetch_counted(wanted: Slice) -> tuple[list[tuple[Any, ...]], int]:
    rows = wanted.queryset().annotate(in_all=wanted.in_all())
    found = list(rows.values_list(*_MOVEMENT_COLUMNS, "in_all"))
    return [row[:-1] for row in found], found[0][-1] if found else 0


_MOVEMENTS = Source(
    model=StockMovement,
    orders={"newest": Order("pk", descending=True)},
    fetch=lambda wanted: list(wanted.queryset().values_list(*_MOVEMENT_COLUMNS)),
    value_of=lambda row, column: row[0],
    fetch_counted=_fetch_counted,
)


def _movement_row(movement: StockMovement) -> tuple[Any, ...]:
    row: tuple[Any, ...] = StockMovement.objects.values_list(*_MOVEMENT_COLUMNS).get(pk=movement.pk)
    return row


def _movement_json(row: tuple[Any, ...]) -> dict[str, Any]:
    pk, change, reason, balance, note, by, order_id, time = row
    return {
        "id": str(pk),
        "change": change,
        "reason": reason,
        "balance_after": balance,
        "note": note,
        "by": by,
        "order_id": str(order_id) if order_id else None,
        "time": local(time),
    }


class CategoryViewSet(ShopViewSet):
    """The category tree."""

    rights: ClassVar[dict[str, str | bool | None]] = {"list": None}
    with_query = frozenset({"list"})

    @extend_schema(parameters=[CategoryQuery], responses=CategoryList)
    def list(self, request: Request) -> HttpResponse:
        """The categories below `parent`, or the roots, as deep as asked."""
        query = read_query(request, CategoryQuery)

        def make() -> Made:
            parent = None
            if slug := query.get("parent"):
                parent = Category.objects.filter(slug=slug).first()
                if parent is None:
                    raise ValidationError(
                        {"parent": [_("There is no such category.")]}, NO_SUCH_THING
                    )
            children = catalogue.category_children(parent, query["depth"])
            return dump_json({"results": children}), ["tree"]

        return answer(request, make)
