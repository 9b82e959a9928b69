"""Whatever people do to a shop, in whatever order: it does what a plain model of it does.

The machine draws sequences of calls and foretells each answer, refusals
included, from a model that is nothing but numbers in memory. Then it compares.
In CI: few and always the same. `MACHINE=long` draws many and other ones.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from itertools import count
from typing import Any, TypeVar

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.db.models import Count, Min, QuerySet, Sum
from django.utils import timezone
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from rest_framework.test import APIClient

from conftest import ADDRESS
from orders.models import Order, OrderItem, Payment, Return, ReturnItem
from orders.states import MOVES, Status
from orders.tasks import cancel_unpaid
from products.catalogue import read_product
from products.models import Product, StockMovement
from products.search_models import ProductSearch
from products.stock import MAX_STOCK
from shop.accounts.models import AccessToken
from shop.events.models import Event
from shop.idempotency import IdempotencyKey
from shop.jobs import queue
from shop.jobs.models import Job
from shop.money import MAX_MINOR

hypothesis_settings.register_profile(
    "machine",
    max_examples=30,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.generate, Phase.shrink],
)
hypothesis_settings.register_profile(
    "machine-long",
    hypothesis_settings.get_profile("machine"),
    max_examples=500,
    stateful_step_count=50,
    derandomize=False,
    print_blob=True,
)

# What the machine writes to, children first.
TABLES = (
    ReturnItem, Return, Payment, OrderItem, Order, StockMovement, ProductSearch, Product,
    Event, Job, IdempotencyKey,
)  # fmt: skip

FEE, FREE_FROM = 3000, 50_000
# Status, code and what else the problem says.
Refusal = tuple[int, str, dict]


@dataclass(eq=False, repr=False)
class Goods:
    """A product as the model has it."""

    pk: int
    price: int
    stock: int
    sold: int = 0
    retired: bool = False
    movements: int = 0

    def __repr__(self) -> str:
        return f"product {self.pk}"

    @property
    def stale_price(self) -> int:
        """Another one than it has."""
        return self.price - 1 if self.price else 1

    def move(self, change: int, *, sold: bool) -> None:
        self.stock += change
        self.movements += 1
        if sold:
            self.sold -= change


@dataclass(eq=False, repr=False)
class Bought:
    """An order as the model has it."""

    pk: str
    owner: str
    lines: dict[Goods, int]
    prices: dict[Goods, int]
    status: Status = Status.PENDING
    version: int = 1
    # Kind, amount and state of each payment and refund, in order.
    money: list[list] = field(default_factory=list)
    returned: Counter = field(default_factory=Counter)
    # Of each return, the number of its lines.
    returns: list[int] = field(default_factory=list)
    # When it was made old enough to be cancelled, if it was.
    aged: int | None = None

    def __repr__(self) -> str:
        return f"order {self.pk}"

    @property
    def items_total(self) -> int:
        return sum(self.prices[goods] * quantity for goods, quantity in self.lines.items())

    @property
    def fee(self) -> int:
        return 0 if self.items_total >= FREE_FROM else FEE

    @property
    def total(self) -> int:
        return self.items_total + self.fee

    def sum(self, kind: str, state: str) -> int:
        return sum(row[1] for row in self.money if (row[0], row[2]) == (kind, state))

    @property
    def paid(self) -> int:
        return self.sum("payment", "settled")

    @property
    def refunded(self) -> int:
        return self.sum("refund", "settled")

    @property
    def due(self) -> int:
        return self.sum("refund", "due")

    def move(self, to: Status) -> None:
        assert to in MOVES[self.status]
        self.status = to
        self.version += 1

    def owe(self, amount: int) -> int:
        """Owe a refund of at most what is left of the payments; returns how much."""
        amount = min(amount, self.paid - self.refunded - self.due)
        if amount > 0:
            self.money.append(["refund", amount, "due"])
        return amount

    def bring_back(self, quantities: dict[Goods, int]) -> Refusal | None:
        """Put goods back into stock, or say why that can't be."""
        if any(goods.stock + quantity > MAX_STOCK for goods, quantity in quantities.items()):
            return 400, "stock_limit", {}
        for goods, quantity in quantities.items():
            goods.move(quantity, sold=True)
        return None

    def cancel(self) -> Refusal | None:
        """Cancel it, or say why that can't be."""
        if refused := self.may_not(Status.CANCELLED) or self.bring_back(self.lines):
            return refused
        self.owe(self.paid)
        self.move(Status.CANCELLED)
        return None

    def may_not(self, to: Status) -> Refusal | None:
        """Say why it can't move there."""
        if to in MOVES[self.status]:
            return None
        allowed = [status.value for status in MOVES[self.status]]
        return 409, "illegal_transition", {"current": self.status.value, "allowed": allowed}


