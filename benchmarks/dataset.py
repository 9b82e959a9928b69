"""Filling an arena's database: products with stock, people with tokens, a year of orders.

Run as `python -m benchmarks.dataset --products 100000` in the arena's own
environment; it prints the dataset as one line of JSON.
"""

import argparse
import json
import random
import sys
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orders.models import Order, OrderItem
    from orders.states import Status
    from products.models import Category, Product

CATEGORIES = 40
STOCK = 100_000
_BATCH = 500
_WORDS_EN = [
    "wireless",
    "compact",
    "silent",
    "steel",
    "classic",
    "travel",
    "studio",
    "soft",
    "bright",
    "heavy",
]
_WORDS_KO = [
    "무선",
    "소형",
    "저소음",
    "강철",
    "고급",
    "휴대용",
    "작업용",
    "부드러운",
    "밝은",
    "대형",
]
_THINGS = (
    ("keyboard", "키보드"),
    ("mouse", "마우스"),
    ("laptop", "노트북"),
    ("camera", "카메라"),
    ("speaker", "스피커"),
    ("backpack", "가방"),
    ("monitor", "모니터"),
    ("desk lamp", "책상 조명"),
)


@dataclass(frozen=True)
class Dataset:
    """What load needs to know of a filled database."""

    # Products have the keys from first to last, without a gap.
    first: int
    last: int
    tokens: list[str]
    # Somebody who may do everything.
    staff: str = ""

    def to_json(self) -> str:
        """Write it down for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Dataset":
        """Read it back."""
        return cls(**json.loads(text))


def fill(*, products: int, people: int, orders: int = 0) -> Dataset:
    """Fill an empty, migrated database. The same arguments give the same products."""
    from django.db import transaction

    from products.categories import place_category
    from products.models import Category, Product
    from products.stock import receive_new
    from shop.accounts.models import AccessToken, User

    dice = random.Random(20240101)  # noqa: S311
    categories = [
        place_category(
            category=Category(
                key=f"bench-{n}", slug=f"bench-{n}", name_en=f"Category {n}", name_ko=f"분류 {n}"
            ),
            parent=None,
        )
        for n in range(CATEGORIES)
    ]
    keys: list[int] = []
    for start in range(0, products, _BATCH):
        with transaction.atomic():
            made = Product.objects.bulk_create(
                _product(number, dice, categories)
                for number in range(start, min(start + _BATCH, products))
            )
            keys += [product.pk for product in made]
            receive_new({product.pk: STOCK for product in made}, actor=None)
    tokens = []
    for number in range(people):
        user = User.objects.create_user(f"bench-{number}", password=None)
        tokens.append(AccessToken.issue(user)[1])
    first, last = (keys[0], keys[-1]) if keys else (1, 0)
    if len(keys) != last - first + 1:
        raise RuntimeError("The products' keys have gaps: was the database new?")
    staff = User.objects.create_superuser("bench-staff", password=None)
    _fill_orders(orders, keys, dice)
    return Dataset(first, last, tokens, AccessToken.issue(staff)[1])


def _fill_orders(number: int, keys: list[int], dice: random.Random) -> None:
    """Write orders of the last year, two lines each, with all that they left in the books.

    Past the actions, which take tens of milliseconds for the life of an
    order, but as they would have written it: `check_orders` finds no fault.
    """
    from django.conf import settings
    from django.utils import timezone

    from orders.models import Order, OrderItem
    from orders.states import Status
    from products.models import Product
    from shop.accounts.models import User

    customers = list(User.objects.order_by("pk"))
    states = [Status.COMPLETED] * 16 + [Status.SHIPPED, Status.PAID, Status.PENDING]
    states.append(Status.CANCELLED)
    now = timezone.now()
    stock = dict.fromkeys(keys, STOCK)
    # Orders are dated as they are made; these were made long ago.
    dated = Order._meta.get_field("created_at")
    dated.auto_now_add = False
    try:
        for start in range(0, number, _BATCH):
            part: list[Order] = []
            items: list[OrderItem] = []
            count = min(_BATCH, number - start)
            chosen = [dice.sample(keys, 2) for _ in range(count)]
            wanted = {pk for pair in chosen for pk in pair}
            known = Product.objects.in_bulk(wanted)
            for pair in chosen:
                bought = [(known[pk], dice.randrange(1, 4)) for pk in pair]
                total = sum((p.price * quantity for p, quantity in bought), Decimal(0))
                customer, status = dice.choice(customers), dice.choice(states)
                order = Order(
                    customer=customer,
                    status=status,
                    version=len(_way_to(status)),
                    currency=settings.CURRENCY,
                    items_total=total,
                    shipping_fee=Decimal(0),
                    total=total,
                    paid=total if Status.PAID in _way_to(status) else Decimal(0),
                    street="123 Main St",
                    city="Seoul",
                    postal_code="12345",
                    created_at=now - timedelta(seconds=dice.randrange(365 * 86400)),
                )
                part.append(order)
                items += [
                    OrderItem(
                        order=order,
                        product=product,
                        product_name=product.name,
                        sku=product.sku or "",
                        price=product.price,
                        quantity=quantity,
                        line_total=product.price * quantity,
                    )
                    for product, quantity in bought
                ]
            Order.objects.bulk_create(part)
            OrderItem.objects.bulk_create(items)
            _fill_books(part, items, stock)
    finally:
        dated.auto_now_add = True
    if number:
        _fill_sums()


def _way_to(status: "Status") -> "list[Status]":
    """Return the states that an order went through until it came to `status`."""
    from orders.states import Status, comes_next

    way = [Status.PENDING]
    if status is Status.CANCELLED:
        return [*way, status]
    while way[-1] is not status:
        following = comes_next(way[-1])
        assert following is not None
        way.append(following)
    return way


def _fill_books(
    orders: "Sequence[Order]", items: "Sequence[OrderItem]", stock: dict[int, int]
) -> None:
    """Write a batch's payments, events and movements; `stock` is what there is of each product."""
    from orders.models import Payment
    from orders.states import Status
    from products.models import Reason, StockMovement
    from shop.events.models import Event

    Payment.objects.bulk_create(
        Payment(
            order=order,
            kind=Payment.Kind.PAYMENT,
            method=Payment.Method.CARD,
            amount=order.paid,
            state=Payment.State.SETTLED,
            settled_at=order.created_at,
        )
        for order in orders
        if order.paid
    )
    events = []
    for order in orders:
        way = _way_to(Status(order.status))
        for sequence, (before, status) in enumerate(zip([None, *way], way, strict=False), 1):
            events.append(
                Event(
                    type=f"order.{status.value if before else 'created'}",
                    subject=order.subject,
                    sequence=sequence,
                    time=order.created_at + timedelta(minutes=sequence - 1),
                    data={"status": status.value} | ({"from": before.value} if before else {}),
                )
            )
    Event.objects.bulk_create(events, batch_size=_BATCH)
    movements = []
    for item in items:
        changes = [(-item.quantity, Reason.SOLD)]
        if item.order.status == Status.CANCELLED:
            changes.append((item.quantity, Reason.CANCELLED))
        for change, reason in changes:
            stock[item.product_id] += change
            movements.append(
                StockMovement(
                    product_id=item.product_id,
                    change=change,
                    reason=reason,
                    balance_after=stock[item.product_id],
                    order_id=item.order_id,
                )
            )
    StockMovement.objects.bulk_create(movements)


