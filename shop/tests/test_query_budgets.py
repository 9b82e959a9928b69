"""What the API asks the database, with a real bearer token, whose look-up is in every figure.

A list costs three queries at most and a detail two, however long the page and
however many rows hang from each; the rights of staff who are no superusers are
one more query, once a request. A write costs the same for one line as for
fifty. Begin, commit and savepoints are not counted.
"""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from benchmarks.models import BenchmarkRun
from conftest import ADDRESS
from monitoring.models import AlertChange, AlertRule, Silence
from orders.actions import move_order, record_payment, return_items
from orders.models import Order
from orders.states import Status
from products import stock
from products.models import Category, Product, ProductImage
from shop.accounts.models import AccessToken, User
from shop.webhooks.models import Attempt, Webhook

pytestmark = pytest.mark.django_db

TOKEN = 1
RIGHTS = 1
LIST, DETAIL = 3, 2

_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


class Caller:
    """Somebody with a token, who counts."""

    def __init__(self, user: User | None) -> None:
        self.client = Client()
        self.headers = {}
        if user is not None:
            self.headers["Authorization"] = f"Bearer {AccessToken.issue(user)[1]}"

    def __call__(self, path, body=None, **headers):
        """Return the answer and how many queries it took, with nothing cached."""
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            if body is None:
                answer = self.client.get(path, headers={**self.headers, **headers})
            else:
                answer = self.client.post(
                    path, body, "application/json", headers={**self.headers, **headers}
                )
        assert answer.status_code < 300, answer.content
        told = [query["sql"] for query in queries if not query["sql"].startswith(_CONTROL)]
        return answer, len(told)

    def cost(self, path, body=None, **headers):
        return self(path, body, **headers)[1]


@pytest.fixture
def people(alice, clerk, admin):
    """Nobody, a customer, staff of two kinds, and a superuser."""
    ops = User.objects.create_user("ops", password=None, is_staff=True)
    ops.groups.add(Group.objects.get(name="Operations"))
    return {
        "ops": Caller(ops),
        "nobody": Caller(None),
        "alice": Caller(alice),
        "clerk": Caller(clerk),
        "admin": Caller(admin),
    }


@pytest.fixture
def shop(alice, admin, tree, make_product, make_order):
    """A hundred of everything that has a list."""
    made = [
        make_product(f"노트북 {n}", stock=1000, category=Category.objects.get(slug="laptops"))
        for n in range(105)
    ]
    for product in made[:5]:
        for n in range(3):
            ProductImage.objects.create(
                product=product, file=f"{n}.jpg", width=1, height=1, state="ready"
            )
    for _ in range(100):
        stock.adjust(product_id=made[0].pk, change=1, reason="received", actor=admin)
        AccessToken.issue(alice)
    rules = [
        AlertRule.objects.create(
            name=f"rule {n}", metric_name="system.cpu.usage", condition="gt", threshold=80
        )
        for n in range(3)
    ]
    AlertChange.objects.bulk_create(
        AlertChange(rule=rules[n % 3], before="ok", state="firing", time=timezone.now())
        for n in range(105)
    )
    for number in range(105):
        webhook = Webhook.objects.create(
            name=str(number), url="https://hook.example/", created_by=admin, enabled=False
        )
    Attempt.objects.bulk_create(
        Attempt(webhook=webhook, event_id=uuid4(), type="x", subject="order/1", number=1, body="")
        for _ in range(105)
    )
    for rule in rules:
        Silence.objects.create(rule=rule, actor=admin, ends_at=timezone.now() + timedelta(days=1))
        BenchmarkRun.objects.create(
            name=rule.name, benchmark_type="product", state="finished", actor=admin
        )
    order = make_order(alice, *((product, 3) for product in made[:5]))
    for _ in range(104):
        make_order(alice, *((product, 1) for product in made[:3]))
    for n in range(5):
        record_payment(order_id=order.pk, amount=1, method="card", reference=f"r{n}", actor=admin)
    for to in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
        move_order(order_id=order.pk, to=to, actor=admin)
    for n in range(2):
        return_items(
            order_id=order.pk, quantities={made[n].pk: 1, made[n + 2].pk: 1}, reason="x",
            restock=True, actor=admin,
        )  # fmt: skip
    return order


def paths(order):
    product = Product.objects.order_by("pk").first()
    rule = AlertRule.objects.get(name="rule 0")
    assert product is not None
    return {
        "{product}": f"/api/v2/products/{product.pk}",
        "{order}": f"/api/v2/orders/{order.pk}",
        "{webhook}": f"/api/v2/webhooks/{Webhook.objects.latest('pk').pk}",
        "{rule}": f"/api/v2/alerts/rules/{rule.pk}",
    }