def some(of, wanted=lambda one: True):
    """Draw one that the machine has, rather one that is `wanted`."""
    return st.runner().flatmap(
        lambda shop: st.sampled_from([one for one in of(shop) if wanted(one)] or of(shop))
    )


def goods():
    return some(lambda shop: shop.stocked)


def orders(wanted=None):
    """Any, and as often one that is `wanted`, with which more is to be done."""
    every = some(lambda shop: shop.placed)
    return every | some(lambda shop: shop.placed, wanted) if wanted else every


def seldom(often, *rare):
    return st.sampled_from([*[often] * 7, *rare])


def is_pending(order: Bought) -> bool:
    return order.status is Status.PENDING


def has_arrived(order: Bought) -> bool:
    return order.status in (Status.DELIVERED, Status.COMPLETED)


buyers = st.sampled_from(["alice", "bob"])
# Few, so that they meet.
keys = seldom(None, "k1", "k2", "k3")
references = st.sampled_from(["", "R-1", "R-2", "R-3"])
methods = st.sampled_from(["card", "bank_transfer"])
prices = seldom(7000, 0, 1, 25_000, 50_000, MAX_MINOR)
quantities = st.integers(1, 4)
wishes = st.lists(
    st.tuples(goods(), quantities, seldom("", "right", "stale")), min_size=1, max_size=3
)


Method = TypeVar("Method", bound=Callable[..., None])
# When it may be drawn, and with what.
CALLS: dict[str, tuple] = {}


def call(
    when: Callable[[Any], Any] = lambda shop: True, **drawn: Any
) -> Callable[[Method], Method]:
    """Have the machine draw calls of a method.

    Not as rules of their own: of these about half are left out of each
    example, by which thousands of examples find more, and thirty find less.
    """

    def register(method: Method) -> Method:
        CALLS[method.__name__] = (when, st.fixed_dictionaries(drawn))
        return method

    return register


@st.composite
def calls(draw):
    shop = draw(st.runner())
    name = draw(st.sampled_from([name for name, (when, _) in CALLS.items() if when(shop)]))
    return name, draw(CALLS[name][1])


def when_placed(shop) -> bool:
    return bool(shop.placed)


