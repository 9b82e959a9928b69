"""manage.py check_orders: proves that orders, their events, money and stock tell the same."""

from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    CharField,
    Count,
    ExpressionWrapper,
    F,
    Func,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    TextField,
    UUIDField,
    Value,
    Window,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce, Concat, Lag
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from orders.models import Order, OrderItem, Payment, Return, ReturnItem
from orders.states import MOVES, Status
from products.models import Product, Reason, StockMovement
from shop.audit import Audit, AuditCommand, Fault
from shop.events.models import Event
from shop.idempotency import IdempotencyKey
from shop.ids import uuid7_floor
from shop.money import MoneyField

_NO_MONEY = Value(0, output_field=MoneyField())
_NO_TEXT = Value("", output_field=TextField())
# What an order is only with its total paid.
_COVERED = [status for status in Status if status not in (Status.PENDING, Status.CANCELLED)]


def _found(rows: QuerySet[Any, Any], column: str = "pk", by: str | None = None) -> Subquery:
    """Look one row up by an index, for each row of the query around it: the first `by`, if several.

    EXISTS would say it better, but may be made a join, which takes hours where
    the database has no good statistics.
    """
    return Subquery(rows.order_by(*([by] if by else [])).values(column)[:1])


class _Subject(Func):
    """The subject of an order's events, from the order's key; see Order.subject."""

    output_field = CharField()

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        return self.as_sql(compiler, connection, template="'order/' || (%(expressions)s)::text")

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        # Which keeps 32 digits without the hyphens.
        parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        digits = " || '-' || ".join(
            f"substr(%(expressions)s, {start}, {length})" for start, length in parts
        )
        return self.as_sql(compiler, connection, template=f"'order/' || {digits}")


class _OrderAtEnd(Func):
    """The key of the order that a text ends with, in SQL that finds it by the index."""

    output_field = UUIDField()

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        pattern = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
        template = f"substring(%(expressions)s from '{pattern}')::uuid"
        return self.as_sql(compiler, connection, template=template)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        template = "replace(substr(%(expressions)s, -36), '-', '')"
        return self.as_sql(compiler, connection, template=template)


def _faults_of_orders(first: UUID) -> list[Fault]:
    """The orders themselves and their items; of all orders from the key `first` on."""
    orders = Order.objects.filter(pk__gte=first).order_by("pk")
    items = OrderItem.objects.filter(order__gte=first).order_by("pk")
    return [
        Fault(
            "order {pk}: the items are {items_total}, its {lines} lines come to {sum}",
            orders.values("pk", "items_total")
            .annotate(lines=Count("items"), sum=Coalesce(Sum("items__line_total"), _NO_MONEY))
            .exclude(lines__gt=0, items_total=F("sum")),
        ),
        Fault(
            "order {pk}: the total is {total}, and not {items_total} and {shipping_fee} shipping",
            orders.exclude(total=F("items_total") + F("shipping_fee")).values(
                "pk", "total", "items_total", "shipping_fee"
            ),
        ),
        Fault(
            "order {order_id}: {quantity} × {price} of product {product_id} are {line_total}",
            items.annotate(
                right=ExpressionWrapper(F("price") * F("quantity"), output_field=MoneyField())
            )
            .exclude(line_total=F("right"))
            .values("order_id", "product_id", "quantity", "price", "line_total"),
        ),
    ]


