"""The tables of docs/api.md are what the code does."""

import importlib
import re
from pathlib import Path

import pytest
from drf_spectacular.generators import SchemaGenerator

from orders import states
from shop.errors import BadRequest, ShopError

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "api.md").read_text()
# Told in the admin or by a command alone, or by a name that is in the text.
_NOT_OF_THE_API = {"conflict", "already_done", "unusable_file", BadRequest.code}


def every_refusal() -> dict[str, int]:
    """Return code and status of each ShopError that the API can raise."""
    for name in (
        "orders",
        "products",
        "benchmarks",
        "monitoring",
        "shop.accounts",
        "shop.webhooks",
    ):
        importlib.import_module(f"{name}.api")
    found: set[type[ShopError]] = set()
    waiting: list[type[ShopError]] = [ShopError]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting += kinds
        found.update(kinds)
    # Tests have refusals of their own.
    ours = [kind for kind in found if ".tests." not in kind.__module__]
    return {kind.code: kind.status for kind in ours if kind.code not in _NOT_OF_THE_API}


def test_every_refusal_is_told_with_its_status():
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", TEXT, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == every_refusal()
    assert len(rows) == len({code for code, _status in rows})


def test_the_states_are_told_here_and_in_the_schema():
    assert states.table() in TEXT
    schema = SchemaGenerator().get_schema(request=None, public=True)
    operation = schema["paths"]["/api/v2/orders/{id}/transitions"]["post"]
    assert states.table() in operation["description"]


@pytest.mark.parametrize("status", states.Status)
def test_every_state_has_a_row(status):
    assert f"| `{status.value}` |" in states.table()
