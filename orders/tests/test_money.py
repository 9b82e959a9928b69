"""Payments, refunds, returns and the mail that goes with them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import connection, connections
from django.utils.translation import override

from conftest import ADDRESS
from orders.actions import move_order, record_payment
from orders.mail import send
from orders.models import Order, Payment, Return
from orders.states import Status
from products.models import StockMovement
from shop.events.delivery import send_all
from shop.events.models import Event
from shop.jobs.models import Job
from shop.jobs.queue import sweep

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(alice, make_order, make_product):
    """Two chairs and a lamp: 25,000 and 3,000 shipping."""
    return make_order(alice, (make_product("의자", 10000), 2), (make_product("조명", 5000), 1))


@pytest.fixture
def delivered(order, clerk):
    for status in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
        move_order(order_id=order.pk, to=status, actor=clerk)
    order.refresh_from_db()
    return order


def pay(client, order, amount, reference="", key=None):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(
        f"/api/v2/orders/{order.pk}/payments",
        {"amount": amount, "method": "card", "reference": reference},
        headers=headers,
    )


def give_back(client, order, *lines, restock=True):
    return client.post(
        f"/api/v2/orders/{order.pk}/returns",
        {
            "items": [{"product_id": str(pk), "quantity": quantity} for pk, quantity in lines],
            "reason": "too small",
            "restock": restock,
        },
    )


def types(order):
    events = Event.objects.filter(subject=order.subject).order_by("sequence")
    return [kind.removeprefix("order.") for kind in events.values_list("type", flat=True)]


def test_payments_that_cover_the_total_make_it_paid(client_of, clerk, order):
    client = client_of(clerk)
    part = pay(client, order, 8000, "A-1")
    assert part.status_code == 201, part.content
    assert (part.json()["status"], part.json()["paid"]) == ("pending", 8000)
    rest = pay(client, order, 20000, "A-2")
    assert (rest.json()["status"], rest.json()["paid"]) == ("paid", 28000)
    assert types(order) == ["created", "payment_received", "payment_received", "paid"]
    order.refresh_from_db()
    assert order.version == 4
    listed = client.get(f"/api/v2/orders/{order.pk}/payments").json()["results"]
    assert [(row["amount"], row["reference"], row["by"]) for row in listed] == [
        (8000, "A-1", "clerk"),
        (20000, "A-2", "clerk"),
    ]


def test_a_refused_payment_changes_nothing(client_of, clerk, alice, make_order, order):
    client = client_of(clerk)
    over = pay(client, order, 28001)
    assert (over.status_code, over.json()["code"], over.json()["open"]) == (409, "overpaid", 28000)
    pay(client, order, 1000, "A-1")
    twice = pay(client, make_order(alice), 1000, "A-1")
    assert (twice.status_code, twice.json()["code"]) == (409, "duplicate_payment")
    move_order(order_id=order.pk, to=Status.CANCELLED, actor=clerk)
    late = pay(client, order, 1000, "A-2")
    assert (late.status_code, late.json()["code"]) == (409, "order_cancelled")
    assert Payment.objects.filter(kind="payment").count() == 1
    for body in ({"amount": 0}, {"amount": -1}, {"amount": "1"}, {"amount": 1.5}, {}):
        bad = client.post(f"/api/v2/orders/{order.pk}/payments", {"method": "card", **body})
        assert bad.status_code == 400, body


def test_one_key_books_once(client_of, clerk, order):
    first = pay(client_of(clerk), order, 1000, key="pay-1")
    again = pay(client_of(clerk), order, 1000, key="pay-1")
    assert again.content == first.content
    assert Payment.objects.count() == 1


def test_moved_to_paid_by_hand_the_books_agree(clerk, order):
    record_payment(order_id=order.pk, amount=8000, method="card", actor=clerk)
    moved = move_order(order_id=order.pk, to=Status.PAID, actor=clerk)
    assert moved.paid == moved.total
    assert [(p.amount, p.method) for p in order.payments.all()] == [
        (8000, "card"), (20000, "other"),
    ]  # fmt: skip


def test_cancelling_a_paid_order_leaves_a_refund_due_once(client_of, clerk, alice, order):
    record_payment(order_id=order.pk, amount=28000, method="card", actor=clerk)
    cancelled = client_of(alice).post(
        f"/api/v2/orders/{order.pk}/cancel", {"reason": "changed_mind"}
    )
    assert (cancelled.json()["refund_due"], cancelled.json()["refunded"]) == (28000, 0)
    refund = Payment.objects.get(kind="refund")
    assert (refund.amount, refund.state, refund.method) == (28000, "due", "card")
    url = f"/api/v2/orders/{order.pk}/refunds/{refund.pk}/settle"
    assert client_of(alice).post(url, {}).status_code == 403
    settled = client_of(clerk).post(url, {"reference": "R-1"})
    assert (settled.json()["refund_due"], settled.json()["refunded"]) == (0, 28000)
    again = client_of(clerk).post(url, {"reference": "R-2"})
    assert (again.status_code, again.json()["code"]) == (409, "already_settled")
    refund.refresh_from_db()
    assert (refund.reference, refund.state) == ("R-1", "settled")
    assert types(order)[-2:] == ["cancelled", "refunded"]
    missing = client_of(clerk).post(f"/api/v2/orders/{order.pk}/refunds/999/settle", {})
    assert missing.status_code == 404


def test_cancelling_an_unpaid_order_owes_nothing(clerk, order):
    move_order(order_id=order.pk, to=Status.CANCELLED, actor=clerk)
    assert not Payment.objects.exists()


def test_a_return_restocks_and_refunds_and_can_not_be_repeated(client_of, clerk, delivered):
    chair, lamp = delivered.items.order_by("pk")
    client = client_of(clerk)
    before = chair.product.stock_quantity
    made = give_back(client, delivered, (chair.product_id, 1))
    assert made.status_code == 201, made.content
    assert made.json()["refund"] == {
        "id": made.json()["refund"]["id"], "amount": 10000, "state": "due",
    }  # fmt: skip
    chair.product.refresh_from_db()
    assert chair.product.stock_quantity == before + 1
    assert StockMovement.objects.latest("pk").reason == "returned"
    # Same product on two lines is summed: one is left, two are asked for.
    over = give_back(client, delivered, (chair.product_id, 1), (chair.product_id, 1))
    assert (over.status_code, over.json()["code"]) == (409, "return_exceeds_order")
    assert over.json()["items"] == [
        {"product_id": str(chair.product_id), "requested": 2, "returnable": 1}
    ]
    broken = give_back(client, delivered, (lamp.product_id, 1), restock=False)
    assert broken.json()["refund"]["amount"] == 5000
    lamp.product.refresh_from_db()
    assert lamp.product.stock_quantity == 9
    delivered.refresh_from_db()
    assert (delivered.refund_due, Return.objects.count()) == (15000, 2)
    assert len(client.get(f"/api/v2/orders/{delivered.pk}/returns").json()["results"]) == 2
    call_command("check_stock", verbosity=0)


def test_refused_returns(client_of, clerk, alice, order, make_product):
    client, (chair, _lamp) = client_of(clerk), order.items.order_by("pk")
    early = give_back(client, order, (chair.product_id, 1))
    assert (early.status_code, early.json()["code"]) == (409, "not_delivered")
    for status in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
        move_order(order_id=order.pk, to=status, actor=clerk)
    foreign = give_back(client, order, (make_product("책").pk, 1))
    assert (foreign.status_code, foreign.json()["code"]) == (400, "unknown_product")
    assert give_back(client, order, (chair.product_id, 0)).status_code == 400
    assert give_back(client_of(alice), order, (chair.product_id, 1)).status_code == 403
    assert not Return.objects.exists()
    assert not StockMovement.objects.filter(reason="returned").exists()


def test_whose_business_it_is(client_of, alice, bob, order):
    for name in ("payments", "returns"):
        url = f"/api/v2/orders/{order.pk}/{name}"
        assert client_of(None).get(url).status_code == 401
        assert client_of(alice).get(url).status_code == 200
        assert client_of(bob).get(url).status_code == 404
    assert pay(client_of(alice), order, 28000).status_code == 403
    assert pay(client_of(None), order, 28000).status_code == 401
    assert not Payment.objects.exists()


def test_the_admin_books_by_the_same_actions(client, clerk, order):
    client.force_login(clerk)
    base = f"/admin/orders/order/{order.pk}"
    page = client.get(f"{base}/change/").content.decode()
    assert "Book a payment" in page and 'value="28000"' in page
    bad = client.post(f"{base}/payment/", {"amount": "0", "method": "card"}, follow=True)
    assert "more than nothing" in bad.content.decode()
    client.post(f"{base}/payment/", {"amount": "28000", "method": "bank_transfer"})
    order.refresh_from_db()
    assert order.status == "paid"
    for status in ("processing", "shipped", "delivered"):
        client.post(f"{base}/move/", {"status": status})
    chair, lamp = order.items.order_by("pk")
    none = client.post(f"{base}/return/", {"reason": "x"}, follow=True).content.decode()
    assert "Say how many" in none
    client.post(
        f"{base}/return/",
        {"reason": "too small", "restock": "on", f"item_{chair.product_id}": "2"},
    )
    refund = Payment.objects.get(kind="refund")
    assert refund.amount == 20000
    page = client.get(f"{base}/change/").content.decode()
    assert "Refund due: ₩20,000" in page and "2 × 의자" in page
    assert str(order.pk) in client.get("/admin/orders/payment/?due=yes").content.decode()
    client.post(f"{base}/refund/{refund.pk}/", {"reference": "R-1"})
    refund.refresh_from_db()
    assert (refund.state, refund.reference) == ("settled", "R-1")
    assert client.post(f"{base}/refund/999/", {}).status_code == 404
    assert client.get(f"{base}/payment/").status_code == 405


def test_the_admin_refuses_whoever_may_only_look(client, order, django_user_model):
    from django.contrib.auth.models import Permission

    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_order"))
    client.force_login(viewer)
    base = f"/admin/orders/order/{order.pk}"
    assert "Book a payment" not in client.get(f"{base}/change/").content.decode()
    assert client.post(f"{base}/payment/", {"amount": "1", "method": "card"}).status_code == 403
    assert client.post(f"{base}/return/", {"reason": "x"}).status_code == 403
    assert client.post(f"{base}/refund/1/", {}).status_code == 403


class TestMail:
    """What the buyer is told."""

    def test_order_shipment_cancellation_refund(self, clerk, alice, make_order, make_product):
        product = make_product("의자 & 책상", 10000)
        order = make_order(alice, (product, 2))
        for status in (Status.PAID, Status.PROCESSING):
            move_order(order_id=order.pk, to=status, actor=clerk)
        move_order(
            order_id=order.pk, to=Status.SHIPPED, actor=clerk, carrier="CJ", tracking_number="77"
        )
        other = make_order(alice, (product, 1))
        record_payment(order_id=other.pk, amount=13000, method="card", actor=clerk)
        move_order(order_id=other.pk, to=Status.CANCELLED, actor=clerk)
        send_all()
        sweep()
        assert [message.to for message in mail.outbox] == [["alice@example.com"]] * 4
        created, shipped, second, cancelled = (message.body for message in mail.outbox)
        assert "- 의자 & 책상 × 2: ₩20,000" in created and "Total: ₩23,000" in created
        assert "Tracking number: CJ 77\n" in shipped
        assert "We will refund ₩13,000." in cancelled and "cancelled" in cancelled
        # Where it goes, as long as it goes anywhere.
        for body in (created, shipped, second):
            assert "Delivery address: 123 Main St, Seoul 12345\n" in body
        assert "Delivery address" not in cancelled
        assert order.short_id in mail.outbox[0].subject

    def test_it_is_in_the_language_of_the_shop(self, alice, make_order, make_product, settings):
        settings.LANGUAGE_CODE = "ko"
        order = make_order(alice, (make_product("의자", 10000), 2))
        send_all()
        with override("en"):
            sweep()
        (message,) = mail.outbox
        assert message.subject == f"[Shop] 주문 접수 안내 (주문 번호 {order.short_id})"
        assert message.body.startswith("alice님, 안녕하세요.\n")
        assert "- 의자 × 2: 20,000원" in message.body
        assert "배송비: 3,000원\n합계: 23,000원" in message.body

    @pytest.mark.parametrize(
        ("language", "words"), [("ko", "alice님, 안녕하세요."), ("en", "Hello alice,")]
    )
    def test_it_is_in_the_language_of_the_buyer(
        self, client_of, alice, make_product, language, words
    ):
        product = make_product("의자", 10000)
        body = {"items": [{"product_id": str(product.pk), "quantity": 1}]}
        client_of(alice).post(
            "/api/v2/orders",
            {**body, "shipping_address": ADDRESS},
            headers={"Accept-Language": language},
        )
        send_all()
        with override("en" if language == "ko" else "ko"):
            sweep()
        (message,) = mail.outbox
        ((html, kind),) = message.alternatives
        assert kind == "text/html"
        assert words in message.body and words in html
        assert f'<html lang="{language}">' in html

    def test_as_html_nothing_of_a_buyer_or_a_product_is_code(self, alice, make_order, make_product):
        order = make_order(alice, (make_product("<b>의자</b>", 10000), 2))
        Order.objects.filter(pk=order.pk).update(
            recipient="<i>김</i>", street="<s>1</s>", carrier="<u>CJ</u>", tracking_number="77"
        )
        send(order.pk, "shipped")
        ((html, _kind),) = mail.outbox[0].alternatives
        for word in ("b&gt;의자", "i&gt;김", "s&gt;1", "u&gt;CJ"):
            assert f"&lt;{word}" in html
        assert not any(tag in html for tag in ("<b>", "<i>", "<s>", "<u>"))
        assert "<b>의자</b>" in mail.outbox[0].body
        assert "₩20,000" in html and "http" not in html

    def test_it_leads_to_the_page_where_the_shop_has_an_address(self, alice, make_order, settings):
        settings.SHOP_URL = "https://shop.example"
        order = make_order(alice)
        send(order.pk, "created")
        ((html, _kind),) = mail.outbox[0].alternatives
        link = f"https://shop.example/orders/{order.pk}/track"
        assert link in mail.outbox[0].body and f'href="{link}"' in html

    def test_who_has_no_name_any_more_is_greeted_without(self, alice, make_order):
        order = make_order(alice)
        order.email = "alice@example.com"
        order.save()
        alice.delete()
        assert send(order.pk, "created") == "sent"
        assert mail.outbox[0].body.startswith("Hello,\n")

    def test_nothing_is_sent_for_what_was_rolled_back(self, alice, make_order, make_product):
        from products.stock import InsufficientStock

        with pytest.raises(InsufficientStock):
            make_order(alice, (make_product(stock=1), 2))
        send_all()
        assert not Job.objects.filter(task="orders.send_mail").exists()

    def test_it_can_be_switched_off(self, alice, make_order, settings):
        settings.ORDER_MAIL = False
        make_order(alice)
        assert send_all() == 1
        assert not Job.objects.filter(task="orders.send_mail").exists()

    def test_without_an_address_the_job_says_so(self, alice, make_order):
        alice.email = ""
        alice.save()
        make_order(alice)
        send_all()
        sweep()
        assert mail.outbox == []
        assert Job.objects.get(task="orders.send_mail").result == "no address"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_payments_at_once_make_it_paid_once(clerk, alice, make_order, make_product):
    order = make_order(alice, (make_product("의자", 10000), 2))

    def book(reference):
        try:
            return record_payment(
                order_id=order.pk, amount=23000, method="card", reference=reference, actor=clerk
            ).status
        except Exception as error:
            return type(error).__name__
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        ended = sorted(pool.map(book, [f"P-{n}" for n in range(8)]))
    assert ended == ["Overpaid"] * 7 + ["paid"]
    assert connection.vendor == "postgresql"
    assert Order.objects.get().paid == 23000
    assert types(order).count("paid") == 1
