"""Buyers as load: orders over HTTP, and what must hold when they have been placed."""

import json
import random
from collections.abc import Sequence

from benchmarks.arena import Arena, ArenaError
from benchmarks.load import Source, request_bytes

PEOPLE = 16
_ADDRESS = {"street": "123 Main St", "city": "Seoul", "postal_code": "12345"}


def order_body(products: Sequence[int]) -> bytes:
    """Return the body of an order of one piece each."""
    items = [{"product_id": str(pk), "quantity": 1} for pk in products]
    return json.dumps({"items": items, "shipping_address": _ADDRESS}).encode()


def buyer(arena: Arena, api: str, token: str) -> Source:
    """Return a buyer of two random products an order."""
    keys = range(arena.data.first, arena.data.last + 1)

    def source() -> bytes:
        body = order_body(random.sample(keys, 2))
        return request_bytes("POST", f"/api/{api}/orders", token=token, body=body)

    return source


def order_clients(arena: Arena, api: str, clients: int) -> list[Source]:
    """Return so many buyers of two random products an order."""
    tokens = arena.data.tokens
    return [buyer(arena, api, tokens[n % len(tokens)]) for n in range(clients)]


def check_ledger(arena: Arena) -> None:
    """Make sure that the load left no product whose stock is not the sum of its rows.

    Raises:
        ArenaError: there is one.
    """
    wrong = arena.run(["-c", _LEDGER]).strip()
    if wrong != "0":
        raise ArenaError(f"{wrong} products have another stock than their ledger.")


_LEDGER = """
import django
django.setup()
from django.db.models import F, Sum
from products.models import Product
summed = Product.objects.annotate(booked=Sum("movements__change"))
print(summed.exclude(booked=F("stock_quantity")).count())
"""