def _fill_sums() -> None:
    """Have the products say what their movements come to."""
    from django.db.models import OuterRef, Q, Subquery, Sum
    from django.db.models.functions import Coalesce

    from products.models import Product, StockMovement

    own = StockMovement.objects.filter(product=OuterRef("pk")).order_by().values("product")
    sold = own.annotate(total=0 - Coalesce(Sum("change", filter=Q(order_id__isnull=False)), 0))
    Product.objects.update(
        stock_quantity=Subquery(own.annotate(total=Sum("change")).values("total")),
        sold_quantity=Subquery(sold.values("total")),
    )


def _product(number: int, dice: random.Random, categories: list["Category"]) -> "Product":
    from products.models import Product

    en, ko = dice.choice(_THINGS)
    name = f"{dice.choice(_WORDS_KO)} {ko} {dice.choice(_WORDS_EN)} {en} {number}"
    return Product(
        sku=f"B-{number:07}",
        name=name,
        # About as long as a shop's own texts.
        description=f"{name}. " + "A good thing at a fair price. 오래 쓰는 물건입니다. " * 6,
        brand=f"Brand {number % 200}",
        category=dice.choice(categories),
        price=Decimal(dice.randrange(1, 2000) * 100),
    )


def main() -> None:
    """Fill the database that the environment names."""
    import os

    import django

    parser = argparse.ArgumentParser()
    parser.add_argument("--products", type=int, required=True)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--orders", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    django.setup()
    data = fill(products=options.products, people=options.people, orders=options.orders)
    sys.stdout.write(data.to_json() + "\n")


if __name__ == "__main__":
    main()
