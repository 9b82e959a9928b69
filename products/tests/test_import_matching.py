"""manage.py import_catalogue: products found again, changed or left alone; runs cut short."""

import unicodedata
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from products import stock
from products.actions import retire_product
from products.importing import catalogue
from products.importing.rows import source_key
from products.models import Product, Reason, StockMovement
from products.tests.goods import LAPTOP, Write, counts, run

pytestmark = pytest.mark.django_db


def everything() -> tuple[list[Any], list[Any]]:
    """Every row of products and of the ledger, as it is in the database."""
    products, ledger = Product.objects.order_by("pk"), StockMovement.objects.order_by("pk")
    return list(products.values()), list(ledger.values())


@pytest.mark.parametrize("name", ["goods.jsonl", "goods.csv"])
def test_a_second_run_changes_nothing(write: Write, tree: None, name: str) -> None:
    rows = [
        LAPTOP | {"category": "laptops", "description": "가벼움"},
        {"name": "키보드", "brand": "로지텍", "price": 50000, "stock": 5, "sku": ""},
        {"name": "마우스", "price": 20000, "category": "모름", "sku": None},
        {"name": "마우스", "price": -1},
    ]
    if name.endswith(".csv"):
        columns = ["name", "price", "stock", "sku", "brand", "category", "description"]
        lines = [",".join(str(row.get(column) or "") for column in columns) for row in rows]
        path = write("\n".join([",".join(columns), *lines]), name)
    else:
        path = write(rows, name)
    report, _refusals = run(path)
    assert counts(report) == (3, 0, 0, 0, 1)
    before = everything()
    for _again in range(2):
        report, _refusals = run(path)
        assert counts(report) == (0, 0, 3, 0, 1)
        assert everything() == before


def test_what_a_file_changes_is_changed_and_stock_is_not(write: Write, tree: None) -> None:
    run(write([LAPTOP, {"name": "Other", "price": 1, "sku": "O"}]))
    before = Product.objects.get(sku="N-1")
    stock.adjust(product_id=before.pk, change=-2, reason=Reason.LOST, actor=None)
    other = Product.objects.filter(sku="O").values().get()
    changed = {
        "sku": "N-1", "name": "새 노트북", "brand": "엘지", "description": "새것",
        "price": 1400000, "category": "laptops", "stock": 99,
    }  # fmt: skip
    report, _refusals = run(write([changed, {"name": "Other", "price": 1, "sku": "O"}]))
    assert counts(report) == (0, 1, 1, 0, 0)
    after = Product.objects.get(sku="N-1")
    assert after.pk == before.pk
    assert (after.name, after.brand, after.description) == ("새 노트북", "엘지", "새것")
    assert after.price == 1400000
    assert after.category and after.category.slug == "laptops"
    assert (after.stock_quantity, after.created_at) == (1, before.created_at)
    assert after.updated_at > before.updated_at
    assert list(StockMovement.objects.order_by("pk").values_list("change", flat=True)) == [3, -2]
    assert Product.objects.filter(sku="O").values().get() == other


def test_what_a_file_leaves_empty_stays(write: Write, tree: None) -> None:
    full = LAPTOP | {"description": "가벼움", "category": "laptops"}
    run(write([full]))
    before = everything()
    for bare in (
        {"sku": "N-1", "name": "노트북", "price": 1500000},
        {**full, "description": "", "brand": None, "category": ""},
        {**full, "category": "nothing known"},
    ):
        report, _refusals = run(write([bare]))
        assert counts(report) == (0, 0, 1, 0, 0)
        assert everything() == before


def test_without_a_sku_source_brand_and_name_tell_products_apart(write: Write) -> None:
    row = {"name": "에어 맥스", "brand": "나이키", "price": 1000}
    run(write([row], "spring.jsonl"))
    assert Product.objects.get().source_key == source_key("spring", "나이키", "에어 맥스")
    variants = [
        row | {"name": unicodedata.normalize("NFD", " 에어  맥스 "), "price": 2000},
        row | {"brand": "아디다스"},
        row | {"name": "에어 조던"},
    ]
    report, _refusals = run(write(variants, "spring.jsonl"))
    assert counts(report) == (2, 1, 0, 0, 0)
    report, _refusals = run(write([row], "autumn.jsonl"))
    assert counts(report) == (1, 0, 0, 0, 0)
    report, _refusals = run(write([row], "winter.jsonl"), source="spring")
    assert counts(report) == (0, 1, 0, 0, 0)


