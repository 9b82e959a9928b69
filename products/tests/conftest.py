"""Fixtures of the importer's tests."""

import json
from pathlib import Path
from typing import Any

import pytest

from products.categories import CategoryRow, load_categories
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


@pytest.fixture
def tree(db: None) -> None:
    """A few categories, two of them of one name."""
    load_categories(
        [
            CategoryRow(1, "el", "", "Electronics", "전자기기"),
            CategoryRow(2, "el-6", "el", "Laptops", "노트북"),
            CategoryRow(3, "aa", "", "Apparel & Accessories", "의류/액세서리"),
            CategoryRow(4, "aa-1", "aa", "Vests", "조끼"),
            CategoryRow(5, "ap-1", "el", "Vests", "조끼"),
        ]
    )
