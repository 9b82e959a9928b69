"""The writers of benchmarks.freshness: every way there is to write to a product.

Run as `python -m benchmarks.fresh_writer first number port port` in an arena. It writes
to so many products, from the key `first` on, until it is ended, and prints a line for
each write when that is committed: "product number value time way", the time as
time.monotonic() tells it, which is one clock for the whole host.
"""

import http.client
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import django

# The numbers of a product that only ever grow.
PRICE, STOCK, WORKER = "price", "stock", "worker"
THREADS = 8
# Seconds that the worker has.
_PATIENCE = 60.0
# How often each way is chosen. Those by hand are rarer than the shop's own.
_WAYS = {
    "api": 10,
    "stock": 30,
    "admin": 3,
    "update": 8,
    "bulk": 4,
    "save": 4,
    "sql": 4,
    "file": 4,
    "worker": 2,
}
_CSRF = "c" * 32


def writers() -> dict[str, Callable[[int, int], None]]:
    """Return the ways of writing that need no web process, by name."""
    from django.db import connection

    from products.importing.catalogue import import_catalogue
    from products.models import Product, ProductSeo
    from shop.jobs.queue import enqueue

    def update(pk: int, value: int) -> None:
        Product.objects.filter(pk=pk).update(price=Decimal(value))

    def bulk(pk: int, value: int) -> None:
        product = Product.objects.get(pk=pk)
        product.price = Decimal(value)
        Product.objects.bulk_update([product], ["price"])

    def save(pk: int, value: int) -> None:
        product = Product.objects.get(pk=pk)
        product.price = Decimal(value)
        product.save(update_fields=["price", "updated_at"])

    def sql(pk: int, value: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE products_product SET price = %s WHERE id = %s", [value, pk])

    def file(pk: int, value: int) -> None:
        sku = f"fresh-{pk}"
        Product.objects.filter(pk=pk).exclude(sku=sku).update(sku=sku)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "prices.jsonl"
            path.write_text(json.dumps({"sku": sku, "name": f"Fresh {pk}", "price": value}))
            if import_catalogue([path]).updated != 1:
                raise RuntimeError("nothing was imported")

    def worker(pk: int, value: int) -> None:
        """Have a worker write what search engines are told, which names the product."""
        name = f"Fresh {pk} v{value}"
        Product.objects.filter(pk=pk).update(name=name)
        ProductSeo.objects.filter(pk=pk).delete()
        enqueue("products.write_seo", product_id=pk)
        deadline = time.monotonic() + _PATIENCE
        while not ProductSeo.objects.filter(pk=pk, title__contains=name).exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the worker writes nothing")
            time.sleep(0.01)

    return {each.__name__: each for each in (update, bulk, save, sql, file, worker)}


class Failed(Exception):
    """Something could not be written."""


class Writers:
    """Threads that write, each to a number that nobody else writes to just then."""

    def __init__(self, products: range, ports: list[int]) -> None:
        self.products = products
        self.ports = ports
        self._ways = writers()
        self._locks: dict[tuple[int, str], threading.Lock] = defaultdict(threading.Lock)
        # The last that somebody began to write. All prices begin at 1.
        self._values: dict[tuple[int, str], int] = defaultdict(lambda: 1)
        self._printing = threading.Lock()
        self._token, self._session = _sign_in()

    def run(self, number: int) -> None:
        """Write for ever."""
        dice = random.Random(number)  # noqa: S311
        while True:
            kind = dice.choices(list(_WAYS), list(_WAYS.values()))[0]
            pk = dice.choice(self.products)
            key = (pk, {"stock": STOCK, "worker": WORKER}.get(kind, PRICE))
            with self._alone(kind, key) as alone:
                if not alone:
                    continue
                try:
                    self._values[key] += 1
                    value = self._write(kind, pk, self._values[key], dice.choice(self.ports))
                    self._say(f"{pk} {key[1]} {value} {time.monotonic()} {kind}")
                # Perhaps written all the same: the number is not used again.
                except (OSError, http.client.HTTPException, Failed) as error:
                    self._say(f"! {kind}: {error!r}")
            time.sleep(dice.expovariate(20))

    @contextmanager
    def _alone(self, kind: str, key: tuple[int, str]) -> Iterator[bool]:
        """Have a number to oneself, or not: of two at once nobody knows which came last."""
        # A form of the admin has the texts in it as well, as they were when it was fetched,
        # and a file has the name.
        keys = [key, (key[0], WORKER)] if kind in ("admin", "file") else [key]
        with ExitStack() as stack:
            for each in keys:
                if not self._locks[each].acquire(blocking=False):
                    yield False
                    return
                stack.callback(self._locks[each].release)
            yield True

    def _say(self, line: str) -> None:
        with self._printing:
            print(line, flush=True)

    def _write(self, kind: str, pk: int, value: int, port: int) -> int:
        """Write a number and return it; of stock, which is only added to, what it has become."""
        if kind == "api":
            self._send(port, "PATCH", f"/api/v2/products/{pk}", {"price": value})
        elif kind == "stock":
            change = {"quantity_change": 1, "reason": "received"}
            told = self._send(port, "POST", f"/api/v2/products/{pk}/stock/update", change)
            return int(json.loads(told)["stock_quantity"])
        elif kind == "admin":
            self._admin(port, pk, value)
        else:
            self._ways[kind](pk, value)
        return value

    def _send(self, port: int, method: str, path: str, data: dict[str, object]) -> bytes:
        head = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        status, body = _exchange(port, method, path, json.dumps(data).encode(), head)
        if status != 200:
            raise Failed(f"{status} {body[:200]!r}")
        return body

    def _admin(self, port: int, pk: int, value: int) -> None:
        """Change the price as staff do: fetch the product's form, fill it in, send it."""
        path = f"/admin/products/product/{pk}/change/"
        cookie = f"sessionid={self._session}; csrftoken={_CSRF}"
        status, page = _exchange(port, "GET", path, None, {"Cookie": cookie})
        fields = form_fields(page.decode())
        if status != 200 or "price" not in fields:
            raise Failed(f"the admin's form: {status}")
        # Without the empty form for one more image.
        fields["images-TOTAL_FORMS"] = fields["images-INITIAL_FORMS"]
        fields |= {"price": str(value), "csrfmiddlewaretoken": _CSRF, "_save": "Save"}
        head = {
            "Cookie": cookie,
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"http://127.0.0.1:{port}",
        }
        status, page = _exchange(port, "POST", path, urlencode(fields).encode(), head)
        if status != 302:
            wrong = re.findall(r"errorlist.*?</ul>", page.decode(), re.DOTALL)
            raise Failed(f"the admin refuses the form: {status} {wrong}")


def _sign_in() -> tuple[str, str]:
    """Return a token and a session of staff."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from shop.accounts.models import AccessToken, User

    user = User.objects.get(username="bench-staff")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    assert session.session_key
    return AccessToken.issue(user)[1], session.session_key


def _exchange(
    port: int, method: str, path: str, body: bytes | None, head: dict[str, str]
) -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request(method, path, body, head)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


class _Form(HTMLParser):
    """What a browser would send of the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._name = ""
        self._text = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "input" and name and given.get("type") not in ("submit", "file", "button"):
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self.fields[name] = given.get("value", "on")
        elif tag in ("select", "textarea") and name:
            self._name, self._text = name, tag == "textarea"
            self.fields[name] = ""
        elif tag == "option" and "selected" in given and self._name:
            self.fields[self._name] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self._name, self._text = "", False

    def handle_data(self, data: str) -> None:
        if self._text:
            self.fields[self._name] += data


def form_fields(page: str) -> dict[str, str]:
    """Return the fields of a page's forms with their values."""
    form = _Form()
    form.feed(page)
    return form.fields


if __name__ == "__main__":
    django.setup()
    first, number, *ports = map(int, sys.argv[1:])
    made = Writers(range(first, first + number), ports)
    threads = [threading.Thread(target=made.run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
