"""Measuring lists: a small run of all of it, in a database of its own."""

import pytest
from django.db import connection

from benchmarks import lists
from products.models import Product

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_filter_in_each_order_has_a_row_and_nothing_of_the_shop_is_touched() -> None:
    said: list[str] = []
    table = lists.measure(products=1000, plans=True, say=said.append)
    head, told = table.split("\n\n", 1)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in head.splitlines()]
    columns, measured = rows[0], rows[2:]
    assert columns[3:-1] == list(lists.PLACES)
    assert len(measured) == len(lists._FILTERS) * len(lists._ORDERINGS)
    for name, order, total, *times, found_by in measured:
        assert int(total.lstrip("~").replace(",", "")) >= 0, name
        assert all(float(time.replace(",", "")) > 0 for time in times if time), (name, order)
        assert found_by.startswith(("walked, ", "sorted, "))
    by_name = {(row[0], row[1]): row for row in measured}
    assert by_name["category of 3", "price"][2] == "3"
    assert by_name["category, empty", "price"][2] == "0"
    assert by_name["none", "price"][-1] == "walked, product_list_price"
    # The databases' own account of it.
    assert told.count("product_list_") > len(measured) / 2
    assert not Product.objects.exists()
    assert connection.is_usable()
    assert said