def _faults_of_events(first: UUID) -> list[Fault]:
    """What the timeline tells of an order is what became of it, and was allowed."""
    orders = Order.objects.filter(pk__gte=first).order_by("pk").alias(about=_Subject("pk"))
    events = (
        Event.objects.filter(subject__startswith="order/", subject__gte=f"order/{first}")
        .order_by("subject", "sequence")
        .annotate(to=Coalesce(KT("data__status"), _NO_TEXT))
    )
    own = Event.objects.filter(subject=OuterRef("about"))
    told = own.annotate(to=KT("data__status")).filter(to__isnull=False)
    moves = (
        events.exclude(to="")
        .annotate(
            origin=Coalesce(KT("data__from"), _NO_TEXT),
            before=Coalesce(
                Window(Lag("to"), partition_by=[F("subject")], order_by=F("sequence").asc()),
                _NO_TEXT,
            ),
        )
        .values("subject", "sequence", "origin", "to", "before")
    )
    allowed = [
        Q(before=before, origin=before, to=to) for before, after in MOVES.items() for to in after
    ]
    return [
        Fault(
            "order {pk}: its first event is not that it was placed",
            orders.alias(
                first=_found(
                    own.filter(sequence=1, type="order.created", data__status=Status.PENDING)
                )
            )
            .filter(first=None)
            .values("pk"),
        ),
        Fault(
            "{subject}: {number} events, from sequence {least} to {most}",
            events.order_by("subject")
            .values("subject")
            .annotate(number=Count("pk"), least=Min("sequence"), most=Max("sequence"))
            .exclude(least=1, most=F("number")),
        ),
        Fault(
            "order {pk}: version {version}, the last event has the sequence {last}",
            orders.annotate(last=Coalesce(_found(own, "sequence", by="-sequence"), 0))
            .exclude(version=F("last"))
            .values("pk", "version", "last"),
        ),
        Fault(
            "order {pk}: it is {status}, its events tell of {last}",
            orders.annotate(
                last=Coalesce(
                    _found(told, "to", by="-sequence"), Value("nothing", output_field=TextField())
                )
            )
            .exclude(status=F("last"))
            .values("pk", "status", "last"),
        ),
        Fault(
            "{subject}: event {sequence} moves it from {origin} to {to}, where it was {before}",
            # The first is left out by the same condition as the allowed moves:
            # one of its own would be applied before the window.
            moves.exclude(reduce(or_, allowed, Q(sequence=1))),
        ),
        Fault(
            "{subject}: event {sequence} is {type} and tells of {to}",
            events.filter(sequence__gt=1)
            .exclude(Q(to="") | Q(type=Concat(Value("order."), F("to"))))
            .values("subject", "sequence", "type", "to"),
        ),
        Fault(
            "{subject}: has events, and there is no such order",
            # All have a first one, or there is a gap.
            events.filter(sequence=1)
            .alias(named=_OrderAtEnd("subject"))
            .alias(order=_found(Order.objects.filter(pk=OuterRef("named"))))
            .filter(order=None)
            .values("subject"),
        ),
    ]


def _faults_of_money(first: UUID) -> list[Fault]:
    """The sums on the order are those of its payments and refunds, and as its state asks for."""
    orders = Order.objects.filter(pk__gte=first).order_by("pk")
    sums = ("pk", "status", "total", "paid", "refunded", "refund_due")

    def booked(**of: str) -> Coalesce:
        rows = Q(**{f"payments__{name}": value for name, value in of.items()})
        return Coalesce(Sum("payments__amount", filter=rows), _NO_MONEY)

    return [
        Fault(
            "order {pk}: {paid} paid, {refunded} refunded, {refund_due} due,"
            " and by its payments {came}, {went}, {goes}",
            orders.values("pk", "paid", "refunded", "refund_due")
            .annotate(
                came=booked(kind=Payment.Kind.PAYMENT),
                went=booked(kind=Payment.Kind.REFUND, state=Payment.State.SETTLED),
                goes=booked(kind=Payment.Kind.REFUND, state=Payment.State.DUE),
            )
            .exclude(paid=F("came"), refunded=F("went"), refund_due=F("goes")),
        ),
        Fault(
            "order {pk}: it is {status}, and {paid} of {total} are paid",
            orders.filter(
                Q(status__in=_COVERED, paid__lt=F("total"))
                | Q(status=Status.PENDING, paid__gte=F("total"), total__gt=0)
                | Q(paid__gt=F("total"))
            ).values(*sums),
        ),
        Fault(
            "order {pk}: {paid} paid, {refunded} refunded and {refund_due} due",
            orders.filter(paid__lt=F("refunded") + F("refund_due")).values(*sums),
        ),
        Fault(
            "order {pk}: it is cancelled, {paid} paid, {refunded} refunded and {refund_due} due",
            orders.filter(status=Status.CANCELLED, paid__gt=F("refunded") + F("refund_due")).values(
                *sums
            ),
        ),
        Fault(
            "order {order_id}: refund {pk} of {amount} belongs to no return",
            Payment.objects.filter(
                order__gte=first, kind=Payment.Kind.REFUND, returned__isnull=True
            )
            .exclude(order__status=Status.CANCELLED)
            .order_by("pk")
            .values("pk", "order_id", "amount"),
        ),
    ]


