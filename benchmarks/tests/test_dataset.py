"""What a run is measured on is a shop as it would have become by itself."""

from io import StringIO

import pytest
from django.core.management import call_command

from benchmarks.dataset import STOCK, fill
from orders.models import Order
from orders.states import Status
from products.models import Product

pytestmark = pytest.mark.django_db


def test_its_orders_have_left_all_in_the_books_that_orders_leave() -> None:
    fill(products=30, people=3, orders=600)
    assert set(Order.objects.values_list("status", flat=True)) == {
        Status.PENDING, Status.PAID, Status.SHIPPED, Status.COMPLETED, Status.CANCELLED,
    }  # fmt: skip
    for command in ("check_orders", "check_stock"):
        call_command(command, stdout=StringIO(), skip_checks=True)
    product = Product.objects.latest("sold_quantity")
    assert product.sold_quantity > 0
    assert product.stock_quantity == STOCK - product.sold_quantity


def test_without_orders_all_of_the_stock_is_there() -> None:
    fill(products=3, people=1)
    assert set(Product.objects.values_list("stock_quantity", flat=True)) == {STOCK}