def test_of_the_same_key_twice_the_first_good_one_counts(write: Write) -> None:
    rows = [
        {"name": "A", "price": 0, "sku": "1"},
        {"name": "A", "price": 1, "sku": "1"},
        {"name": "B", "price": 2, "sku": "1"},
        {"name": "C", "price": 3},
        {"name": "c ", "price": 4},
        {"name": "C", "price": 5, "sku": "2"},
    ]
    for batch_size in (1, 2, 1000):
        report, refusals = run(write(rows), batch_size=batch_size)
        assert refusals == [(1, "price_not_positive"), (3, "duplicate"), (5, "duplicate")]
    assert counts(report) == (0, 0, 3, 0, 3)
    assert list(Product.objects.order_by("pk").values_list("name", "price")) == [
        ("A", Decimal(1)),
        ("C", Decimal(3)),
        ("C", Decimal(5)),
    ]


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_a_product_named_by_sku_and_by_name_is_written_once(write: Write, batch_size: int) -> None:
    run(write([{"name": "A", "price": 1}]))
    Product.objects.update(sku="GIVEN-LATER")
    rows = [{"name": "A", "price": 2}, {"name": "A", "price": 3, "sku": "GIVEN-LATER"}]
    _report, refusals = run(write(rows), batch_size=batch_size)
    assert refusals == [(2, "duplicate")]
    assert Product.objects.get().price == 2


def test_a_retired_product_stays_retired(write: Write) -> None:
    run(write([LAPTOP]))
    retire_product(Product.objects.get().pk)
    before = everything()
    for row in (LAPTOP, LAPTOP | {"price": 1}):
        report, _refusals = run(write([row]))
        assert counts(report) == (0, 0, 0, 1, 0)
        assert everything() == before


def test_a_product_retired_in_the_middle_of_the_run_stays_as_it_is(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(write([LAPTOP]))
    create = catalogue._create

    def rival(rows: Any) -> None:
        retire_product(Product.objects.get().pk)
        create(rows)

    monkeypatch.setattr(catalogue, "_create", rival)
    report, _refusals = run(write([LAPTOP | {"price": 1}]))
    assert counts(report) == (0, 0, 0, 1, 0)
    assert Product.objects.get().price == 1500000


def test_a_product_that_somebody_else_creates_meanwhile_is_found(
    write: Write, monkeypatch: pytest.MonkeyPatch, make_product: Any
) -> None:
    known = catalogue._known_products
    rivals: list[Product] = []

    def overtaken(rows: Any) -> dict[str, Product]:
        if not rivals:
            rivals.append(make_product(name="Theirs", price=5, stock=0, sku="N-1"))
            return {}
        return known(rows)

    monkeypatch.setattr(catalogue, "_known_products", overtaken)
    # The rival's row is rolled back with the batch here, where all is one
    # connection; what counts is that the batch is tried again as a whole.
    report, _refusals = run(write([LAPTOP]))
    assert report.rows == 1
    assert Product.objects.get(sku="N-1").name == "노트북"
    assert StockMovement.objects.count() == 1


def test_only_new_adds_and_changes_nothing(write: Write) -> None:
    run(write([LAPTOP]))
    before = Product.objects.values().get()
    report, _refusals = run(
        write([LAPTOP | {"price": 1}, {"name": "New", "price": 1}]), only_new=True
    )
    assert counts(report) == (1, 0, 1, 0, 0)
    assert Product.objects.filter(sku="N-1").values().get() == before


def test_a_run_that_dies_leaves_whole_batches_and_can_be_finished(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"name": f"P{n}", "price": 1, "stock": 2, "sku": f"S{n}"} for n in range(25)]
    path = write(rows)
    receive, calls = stock.receive_new, []

    def dies_in_the_second(*args: Any, **kwargs: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        receive(*args, **kwargs)

    monkeypatch.setattr(stock, "receive_new", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(path, batch_size=10)
    assert Product.objects.count() == StockMovement.objects.count() == 10
    assert set(Product.objects.values_list("stock_quantity", flat=True)) == {2}
    call_command("check_stock", stdout=StringIO(), skip_checks=True)

    report, _refusals = run(path, batch_size=10)
    assert counts(report) == (15, 0, 10, 0, 0)
    assert Product.objects.count() == StockMovement.objects.count() == 25
    call_command("check_stock", stdout=StringIO(), skip_checks=True)


def test_the_queries_of_a_batch_do_not_grow_with_its_rows(write: Write) -> None:
    def queries(rows: list[dict[str, Any]]) -> int:
        path = write(rows)
        with CaptureQueriesContext(connection) as captured:
            run(path)
        return len(captured)

    def rows(count: int, price: int) -> list[dict[str, Any]]:
        return [{"name": f"{count}-{n}", "price": price, "stock": 1} for n in range(count)]

    # Below the number of variables that SQLite takes in one statement.
    few = [queries(rows(5, 1)), queries(rows(5, 1)), queries(rows(5, 2))]
    many = [queries(rows(60, 1)), queries(rows(60, 1)), queries(rows(60, 2))]
    assert many == few
    # Two of them keep the search index.
    assert max(many) <= 12
