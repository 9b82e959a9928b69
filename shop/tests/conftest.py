"""Fixtures of the tests of the hop."""

from pathlib import Path

import pytest


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the views of hop_urls leave their marks, and look for the tests'."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("HOP_MARKS", str(folder))
    return folder
