"""What is cached is never older than promised, and never older than one's own write."""

import pytest
from django.core.cache import cache
from django.db import transaction

from products import catalogue, freshness
from products.models import Product

pytestmark = pytest.mark.django_db(transaction=True)


def price(pk):
    import json

    return json.loads(catalogue.read_product(pk))["price"]


def test_a_second_read_asks_no_database(make_product, django_assert_num_queries, monkeypatch):
    product = make_product(price=1000)
    monkeypatch.setattr(freshness, "MAX_AGE", 3600)
    monkeypatch.setattr(cache, "set", lambda key, value, timeout: original(key, value, 3600))
    price(product.pk)
    with django_assert_num_queries(0):
        assert price(product.pk) == 1000


original = cache.set


@pytest.mark.parametrize(
    "write",
    [
        lambda p: Product.objects.filter(pk=p.pk).update(price=2000),
        lambda p: Product.objects.bulk_update([_with(p)], ["price"]),
        lambda p: _with(p).save(),
    ],
    ids=["update", "bulk_update", "save"],
)
def test_a_write_is_seen_by_the_next_read(make_product, write):
    product = make_product(price=1000)
    assert price(product.pk) == 1000
    write(product)
    assert price(product.pk) == 2000


def _with(product):
    product.price = 2000
    return product


def test_a_slow_reader_brings_nothing_old_back(make_product, monkeypatch):
    """The rival writes after the reader has read and before it fills the cache."""
    product = make_product(price=1000)
    rendered = catalogue.as_json

    def slow(row):
        body = rendered(row)
        if body["price"] == 1000:
            Product.objects.filter(pk=product.pk).update(price=2000)
        return body

    monkeypatch.setattr(catalogue, "as_json", slow)
    assert price(product.pk) == 1000  # it began before the write
    monkeypatch.setattr(catalogue, "as_json", rendered)
    assert price(product.pk) == 2000


def test_what_another_process_put_there_before_our_write_is_not_believed(make_product):
    import time

    product = make_product(price=1000)
    before = time.time()
    Product.objects.filter(pk=product.pk).update(price=2000)
    cache.set(f"product:1:{product.pk}", (before, b'{"price":1000}'), 1)
    assert price(product.pk) == 2000


def test_an_old_entry_is_not_believed_even_without_a_write_of_ours(make_product, monkeypatch):
    """Another process wrote; this one knows nothing of it but the age of what it has."""
    import time

    product = make_product(price=1000)
    cache.set(f"product:1:{product.pk}", (time.time() - freshness.MAX_AGE, b'{"price":500}'), 60)
    assert price(product.pk) == 1000


def test_a_rolled_back_write_changes_nothing(make_product):
    product = make_product(price=1000)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.filter(pk=product.pk).update(price=2000)
        assert price(product.pk) == 2000  # one's own uncommitted write
        raise ZeroDivisionError
    assert price(product.pk) == 1000


def test_with_the_cache_gone_reads_go_to_the_database(make_product, monkeypatch):
    product = make_product(price=1000)
    monkeypatch.setattr(cache, "get", lambda *a, **k: None)
    monkeypatch.setattr(cache, "set", lambda *a, **k: None)
    assert price(product.pk) == 1000


def test_a_sale_is_seen_by_the_next_read(make_product, make_order, alice, client_of):
    product = make_product(stock=5)
    url = f"/api/v2/products/{product.pk}"
    assert client_of(None).get(url).json()["stock_quantity"] == 5
    make_order(alice, (product, 2))
    assert client_of(None).get(url).json()["stock_quantity"] == 3


def test_a_new_product_is_counted_at_once(make_product, client_of):
    make_product()
    assert client_of(None).get("/api/v2/products").json()["total"] == 1
    make_product()
    assert client_of(None).get("/api/v2/products").json()["total"] == 2


def test_a_sale_has_only_stock_counted_again(
    make_product, make_order, alice, client_of, monkeypatch
):
    monkeypatch.setattr(freshness, "MAX_AGE", 3600)
    monkeypatch.setattr(cache, "set", lambda key, value, timeout: original(key, value, 3600))
    counted = []
    real = catalogue.count_products

    def count(rows, key, *, of_stock):
        return real(lambda: counted.append(key) or rows(), key, of_stock=of_stock)

    monkeypatch.setattr(catalogue, "count_products", count)
    product = make_product(stock=1)
    client = client_of(None)
    urls = ["/api/v2/products?per_page=1", "/api/v2/products?per_page=1&in_stock=true"]
    assert [client.get(url).json()["total"] for url in urls] == [1, 1]
    make_order(alice, (product, 1))
    assert [client.get(url).json()["total"] for url in urls] == [1, 0]
    # What is in stock was counted anew at once, all that is on sale was not.
    assert len(counted) == 3