# By who asks, where `{n}` is the page's length; staff of a group pay for their rights.
LISTS = [
    # The number, the page's keys, and those of its products that are kept nowhere: here all.
    ("/api/v2/products?per_page={n}", {"nobody": 3, "alice": 4, "clerk": 4}),
    ("/api/v2/products?per_page={n}&in_stock=true&min_price=1", {"nobody": 3, "alice": 4}),
    ("/api/v2/products?per_page={n}&page=2", {"nobody": 3, "alice": 4}),
    ("/api/v2/products?per_page={n}&cursor=", {"nobody": 2, "alice": 3}),
    # One more to find the category, or to refuse one that there isn't.
    ("/api/v2/products?per_page={n}&category=electronics", {"nobody": 4, "alice": 5}),
    # Categories of that name, the hits, past searches, the hits' categories, the products.
    ("/api/v2/products/search?q=노트북&per_page={n}", {"nobody": 5, "alice": 6}),
    ("/api/v2/products/search?q=노트북&per_page={n}&page=2", {"nobody": 4, "alice": 5}),
    ("/api/v2/products/suggestions?q=노트북", {"nobody": 3, "alice": 4}),
    ("/api/v2/categories?depth=3", {"nobody": 1, "alice": 2}),
    ("{product}/images", {"nobody": 2, "alice": 3}),
    ("{product}/stock/movements?per_page={n}", {"clerk": 3, "admin": 2}),
    ("{product}/stock/movements?per_page={n}&page=2", {"clerk": 3, "admin": 2}),
    ("{product}/stock/movements?per_page={n}&cursor=", {"clerk": 3, "admin": 2}),
    ("/api/v2/orders?per_page={n}", {"alice": 2, "clerk": 3, "admin": 2}),
    ("/api/v2/orders?per_page={n}&page=2&status=pending", {"alice": 2, "clerk": 3, "admin": 2}),
    ("/api/v2/orders?per_page={n}&cursor=", {"alice": 2, "clerk": 3, "admin": 2}),
    ("/api/v2/orders?per_page={n}&status=completed", {"alice": 2, "clerk": 3, "admin": 2}),
    # Past the end: there is no row to carry the number of all.
    ("/api/v2/orders?per_page={n}&page=999", {"alice": 3, "admin": 3}),
    ("{order}/payments", {"alice": 2, "clerk": 3, "admin": 2}),
    ("{order}/returns", {"alice": 2, "clerk": 3, "admin": 2}),
    ("{order}/tracking", {"alice": 2, "clerk": 3, "admin": 2}),
    ("/api/v2/auth/tokens?per_page={n}", {"alice": 2, "clerk": 2}),
    ("/api/v2/alerts", {"ops": 3, "admin": 2}),
    ("/api/v2/alerts/history?per_page={n}", {"ops": 3, "admin": 2}),
    ("/api/v2/alerts/history?per_page={n}&cursor=", {"ops": 3, "admin": 2}),
    ("/api/v2/alerts/rules", {"ops": 3, "admin": 2}),
    ("/api/v2/alerts/silences", {"ops": 3, "admin": 2}),
    ("/api/v2/webhooks?per_page={n}", {"ops": 3, "admin": 2}),
    ("{webhook}/attempts?per_page={n}", {"ops": 3, "admin": 2}),
    ("/api/v2/benchmarks/results?limit={n}", {"ops": 3, "admin": 2}),
]
DETAILS = [
    ("{product}", {"nobody": 1, "alice": 2, "clerk": 2}),
    ("{order}", {"alice": 2, "clerk": 3, "admin": 2}),
    ("{rule}", {"ops": 3, "admin": 2}),
    ("{webhook}", {"ops": 3, "admin": 2}),
    ("/api/v2/benchmarks/results/rule 0", {"ops": 3, "admin": 2}),
]


def filled(path, known, n):
    for name, address in known.items():
        path = path.replace(name, address)
    return path.replace("{n}", str(n))


def test_lists_and_details(shop, people):
    known = paths(shop)
    asked = {
        path: {who: [people[who].cost(filled(path, known, n)) for n in (1, 100)] for who in costs}
        for path, costs in LISTS + DETAILS
    }
    assert asked == {
        path: {who: [cost, cost] for who, cost in costs.items()} for path, costs in LISTS + DETAILS
    }


