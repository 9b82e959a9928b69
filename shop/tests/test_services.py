"""SHOP_SERVICES: each web process serves its part, and no more."""

import os
import subprocess
import sys

import pytest
from django.urls import reverse

PROGRAM = """
import sys
import django
django.setup()
from django.test import Client
from django.urls import resolve
from shop.api import nothing_here
for path in sys.argv[1:]:
    try:
        found = resolve(path).func is not nothing_here
    except Exception:
        found = False
    print(int(found), path)
import shop.asgi
assert Client
"""
PATHS = {
    "/api/v2/products": "products",
    "/api/v2/products/search": "products",
    "/api/v2/categories": "products",
    "/media/products/x/original.jpg": "products",
    "/api/v2/orders": "orders",
    "/orders/01a20656-1040-7c09-82fb-2fbfe054a941/track": "orders",
    "/api/v2/alerts": "monitoring",
    "/monitoring/": "monitoring",
    "/api/v2/benchmarks/results": "benchmarks",
    "/api/v2/benchmarks/dashboard": "benchmarks",
    "/api/v1/products": "benchmarks",
    "/": "",
    "/health": "",
    "/metrics": "",
    "/admin/": "",
    "/accounts/login": "",
    "/api/v2/auth/tokens": "",
    "/api/v2/schema": "",
}


def served(services, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *PATHS],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "DATA_DIR": str(tmp_path),
            "SHOP_SERVICES": services,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done


@pytest.mark.parametrize("services", ["products", "orders monitoring", "benchmarks"])
def test_a_process_serves_what_it_is_told_to(services, tmp_path):
    done = served(services, tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = {"", *services.split()}
    for line in done.stdout.splitlines():
        found, path = line.split(" ", 1)
        assert bool(int(found)) == (PATHS[path] in wanted), line


def test_a_service_that_nobody_knows_is_refused(tmp_path):
    done = served("products,carts", tmp_path)
    assert done.returncode != 0
    assert "SHOP_SERVICES names no service: carts" in done.stderr


def test_the_front_page_of_a_part_opens(client, settings, db):
    # The whole map first: it is made once, and the other tests need all of it.
    assert reverse("products-list")
    settings.SERVICES = frozenset({"orders"})
    page = client.get("/").content.decode()
    assert "/api/v2/products" not in page
