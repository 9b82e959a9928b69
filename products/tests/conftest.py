"""Fixtures of the importer's tests."""

import json
from pathlib import Path
from typing import Any

import pytest

from products.tests.goods import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file: text or bytes as they are, dicts as JSON Lines."""

    def make(content: str | bytes | list[Any], name: str = "goods.jsonl") -> Path:
        path = tmp_path / name
        if isinstance(content, list):
            lines = (item if isinstance(item, str) else json.dumps(item) for item in content)
            content = "".join(f"{line}\n" for line in lines)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make