def test_the_budget_that_was_set():
    """Three a list, two a detail; what costs more is named here, and what for."""
    more = {
        (path, who): cost - budget
        for table, budget in ((LISTS, LIST), (DETAILS, DETAIL))
        for path, costs in table
        for who, cost in costs.items()
        if cost > budget
    }
    assert more == {
        # Keys first and products after: those that are kept are not asked for.
        ("/api/v2/products?per_page={n}", "alice"): 1,
        ("/api/v2/products?per_page={n}", "clerk"): 1,
        ("/api/v2/products?per_page={n}&in_stock=true&min_price=1", "alice"): 1,
        ("/api/v2/products?per_page={n}&page=2", "alice"): 1,
        ("/api/v2/products?per_page={n}&category=electronics", "nobody"): 1,
        ("/api/v2/products?per_page={n}&category=electronics", "alice"): 2,
        ("/api/v2/products/search?q=노트북&per_page={n}", "nobody"): 2,
        ("/api/v2/products/search?q=노트북&per_page={n}", "alice"): 3,
        ("/api/v2/products/search?q=노트북&per_page={n}&page=2", "nobody"): 1,
        ("/api/v2/products/search?q=노트북&per_page={n}&page=2", "alice"): 2,
        ("/api/v2/products/suggestions?q=노트북", "alice"): 1,
        ("{order}", "clerk"): RIGHTS,
        ("{rule}", "ops"): RIGHTS,
        ("{webhook}", "ops"): RIGHTS,
        ("/api/v2/benchmarks/results/rule 0", "ops"): RIGHTS,
    }


def test_a_list_does_not_grow_with_the_lines(people, alice, make_order, make_product):
    costs = set()
    for lines in (1, 50):
        order = make_order(alice, *((make_product(f"{lines} {n}"), 1) for n in range(lines)))
        answer, cost = people["alice"]("/api/v2/orders")
        assert len(answer.json()["results"][0]["items"]) == lines
        detail, of_one = people["alice"](f"/api/v2/orders/{order.pk}")
        assert len(detail.json()["items"]) == lines
        costs.add((cost, of_one))
    assert costs == {(2, 2)}


class TestWrites:
    """One line or fifty."""

    @pytest.fixture
    def bought(self, alice, admin, make_order, make_product):
        """Make an order of so many lines that has come to where `to` says."""

        def make(lines, *to):
            products = [make_product(f"{lines} {n} {to}", stock=9) for n in range(lines)]
            order = make_order(alice, *((product, 2) for product in products))
            for status in to:
                move_order(order_id=order.pk, to=status, actor=admin)
            return order

        return make

    @pytest.mark.parametrize(("key", "more"), [(None, 0), ("once", 3)])
    def test_placing_an_order(self, people, make_product, key, more):
        """Products, order, items, event, lock, stock, ledger; a key is three besides."""
        costs = []
        for lines in (1, 50):
            products = [make_product(f"{lines} {n}") for n in range(lines)]
            items = [{"product_id": str(product.pk), "quantity": 1} for product in products]
            headers = {"Idempotency-Key": f"{key} {lines}"} if key else {}
            body = {"items": items, "shipping_address": ADDRESS}
            costs.append(people["alice"].cost("/api/v2/orders", body, **headers))
        assert costs == [TOKEN + 7 + more] * 2

    @pytest.mark.parametrize(
        ("who", "action", "before", "body", "cost"),
        [
            ("alice", "cancel", (), {"reason": "x"}, 12),
            # With the refund that is due then.
            ("clerk", "cancel", (Status.PAID,), {"reason": "x"}, 16),
            ("clerk", "transitions", (), {"status": "paid"}, 10),
            ("clerk", "transitions", (Status.PAID, Status.PROCESSING), {"status": "shipped"}, 9),
            ("clerk", "payments", (), {"amount": 1, "method": "card"}, 9),
        ],
    )
    def test_moving_and_paying_for_one(self, people, bought, who, action, before, body, cost):
        costs = [
            people[who].cost(f"/api/v2/orders/{bought(lines, *before).pk}/{action}", body)
            for lines in (1, 50)
        ]
        assert costs == [cost] * 2

    @pytest.mark.parametrize(("restock", "cost"), [(True, 17), (False, 14)])
    def test_taking_goods_back(self, people, bought, restock, cost):
        way = (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED)
        costs = []
        for lines in (1, 50):
            order = bought(lines, *way)
            back = [{"product_id": str(pk), "quantity": 1} for pk in products_of(order)]
            body = {"items": back, "reason": "x", "restock": restock}
            answer, took = people["clerk"](f"/api/v2/orders/{order.pk}/returns", body)
            assert len(answer.json()["items"]) == lines
            costs.append(took)
        assert costs == [cost] * 2


def products_of(order: Order) -> list[int]:
    return list(order.items.values_list("product", flat=True))
