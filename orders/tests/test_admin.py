"""Orders in the admin: looked at, and moved by the API's own code."""

import pytest
from django.contrib.auth.models import Group, Permission

from orders.actions import move_order, return_items
from orders.states import Status
from shop.events.models import Event

pytestmark = pytest.mark.django_db


def test_the_list_names_orders_and_what_was_bought(client, clerk, alice, make_order):
    order = make_order(alice)
    client.force_login(clerk)
    page = client.get("/admin/orders/order/").content.decode()
    assert f"/admin/orders/order/{order.pk}/change/" in page
    assert order.short_id in page
    assert "1 × 노트북" in page


def test_an_order_shows_its_timeline_and_its_moves(client, clerk, alice, make_order):
    order = make_order(alice)
    client.force_login(clerk)
    page = client.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    assert "order.created" in page
    assert 'value="paid"' in page
    assert 'value="cancelled"' in page
    assert 'value="shipped"' not in page
    assert 'name="reason"' in page
    assert 'name="tracking_number"' not in page


def test_an_order_shows_its_stock_movements_to_whoever_may_see_them(
    client, clerk, alice, make_order, make_product
):
    product = make_product(stock=5)
    order = make_order(alice, (product, 2))
    make_order(alice, (product, 1))
    client.force_login(clerk)
    url = f"/admin/orders/order/{order.pk}/change/"
    page = client.get(url)
    assert [movement.change for movement in page.context["movements"]] == [-2]
    assert f"/admin/products/product/{product.pk}/stock/" in page.content.decode()
    clerk.groups.remove(Group.objects.get(name="Catalogue"))
    assert client.get(url).context["movements"] is None


def test_the_timeline_tells_who_did_what(client, clerk, alice, make_order, make_product):
    product = make_product(price=60000, stock=5)
    order = make_order(alice, (product, 2))
    for to in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
        move_order(order_id=order.pk, to=to, actor=clerk, carrier="CJ", tracking_number="6400-1")
    return_items(
        order_id=order.pk, quantities={product.pk: 1}, reason="too small", restock=True, actor=clerk
    )
    client.force_login(clerk)
    page = client.get(f"/admin/orders/order/{order.pk}/change/")
    told = [(name, event.actor, details) for event, name, details in page.context["events"]]
    assert told == [
        ("order placed", alice, ""),
        ("paid", clerk, "amount: ₩120,000"),
        ("processing", clerk, ""),
        ("shipped", clerk, "carrier: CJ, tracking number: 6400-1"),
        ("delivered", clerk, ""),
        (
            "goods returned", clerk,
            f"reason: too small, refund due: ₩60,000, 1 × product {product.pk}",
        ),
    ]  # fmt: skip


def test_who_only_looks_has_no_buttons(client, alice, make_order):
    order = make_order(alice)
    alice.is_staff = True
    alice.save(update_fields=["is_staff"])
    alice.user_permissions.add(Permission.objects.get(codename="view_order"))
    client.force_login(alice)
    page = client.get(f"/admin/orders/order/{order.pk}/change/")
    assert page.status_code == 200
    assert "/move/" not in page.content.decode()
    assert "/payment/" not in page.content.decode()
    page = client.get("/admin/orders/order/")
    assert page.status_code == 200
    assert "move_to_" not in page.content.decode()


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
