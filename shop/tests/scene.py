"""The people of the shop, one row of everything, and clients that ask as somebody."""

import io
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.models import Group
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from PIL import Image
from rest_framework.test import APIClient

from benchmarks.models import BenchmarkRun
from monitoring.models import AlertChange, AlertRule, Channel, Delivery, Silence
from orders.actions import move_order, record_payment
from orders.models import Payment
from orders.states import Status
from products.models import Category, ProductImage, StockMovement, Suggestion
from shop.accounts.models import AccessToken, User
from shop.events.models import Event, SinkOffset
from shop.jobs.models import Job
from shop.outgoing import new_secret
from shop.webhooks.models import Attempt, Webhook


class Shop:
    """The people, one row of everything, and what can be done with them."""

    def __init__(self, make_product: Any, make_order: Any, **people: User) -> None:
        self.people = people
        self.tokens = {name: AccessToken.issue(user)[1] for name, user in people.items()}
        self.sessions = {name: session_of(user) for name, user in people.items()}
        alice, clerk = people["alice"], people["clerk"]
        product = make_product(stock=50)
        made = (product, 1)
        order, cancelled, delivered = (make_order(alice, made) for _ in range(3))
        record_payment(order_id=cancelled.pk, amount=cancelled.total, method="cash", actor=clerk)
        move_order(order_id=cancelled.pk, to=Status.CANCELLED, actor=clerk)
        for status in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
            move_order(order_id=delivered.pk, to=status, actor=clerk)
        picture = io.BytesIO()
        Image.new("RGB", (2, 2)).save(picture, "PNG")
        self.picture = picture.getvalue()
        name = default_storage.save("products/x.png", io.BytesIO(self.picture))
        AlertRule.objects.all().delete()
        rule = AlertRule.objects.create(
            name="CPU", metric_name="system.cpu.usage", aggregation="avg", condition="gt",
            threshold=80,
        )  # fmt: skip
        now = timezone.now()
        change = AlertChange.objects.create(rule=rule, before="ok", state="firing", time=now)
        channel = Channel.objects.create(name="ops", kind="email", target="ops@example.com")
        step = {"requests": 1, "errors": 0, "rates": [1.0] * 5, "latencies_us": [9] * 20}
        self.rows: dict[str, Any] = {
            "product": product,
            "order": order,
            "cancelled": cancelled,
            "delivered": delivered,
            "refund": cancelled.payments.get(kind=Payment.Kind.REFUND),
            "image": ProductImage.objects.create(product=product, file=name, width=2, height=2),
            "suggestion": Suggestion.objects.create(
                product=product, kind="seo", provider="x", version="1", confidence=0.5,
                data={"title": "t", "description": "d", "keywords": [], "slug": "s"},
            ),
            "rule": rule,
            "silence": Silence.objects.create(ends_at=now + timedelta(days=1)),
            "run": BenchmarkRun.objects.create(
                name="run", benchmark_type="search", state="finished",
                result={"environment": {}, "steps": [{"name": "search", "v1": step, "v2": step}]},
            ),
            "token": AccessToken.objects.get(user=alice),
            # Nobody listens there, and the answer is that nobody did.
            "webhook": Webhook.objects.create(
                name="hook", url="http://127.0.0.1:9/", secret=new_secret()
            ),
            "event": Event.objects.first(),
            "bob": people["bob"],
        }  # fmt: skip
        self.texts = {
            "file": name,
            "nothing": "nowhere",
            "uid": "MQ",
            "link": "x-y",
            "type": "1",
            "tomorrow": (now + timedelta(days=1)).isoformat(),
            "orders": "orders",
        }
        self.of_model = {
            "auth.group": Group.objects.get(name="Catalogue"),
            "shop.user": people["bob"],
            "shop.accesstoken": self.rows["token"],
            "shop.event": Event.objects.first(),
            "shop.webhook": self.rows["webhook"],
            "shop.attempt": Attempt.objects.create(
                webhook=self.rows["webhook"],
                event_id=self.rows["event"].pk,
                type="order.created",
                subject=order.subject,
                number=1,
                body="{}",
            ),
            "shop.job": Job.objects.create(task="shop.prune"),
            "shop.sinkoffset": SinkOffset.objects.create(
                sink="mail",
                subject=order.subject,
                delivered=0,
                newest=1,
                state="dead",
                due_at=now,
                waiting_since=now,
            ),
            "monitoring.alertrule": rule,
            "monitoring.alertchange": change,
            "monitoring.delivery": Delivery.objects.create(change=change, channel=channel),
            "monitoring.silence": self.rows["silence"],
            "monitoring.channel": channel,
            "products.category": Category.objects.get(slug="vests"),
            "products.product": product,
            "products.suggestion": self.rows["suggestion"],
            "products.stockmovement": StockMovement.objects.first(),
            "orders.order": order,
            "orders.payment": self.rows["refund"],
            "benchmarks.benchmarkrun": self.rows["run"],
        }

    def filled(self, value: Any) -> Any:
        """Put what is there in the place of `$names`."""
        if isinstance(value, dict):
            return {self.filled(name): self.filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.filled(inner) for inner in value]
        if isinstance(value, str):
            if value == "$picture":
                return {"image": SimpleUploadedFile("x.png", self.picture)}
            head, mark, name = value.partition("$")
            return head + self.named(name) if mark else value
        return value

    def named(self, name: str) -> str:
        return str(self.rows[name].pk) if name in self.rows else self.texts[name]

    def path(self, route: str, names: str) -> str:
        """Return the route with its parameters filled in, and the query."""
        names, _, query = names.partition(":")
        values = iter([self.named(name) for name in names.split()])
        if "(" in route:
            return "/" + route.partition("(")[0].lstrip("^") + f"/{next(values)}"
        parts = [next(values) if part[:1] == "<" else part for part in route.split("/")]
        return "/" + "/".join(parts) + query


# One for all calls: each would load the middleware anew.
HANDLERS: dict[type[Client], Any] = {}


def client_of(kind: type[Client]) -> Any:
    client = kind()
    client.handler = HANDLERS.setdefault(kind, client.handler)
    return client


def session_of(user: User) -> str:
    client = client_of(Client)
    client.force_login(user)
    return str(client.cookies[django_settings.SESSION_COOKIE_NAME].value)


def bearing(header: str | None) -> APIClient:
    client: APIClient = client_of(APIClient)
    if header is not None:
        client.credentials(HTTP_AUTHORIZATION=header)
    return client


def browsing(session: str | None, kind: type[Client] = Client) -> Any:
    client = client_of(kind)
    if session is not None:
        client.cookies[django_settings.SESSION_COOKIE_NAME] = session
    return client
