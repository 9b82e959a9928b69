"""Many orders moved at once: asked first, one by one, and what came of each."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import OperationalError

from orders import bulk as moves
from orders.actions import move_order
from orders.models import Order
from orders.states import Status
from products.models import StockMovement
from shop import bulk
from shop.events.models import Event

pytestmark = pytest.mark.django_db

LIST = "/admin/orders/order/"


@pytest.fixture
def desk(client, clerk):
    client.force_login(clerk)
    return client


def ask(desk, action, *orders, query="", **fields):
    chosen = [str(order.pk) for order in orders]
    return desk.post(
        LIST + query, {"action": action, "index": "0", "_selected_action": chosen, **fields}
    )


def confirm(desk, asked, action, *orders, query="", **fields):
    """Press the button of the page that asked, with what it had in it."""
    key = re.search(r'name="key" value="([^"]+)"', asked.content.decode())
    assert key is not None
    return ask(desk, action, *orders, query=query, key=key[1], **fields)


def go(desk, action, *orders, **fields):
    return confirm(desk, ask(desk, action, *orders), action, *orders, **fields)


def pks(pairs):
    return [line.pk for line, _text in pairs]


def states(*orders):
    known = dict(Order.objects.values_list("pk", "status"))
    return [known[order.pk] for order in orders]


def paid(order):
    return move_order(order_id=order.pk, to=Status.PAID, actor=None)


def test_asking_changes_nothing_and_shows_what_would(desk, alice, make_order, make_product):
    product = make_product(price=60000, stock=10)
    fresh, gone, done = (make_order(alice, (product, 2)) for _ in range(3))
    paid(gone)
    for to in (Status.PAID, Status.PROCESSING, Status.SHIPPED):
        move_order(order_id=done.pk, to=to, actor=None)
    page = ask(desk, "move_to_cancelled", fresh, gone, done)
    effects = {line.pk: line.effect for line, _own in page.context["ready"]}
    assert set(effects) == {fresh.pk, gone.pk}
    assert "2 pieces back into stock" in effects[fresh.pk]
    assert "refund" not in effects[fresh.pk]
    assert "a refund of ₩120,000 is due" in effects[gone.pk]
    assert [line.pk for line in page.context["refused"]] == [done.pk]
    assert "From “shipped” it can" in page.content.decode()
    assert states(fresh, gone, done) == ["pending", "paid", "shipped"]
    assert not StockMovement.objects.filter(reason="cancelled").exists()
    assert not LogEntry.objects.exists()


def test_each_is_moved_by_the_actions_code_and_told_of(desk, clerk, alice, make_order):
    one, two = make_order(alice), paid(make_order(alice))
    report = go(desk, "move_to_cancelled", one, two, reason="sold out")
    assert states(one, two) == ["cancelled", "cancelled"]
    assert pks(report.context["done"]) == [one.pk, two.pk]
    assert report.context["failed"] == []
    text = report.content.decode()
    assert f"/admin/orders/order/{one.pk}/change/" in text
    assert "a refund of ₩13,000 is due" in text
    for order in (one, two):
        event = Event.objects.filter(subject=order.subject).latest("sequence")
        assert (event.type, event.actor, event.data["reason"]) == (
            "order.cancelled", clerk, "sold out",
        )  # fmt: skip
    assert StockMovement.objects.filter(reason="cancelled").count() == 2
    assert LogEntry.objects.filter(user=clerk).count() == 2


def test_what_fails_is_said_and_holds_up_nobody(desk, alice, make_order):
    stays, moves_on = make_order(alice), make_order(alice)
    asked = ask(desk, "move_to_cancelled", stays, moves_on)
    for to in (Status.PAID, Status.PROCESSING, Status.SHIPPED):
        move_order(order_id=stays.pk, to=to, actor=None)
    report = confirm(desk, asked, "move_to_cancelled", stays, moves_on, reason="x")
    assert states(stays, moves_on) == ["shipped", "cancelled"]
    ((line, why),) = report.context["failed"]
    assert (line.pk, line.label) == (stays.pk, stays.short_id)
    assert "become cancelled" in why
    assert pks(report.context["done"]) == [moves_on.pk]
    assert StockMovement.objects.filter(reason="cancelled").count() == 1
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(moves_on.pk)]


def test_a_database_that_is_busy_with_one_loses_no_report(desk, alice, make_order, monkeypatch):
    busy, free = make_order(alice), make_order(alice)

    def move(*, order_id, **fields):
        if order_id == busy.pk:
            raise OperationalError("canceling statement due to lock timeout")
        return move_order(order_id=order_id, **fields)

    monkeypatch.setattr(moves, "move_order", move)
    report = go(desk, "move_to_paid", busy, free)
    assert states(busy, free) == ["pending", "paid"]
    assert pks(report.context["failed"]) == [busy.pk]
    assert "busy" in report.context["failed"][0][1]


def test_the_button_pressed_twice_does_it_once(desk, alice, make_order):
    order = make_order(alice)
    asked = ask(desk, "move_to_paid", order)
    for _twice in range(2):
        report = confirm(desk, asked, "move_to_paid", order)
        assert pks(report.context["done"]) == [order.pk]
        assert report.context["failed"] == []
    assert "done already" in report.content.decode()
    assert Event.objects.filter(subject=order.subject, type="order.paid").count() == 1
    assert LogEntry.objects.count() == 1
    assert order.payments.count() == 1


def test_what_failed_may_be_tried_again_by_the_same_button(desk, alice, make_order):
    order = make_order(alice)
    asked = ask(desk, "move_to_processing", paid(order))
    Order.objects.filter(pk=order.pk).update(status="pending")
    assert confirm(desk, asked, "move_to_processing", order).context["failed"]
    Order.objects.filter(pk=order.pk).update(status="paid")
    assert confirm(desk, asked, "move_to_processing", order).context["done"]
    assert states(order) == ["processing"]


def test_each_parcel_has_its_own_number(desk, alice, make_order):
    one, two = make_order(alice), make_order(alice)
    for order in (one, two):
        for to in (Status.PAID, Status.PROCESSING):
            move_order(order_id=order.pk, to=to, actor=None)
    go(
        desk, "move_to_shipped", one, two, carrier="CJ",
        **{f"own_{one.pk}": "11-11", f"own_{two.pk}": "22-22"},
    )  # fmt: skip
    rows = Order.objects.order_by("pk").values_list("status", "carrier", "tracking_number")
    assert list(rows) == [("shipped", "CJ", "11-11"), ("shipped", "CJ", "22-22")]


def test_a_form_with_errors_is_asked_again(desk, alice, make_order):
    order = make_order(alice)
    page = go(desk, "move_to_cancelled", order, reason=" ")
    assert page.context["form"].errors.keys() == {"reason"}
    assert 'name="key"' in page.content.decode()
    assert states(order) == ["pending"]


def test_those_that_left_the_filter_meanwhile_are_told_of_too(desk, alice, make_order):
    order = make_order(alice)
    query = "?status__exact=pending"
    asked = ask(desk, "move_to_paid", order, query=query)
    paid(order)
    report = confirm(desk, asked, "move_to_paid", order, query=query)
    assert pks(report.context["failed"]) == [order.pk]
    assert report.context["back"] == LIST + query


def test_an_order_that_is_gone_is_said_to_be(desk, alice, make_order):
    order = make_order(alice)
    asked = ask(desk, "move_to_paid", order)
    Order.objects.filter(pk=order.pk).delete()
    ((line, why),) = confirm(desk, asked, "move_to_paid", order).context["failed"]
    assert (line.label, why) == (str(order.pk), "It is not there any more.")


def test_more_than_the_limit_is_refused_with_the_limit(desk, alice, make_order, monkeypatch):
    monkeypatch.setattr(bulk, "MOST", 2)
    orders = [make_order(alice) for _ in range(3)]
    page = desk.post(
        LIST,
        {
            "action": "move_to_paid", "index": "0", "select_across": "1",
            "_selected_action": [str(orders[0].pk)],
        },
        follow=True,
    )  # fmt: skip
    assert "At most 2 at once" in page.content.decode()
    assert set(states(*orders)) == {"pending"}


def test_all_across_pages_up_to_the_limit_are_asked_for(desk, alice, make_order):
    orders = [make_order(alice) for _ in range(3)]
    page = ask(desk, "move_to_paid", orders[0], select_across="1")
    assert {line.pk for line, _own in page.context["ready"]} == {order.pk for order in orders}


def test_no_more_are_moved_than_the_limit_whatever_is_sent(desk, alice, make_order, monkeypatch):
    orders = [make_order(alice) for _ in range(3)]
    asked = ask(desk, "move_to_paid", *orders)
    monkeypatch.setattr(bulk, "MOST", 2)
    confirm(desk, asked, "move_to_paid", *orders)
    assert states(*orders) == ["paid", "paid", "pending"]


def test_when_time_is_up_the_rest_is_left_and_named(desk, alice, make_order, monkeypatch):
    order = make_order(alice)
    monkeypatch.setattr(bulk, "PATIENCE", -1)
    report = go(desk, "move_to_paid", order)
    assert pks(report.context["failed"]) == [order.pk]
    assert states(order) == ["pending"]


@pytest.mark.parametrize("key", ["", "x", "x" * 23, "가" * 22])
def test_without_a_key_of_ours_it_is_only_asked(desk, alice, make_order, key):
    order = make_order(alice)
    assert ask(desk, "move_to_paid", order, key=key).context["ready"]
    assert states(order) == ["pending"]


def test_what_is_no_key_is_a_bad_request(desk, alice, make_order):
    order = make_order(alice)
    asked = ask(desk, "move_to_paid", order)
    key = re.search(r'name="key" value="([^"]+)"', asked.content.decode())[1]
    for chosen in (["nonsense"], [str(order.pk), "0"]):
        fields = {"action": "move_to_paid", "index": "0", "_selected_action": chosen, "key": key}
        assert desk.post(LIST, fields).status_code == 400
    assert states(order) == ["pending"]


def test_an_order_that_is_named_twice_is_moved_once(desk, alice, make_order):
    order = make_order(alice)
    report = go(desk, "move_to_paid", order, order)
    assert pks(report.context["done"]) == [order.pk]


def test_who_may_not_move_does_not(client, alice, make_order, django_user_model):
    order = make_order(alice)
    looker = django_user_model.objects.create_user("looker", password=None, is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_order"))
    client.force_login(looker)
    page = ask(client, "move_to_paid", order, key="x" * 22)
    assert page.status_code == 302
    assert states(order) == ["pending"]
