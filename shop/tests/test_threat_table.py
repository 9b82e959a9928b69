"""docs/security.md names files and tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text()


def test_every_threat_of_the_top_ten_has_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "::" in line]
    named = [match.group(1) for row in rows if (match := re.match(r"\| \*\*(API\d+)\*\*", row))]
    assert named == [f"API{number}" for number in range(1, 11)]
    assert len(rows) > 40


def test_every_test_that_it_names_is_there() -> None:
    missing = []
    for name in re.findall(r"`([\w/]+\.py(?:::\w+)+)`", TEXT):
        path, *parts = name.split("::")
        source = (ROOT / path).read_text() if (ROOT / path).exists() else ""
        if not all(re.search(rf"^\s*(?:class|def) {part}\b", source, re.M) for part in parts):
            missing.append(name)
    assert missing == []


def test_every_file_that_it_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", TEXT)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []
