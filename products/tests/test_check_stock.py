"""manage.py check_stock: what it proves, and what it finds."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from products import stock
from products.models import Product, Reason, StockMovement

pytestmark = pytest.mark.django_db


def check() -> tuple[int, str]:
    """Return the exit code and what was printed."""
    out = StringIO()
    try:
        call_command("check_stock", stdout=out, skip_checks=True)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def sql(statement: str, *values: int) -> None:
    """Change a row behind the code's back."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def sold(make_product):
    """A product with a history: 10, 7, 9."""
    product = make_product(stock=10)
    stock.adjust(product_id=product.pk, change=-3, reason=Reason.DAMAGED, actor=None)
    stock.adjust(product_id=product.pk, change=2, reason=Reason.RETURNED, actor=None)
    return product


def test_a_sound_ledger(sold: Product, make_product) -> None:
    make_product(stock=0)
    other = make_product(stock=5)
    stock.adjust(product_id=other.pk, change=-5, reason=Reason.LOST, actor=None)
    code, out = check()
    assert code == 0
    assert re.fullmatch(r"The stock is right: 3 products, 5 movements, \d+\.\d s\.\n", out)


def test_an_empty_shop() -> None:
    assert check()[0] == 0


def test_stock_that_the_ledger_does_not_know(sold: Product) -> None:
    sql("UPDATE products_product SET stock_quantity = 8 WHERE id = %s", sold.pk)
    code, out = check()
    assert code == 1
    assert f"product {sold.pk}: the stock is 8, its ledger comes to 9" in out
    assert f"product {sold.pk}: the stock is 8, the last movement" in out


def test_stock_without_any_movement(make_product) -> None:
    product = make_product(stock=0)
    sql("UPDATE products_product SET stock_quantity = 1 WHERE id = %s", product.pk)
    assert check()[0] == 1


def test_a_balance_that_does_not_follow(sold: Product) -> None:
    middle = StockMovement.objects.filter(product=sold).order_by("pk")[1]
    sql("UPDATE products_stockmovement SET balance_after = 6 WHERE id = %s", middle.pk)
    code, out = check()
    assert code == 1
    assert f"movement {middle.pk} turned 10 by -3 into 6" in out
    assert "its ledger comes to" not in out


def test_a_last_balance_that_is_not_the_stock(sold: Product) -> None:
    first = StockMovement.objects.filter(product=sold).earliest("pk")
    sql(
        "UPDATE products_stockmovement SET balance_after = balance_after + 1 WHERE product_id = %s",
        sold.pk,
    )
    code, out = check()
    assert code == 1
    assert "the stock is 9, the last movement" in out
    assert f"movement {first.pk} turned 0 by 10 into 11" in out


def test_a_movement_that_is_gone(sold: Product) -> None:
    first = StockMovement.objects.filter(product=sold).earliest("pk")
    sql("DELETE FROM products_stockmovement WHERE id = %s", first.pk)
    code, out = check()
    assert code == 1
    assert "its ledger comes to -1" in out


def test_numbers_below_zero_that_agree_with_each_other(make_product) -> None:
    # A database that was restored without its constraints.
    product = make_product(stock=3)
    ignore, heed = (
        ("PRAGMA ignore_check_constraints = ON", "PRAGMA ignore_check_constraints = OFF")
        if connection.vendor == "sqlite"
        else (
            "ALTER TABLE products_product DROP CONSTRAINT product_stock_not_negative;"
            "ALTER TABLE products_stockmovement"
            " DROP CONSTRAINT stockmovement_balance_not_negative",
            "SELECT 1",
        )
    )
    if connection.vendor == "postgresql":
        sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(ignore)
    try:
        sql("UPDATE products_product SET stock_quantity = -3 WHERE id = %s", product.pk)
        sql("UPDATE products_stockmovement SET change = -3, balance_after = -3")
    finally:
        sql(heed)
    code, out = check()
    assert code == 1
    assert f"product {product.pk}: the stock is -3\n" in out
    assert "its ledger comes to" not in out


def test_no_more_than_twenty_are_shown_and_all_are_counted(make_product) -> None:
    for _number in range(30):
        make_product(stock=1)
    sql("UPDATE products_product SET stock_quantity = 2")
    code, out = check()
    assert code == 1
    assert out.count("product ") == 20
    assert "60 things are wrong with the stock (40 more than shown)" in out


def test_the_queries_do_not_grow_with_the_products(make_product) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            check()
        return len(captured)

    make_product()
    few = queries()
    for _number in range(20):
        make_product()
    assert queries() == few
