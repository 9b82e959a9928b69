"""A shop with things of every kind and state in it, and where they are found."""

import base64
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

from django.utils import timezone

from benchmarks.models import BenchmarkRun
from monitoring.alerts import alert_manager
from monitoring.models import AlertChange, Silence
from orders.actions import Line, move_order, place_order, record_payment, return_items
from orders.models import Order, Payment
from orders.states import Status
from products import images, stock
from products.actions import create_product, retire_product
from products.categories import CategoryRow, load_categories
from products.models import Category, Product, Reason
from products.suggestions import write_seo
from shop.accounts.models import AccessToken, User
from shop.ids import uuid7
from shop.outgoing import new_secret
from shop.webhooks.models import Attempt, Webhook

_ADDRESS = {"street": "세종대로 110", "city": "서울", "postal_code": "04524"}
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# The way of an order that goes well.
_WAY = (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED, Status.COMPLETED)
# Above all that is drawn: nobody revokes by chance what he signs in with.
_OUT_OF_REACH = 10**17


@dataclass
class Scene:
    """Who may sign in, and what is there to be found."""

    tokens: dict[str, str] = field(default_factory=dict)
    # By the beginning of a path, the longest that fits: parameters that lead somewhere.
    paths: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    # By the name of a field, in bodies and queries.
    values: dict[str, list[str]] = field(default_factory=dict)

    def headers(self, caller: str) -> dict[str, str]:
        """Return what a caller signs in with."""
        return {"Authorization": f"Bearer {self.tokens[caller]}"} if caller in self.tokens else {}


def furnish(*, times: int = 1) -> Scene:
    """Put things of every kind and state into an empty shop; `times` as many of what is used up."""
    scene = Scene()
    people = {
        "alice": User.objects.create_user("alice", "alice@example.com", "secret"),
        "admin": User.objects.create_superuser("admin", "admin@example.com", "secret"),
    }
    for name, user in people.items():
        row, scene.tokens[name] = AccessToken.issue(user)
        AccessToken.objects.filter(pk=row.pk).update(id=_OUT_OF_REACH + row.pk)
    scene.paths["/api/v2/auth/tokens/"] = [
        {"id": str(AccessToken.issue(user, name="to revoke")[0].pk)}
        for user in people.values()
        for _number in range(3 * times)
    ]
    _fill_catalogue(scene, people["admin"], times)
    _fill_orders(scene, people, times)
    _fill_monitoring(scene, people["admin"], times)
    _fill_benchmarks(scene, people["admin"])
    return scene


def _fill_catalogue(scene: Scene, admin: User, times: int) -> None:
    load_categories(
        [
            CategoryRow(1, "el", "", "Electronics", "전자기기"),
            CategoryRow(2, "el-6", "el", "Laptops", "노트북"),
            CategoryRow(3, "aa", "", "Apparel & Accessories", "의류/액세서리"),
            CategoryRow(4, "aa-1", "aa", "Vests", "조끼"),
        ]
    )
    categories = list(Category.objects.all())
    names = ("노트북", "게이밍 키보드", "Laptop 15", "조끼", "Vest, red", "모니터")
    products = [
        create_product(
            actor=admin,
            name=f"{names[number % len(names)]} {number}",
            description="좋은 물건. " * 5,
            price=Decimal(1000 * (number % 12 + 1)),
            stock_quantity=number % 3 * 5000,
            category=categories[number % len(categories)],
            sku=f"SKU-{number}",
            brand="별" if number % 2 else "",
        )
        for number in range(12 * times)
    ]
    retire_product(products[3].pk)
    write_seo(products[1].pk)
    stock.adjust(
        product_id=products[1].pk, change=-5, reason=Reason.DAMAGED, note="fell", actor=admin
    )
    pictures = [
        images.add_image(
            product_id=product.pk,
            picture=images.read_upload(BytesIO(_PIXEL), len(_PIXEL)),
            actor=admin,
        )
        for product in products[::2]
    ]
    images.make_renditions(pictures[0].pk)
    ids = [str(product.pk) for product in products]
    scene.paths["/api/v2/products/"] = [{"id": pk} for pk in ids]
    scene.paths["/api/v2/products/{id}/images/{image}"] = [
        {"id": str(picture.product_id), "image": str(picture.pk)} for picture in pictures
    ]
    scene.values["product_id"] = scene.values["product"] = ids
    slugs = [category.slug for category in categories]
    scene.values["category"] = scene.values["parent"] = slugs
    scene.values["q"] = ["노트", "ㄴㅌㅂ", "shxmqnr", "keyboard", "vset"]


