"""Every list and every page of the admin costs as many queries for thirty rows as for three.

Walks what is registered: a model without a scene here fails until it has one.
Pages are asked for as a superuser and as each group that may see the model,
with the search and with each choice of each filter.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from benchmarks.models import BenchmarkRun
from monitoring.models import AlertChange, AlertRule, Channel, Delivery, Silence
from orders.actions import Line, move_order, place_order, record_payment, return_items
from orders.states import Status
from products import stock
from products.actions import create_product
from products.categories import place_category
from products.models import Category, Product, ProductImage, Reason, Suggestion
from shop.accounts.groups import GROUPS
from shop.accounts.models import AccessToken, User
from shop.events.models import SinkOffset
from shop.ids import uuid7
from shop.jobs.models import Job
from shop.webhooks.models import Attempt, Webhook

pytestmark = pytest.mark.django_db

FEW, MANY = 3, 30
LIST_AT_MOST = 12
PAGE_AT_MOST = 18

ADDRESS = {"street": "세종대로 110", "city": "서울", "postal_code": "04524", "recipient": "김민준"}


# --- Scenes: each adds rows, and returns the one whose page has the most to show ---


def person(number: int | str) -> User:
    user, _made = User.objects.get_or_create(
        username=f"person{number}", defaults={"email": f"person{number}@example.com"}
    )
    return user


def product(number: int | str = "", **fields: Any) -> Product:
    """Make a product, or return the one that is called so."""
    name = f"노트북 {number}".strip()
    return Product.objects.filter(name=name).first() or create_product(
        actor=person("clerk"), name=name, price=1000, stock_quantity=1000, **fields
    )


def bought(number: int, *products: Product) -> Any:
    lines = [Line(found.pk, 2) for found in products]
    return place_order(customer=person(number), lines=lines, address=ADDRESS).order


def groups(numbers: range) -> Any:
    for number in numbers:
        group = Group.objects.create(name=f"group {number}")
        group.permissions.set(Permission.objects.all()[:5])
    return group


def people(numbers: range) -> Any:
    busy = person("busy")
    for number in numbers:
        group = Group.objects.create(name=f"of {number}")
        busy.groups.add(group)
        person(number).groups.add(group)
    return busy


def tokens(numbers: range) -> Any:
    return [AccessToken.issue(person(number), name=f"token {number}")[0] for number in numbers][-1]


def events(numbers: range) -> Any:
    from shop.events.models import Event

    for number in numbers:
        bought(number, product())
    return Event.objects.latest("pk")


def jobs(numbers: range) -> Any:
    for number in numbers:
        row = Job.objects.create(task="shop.prune", state="failed", error=f"failed {number}")
    return row


def offsets(numbers: range) -> Any:
    now = timezone.now()
    for number in numbers:
        row = SinkOffset.objects.create(
            sink="mail",
            subject=f"order/{number}",
            delivered=0,
            newest=1,
            state="dead",
            due_at=now,
            waiting_since=now,
        )
    return row


def rules(numbers: range) -> Any:
    for number in numbers:
        row = AlertRule.objects.create(
            name=f"rule {number}", metric_name="system.cpu.usage", condition="gt", threshold=80
        )
    return row


def changes(numbers: range) -> Any:
    # A filter lists the rules; one that is by itself is not worth listing.
    rules(range(1000 + numbers.start, 1000 + numbers.stop))
    for rule in AlertRule.objects.filter(name__startswith="rule")[numbers.start : numbers.stop]:
        row = AlertChange.objects.create(
            rule=rule, before="ok", state="firing", value=1, time=timezone.now()
        )
    return row


def channels(numbers: range) -> Any:
    for number in numbers:
        row = Channel.objects.create(name=f"ops {number}", kind="email", target="ops@example.com")
    return row


def deliveries(numbers: range) -> Any:
    changes(numbers)
    channels(numbers)
    for change, channel in zip(AlertChange.objects.all(), Channel.objects.all(), strict=True):
        row, _made = Delivery.objects.get_or_create(change=change, channel=channel)
    return row


def silences(numbers: range) -> Any:
    rules(numbers)
    for rule in AlertRule.objects.filter(name__startswith="rule")[numbers.start : numbers.stop]:
        row = Silence.objects.create(
            rule=rule, actor=person("ops"), ends_at=timezone.now() + timedelta(days=1)
        )
    return row


def categories(numbers: range) -> Any:
    root = Category.objects.filter(key="root").first() or place_category(
        category=Category(name_en="Electronics", key="root"), parent=None
    )
    for number in numbers:
        place_category(category=Category(name_en=f"Category {number}"), parent=root)
    return root


def products(numbers: range) -> Any:
    root = categories(numbers)
    for category in root.children.order_by("pk")[numbers.start : numbers.stop]:
        product(category.pk, category=category, sku=f"S-{category.pk}", brand="브랜드")
        # Others, so that no filter finds nothing.
        create_product(actor=None, name=f"빈 {category.pk}", price=1)
    busy = Product.objects.order_by("pk").first()
    assert busy is not None
    for number in numbers:
        ProductImage.objects.create(
            product=busy, file=f"{number}.jpg", width=1, height=1, state="ready",
            added_by=person(number),
        )  # fmt: skip
        suggest(busy, number, state="rejected", decided_by=person(number))
        stock.adjust(product_id=busy.pk, change=1, reason=Reason.RECEIVED, actor=person(number))
    return busy


def suggest(of: Product, number: int, **fields: Any) -> Suggestion:
    category = Category.objects.order_by("pk").last() or categories(range(1))
    also = [{"category": category.pk, "confidence": 0.5}]
    data = {"category": category.pk, "name": f"Category {number}", "also": also}
    return Suggestion.objects.create(
        product=of, kind="category", data=data, provider="embedded", version="1", **fields
    )


def suggestions(numbers: range) -> Any:
    made = [suggest(product(number), number, decided_by=person(number)) for number in numbers]
    return made[-1]


def movements(numbers: range) -> Any:
    found = product()
    for number in numbers:
        bought(number, found)
        stock.adjust(product_id=found.pk, change=-1, reason=Reason.LOST, actor=person(number))
    return found.movements.latest("pk")


def orders(numbers: range) -> Any:
    """One for each state and a big one; and more of them."""
    for number in numbers:
        order = bought(number, product(), product("b"))
        cancelled = bought(number, product())
        record_payment(order_id=cancelled.pk, amount=cancelled.total, method="card", actor=None)
        move_order(order_id=cancelled.pk, to=Status.CANCELLED, actor=person(number))
    return order


def busy_order(numbers: range) -> Any:
    """An order with as many lines, payments, returns, movements and events."""
    order = bought(0, *(product(number) for number in numbers))
    for number in numbers:
        record_payment(
            order_id=order.pk,
            amount=Decimal(1),
            method="card",
            reference=f"r{number}",
            actor=person(number),
        )
    for to in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
        move_order(order_id=order.pk, to=to, actor=person("clerk"))
    for item in order.items.all():
        return_items(
            order_id=order.pk,
            quantities={item.product_id: 1},
            reason="too small",
            restock=True,
            actor=person(item.pk),
        )
    return order


def payments(numbers: range) -> Any:
    for number in numbers:
        order = bought(number, product())
        record_payment(
            order_id=order.pk, amount=order.total, method="card", reference=f"r{number}", actor=None
        )
        move_order(order_id=order.pk, to=Status.CANCELLED, actor=person(number))
    return order.payments.latest("pk")


def runs(numbers: range) -> Any:
    for number in numbers:
        row = BenchmarkRun.objects.create(
            name=f"run {number}", benchmark_type="product", state="finished", actor=person(number)
        )
    return row


def webhooks(numbers: range) -> Any:
    for number in numbers:
        row = Webhook.objects.create(
            name=f"hook {number}",
            url="https://hook.example/",
            created_by=person(number),
        )
    return row


def attempts(numbers: range) -> Any:
    for number in numbers:
        row = Attempt.objects.create(
            webhook=Webhook.objects.create(name=str(number), url="https://hook.example/"),
            event_id=uuid7(),
            type="order.paid",
            subject="order/1",
            number=1,
            body="{}",
        )
    return row


Scene = Callable[[range], models.Model]
# By model: the scene, and what its search finds.
SCENES: dict[str, tuple[Scene, str]] = {
    "auth.Group": (groups, "group"),
    "shop.User": (people, "person"),
    "shop.AccessToken": (tokens, "token"),
    "shop.Event": (events, ""),
    "shop.Job": (jobs, "failed"),
    "shop.Webhook": (webhooks, "hook"),
    "shop.Attempt": (attempts, "order/1"),
    "shop.SinkOffset": (offsets, "order/1"),
    "monitoring.AlertRule": (rules, "rule"),
    "monitoring.AlertChange": (changes, ""),
    "monitoring.Channel": (channels, ""),
    "monitoring.Delivery": (deliveries, ""),
    "monitoring.Silence": (silences, ""),
    "products.Category": (categories, "Category"),
    "products.Product": (products, "노트북"),
    "products.Suggestion": (suggestions, "노트북"),
    "products.StockMovement": (movements, "노트북"),
    "orders.Order": (orders, "김민준"),
    "orders.Payment": (payments, "r1"),
    "benchmarks.BenchmarkRun": (runs, "run"),
}
# Pages whose related rows take a scene of their own.
BUSY: dict[str, Scene] = {"orders.Order": busy_order}
BY_LABEL = {model._meta.label: model for model in admin.site._registry}


def viewers(model: type[models.Model]) -> list[User]:
    """A superuser, and somebody of each group that may see the model."""
    right = f"{model._meta.app_label}.view_{model._meta.model_name}"
    found = [User.objects.create_superuser("root", "root@example.com", "secret")]
    for name, rights in GROUPS.items():
        if right in rights:
            user = User.objects.create_user(name, f"{name}@example.com", "secret", is_staff=True)
            user.groups.add(Group.objects.get(name=name))
            found.append(user)
    return found


@pytest.fixture(autouse=True)
def content_types() -> None:
    """Known to the process after the first page, whoever asks for it."""
    ContentType.objects.get_for_models(*BY_LABEL.values())


def asked(client: Client, url: str) -> tuple[int, Any]:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(url)
    assert response.status_code == 200, f"{url}: {response.status_code} {response.get('Location')}"
    return len(queries), response


def list_of(model: type[models.Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def queries_of(client: Client, model: type[models.Model], text: str) -> dict[str, str]:
    """Name each way of asking for the list: all, searched, by each choice, ordered."""
    changelist = asked(client, list_of(model))[1].context["cl"]
    ways = {"all": "", "searched": f"?q={text or 'x'}"}
    for spec in changelist.filter_specs:
        for choice in spec.choices(changelist):
            ways[f"{spec.title}: {choice['display']}"] = choice["query_string"]
    columns = range(len(changelist.list_display))
    ways["by every column"] = "?o=" + ".".join(str(column) for column in columns)
    return ways


@pytest.mark.parametrize("label", sorted(BY_LABEL))
def test_lists(label):
    model = BY_LABEL[label]
    scene, text = SCENES[label]
    root, *others = viewers(model)
    costs: dict[tuple[str, str], list[int]] = {}
    ways: dict[str, str] = {}
    for numbers in (range(FEW), range(FEW, MANY)):
        scene(numbers)
        for user in (root, *others):
            client = Client()
            client.force_login(user)
            # The choices of a tree are others once it has grown: those of the first time.
            ways = ways or queries_of(client, model, text)
            for name, query in ways.items():
                # Each way for everybody; compared are those of the superuser.
                if user is not root and numbers.start == 0:
                    continue
                cost, response = asked(client, list_of(model) + query)
                costs.setdefault((user.username, name), []).append(cost)
                if name == "searched" and text:
                    assert response.context["cl"].result_count >= 1, text
    grown = {way: cost for way, cost in costs.items() if way[0] == "root" and cost[0] != cost[1]}
    assert grown == {}
    assert max(cost for pair in costs.values() for cost in pair) <= LIST_AT_MOST


@pytest.mark.parametrize("label", sorted(BY_LABEL))
def test_pages(label):
    model = BY_LABEL[label]
    scene = BUSY.get(label) or SCENES[label][0]
    people = viewers(model)
    costs: dict[str, list[int]] = {}
    for numbers in (range(FEW), range(FEW, MANY)):
        row = scene(numbers)
        url = reverse(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row.pk]
        )
        for user in people:
            client = Client()
            client.force_login(user)
            costs.setdefault(user.username, []).append(asked(client, url)[0])
    assert {who: cost for who, cost in costs.items() if cost[0] != cost[1]} == {}
    assert max(cost for pair in costs.values() for cost in pair) <= PAGE_AT_MOST


def test_a_products_ledger(client, clerk):
    client.force_login(clerk)
    costs = []
    for numbers in (range(FEW), range(FEW, MANY)):
        busy = products(numbers)
        costs.append(asked(client, f"/admin/products/product/{busy.pk}/stock/")[0])
    assert costs[0] == costs[1] <= LIST_AT_MOST


@pytest.mark.parametrize(
    ("url", "scene", "action"),
    [
        ("/admin/orders/order/", orders, "move_to_cancelled"),
        ("/admin/orders/order/", orders, "move_to_shipped"),
        ("/admin/products/product/", products, "retire"),
        ("/admin/products/product/", products, "categorise"),
        ("/admin/products/product/", products, "book_stock"),
    ],
)
def test_what_is_asked_before_bulk_work(client, clerk, url, scene, action):
    client.force_login(clerk)
    costs = []
    for numbers in (range(FEW), range(FEW, MANY)):
        model = type(scene(numbers))
        chosen = [str(pk) for pk in model._default_manager.values_list("pk", flat=True)]
        with CaptureQueriesContext(connection) as queries:
            page = client.post(url, {"action": action, "_selected_action": chosen})
        assert page.status_code == 200
        assert len(page.context["ready"]) + len(page.context["refused"]) == len(chosen)
        costs.append(len(queries))
    assert costs[0] == costs[1] <= LIST_AT_MOST
