"""Fixtures of the shop's tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import person
from shop.tests.rabbit import Rabbit
from shop.tests.scene import Shop


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the views of hop_urls leave their marks, and look for the tests'."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("HOP_MARKS", str(folder))
    return folder


@pytest.fixture
def shop(
    settings: Any, make_product: Any, make_order: Any, alice: Any, bob: Any, clerk: Any,
    admin: Any, tree: None,
) -> Shop:  # fmt: skip
    """A shop with somebody of each kind, and something of each kind."""
    settings.RATE_LIMITS = False
    return Shop(
        make_product, make_order, alice=alice, bob=bob, clerk=clerk, admin=admin,
        catalogue=person("catalogue", "Catalogue", is_staff=True),
        desk=person("desk", "Order desk", is_staff=True),
        operations=person("operations", "Operations", is_staff=True),
        porter=person("porter", is_staff=True),
    )  # fmt: skip


@pytest.fixture(scope="session")
def _rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    node = Rabbit(tmp_path_factory.mktemp("rabbit"))
    yield node
    node.close()


@pytest.fixture
def rabbit(_rabbit: Rabbit) -> Rabbit:
    """A RabbitMQ to be killed, for tests that are skipped where none is installed."""
    _rabbit.start()
    _rabbit.wait_until_ready()
    _rabbit.declare("jobs.default", "jobs.long")
    return _rabbit
