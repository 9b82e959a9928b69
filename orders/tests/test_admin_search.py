"""Staff find orders by what they have at hand, through an index each, and filter them."""

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders import search
from orders.actions import Line, move_order, place_order, record_payment
from orders.models import Order
from orders.search import find_orders
from orders.states import Status

pytestmark = pytest.mark.django_db

ADDRESS = {
    "street": "세종대로 110", "city": "서울", "postal_code": "04524", "recipient": "김민준",
    "phone": "010-1234-5678", "email": "Minjun@Example.com",
}  # fmt: skip


@pytest.fixture
def order(alice, make_product):
    """Of alice, for somebody else, on its way."""
    lines = [Line(make_product("게이밍 노트북", sku="NB-7700").pk, 1)]
    placed = place_order(customer=alice, lines=lines, address=ADDRESS).order
    for to in (Status.PAID, Status.PROCESSING):
        move_order(order_id=placed.pk, to=to, actor=None)
    return move_order(
        order_id=placed.pk, to=Status.SHIPPED, actor=None, carrier="CJ",
        tracking_number="6400-1234-5678",
    )  # fmt: skip


@pytest.fixture
def other(bob, make_product):
    """One that none of the texts means."""
    address = {**ADDRESS, "recipient": "John Smith", "phone": "02-987-6543", "email": "j@x.example"}
    lines = [Line(make_product("의자", sku="CH-1").pk, 1)]
    return place_order(customer=bob, lines=lines, address=address).order


def found(text):
    return find_orders(Order.objects.all(), text).pks


FINDS = {
    "user name": lambda order: "alice",
    "beginning of the user name": lambda order: "Ali",
    "customer's e-mail": lambda order: "alice@EXAMPLE.com",
    "order's e-mail": lambda order: "minjun@example.com",
    "beginning of the e-mail": lambda order: "minjun@",
    "id": lambda order: str(order.pk),
    "id without dashes": lambda order: order.pk.hex.upper(),
    "short id": lambda order: order.short_id,
    "short id as read aloud": lambda order: f" {order.short_id[:4]} {order.short_id[4:]} ".upper(),
    "recipient": lambda order: "김민준",
    "beginning of the recipient": lambda order: "김민",
    "phone": lambda order: "010-1234-5678",
    "phone without dashes": lambda order: "01012345678",
    "phone from abroad": lambda order: "+82 10 1234 5678",
    "last four of the phone": lambda order: "5678",
    "tracking number": lambda order: "6400-1234-5678",
    "tracking number without dashes": lambda order: "640012345678",
    "SKU": lambda order: "nb-7700",
    "product": lambda order: "노트북",
    "product half typed": lambda order: "게이밍 노틉",
}


@pytest.mark.parametrize("what", FINDS)
def test_it_is_found_by(order, other, what):
    assert found(FINDS[what](order)) == {order.pk}


def test_names_are_found_whatever_their_case(order, other):
    assert found("john s") == {other.pk}


@pytest.mark.parametrize(
    "text",
    ["홍길동", "민준", "010-1234-0000", "0678", "999", "nobody@example.com", "%", "_", "640012345"],
)
def test_it_is_not_found_by(order, other, text):
    assert found(text) == set()


def test_only_what_the_filters_let_through_is_found(order, other):
    assert find_orders(Order.objects.filter(status="pending"), "노트북").pks == set()
    assert find_orders(Order.objects.filter(status="shipped"), "노트북").pks == {order.pk}


def test_a_search_that_finds_too_much_shows_the_newest_and_says_so(
    client, clerk, alice, make_order, monkeypatch
):
    monkeypatch.setattr(search, "MOST", 2)
    orders = [make_order(alice) for _ in range(3)]
    assert find_orders(Order.objects.all(), "alice") == search.Found(
        {orders[1].pk, orders[2].pk}, is_cut=True
    )
    client.force_login(clerk)
    page = client.get("/admin/orders/order/?q=alice")
    assert page.context["cl"].result_count == 2
    assert "More orders match" in page.content.decode()
    assert "More orders match" not in client.get("/admin/orders/order/?q=bob").content.decode()


