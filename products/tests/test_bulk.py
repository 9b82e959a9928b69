"""Many products at once: off sale, into a category, stock with a reason."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission

from products.models import Category, Product, StockMovement

pytestmark = pytest.mark.django_db

LIST = "/admin/products/product/"


@pytest.fixture
def desk(client, clerk):
    client.force_login(clerk)
    return client


def ask(desk, action, *products, **fields):
    chosen = [str(product.pk) for product in products]
    return desk.post(LIST, {"action": action, "index": "0", "_selected_action": chosen, **fields})


def go(desk, action, *products, **fields):
    asked = ask(desk, action, *products)
    key = re.search(r'name="key" value="([^"]+)"', asked.content.decode())
    assert key is not None
    return ask(desk, action, *products, key=key[1], **fields)


def labels(pairs):
    return {line.label: text for line, text in pairs}


def test_products_are_taken_off_sale(desk, clerk, make_product):
    sold, gone = make_product("의자", stock=3), make_product("조명")
    Product.objects.filter(pk=gone.pk).update(retired_at="2026-01-01T00:00Z")
    asked = ask(desk, "retire", sold, gone)
    assert [line.label for line, _own in asked.context["ready"]] == ["의자"]
    assert "3 stay in stock" in asked.content.decode()
    assert [line.label for line in asked.context["refused"]] == ["조명"]
    report = go(desk, "retire", sold, gone)
    assert labels(report.context["done"]) == {"의자": "off sale"}
    assert labels(report.context["failed"]) == {"조명": "It was taken off sale before."}
    assert not Product.objects.on_sale().exists()
    assert [(entry.user, entry.object_id) for entry in LogEntry.objects.all()] == [
        (clerk, str(sold.pk))
    ]


@pytest.mark.usefixtures("tree")
def test_products_are_put_into_a_category(desk, make_product):
    vests, laptops = (Category.objects.get(slug=slug) for slug in ("vests", "laptops"))
    one, two = make_product("하나", category=vests), make_product("둘", category=vests)
    Product.objects.filter(pk=one.pk).update(category_confidence=0.4)
    assert go(desk, "categorise", one, two).context["form"].errors
    report = go(desk, "categorise", one, two, category=laptops.pk)
    assert labels(report.context["done"]) == {"하나": "Laptops", "둘": "Laptops"}
    assert set(Product.objects.values_list("category", "category_confidence")) == {
        (laptops.pk, None)
    }


def test_stock_is_booked_for_each_by_its_own_number(desk, clerk, make_product):
    more, less, same = (make_product(name, stock=5) for name in ("하나", "둘", "셋"))
    StockMovement.objects.all()._raw_delete(StockMovement.objects.db)
    report = go(
        desk, "book_stock", more, less, same, reason="correction", note="재고 조사",
        **{f"own_{more.pk}": "7", f"own_{less.pk}": "-6", f"own_{same.pk}": ""},
    )  # fmt: skip
    assert labels(report.context["done"]) == {"하나": "+7, 12 in stock now"}
    assert labels(report.context["failed"]) == {"둘": "There is not enough in stock."}
    movement = StockMovement.objects.get()
    assert (movement.change, movement.reason, movement.note, movement.actor) == (
        7, "correction", "재고 조사", clerk,
    )  # fmt: skip
    assert dict(Product.objects.values_list("name", "stock_quantity")) == {
        "하나": 12, "둘": 5, "셋": 5,
    }  # fmt: skip


def test_stock_that_is_booked_twice_by_one_click_is_booked_once(desk, make_product):
    product = make_product(stock=5)
    fields = {"reason": "received", f"own_{product.pk}": "7", "key": "x" * 22}
    for _twice in range(2):
        assert ask(desk, "book_stock", product, **fields).context["failed"] == []
    product.refresh_from_db()
    assert product.stock_quantity == 12


@pytest.mark.parametrize("change", ["0", "x", "99999999999"])
def test_a_change_that_is_none_is_asked_for_again(desk, make_product, change):
    product = make_product(stock=5)
    page = go(desk, "book_stock", product, reason="lost", **{f"own_{product.pk}": change})
    assert page.context["form"].errors.keys() == {f"own_{product.pk}"}
    product.refresh_from_db()
    assert product.stock_quantity == 5


def test_nothing_typed_is_nothing_done(desk, make_product):
    report = go(desk, "book_stock", make_product(), reason="lost")
    assert "There was nothing to do." in report.content.decode()
    assert not LogEntry.objects.exists()


def test_each_right_opens_its_own_work(client, alice, make_product):
    product = make_product()
    alice.is_staff = True
    alice.save(update_fields=["is_staff"])
    alice.user_permissions.add(Permission.objects.get(codename="view_product"))
    client.force_login(alice)
    for action in ("retire", "categorise", "book_stock"):
        page = ask(client, action, product, key="x" * 22, reason="lost")
        assert "work" not in page.context, action
    product.refresh_from_db()
    assert product.is_on_sale
    alice.user_permissions.add(Permission.objects.get(codename="adjust_stock"))
    assert ask(client, "book_stock", product).context["ready"]
    assert ask(client, "retire", product).status_code == 302
