"""Finding orders by what staff have at hand: a number, a name, a phone, a product.

Each kind of text has an index of its own (Order.Meta). Those that a text may
be are asked one after the other for the keys of their newest orders; asked
together in one OR, over three joins, the database reads every order there is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from orders.models import SHORT_ID, Order, OrderItem, phone_end, short_id, tracking_bare
from products.models import Product
from products.search import matching
from shop.accounts.models import User

# Orders that one kind of text finds, and customers and products that it may mean.
MOST = 1000
_CUSTOMERS = 100
_PRODUCTS = 50

_UUID = re.compile(r"[0-9a-f]{32}")
_SHORT_ID = re.compile(rf"[0-9a-f]{{{SHORT_ID}}}")
_PHONE = re.compile(r"\+?[0-9 .()-]+")
_TRACKING = re.compile(r"(?=.*[0-9])[0-9A-Z]{5,}")


@dataclass(frozen=True)
class Found:
    """The keys that were found; `is_cut` says whether older ones were left out."""

    pks: set[UUID]
    is_cut: bool


def find_orders(rows: QuerySet[Order], text: str) -> Found:
    """Return those of `rows` that `text` finds, of each kind the newest MOST.

    By the id, whole or its last characters; the beginning of the customer's user
    name, of an e-mail address (as far as its @) or of the recipient's name; a
    phone number or its last four or more digits; a tracking number; a SKU or
    words of the names of products in the order. At most eight queries.
    """
    pks: set[UUID] = set()
    is_cut = False
    for kind, narrowed in _kinds(rows.order_by("-pk"), text.strip()):
        found = list(kind.values_list("pk", flat=True)[: MOST + 1])
        is_cut = is_cut or narrowed or len(found) > MOST
        pks.update(found[:MOST])
    return Found(pks, is_cut)


# Orders, and whether they are those of only some of the customers or products meant.
_Kind = tuple[QuerySet[Order], bool]


def _bare(text: str) -> str:
    return re.sub(r"[\s-]", "", text).lower()


def by_number(rows: QuerySet[Order], text: str) -> QuerySet[Order]:
    """Narrow to the order whose id is `text`, or ends with it."""
    bare = _bare(text)
    if _UUID.fullmatch(bare):
        return rows.filter(pk=UUID(bare))
    if _SHORT_ID.fullmatch(bare):
        return rows.alias(short=short_id).filter(short=bare)
    return rows.none()


def _kinds(rows: QuerySet[Order], text: str) -> Iterator[_Kind]:
    bare = _bare(text)
    yield by_number(rows, text), False
    if _UUID.fullmatch(bare):
        return
    if _TRACKING.fullmatch(bare.upper()):
        sent = rows.exclude(tracking_number="").alias(bare=tracking_bare)
        yield sent.filter(bare=bare.upper()), False
    digits = re.sub(r"\D", "", text) if _PHONE.fullmatch(text) else ""
    if 4 <= len(digits) <= 15:
        # The last eight of a number are the same with and without the country's.
        end = digits[-8:]
        called = rows.alias(last_four=phone_end(4), end=phone_end(len(end)))
        yield called.filter(last_four=end[-4:], end=end), False
    if "@" in text:
        yield rows.filter(email__istartswith=text), False
        yield from _of_customers(rows, Q(email__istartswith=text))
        return
    names = Q(username__startswith=text) | Q(username__startswith=text.lower())
    yield from _of_customers(rows, names)
    if any(letter.isalpha() for letter in text):
        yield rows.filter(recipient__istartswith=text), False
        yield from _with_products(rows, matching(Product.objects.all(), text))
    else:
        yield from _with_products(rows, Product.objects.filter(sku=text))


def _of_customers(rows: QuerySet[Order], meant: Q) -> Iterator[_Kind]:
    people = User.objects.filter(meant).order_by("username")
    pks = list(people.values_list("pk", flat=True)[: _CUSTOMERS + 1])
    if pks:
        yield rows.filter(customer__in=pks[:_CUSTOMERS]), len(pks) > _CUSTOMERS


def _with_products(rows: QuerySet[Order], meant: QuerySet[Product]) -> Iterator[_Kind]:
    """Narrow to orders of these products; of too many, those that sell best."""
    best = meant.order_by("-sold_quantity", "-pk")
    pks = list(best.values_list("pk", flat=True)[: _PRODUCTS + 1])
    if pks:
        items = OrderItem.objects.filter(order=OuterRef("pk"), product__in=pks[:_PRODUCTS])
        yield rows.filter(Exists(items)), len(pks) > _PRODUCTS
