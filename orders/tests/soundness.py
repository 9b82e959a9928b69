"""What holds for every order and every product, whatever went on."""

from collections import Counter, defaultdict
from decimal import Decimal
from io import StringIO

from django.core.management import call_command

from orders.models import Order
from orders.states import MOVES, Status
from products.models import Product, StockMovement
from shop.events.models import Event

_STATES = {f"order.{status.value}": status for status in Status}


def assert_sound() -> None:
    """Check stock and ledger of all products, and items, money and events of all orders."""
    call_command("check_stock", stdout=StringIO(), skip_checks=True)
    for order in Order.objects.prefetch_related("items", "payments"):
        _assert_order_sound(order)
    sold: Counter[int] = Counter()
    for movement in StockMovement.objects.filter(order_id__isnull=False):
        sold[movement.product_id] -= movement.change
    for product in Product.objects.all():
        assert product.sold_quantity == sold[product.pk]


def _assert_order_sound(order: Order) -> None:
    items = {item.product_id: item.quantity for item in order.items.all()}
    assert items
    assert order.items_total == sum(item.line_total for item in order.items.all())
    assert order.total == order.items_total + order.shipping_fee

    money: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in order.payments.all():
        money[row.kind, row.state] += row.amount
    assert order.paid == money["payment", "settled"]
    assert order.refund_due == money["refund", "due"]
    assert order.refunded == money["refund", "settled"]
    if order.status not in (Status.PENDING, Status.CANCELLED):
        assert order.paid >= order.total
    if order.status == Status.CANCELLED:
        assert order.paid == order.refund_due + order.refunded

    # Each state was reached by an allowed move, and each change told of once.
    events = list(Event.objects.filter(subject=order.subject).order_by("sequence"))
    assert [event.sequence for event in events] == list(range(1, order.version + 1))
    assert events[0].type == "order.created"
    state = Status.PENDING
    for event in events:
        if event.type in _STATES and event.type != "order.pending":
            assert _STATES[event.type] in MOVES[state]
            state = _STATES[event.type]
    assert state == order.status

    moved: Counter[tuple[int, str]] = Counter()
    rows: Counter[tuple[int, str]] = Counter()
    for movement in StockMovement.objects.filter(order_id=order.pk):
        moved[movement.product_id, movement.reason] += movement.change
        rows[movement.product_id, movement.reason] += 1
    for product_id, quantity in items.items():
        assert moved[product_id, "sold"] == -quantity
        assert rows[product_id, "sold"] == 1
        cancelled = order.status == Status.CANCELLED
        assert moved[product_id, "cancelled"] == (quantity if cancelled else 0)
        assert rows[product_id, "cancelled"] == (1 if cancelled else 0)
        assert 0 <= moved[product_id, "returned"] <= quantity