def _faults_of_returns(first: UUID) -> list[Fault]:
    """What came back was bought, had been delivered, and is not worth more than it had cost."""
    returns = Return.objects.filter(order__gte=first).order_by("pk")
    parts = ReturnItem.objects.filter(parent__order__gte=first).order_by()
    price = F("items__quantity") * F("items__item__price")
    worth = Coalesce(Sum(price, output_field=MoneyField()), _NO_MONEY)
    return [
        Fault(
            "order {order}: {back} of product {product} came back, {bought} were bought",
            parts.values(
                order=F("item__order_id"), product=F("item__product_id"), bought=F("item__quantity")
            )
            .annotate(back=Sum("quantity"))
            .filter(back__gt=F("bought")),
        ),
        Fault(
            "order {order_id}: it is {order__status}, and return {pk} was taken",
            returns.exclude(order__status__in=[Status.DELIVERED, Status.COMPLETED]).values(
                "pk", "order_id", "order__status"
            ),
        ),
        Fault(
            "order {parent__order_id}: return {parent_id} has an item of order {item__order_id}",
            parts.exclude(item__order=F("parent__order")).values(
                "parent_id", "parent__order_id", "item__order_id"
            ),
        ),
        Fault(
            "order {order_id}: return {pk} is refunded with {refund__kind} {refund_id}"
            " of {refund__amount} for order {refund__order_id}, worth {worth}",
            returns.filter(refund__isnull=False)
            .values(
                "pk",
                "order_id",
                "refund_id",
                "refund__kind",
                "refund__amount",
                "refund__order_id",
            )
            .annotate(worth=worth)
            .exclude(
                refund__kind=Payment.Kind.REFUND,
                refund__order_id=F("order_id"),
                refund__amount__lte=F("worth"),
            ),
        ),
    ]


def _movements(reason: Reason | OuterRef, prefix: str = "") -> QuerySet[StockMovement, Any]:
    """Of the order and the product that the query around has as `{prefix}order_id` and so on."""
    # The sum keeps the database from going through all movements of a product.
    return StockMovement.objects.alias(what=F("product_id") + 0).filter(
        order_id=OuterRef(f"{prefix}order_id"),
        what=OuterRef(f"{prefix}product_id"),
        reason=reason,
    )


def _faults_of_stock(first: UUID) -> list[Fault]:
    """The ledger has what each order sold and gave back, once, and nothing else in its name."""
    ledger = StockMovement.objects.filter(order_id__gte=first).order_by("pk")
    items = OrderItem.objects.filter(order__gte=first).order_by("pk")
    restocked = ReturnItem.objects.filter(parent__restock=True, parent__order__gte=first)
    line = OrderItem.objects.filter(order=OuterRef("order_id"), product=OuterRef("product_id"))

    came_back = (
        ReturnItem.objects.filter(
            parent__restock=True,
            item__order=OuterRef("order_id"),
            item__product=OuterRef("product_id"),
        )
        .order_by()
        .values("item_id")
        .annotate(n=Sum("quantity"))
        .values("n")
    )
    return [
        Fault(
            "order {order_id}: movement {pk} of product {product_id} is {change} {reason},"
            " the order has {quantity} and is {status}",
            ledger.annotate(
                quantity=Coalesce(_found(line, "quantity"), 0),
                status=Coalesce(
                    _found(Order.objects.filter(pk=OuterRef("order_id")), "status"),
                    Value("not there"),
                ),
            )
            .exclude(
                Q(reason=Reason.SOLD, change=0 - F("quantity"))
                | Q(reason=Reason.CANCELLED, change=F("quantity"), status=Status.CANCELLED)
                | Q(reason=Reason.RETURNED, change__gt=0, quantity__gt=0)
            )
            .values("pk", "order_id", "product_id", "change", "reason", "quantity", "status"),
        ),
        Fault(
            "order {order_id}: product {product_id} is {reason} once more by movement {pk}",
            ledger.filter(reason__in=[Reason.SOLD, Reason.CANCELLED])
            .alias(earlier=_found(_movements(OuterRef("reason")).filter(pk__lt=OuterRef("pk"))))
            .exclude(earlier=None)
            .values("pk", "order_id", "product_id", "reason"),
        ),
        Fault(
            "order {order_id}: {quantity} of product {product_id} were never taken from the stock",
            items.alias(sale=_found(_movements(Reason.SOLD)))
            .filter(sale=None)
            .values("order_id", "product_id", "quantity"),
        ),
        Fault(
            "order {order_id}: it is cancelled, and {quantity} of product {product_id}"
            " were never given back",
            items.filter(order__status=Status.CANCELLED)
            .alias(back=_found(_movements(Reason.CANCELLED)))
            .filter(back=None)
            .values("order_id", "product_id", "quantity"),
        ),
        Fault(
            "order {order_id}: {put} of product {product_id} were put back, by its returns {back}",
            ledger.filter(reason=Reason.RETURNED)
            .order_by()
            .values("order_id", "product_id")
            .annotate(put=Sum("change"), back=Coalesce(Subquery(came_back), 0))
            .exclude(put=F("back")),
        ),
        Fault(
            "order {order}: {quantity} of product {product} came back in return {parent_id}"
            " and were never put back",
            restocked.alias(put=_found(_movements(Reason.RETURNED, "item__")))
            .filter(put=None)
            .values(
                "parent_id", "quantity", order=F("item__order_id"), product=F("item__product_id")
            ),
        ),
    ]


