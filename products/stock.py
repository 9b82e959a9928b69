"""The only code that changes stock.

Locks: product rows, in primary-key order, as the last thing before the
commit. Whoever also locks an order locks it first.

Every function here runs inside the caller's transaction, except `adjust`,
which is a transaction of its own.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Subquery, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from products.models import Product, Reason, StockMovement, look_after_commit
from shop.accounts.models import User
from shop.db import in_transaction
from shop.errors import ShopError
from shop.prepared import Prepared, insert

# Sums stay within the database's 32 bits.
MAX_STOCK = 2_000_000_000


class InsufficientStock(ShopError):
    """Not enough left; `items` lists every short product with what there is."""

    code = "insufficient_stock"
    title = gettext_noop("Insufficient stock")


class StockLimit(ShopError):
    """More than can be counted."""

    status = 400
    code = "stock_limit"
    title = gettext_noop("Too much stock")


@dataclass(frozen=True)
class Locked:
    """What a product's row said while it was locked."""

    stock_quantity: int
    price: object
    retired: bool


@functools.lru_cache(maxsize=256)
def _locking(number: int) -> Prepared:
    """Lock so many products, in primary-key order."""
    return Prepared(
        Product.objects.filter(pk__in=range(number))
        .order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk", "stock_quantity", "price", "retired_at")
    )


def _write(rows: list[tuple[int, int, int]]) -> None:
    """Set stock and add to what was sold: rows of (product id, stock, sold), one statement.

    By hand, since the ORM's way, a CASE with a branch a product, costs more to
    build than all the rest of an order.
    """
    values = ", ".join(["(%s, %s, %s)"] * len(rows))
    params: list[Any] = [connection.ops.adapt_datetimefield_value(timezone.now())]
    for row in rows:
        params.extend(row)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE products_product SET updated_at = %s, stock_quantity = new.column2,"  # noqa: S608
            " sold_quantity = sold_quantity + new.column3"
            f" FROM (VALUES {values}) AS new WHERE id = new.column1",
            params,
        )


def _change(
    changes: Mapping[int, int],
    *,
    reason: Reason,
    actor: User | None,
    order_id: UUID | None = None,
    note: str = "",
    sold: bool = False,
) -> dict[int, Locked]:
    """Apply `{product id: change}`; three queries, however many products.

    Raises:
        Product.DoesNotExist: an id is unknown.
        InsufficientStock: a product would go below zero; nothing has changed.
        StockLimit: a product would go above MAX_STOCK.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("Stock changes within a transaction.")
    ids = sorted(changes)
    locked = {
        pk: Locked(stock, price, retired_at is not None)
        for pk, stock, price, retired_at in _locking(len(ids)).fetch(*ids)
    }
    if len(locked) < len(ids):
        raise Product.DoesNotExist
    after = {pk: locked[pk].stock_quantity + changes[pk] for pk in ids}
    short = [
        {
            "product_id": str(pk),
            "requested": -changes[pk],
            "available": locked[pk].stock_quantity,
        }
        for pk in ids
        if after[pk] < 0
    ]
    if short:
        raise InsufficientStock(_("There is not enough in stock."), items=short)
    if any(balance > MAX_STOCK for balance in after.values()):
        raise StockLimit(_("Stock can't grow beyond %d.") % MAX_STOCK)
    _write([(pk, after[pk], -changes[pk] if sold else 0) for pk in ids])
    insert(
        [
            StockMovement(
                product_id=pk,
                change=changes[pk],
                reason=reason,
                balance_after=after[pk],
                actor=actor,
                order_id=order_id,
                note=note,
            )
            for pk in ids
        ]
    )
    look_after_commit()
    return locked


def take(quantities: Mapping[int, int], *, order_id: UUID, actor: User | None) -> dict[int, Locked]:
    """Take what an order sells; returns each product as it was under the lock.

    `quantities` maps product ids to positive numbers.

    Raises:
        InsufficientStock: listing every short product.
    """
    return _change(
        {pk: -quantity for pk, quantity in quantities.items()},
        reason=Reason.SOLD,
        actor=actor,
        order_id=order_id,
        sold=True,
    )


def give_back(
    quantities: Mapping[int, int], *, order_id: UUID, actor: User | None, reason: Reason
) -> None:
    """Return what an order had taken. The caller makes sure that it happens once."""
    _change(quantities, reason=reason, actor=actor, order_id=order_id, sold=True)


def adjust(
    *, product_id: int, change: int, reason: Reason, actor: User | None, note: str = ""
) -> StockMovement:
    """Change one product's stock by hand; returns the ledger row.

    Raises:
        Product.DoesNotExist, InsufficientStock, StockLimit.
    """

    def work() -> StockMovement:
        _change({product_id: change}, reason=reason, actor=actor, note=note)
        return StockMovement.objects.filter(product_id=product_id).latest("pk")

    return in_transaction(work)


def receive_new(stock: Mapping[int, int], *, actor: User | None, note: str = "") -> None:
    """Book the first stock of products that were created in this transaction.

    Nobody else can know of them yet, so there is nothing to lock. The ledger
    is written first and the stock taken from it: two statements, however many
    products.

    Raises:
        Product.DoesNotExist: an id is unknown, or its product has stock already.
        InsufficientStock: a quantity is negative.
        StockLimit: a quantity is above MAX_STOCK.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("Stock changes within a transaction.")
    counted = {pk: stock[pk] for pk in sorted(stock) if stock[pk]}
    if not counted:
        return
    if short := [
        {"product_id": str(pk), "requested": -quantity, "available": 0}
        for pk, quantity in counted.items()
        if quantity < 0
    ]:
        raise InsufficientStock(_("There is not enough in stock."), items=short)
    if max(counted.values()) > MAX_STOCK:
        raise StockLimit(_("Stock can't grow beyond %d.") % MAX_STOCK)
    StockMovement.objects.bulk_create(
        StockMovement(
            product_id=pk,
            change=quantity,
            reason=Reason.RECEIVED,
            balance_after=quantity,
            actor=actor,
            note=note,
        )
        for pk, quantity in counted.items()
    )
    booked = (
        StockMovement.objects.filter(product=OuterRef("pk"))
        .order_by()
        .values("product")
        .annotate(total=Sum("change"))
        .values("total")
    )
    new = Product.objects.filter(pk__in=counted, stock_quantity=0)
    if new.update(stock_quantity=Subquery(booked)) < len(counted):
        raise Product.DoesNotExist