class Shop(RuleBasedStateMachine):
    """A shop with a few products, two buyers and a clerk.

    Each call is committed, as it is when the shop runs: the hooks after the
    commit run, a refusal rolls back a whole transaction and not a savepoint,
    cached products have to be right, and the two commands look through a
    snapshot of their own. All of that is lost in one transaction around the
    example, which would be quicker to undo; so the rows are deleted instead.
    People stay.
    """

    def __init__(self, clients: dict[str, APIClient]) -> None:
        super().__init__()
        self.clients = clients
        self.stocked: list[Goods] = []
        self.placed: list[Bought] = []
        # By caller and key: path, body, status and bytes of the answer.
        self.kept: dict[tuple[str, str], tuple[str, dict, int, bytes]] = {}
        self.references: set[tuple[str, str]] = set()
        self.ages = count(1)

    def post(self, who, path, body, key, effect, status=200) -> Any:
        """Call and compare; returns the answer if the call had an effect.

        `effect` does to the model what the call should do, or returns the
        refusal and does nothing.
        """
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.clients[who].post(f"/api/v2/{path}", body, headers=headers)
        if kept := self.kept.get((who, key)):
            if kept[:2] == (path, body):
                assert (answer.status_code, answer.content) == kept[2:]
                assert answer["Idempotency-Replayed"] == "true"
            else:
                self.is_refused(answer, (422, "idempotency_key_reused", {}))
            return None
        assert "Idempotency-Replayed" not in answer
        if refused := effect():
            self.is_refused(answer, refused)
            return None
        assert answer.status_code == status, answer.content
        if key:
            self.kept[who, key] = (path, body, status, answer.content)
        return answer.json()

    def is_refused(self, answer, refused: Refusal) -> None:
        status, code, data = refused
        assert answer.status_code == status, answer.content
        problem = answer.json()
        assert problem["code"] == code
        assert {name: problem.get(name) for name in data} == data

    # --- The catalogue -----------------------------------------------------

    @initialize(stocks=st.lists(st.integers(2, 9), min_size=3, max_size=3), data=st.data())
    def open(self, stocks, data):
        """With orders that have come to different places."""
        for stock in stocks:
            self.a_product(data.draw(prices), stock, None)
        for who, steps in (("alice", 0), ("bob", 0), ("alice", 2), ("bob", 4)):
            lines = data.draw(st.lists(st.sampled_from(self.stocked), min_size=1, max_size=3))
            self.place(who, [(goods, 1, "") for goods in lines], False, None)
            if self.placed:
                self.move_on(self.placed[-1], steps, None)

    @call(lambda shop: len(shop.stocked) < 5, price=prices, stock=st.integers(0, 6), key=keys)
    def a_product(self, price, stock, key):
        body = {"name": "의자", "price": price, "stock_quantity": stock}
        made = self.post("clerk", "products", body, key, lambda: None, 201)
        if made:
            self.stocked.append(Goods(int(made["id"]), price, stock, movements=int(stock > 0)))

    @call(goods=goods(), price=prices)
    def another_price(self, goods, price):
        answer = self.clients["clerk"].patch(f"/api/v2/products/{goods.pk}", {"price": price})
        if goods.retired:
            self.is_refused(answer, (409, "product_retired", {}))
        else:
            assert answer.status_code == 200
            goods.price = price

    # For good: nothing brings a retired product back.
    @call(lambda shop: sum(not goods.retired for goods in shop.stocked) > 2, goods=goods())
    def retire(self, goods):
        assert self.clients["clerk"].delete(f"/api/v2/products/{goods.pk}").status_code == 204
        goods.retired = True

    @call(
        goods=goods(),
        change=st.integers(-5, 5).filter(bool),
        reason=st.sampled_from(["received", "sold", "returned", "cancelled", "correction"]),
        key=keys,
    )
    def adjust(self, goods, change, reason, key):
        self.change_stock(goods, change, reason, key)

    @call(goods=goods())
    def fill_to_the_brim(self, goods):
        if goods.stock < MAX_STOCK:
            self.change_stock(goods, MAX_STOCK - goods.stock, "received", None)

    def change_stock(self, goods, change, reason, key):
        def effect() -> Refusal | None:
            if goods.stock + change < 0:
                short = {
                    "product_id": str(goods.pk),
                    "requested": -change,
                    "available": goods.stock,
                }
                return 409, "insufficient_stock", {"items": [short]}
            if goods.stock + change > MAX_STOCK:
                return 400, "stock_limit", {}
            goods.move(change, sold=False)
            return None

        body = {"quantity_change": change, "reason": reason}
        told = self.post("clerk", f"products/{goods.pk}/stock/update", body, key, effect)
        if told:
            assert told["stock_quantity"] == told["movement"]["balance_after"] == goods.stock

    # --- Orders ------------------------------------------------------------

    @call(who=buyers, lines=wishes, unknown=seldom(False, True), key=keys)
    def place(self, who, lines, unknown, key):
        items = []
        for goods, quantity, seen in lines:
            item = {"product_id": str(goods.pk), "quantity": quantity}
            if seen:
                item["price"] = goods.price if seen == "right" else goods.stale_price
            items.append(item)
        if unknown:
            items.append({"product_id": "0", "quantity": 1})
        wanted: Counter[Goods] = Counter()
        for goods, quantity, _seen in lines:
            wanted[goods] += quantity
        order = Bought("", who, dict(wanted), {goods: goods.price for goods in wanted})

        def effect() -> Refusal | None:
            gone = [str(goods.pk) for goods in wanted if goods.retired] + ["0"] * unknown
            if gone:
                return 400, "unknown_product", {"product_ids": gone}
            changed = [
                {
                    "product_id": str(goods.pk),
                    "old_price": goods.stale_price,
                    "new_price": goods.price,
                }
                for goods, _quantity, seen in lines
                if seen == "stale"
            ]
            if changed:
                return 409, "price_changed", {"items": changed}
            if order.items_total > MAX_MINOR:
                return 400, "amount_too_large", {}
            short = [
                {
                    "product_id": str(goods.pk),
                    "requested": wanted[goods],
                    "available": goods.stock,
                }
                for goods in sorted(wanted, key=lambda goods: goods.pk)
                if wanted[goods] > goods.stock
            ]
            if short:
                return 409, "insufficient_stock", {"items": short}
            for goods, quantity in wanted.items():
                goods.move(-quantity, sold=True)
            return None

        body = {"items": items, "shipping_address": ADDRESS}
        told = self.post(who, "orders", body, key, effect, 201)
        if told:
            order.pk = told["id"]
            assert (told["customer"], told["total"]) == (who, order.total)
            self.placed.append(order)

    @call(when_placed, order=orders(), who=st.sampled_from(["alice", "bob", "clerk"]), key=keys)
    def cancel(self, order: Bought, who, key):
        def effect() -> Refusal | None:
            if who not in (order.owner, "clerk"):
                return 404, "not_found", {}
            return order.cancel()

        self.post(who, f"orders/{order.pk}/cancel", {"reason": "changed_mind"}, key, effect)

    @call(when_placed, order=orders(), to=st.sampled_from(Status), key=keys)
    def move(self, order, to, key):
        self.transition(order, to, key)

    @call(when_placed, order=orders(), steps=st.integers(1, 3), key=keys)
    def move_on(self, order, steps, key):
        """By moves drawn at random alone, hardly an order would arrive."""
        for _step in range(steps):
            if moves := MOVES[order.status]:
                self.transition(order, moves[0], key)
            key = None

    def transition(self, order: Bought, to, key):
        def effect() -> Refusal | None:
            if to is Status.CANCELLED:
                return order.cancel()
            if refused := order.may_not(to):
                return refused
            if to is Status.PAID and order.paid < order.total:
                order.money.append(["payment", order.total - order.paid, "settled"])
            order.move(to)
            return None

        body = {"status": to.value}
        if to is Status.SHIPPED:
            body["tracking_number"] = "123-45"
        told = self.post("clerk", f"orders/{order.pk}/transitions", body, key, effect)
        if told:
            assert told["status"] == to.value

    # --- Money -------------------------------------------------------------

    @call(
        when_placed,
        order=orders(is_pending),
        how_much=st.sampled_from(["all", "all", "part", "more"]),
        method=methods,
        reference=references,
        key=keys,
    )
    def pay(self, order: Bought, how_much, method, reference, key):
        rest = order.total - order.paid
        amount = {"all": max(rest, 1), "part": rest // 2 + 1, "more": rest + 1}[how_much]

        def effect() -> Refusal | None:
            if amount > MAX_MINOR:
                return 400, "invalid", {}
            if order.status is Status.CANCELLED:
                return 409, "order_cancelled", {}
            if amount > rest:
                return 409, "overpaid", {"open": rest}
            if (method, reference) in self.references:
                known = {"method": method, "reference": reference}
                return 409, "duplicate_payment", known
            if reference:
                self.references.add((method, reference))
            order.money.append(["payment", amount, "settled"])
            order.version += 1
            if order.status is Status.PENDING and order.paid == order.total:
                order.move(Status.PAID)
            return None

        body = {"amount": amount, "method": method, "reference": reference}
        self.post("clerk", f"orders/{order.pk}/payments", body, key, effect, 201)

    @call(when_placed, order=orders(lambda order: order.due > 0), which=st.integers(0, 5), key=keys)
    def settle(self, order: Bought, which, key):
        told = self.clients["clerk"].get(f"/api/v2/orders/{order.pk}/payments").json()["results"]
        assert [[row["kind"], row["amount"], row["state"]] for row in told] == order.money
        # One of the rows, perhaps a payment, or none.
        at = which % (len(told) + 1)
        pk = told[at]["id"] if at < len(told) else "0"

        def effect() -> Refusal | None:
            if at == len(told) or order.money[at][0] != "refund":
                return 404, "not_found", {}
            if order.money[at][2] == "settled":
                return 409, "already_settled", {}
            order.money[at][2] = "settled"
            order.version += 1
            return None

        self.post("clerk", f"orders/{order.pk}/refunds/{pk}/settle", {}, key, effect)

    @call(
        when_placed,
        order=orders(has_arrived),
        lines=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=2),
        foreign=seldom(None, "0"),
        restock=st.booleans(),
        key=keys,
    )
    def give_back(self, order: Bought, lines, foreign, restock, key):
        back: Counter[Goods] = Counter()
        bought = list(order.lines)
        items = []
        for at, quantity in lines:
            goods = bought[at % len(bought)]
            back[goods] += quantity
            items.append({"product_id": str(goods.pk), "quantity": quantity})
        if foreign:
            items.append({"product_id": foreign, "quantity": 1})

        def effect() -> Refusal | None:
            if order.status not in (Status.DELIVERED, Status.COMPLETED):
                return 409, "not_delivered", {}
            if foreign:
                return 400, "unknown_product", {"product_ids": [foreign]}
            over = [
                {
                    "product_id": str(goods.pk),
                    "requested": quantity,
                    "returnable": order.lines[goods] - order.returned[goods],
                }
                for goods, quantity in back.items()
                if quantity > order.lines[goods] - order.returned[goods]
            ]
            if over:
                return 409, "return_exceeds_order", {"items": over}
            if restock and (refused := order.bring_back(back)):
                return refused
            order.returned += back
            order.returns.append(len(back))
            order.owe(sum(order.prices[goods] * quantity for goods, quantity in back.items()))
            order.version += 1
            return None

        body = {"items": items, "reason": "too small", "restock": restock}
        self.post("clerk", f"orders/{order.pk}/returns", body, key, effect, 201)

    # --- Time --------------------------------------------------------------

    @call(when_placed, order=orders(is_pending))
    def age(self, order):
        """As far as this order goes, the time to pay is over."""
        long_ago = timezone.now() - timedelta(hours=settings.UNPAID_ORDER_HOURS + 1)
        Order.objects.filter(pk=order.pk).update(created_at=long_ago)
        order.aged = next(self.ages)

    @call(lambda shop: any(order.aged for order in shop.placed))
    def expire(self):
        overdue = [order for order in self.placed if order.aged and order.status is Status.PENDING]
        cancelled = 0
        for order in sorted(overdue, key=lambda order: order.aged or 0):
            cancelled += order.cancel() is None
        assert cancel_unpaid() == f"{cancelled} cancelled"

    # --- Callers -----------------------------------------------------------

    @call(lambda shop: shop.kept, which=st.integers(0, 8), other=st.booleans())
    def the_same_key_again(self, which, other):
        (who, key), (path, body, *_answer) = list(self.kept.items())[which % len(self.kept)]
        self.post(who, path, {**body, "memo": "other"} if other else body, key, lambda: None)

    @call(
        when_placed,
        order=orders(),
        who=buyers,
        what=st.sampled_from(["transitions", "payments", "returns"]),
    )
    def trespass(self, order, who, what):
        refused = (403, "permission_denied", {})
        self.post(who, f"orders/{order.pk}/{what}", {}, None, lambda: refused)
        answer = self.clients[who].get(f"/api/v2/orders/{order.pk}")
        assert answer.status_code == (200 if who == order.owner else 404)

    @rule(drawn=calls())
    def step(self, drawn):
        name, arguments = drawn
        getattr(self, name)(**arguments)

    # --- What always holds -------------------------------------------------

    @invariant()
    def products_are_as_the_model_has_them(self):
        told = Product.objects.values_list(
            "pk", "stock_quantity", "sold_quantity", "price", "retired_at"
        )
        assert {
            pk: (stock, sold, price, retired_at is not None)
            for pk, stock, sold, price, retired_at in told
        } == {
            goods.pk: (goods.stock, goods.sold, goods.price, goods.retired)
            for goods in self.stocked
        }
        # Through the cache.
        for goods in self.stocked:
            shown = json.loads(read_product(goods.pk))
            assert (shown["stock_quantity"], shown["price"]) == (goods.stock, goods.price)
            assert (shown["retired_at"] is None) == (not goods.retired)

    @invariant()
    def the_ledger_sums_to_the_stock(self):
        sums = (
            StockMovement.objects.order_by()
            .values_list("product")
            .annotate(Sum("change"), Count("pk"), Min("balance_after"))
        )
        ledger = {pk: (total, number) for pk, total, number, _least in sums}
        assert ledger == {
            goods.pk: (goods.stock, goods.movements) for goods in self.stocked if goods.movements
        }
        assert all(least >= 0 for *_sums, least in sums)

    @invariant()
    def orders_are_as_the_model_has_them(self):
        told = Order.objects.values_list(
            "pk", "customer__username", "status", "version", "items_total", "shipping_fee",
            "total", "paid", "refunded", "refund_due",
        )  # fmt: skip
        assert {str(pk): tuple(facts) for pk, *facts in told} == {
            order.pk: (
                order.owner, order.status, order.version, order.items_total, order.fee,
                order.total, order.paid, order.refunded, order.due,
            )
            for order in self.placed
        }  # fmt: skip
        sums = OrderItem.objects.order_by().values_list("order").annotate(Sum("line_total"))
        assert {str(pk): total for pk, total in sums} == {
            order.pk: order.items_total for order in self.placed
        }
        versions = Event.objects.order_by().values_list("subject").annotate(Count("pk"))
        assert dict(versions) == {f"order/{order.pk}": order.version for order in self.placed}

    @invariant()
    def nothing_else_was_written(self):
        assert {model: model.objects.count() for model in (Payment, Return, ReturnItem)} == {
            Payment: sum(len(order.money) for order in self.placed),
            Return: sum(len(order.returns) for order in self.placed),
            ReturnItem: sum(sum(order.returns) for order in self.placed),
        }
        assert IdempotencyKey.objects.count() == len(self.kept)

    def teardown(self):
        try:
            for command in ("check_stock", "check_orders"):
                call_command(command, stdout=StringIO(), skip_checks=True)
        finally:
            with transaction.atomic():
                for model in TABLES:
                    # Without the ledger's objections.
                    QuerySet(model)._raw_delete("default")


@pytest.mark.django_db(transaction=True)
def test_any_sequence_of_calls(alice, bob, clerk, settings, monkeypatch):
    settings.RATE_LIMITS = False
    settings.SHIPPING_FEE, settings.FREE_SHIPPING_FROM = FEE, FREE_FROM
    # Jobs wait for a worker that doesn't come, and nobody need be told of them.
    monkeypatch.setattr(queue, "_wake", None)
    clients = {}
    for user in (alice, bob, clerk):
        clients[user.username] = APIClient()
        token = AccessToken.issue(user)[1]
        clients[user.username].credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    run_state_machine_as_test(
        lambda: Shop(clients),
        settings=hypothesis_settings.get_profile(
            "machine-long" if os.environ.get("MACHINE") == "long" else "machine"
        ),
    )