def _faults_of_sales() -> list[Fault]:
    """How often a product was sold is what the ledger has in the name of orders."""
    in_orders = Q(movements__order_id__isnull=False)
    return [
        Fault(
            "product {pk}: {sold_quantity} sold, by the movements of orders {sold}",
            Product.objects.order_by("pk")
            .values("pk", "sold_quantity")
            .annotate(sold=0 - Coalesce(Sum("movements__change", filter=in_orders), 0))
            .exclude(sold_quantity=F("sold")),
        ),
    ]


def _faults_of_keys(since: datetime | None) -> list[Fault]:
    """An answer that is kept for its key tells of an order that is there."""
    keys = IdempotencyKey.objects.filter(status=201).order_by("pk")
    if since is not None:
        keys = keys.filter(created_at__gte=since)
    return [
        Fault(
            "key {pk}: answers with {place}, and there is no such order",
            keys.annotate(place=KT("headers__Location"))
            .filter(place__startswith="/api/v2/orders/")
            .alias(named=_OrderAtEnd("place"))
            .alias(order=_found(Order.objects.filter(pk=OuterRef("named"))))
            .filter(order=None)
            .values("pk", "place"),
        ),
    ]


class Command(AuditCommand):
    """Check every order against its items, events, payments, returns and stock movements."""

    help = (
        "Prove that orders, their events, money and stock movements tell the same. Prints what "
        "is wrong (the first ten of a kind) and exits with 1; with 2 if the database can't be "
        "asked. Looks at one moment of a live shop and holds up nobody."
    )
    right = "The orders are right"
    wrong = "wrong with the orders"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the command line."""
        parser.add_argument(
            "--recent",
            type=int,
            metavar="HOURS",
            help="only what belongs to orders made in the last HOURS; leaves out older orders, "
            "also what was done to them since, and the products' numbers of units sold",
        )

    def audit(self, *, recent: int | None = None, **options: Any) -> Audit:
        """What can be wrong with orders."""
        since = None if recent is None else timezone.now() - timedelta(hours=recent)
        # The key of an order begins with its time, so that one index after the
        # other gives what belongs to the orders since then.
        first = UUID(int=0) if since is None else uuid7_floor(since)
        faults = [
            *_faults_of_orders(first),
            *_faults_of_events(first),
            *_faults_of_money(first),
            *_faults_of_returns(first),
            *_faults_of_stock(first),
            *(_faults_of_sales() if since is None else ()),
            *_faults_of_keys(since),
        ]
        return Audit(faults, {"orders": Order.objects.filter(pk__gte=first)})
