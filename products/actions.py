"""What the shop does with products."""

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from products import stock
from products.models import Product
from shop.accounts.models import User
from shop.errors import ShopError


class SkuTaken(ShopError):
    """Another product has this SKU."""

    code = "sku_taken"
    title = "SKU taken"


class Retired(ShopError):
    """The product is not sold any more."""

    code = "product_retired"
    title = "Product retired"


def create_product(*, actor: User | None, stock_quantity: int = 0, **fields: Any) -> Product:
    """Create a product with its first stock booked as received.

    Raises:
        SkuTaken: `sku` belongs to another product, retired ones included.
    """
    with transaction.atomic():
        try:
            with transaction.atomic():
                product = Product.objects.create(**fields)
        except IntegrityError:
            raise _sku_taken(fields) from None
        stock.receive_new({product.pk: stock_quantity}, actor=actor)
    return product


def change_product(product: Product, **fields: Any) -> Product:
    """Change some fields of a product; the stock is not among them.

    Raises:
        SkuTaken: `sku` belongs to another product.
        Retired: a retired product stays as it was.
    """
    for name, value in fields.items():
        setattr(product, name, value)
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
            raise _sku_taken(fields) from None
    return product


def retire_product(product_id: int) -> bool:
    """Take a product off sale for good; returns whether it was on sale."""
    now = timezone.now()
    retired = Product.objects.on_sale().filter(pk=product_id).update(retired_at=now, updated_at=now)
    return bool(retired)


def _sku_taken(fields: dict[str, Any]) -> ShopError:
    return SkuTaken(_("Another product has this SKU."), sku=fields.get("sku"))
