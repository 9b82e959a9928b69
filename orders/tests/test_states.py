"""The table of states, walked by staff and by customers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from orders.models import Order
from orders.states import MOVES, Status
from orders.tasks import cancel_unpaid
from products import stock
from products.models import StockMovement
from shop.events.models import Event

pytestmark = pytest.mark.django_db


def move(client, order, status, **details):
    return client.post(f"/api/v2/orders/{order.pk}/transitions", {"status": status, **details})


def test_an_order_walks_to_its_end_and_its_timeline_tells(client_of, clerk, alice, make_order):
    order = make_order(alice)
    client = client_of(clerk)
    for status in ("paid", "processing"):
        assert move(client, order, status).json()["status"] == status
    shipped = move(client, order, "shipped", carrier="CJ대한통운", tracking_number="123-45").json()
    assert (shipped["carrier"], shipped["tracking_number"]) == ("CJ대한통운", "123-45")
    tracking = client_of(alice).get(f"/api/v2/orders/{order.pk}/tracking").json()
    assert (tracking["status"], tracking["next"]) == ("shipped", "delivered")
    for status in ("delivered", "completed"):
        assert move(client, order, status).status_code == 200

    tracking = client_of(alice).get(f"/api/v2/orders/{order.pk}/tracking").json()
    assert tracking["next"] is None
    assert [(e["sequence"], e["type"], e["by"]) for e in tracking["events"]] == [
        (1, "order.created", "alice"),
        (2, "order.paid", "clerk"),
        (3, "order.processing", "clerk"),
        (4, "order.shipped", "clerk"),
        (5, "order.delivered", "clerk"),
        (6, "order.completed", "clerk"),
    ]
    assert tracking["events"][3]["data"]["carrier"] == "CJ대한통운"


@pytest.mark.parametrize("start", list(Status))
@pytest.mark.parametrize("to", list(Status))
def test_every_move_is_as_the_table_says(client_of, admin, alice, make_order, start, to):
    order = make_order(alice)
    Order.objects.filter(pk=order.pk).update(status=start)
    response = move(client_of(admin), order, to.value)
    order.refresh_from_db()
    if to in MOVES[start]:
        assert response.status_code == 200
        assert order.status == to
        assert Event.objects.filter(subject=order.subject).count() == 2
    else:
        assert response.status_code == 409
        problem = response.json()
        assert problem["code"] == "illegal_transition"
        assert problem["allowed"] == [s.value for s in MOVES[start]]
        assert problem["current"] == start.value
        assert order.status == start
        assert Event.objects.filter(subject=order.subject).count() == 1


@pytest.mark.parametrize("start", ["pending", "paid", "processing"])
def test_cancelling_returns_the_stock_once(client_of, alice, make_order, make_product, start):
    product = make_product(stock=10)
    order = make_order(alice, (product, 4))
    Order.objects.filter(pk=order.pk).update(status=start)
    url = f"/api/v2/orders/{order.pk}/cancel?reason=customer_request"

    first = client_of(alice).post(url)
    assert first.status_code == 200
    assert (first.json()["status"], first.json()["cancel_reason"]) == (
        "cancelled",
        "customer_request",
    )
    again = client_of(alice).post(url)
    assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")

    product.refresh_from_db()
    assert (product.stock_quantity, product.sold_quantity) == (10, 0)
    movement = StockMovement.objects.get(reason="cancelled")
    assert (movement.change, movement.balance_after) == (4, 10)
    assert movement.order_id == order.pk


def test_cancelling_wants_a_reason(client_of, alice, make_order):
    order = make_order(alice)
    url = f"/api/v2/orders/{order.pk}/cancel"
    assert client_of(alice).post(url).status_code == 400
    assert client_of(alice).post(url, {"reason": ""}).status_code == 400
    assert client_of(alice).post(url, {"reason": "마음이 바뀜"}).status_code == 200


def test_details_belong_to_their_state(client_of, clerk, alice, make_order):
    order = make_order(alice)
    response = move(client_of(clerk), order, "paid", carrier="CJ")
    assert response.status_code == 400
    order.refresh_from_db()
    assert order.status == "pending"


def test_a_customer_does_not_move_orders(client_of, alice, make_order):
    order = make_order(alice)
    assert move(client_of(alice), order, "paid").status_code == 403
    assert move(client_of(None), order, "paid").status_code == 401
    order.refresh_from_db()
    assert order.status == "pending"


@pytest.mark.parametrize("call", ["", "/tracking", "/cancel?reason=x"])
def test_anothers_order_is_not_there(client_of, alice, bob, make_order, call):
    order = make_order(alice)
    client = client_of(bob)
    send = client.post if "cancel" in call else client.get
    assert send(f"/api/v2/orders/{order.pk}{call}").status_code == 404
    order.refresh_from_db()
    assert order.status == "pending"


@pytest.mark.parametrize("id", ["1", "x", "00000000-0000-7000-8000-000000000000"])
def test_what_is_no_order_is_404(client_of, admin, id):
    assert client_of(admin).get(f"/api/v2/orders/{id}").status_code == 404
    assert client_of(admin).post(f"/api/v2/orders/{id}/cancel?reason=x").status_code == 404


def test_unpaid_orders_are_cancelled_by_the_job(settings, alice, make_order, make_product):
    product = make_product(stock=10)
    old, young, paid = (make_order(alice, (product, 1)) for _ in range(3))
    before = timezone.now() - timedelta(hours=settings.UNPAID_ORDER_HOURS + 1)
    Order.objects.filter(pk__in=[old.pk, paid.pk]).update(created_at=before)
    Order.objects.filter(pk=paid.pk).update(status="paid")

    assert cancel_unpaid() == "1 cancelled"
    assert cancel_unpaid() == "0 cancelled"

    assert {o.pk: o.status for o in Order.objects.all()} == {
        old.pk: "cancelled",
        young.pk: "pending",
        paid.pk: "paid",
    }
    product.refresh_from_db()
    assert product.stock_quantity == 8
    event = Event.objects.filter(subject=old.subject).latest("sequence")
    assert (event.actor, event.data["reason"]) == (None, "not_paid")


def test_an_unpaid_order_that_can_not_be_cancelled_holds_up_no_other(
    settings, alice, make_order, make_product
):
    full, other = make_product(stock=10), make_product(stock=10)
    stuck, free = make_order(alice, (full, 1)), make_order(alice, (other, 1))
    stock.adjust(product_id=full.pk, change=stock.MAX_STOCK - 9, reason="received", actor=None)
    limit = timezone.now() - timedelta(hours=settings.UNPAID_ORDER_HOURS)
    for order, hours in ((stuck, 2), (free, 1)):
        Order.objects.filter(pk=order.pk).update(created_at=limit - timedelta(hours=hours))

    assert cancel_unpaid() == "1 cancelled"

    stuck.refresh_from_db()
    free.refresh_from_db()
    assert (stuck.status, free.status) == ("pending", "cancelled")
