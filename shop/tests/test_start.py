"""`manage.py start`: the newcomer's one command."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def start(tmp_path):
    """Start the shop embedded, in a data folder of its own; wait until it is open."""
    running = []

    def go():
        port = free_port()
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "SHOP_ENV")
        }
        process = subprocess.Popen(
            [sys.executable, "manage.py", "start"],
            cwd=ROOT,
            env={**environment, "DATA_DIR": str(tmp_path), "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        seen = []
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            if "Ctrl-C ends it" in line:
                return process, port, "".join(seen)
        raise AssertionError("it ended before it was open:\n" + "".join(seen))

    yield go
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return json.load(answer)


def post(port, path, data, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(data).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_newcomer_starts_the_shop_orders_stops_it_and_starts_it_again(start):
    process, port, said = start()
    products = get(port, "/api/v2/products?in_stock=true&ordering=price")
    assert products["total"] > 150
    password = re.search(r"alice +(\S+)", said).group(1)
    token = post(port, "/api/v2/auth/tokens", {"username": "alice", "password": password})["token"]
    order = post(
        port,
        "/api/v2/orders",
        {
            "items": [{"product_id": products["results"][0]["id"], "quantity": 1}],
            "shipping_address": {"street": "1", "city": "Seoul", "postal_code": "12345"},
        },
        token,
    )
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3  # web, worker, beat

    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=60)[0]

    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert not [child for child in family if child.is_running()]

    process, port, said = start()
    assert "alice" not in said  # passwords are shown once
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/orders/{order['id']}",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["total"] == order["total"]

    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0, rest
