"""Writes to products for benchmarks.freshness, as a shell or a script would.

Reads lines "kind key value", and answers each with a line when that is committed.
Run as `python -m benchmarks.fresh_writer` in an arena.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import django

# Seconds that the worker has.
_PATIENCE = 60.0


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


if __name__ == "__main__":
    django.setup()
    ways = writers()
    for line in sys.stdin:
        kind, key, number = line.split()
        ways[kind](int(key), int(number))
        print("done", flush=True)