def test_of_too_many_products_those_that_sell_best_are_meant(
    alice, make_order, make_product, monkeypatch
):
    monkeypatch.setattr(search, "_PRODUCTS", 1)
    slow, best = make_product("조명 하나"), make_product("조명 둘")
    make_order(alice, (slow, 1))
    liked = make_order(alice, (best, 2))
    assert find_orders(Order.objects.all(), "조명") == search.Found({liked.pk}, is_cut=True)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("what", "index"),
    [
        ("short id", "order_short_id"),
        ("phone", "order_phone_end"),
        ("last four of the phone", "order_phone_end"),
        ("tracking number", "order_tracking_number"),
        ("beginning of the e-mail", "order_email"),
        ("beginning of the recipient", "order_recipient"),
    ],
)
def test_it_is_found_by_an_index(order, what, index):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        # A plan that reads everything in the order of the key is no answer either.
        cursor.execute("SET LOCAL enable_indexonlyscan = off")
    with CaptureQueriesContext(connection) as queries:
        found(FINDS[what](order))
    plans = []
    for query in queries:
        if 'FROM "orders_order"' in query["sql"]:
            unordered = query["sql"].split(" ORDER BY ")[0]
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {unordered}")  # noqa: S608
                plans.append("\n".join(line for (line,) in cursor.fetchall()))
    assert any(index in plan for plan in plans), "\n\n".join(plans)


class TestFilters:
    """The list narrowed."""

    @pytest.fixture
    def listed(self, client, clerk):
        client.force_login(clerk)

        def ask(query):
            page = client.get(f"/admin/orders/order/?{query}")
            assert page.status_code == 200, page["Location"]
            return [order.pk for order in page.context["cl"].result_list]

        return ask

    def test_by_state_and_money(self, listed, alice, make_order):
        waits, paid = make_order(alice), make_order(alice)
        record_payment(order_id=paid.pk, amount=paid.total, method="card", actor=None)
        assert listed("") == [paid.pk, waits.pk]
        assert listed("status__exact=paid") == [paid.pk]
        assert listed("due=yes") == []
        move_order(order_id=paid.pk, to=Status.CANCELLED, actor=None)
        assert listed("due=yes") == [paid.pk]

    def test_by_how_long_it_has_waited(self, listed, alice, make_order):
        old, new = make_order(alice), make_order(alice)
        Order.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=7))
        assert listed("unpaid=1") == [old.pk]
        assert listed("unpaid=24") == []
        assert listed("unpaid=nonsense") == [new.pk, old.pk]

    def test_by_days_of_the_shop(self, listed, alice, make_order):
        zone = timezone.get_default_timezone()
        moments = [datetime(2026, 3, day, hour, tzinfo=zone) for day, hour in ((1, 23), (2, 0))]
        orders = [make_order(alice) for _ in moments]
        for order, moment in zip(orders, moments, strict=True):
            Order.objects.filter(pk=order.pk).update(created_at=moment)
        first, second = (order.pk for order in orders)
        assert listed("from=2026-03-01&to=2026-03-01") == [first]
        assert listed("from=2026-03-02") == [second]
        assert listed("to=2026-03-02") == [second, first]
        assert listed("from=&to=") == [second, first]

    def test_filtered_by_days_it_is_in_their_order(self, client, clerk):
        client.force_login(clerk)
        for query, column in (("", "-id"), ("?from=2026-03-01", "-created_at")):
            page = client.get(f"/admin/orders/order/{query}")
            assert page.context["cl"].queryset.query.order_by[0] == column

    @pytest.mark.parametrize("day", ["x", "2026-13-01", "0001-01-01", "9999-12-31"])
    def test_a_day_that_is_none_shows_everything(self, client, clerk, day):
        client.force_login(clerk)
        page = client.get(f"/admin/orders/order/?from={day}")
        assert page["Location"] == "/admin/orders/order/?e=1"

    def test_the_days_keep_the_other_filters_and_lose_the_page(self, client, clerk):
        client.force_login(clerk)
        page = client.get("/admin/orders/order/?status__exact=paid&from=2026-03-01&q=x&p=1")
        form = page.content.decode().split('class="days"')[1].split("</form>")[0]
        assert 'name="status__exact" value="paid"' in form
        assert 'name="q" value="x"' in form
        assert 'name="from" value="2026-03-01"' in form
        assert 'name="p"' not in form