def _fill_orders(scene: Scene, people: dict[str, User], times: int) -> None:
    ways = [_WAY[:steps] for steps in range(len(_WAY) + 1)]
    ways += [(Status.CANCELLED,), (Status.PAID, Status.CANCELLED)]
    bought = list(Product.objects.filter(stock_quantity__gt=1000)[:2])
    orders = [
        _order(customer, people["admin"], bought, way)
        for _number in range(times)
        for customer in people.values()
        for way in ways
    ]
    scene.paths["/api/v2/orders/"] = [{"id": str(order.pk)} for order in orders]
    refunds = Payment.objects.filter(kind=Payment.Kind.REFUND).values_list("order_id", "pk")
    scene.paths["/api/v2/orders/{id}/refunds/"] = [
        {"id": str(order), "refund": str(pk)} for order, pk in refunds
    ]


def _order(customer: User, admin: User, bought: list[Product], way: tuple[Status, ...]) -> Order:
    lines = [Line(product.pk, 2) for product in bought]
    order = place_order(customer=customer, lines=lines, address=_ADDRESS).order
    if not way:
        record_payment(order_id=order.pk, amount=Decimal(1000), method="card", actor=admin)
    for status in way:
        move_order(order_id=order.pk, to=status, actor=admin)
    if Status.COMPLETED in way:
        back = {bought[0].pk: 1}
        return_items(order_id=order.pk, quantities=back, reason="broken", restock=True, actor=admin)
    return order


def _fill_monitoring(scene: Scene, admin: User, times: int) -> None:
    rules = [
        alert_manager.add_rule(
            name=f"Rule {number}", metric_name="system.cpu.usage", condition="gt", threshold=80.0
        )
        for number in range(4 * times)
    ]
    now = timezone.now()
    for rule in rules[:3]:
        AlertChange.objects.create(rule=rule, before="ok", state="firing", value=91.5, time=now)
        AlertChange.objects.create(rule=rule, before="firing", state="resolved", time=now)
    silences = [
        Silence.objects.create(rule=rule, ends_at=now + timedelta(days=30), actor=admin)
        for rule in [None, *rules]
    ]
    scene.values["rule_id"] = [str(rule.pk) for rule in rules]
    scene.paths["/api/v2/alerts/rules/"] = [{"id": str(rule.pk)} for rule in rules]
    hooks = [
        # Nobody listens there.
        Webhook.objects.create(name=str(n), url="http://127.0.0.1:9/", secret=new_secret())
        for n in range(2 * times)
    ]
    for hook in hooks:
        Attempt.objects.create(
            webhook=hook, event_id=uuid7(), type="x", subject="order/1", number=1, body="{}"
        )
    scene.paths["/api/v2/webhooks/"] = [{"id": str(hook.pk)} for hook in hooks]
    scene.paths["/api/v2/alerts/silences/"] = [{"id": str(silence.pk)} for silence in silences]


def _fill_benchmarks(scene: Scene, admin: User) -> None:
    def side(level: int) -> dict[str, Any]:
        rates = [level + n for n in range(5)]
        latencies = [level * n for n in range(1, 21)]
        return {"requests": 20, "errors": 0, "rates": rates, "latencies_us": latencies}

    names: list[str] = []
    for number, state in enumerate(("finished", "finished", "failed", "cancelled")):
        step = {"name": "search", "v1": side(90), "v2": side(100 + number), "comparison": None}
        result = {"environment": {"commit": f"c{number}", "cpu": "two"}, "steps": [step]}
        run = BenchmarkRun.objects.create(
            name=f"search-{number}",
            benchmark_type="search",
            state=state,
            actor=admin,
            error="ValueError: no" if state == "failed" else "",
            result=result if state == "finished" else None,
            finished_at=timezone.now(),
        )
        names += [run.name, str(run.pk), f"{run.name}.json"]
    scene.paths["/api/v2/benchmarks/results/"] = [{"id": name} for name in names]
    scene.values["baseline"] = scene.values["current"] = names
