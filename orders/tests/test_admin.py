"""Orders in the admin: looked at, and moved by the API's own code."""

import pytest

from orders.models import Order
from products.models import StockMovement
from shop.events.models import Event

pytestmark = pytest.mark.django_db


def test_the_list_and_the_search_open(client, clerk, alice, make_order):
    order = make_order(alice)
    client.force_login(clerk)
    assert str(order.pk) in client.get("/admin/orders/order/").content.decode()
    assert str(order.pk) in client.get(f"/admin/orders/order/?q={order.pk}").content.decode()
    assert client.get("/admin/orders/order/?q=alice").status_code == 200


@pytest.mark.parametrize("number", [1, 15])
def test_the_list_costs_the_same_however_long_it_is(
    client, clerk, alice, make_order, make_product, number, django_assert_max_num_queries
):
    product = make_product(stock=100)
    for _ in range(number):
        make_order(alice, (product, 1))
    client.force_login(clerk)
    with django_assert_max_num_queries(7):
        client.get("/admin/orders/order/")


def test_an_order_shows_its_timeline_and_its_moves(client, clerk, alice, make_order):
    order = make_order(alice)
    client.force_login(clerk)
    page = client.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    assert "order.created" in page
    assert 'value="paid"' in page
    assert 'value="cancelled"' in page
    assert 'value="shipped"' not in page


def test_buttons_move_it_by_the_table(client, clerk, alice, make_order):
    order = make_order(alice)
    client.force_login(clerk)
    url = f"/admin/orders/order/{order.pk}/move/"
    for status in ("paid", "processing"):
        client.post(url, {"status": status})
    client.post(url, {"status": "shipped", "carrier": "CJ", "tracking_number": "1-2"})
    order.refresh_from_db()
    assert (order.status, order.carrier, order.tracking_number) == ("shipped", "CJ", "1-2")
    assert Event.objects.filter(subject=order.subject, actor=clerk).count() == 3
    refused = client.post(url, {"status": "cancelled"}, follow=True)
    assert "become cancelled" in refused.content.decode()
    order.refresh_from_db()
    assert order.status == "shipped"
    assert client.post(url, {"status": "nonsense"}, follow=True).status_code == 200
    assert client.get(url).status_code == 405


def test_many_are_moved_at_once_and_failures_are_told(client, clerk, alice, make_order):
    moves, stays = make_order(alice), make_order(alice)
    Order.objects.filter(pk=stays.pk).update(status="completed")
    client.force_login(clerk)
    page = client.post(
        "/admin/orders/order/",
        {"action": "move_to_cancelled", "_selected_action": [str(moves.pk), str(stays.pk)]},
        follow=True,
    ).content.decode()
    assert "1 moved" in page
    assert str(stays.pk) in page
    assert {o.pk: o.status for o in Order.objects.all()} == {
        moves.pk: "cancelled",
        stays.pk: "completed",
    }
    assert StockMovement.objects.filter(reason="cancelled").count() == 1


def test_nothing_is_edited_added_or_deleted(client, admin, alice, make_order):
    order = make_order(alice)
    client.force_login(admin)
    assert client.get("/admin/orders/order/add/").status_code == 403
    assert (
        client.post(f"/admin/orders/order/{order.pk}/delete/", {"post": "yes"}).status_code == 403
    )
    client.post(f"/admin/orders/order/{order.pk}/change/", {"status": "completed"})
    order.refresh_from_db()
    assert order.status == "pending"


def test_who_has_no_right_does_not_move(client, alice, make_order):
    order = make_order(alice)
    alice.is_staff = True
    alice.save(update_fields=["is_staff"])
    client.force_login(alice)
    url = f"/admin/orders/order/{order.pk}/move/"
    assert client.post(url, {"status": "paid"}).status_code == 403
    order.refresh_from_db()
    assert order.status == "pending"
