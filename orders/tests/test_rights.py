"""Whose order it is, and what each single right opens."""

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission

from orders.actions import move_order, record_payment
from orders.models import Order, Payment
from orders.states import Status
from products.models import StockMovement
from shop.accounts.models import User
from shop.events.models import Event

pytestmark = pytest.mark.django_db


def holder(*rights: str, is_staff: bool = True) -> User:
    user = User.objects.create_user("holder", password="secret", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


def facts() -> Any:
    """What no refusal may change."""
    return (
        list(Order.objects.order_by("pk").values_list("pk", "status", "version", "paid")),
        Payment.objects.count(),
        Event.objects.count(),
        StockMovement.objects.count(),
    )


@pytest.fixture
def order(alice, make_order):
    return make_order(alice)


READS = ("", "/tracking", "/payments", "/returns")
WRITES: dict[str, Any] = {
    "/cancel": {"reason": "x"},
    "/transitions": {"status": "paid"},
    "/payments": {"amount": 1, "method": "cash"},
    "/returns": {"items": [{"product_id": "1", "quantity": 1}], "reason": "x", "restock": True},
    "/refunds/1/settle": {},
}


def opened(client_of, user, order):
    """What the user gets, reading and writing; refusals must change nothing."""
    client = client_of(user)
    url = f"/api/v2/orders/{order.pk}"
    read = [client.get(url + tail).status_code for tail in READS]
    written = []
    for tail, body in WRITES.items():
        before = facts()
        status = client.post(url + tail, body).status_code
        written.append(status)
        assert facts() == before or status in (200, 201), tail
    return read, written


def test_who_may_look_may_do_no_more(client_of, order):
    read, written = opened(client_of, holder("view_order"), order)
    assert read == [200, 200, 403, 403]
    assert written == [403] * 5


def test_money_and_returns_are_rights_of_their_own(client_of, order):
    read, _ = opened(client_of, holder("view_order", "view_payment"), order)
    assert read == [200, 200, 200, 403]


def test_who_may_not_look_can_do_nothing_blindly(client_of, order):
    rights = ("change_order", "add_payment", "change_payment", "add_return", "view_payment")
    read, written = opened(client_of, holder(*rights), order)
    assert read == [404] * 4
    assert written == [404] * 5


def test_rights_without_being_staff_are_none_over_others(client_of, order):
    read, written = opened(
        client_of, holder("view_order", "change_order", "add_payment", is_staff=False), order
    )
    assert read == [404] * 4
    assert set(written) == {403, 404}


def test_whose_it_is_sees_all_of_it_and_cancels(client_of, alice, order):
    read, written = opened(client_of, alice, order)
    assert read == [200] * 4
    assert written == [200, 403, 403, 403, 403]
    order.refresh_from_db()
    assert order.status == "cancelled"


@pytest.mark.parametrize(
    ("page", "right"),
    [
        ("payment/", "add_payment"),
        ("return/", "add_return"),
        ("refund/1/", "change_payment"),
    ],
)
def test_in_the_admin_nothing_is_booked_blindly(client, order, page, right):
    before = facts()
    for rights in (("view_order",), (right,)):
        client.force_login(holder(*rights))
        url = f"/admin/orders/order/{order.pk}/{page}"
        body = {"amount": "1", "method": "cash", "reason": "x"}
        assert client.post(url, body).status_code == 403
        # An order that is not there looks the same to whoever may not know.
        nowhere = url.replace(str(order.pk), "01a20656-1040-7c09-82fb-2fbfe054a941")
        assert client.post(nowhere, body).status_code == 403
        User.objects.filter(username="holder").delete()
    assert facts() == before


@pytest.mark.parametrize("page", ["payment/", "return/", "refund/1/"])
def test_in_the_admin_an_order_that_is_not_there_is_404(client, admin, page):
    client.force_login(admin)
    url = f"/admin/orders/order/01a20656-1040-7c09-82fb-2fbfe054a941/{page}"
    assert client.post(url, {"amount": "1", "method": "cash"}).status_code == 404


class TestLists:
    """Nothing of another's comes out of a list, however it is asked."""

    QUERIES = (
        "",
        "?status=pending",
        "?start_date=2024-01-01&end_date=2100-01-01",
        "?per_page=100",
        "?page=2",
        "?cursor=",
    )

    @pytest.mark.parametrize("query", QUERIES)
    def test_filters(self, client_of, bob, order, query):
        answer = client_of(bob).get(f"/api/v2/orders{query}").json()
        assert answer["results"] == []
        assert answer.get("total", 0) == 0
        assert answer["next"] is None

    @pytest.mark.parametrize("name", ["customer", "customer__username", "id", "ordering", "user"])
    def test_no_filter_asks_for_somebody(self, client_of, bob, order, name):
        assert client_of(bob).get(f"/api/v2/orders?{name}=alice").status_code == 400
        assert client_of(bob).get(f"/api/v2/orders/export?{name}=alice").status_code == 400

    def test_a_forged_cursor_moves_within_ones_own(self, client_of, alice, bob, make_order, order):
        mine = make_order(bob)
        make_order(alice)

        def cursor(*parts: Any) -> str:
            return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()

        client = client_of(bob)
        for backwards in (0, 1):
            for at in (order.pk, UUID(int=2**128 - 1), UUID(int=0)):
                found = client.get(
                    f"/api/v2/orders?cursor={cursor('newest', backwards, str(at))}"
                ).json()["results"]
                assert {each["id"] for each in found} <= {str(mine.pk)}

    @pytest.mark.parametrize(
        "parts",
        [
            ["newest", 0, 5],  # of the tokens
            ["price", 0, "1", 1],  # of the products
            ["newest", 2, "01a20656-1040-7c09-82fb-2fbfe054a941"],
            ["newest", 0],
            ["newest", 0, "01a20656-1040-7c09-82fb-2fbfe054a941", 1],
            ["newest", 0, "' OR 1=1 --"],
            ["newest", 0, None],
            {"a": 1},
            "newest",
        ],
    )
    def test_another_lists_cursor_is_400(self, client_of, bob, parts):
        text = base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()
        answer = client_of(bob).get(f"/api/v2/orders?cursor={text}")
        assert answer.status_code == 400
        assert "cursor" in answer.json()["errors"]

    @pytest.mark.parametrize("kind", ["csv", "xlsx"])
    def test_an_export_has_ones_own(self, client_of, alice, bob, clerk, make_order, order, kind):
        mine = make_order(bob)
        from orders.exports import COLUMNS

        def exported(user: User) -> bytes:
            answer = client_of(user).get(f"/api/v2/orders/export?format={kind}")
            return b"".join(answer.streaming_content)

        if kind == "csv":
            text = exported(bob).decode()
            assert str(mine.pk) in text and str(order.pk) not in text
            assert str(order.pk) in exported(clerk).decode()
            assert len(text.splitlines()[0].split(",")) == len(COLUMNS)
        else:
            import io
            import zipfile

            book = zipfile.ZipFile(io.BytesIO(exported(bob)))
            sheet = book.read("xl/worksheets/sheet1.xml").decode()
            assert str(mine.pk) in sheet and str(order.pk) not in sheet


def test_a_refund_is_settled_under_its_own_order(client_of, clerk, alice, make_order):
    paid, other = make_order(alice), make_order(alice)
    record_payment(order_id=paid.pk, amount=paid.total, method="cash", actor=clerk)
    move_order(order_id=paid.pk, to=Status.CANCELLED, actor=clerk)
    refund = paid.payments.get(kind=Payment.Kind.REFUND)
    before = facts()
    url = f"/api/v2/orders/{other.pk}/refunds/{refund.pk}/settle"
    assert client_of(clerk).post(url, {}).status_code == 404
    assert facts() == before


class TestFieldsThatAreNotSent:
    """What the shop decides is not taken from whoever asks."""

    @pytest.mark.parametrize(
        "field",
        ["status", "customer", "total", "items_total", "shipping_fee", "paid", "id", "currency",
         "created_at", "carrier", "version", "refund_due"],
    )  # fmt: skip
    def test_an_order(self, client_of, alice, make_product, field):
        line = {"product_id": str(make_product().pk), "quantity": 1}
        body = {
            "items": [line],
            "shipping_address": {"street": "s", "city": "c", "postal_code": "1"},
            field: "1",
        }
        before = facts()
        answer = client_of(alice).post("/api/v2/orders", body)
        assert answer.status_code == 400
        assert answer.json()["errors"][field][0]["code"] == "unknown_field"
        assert facts() == before

    @pytest.mark.parametrize("place", ["items", "shipping_address"])
    def test_inside_an_order(self, client_of, alice, make_product, place):
        line = {"product_id": str(make_product().pk), "quantity": 1}
        address = {"street": "s", "city": "c", "postal_code": "1"}
        (line if place == "items" else address)["line_total"] = 0
        body = {"items": [line], "shipping_address": address}
        assert client_of(alice).post("/api/v2/orders", body).status_code == 400
        assert not Order.objects.exists()

    def test_in_v1_they_count_for_nothing(self, client_of, alice, bob, make_product):
        line = {"product_id": make_product(price=100).pk, "quantity": 1, "line_total": 0}
        body = {
            "items": [line],
            "shipping_address": {"street": "s", "city": "c", "postal_code": "1"},
            "status": "paid", "customer": bob.username, "total": 0, "items_total": 0, "id": "x",
            "paid": 100, "carrier": "x",
        }  # fmt: skip
        assert client_of(alice).post("/api/v1/orders", body).status_code == 201
        order = Order.objects.get()
        assert (order.customer, order.status, order.carrier) == (alice, "pending", "")
        assert (order.items_total, order.paid) == (100, 0)

    @pytest.mark.parametrize(
        ("tail", "body"),
        [
            ("/payments", {"amount": 1, "method": "cash", "state": "settled"}),
            ("/payments", {"amount": 1, "method": "cash", "kind": "refund"}),
            ("/transitions", {"status": "paid", "total": 0}),
            ("/cancel", {"reason": "x", "refund": 1}),
        ],
    )
    def test_what_is_booked(self, client_of, clerk, order, tail, body):
        before = facts()
        assert client_of(clerk).post(f"/api/v2/orders/{order.pk}{tail}", body).status_code == 400
        assert facts() == before
