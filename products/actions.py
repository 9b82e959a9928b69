"""What the shop does with products."""

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from products import stock
from products.ai.provider import Guess, Provider
from products.models import Category, Product
from products.suggestions import LEAST_CONFIDENCE, guess_categories, item_of, propose_category
from shop.accounts.models import User
from shop.errors import ShopError
from shop.jobs.queue import enqueue


class SkuTaken(ShopError):
    """Another product has this SKU."""

    code = "sku_taken"
    title = gettext_noop("SKU taken")


class Retired(ShopError):
    """The product is not sold any more."""

    code = "product_retired"
    title = gettext_noop("Product retired")


def create_product(*, actor: User | None, stock_quantity: int = 0, **fields: Any) -> Product:
    """Create a product with its first stock booked as received.

    Raises:
        SkuTaken: `sku` belongs to another product, retired ones included.
    """
    return add_product(Product(**fields), actor=actor, stock_quantity=stock_quantity)


def add_product(product: Product, *, actor: User | None, stock_quantity: int = 0) -> Product:
    """Save a product that is new.

    Without a category it gets the likeliest one, with how likely that is, and
    a suggestion for staff to decide on. A job writes its texts for search
    engines after the commit.

    Raises:
        SkuTaken: its SKU belongs to another product, retired ones included.
    """
    asked: Provider | None = None
    guesses: list[Guess] = []
    if product.category is None:
        asked, guesses = guess_categories(item_of(product))
    with transaction.atomic():
        if guesses and guesses[0].confidence >= LEAST_CONFIDENCE:
            product.categorise(
                Category.objects.get(pk=guesses[0].category_id), guesses[0].confidence
            )
        try:
            with transaction.atomic():
                product.save(force_insert=True)
        except IntegrityError:
            raise _sku_taken(product.sku) from None
        stock.receive_new({product.pk: stock_quantity}, actor=actor)
        if asked and guesses:
            propose_category(product, asked, guesses)
        enqueue("products.write_seo", product_id=product.pk)
    return product


def change_product(product: Product, **fields: Any) -> Product:
    """Change some fields of a product; the stock is not among them.

    Raises:
        SkuTaken: `sku` belongs to another product.
        Retired: a retired product stays as it was.
    """
    for name, value in fields.items():
        setattr(product, name, value)
    if "category" in fields:
        product.categorise(product.category)
        fields["category_confidence"] = None
    with transaction.atomic():
        locked = (
            Product.objects.select_for_update(no_key=True).only("retired_at").get(pk=product.pk)
        )
        if locked.retired_at is not None:
            raise Retired(_("A retired product can't be changed."))
        try:
            with transaction.atomic():
                product.save(update_fields=[*fields, "updated_at"])
        except IntegrityError:
            raise _sku_taken(fields.get("sku")) from None
    return product


def retire_product(product_id: int) -> bool:
    """Take a product off sale for good; returns whether it was on sale."""
    now = timezone.now()
    retired = Product.objects.on_sale().filter(pk=product_id).update(retired_at=now, updated_at=now)
    return bool(retired)


def _sku_taken(sku: str | None) -> ShopError:
    return SkuTaken(_("Another product has this SKU."), sku=sku)
