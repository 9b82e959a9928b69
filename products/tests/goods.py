"""What the importer's tests share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from products.importing.catalogue import Report, import_catalogue
from products.importing.reading import Refusal

Write = Callable[..., Path]

LAPTOP = {"name": "노트북", "price": 1500000, "stock": 3, "sku": "N-1", "brand": "삼성"}


def run(path: Path, **options: Any) -> tuple[Report, list[tuple[int, str]]]:
    """Import a file; return the report, and line and code of each refusal."""
    refusals: list[Refusal] = []
    report = import_catalogue([path], on_refusal=refusals.append, **options)
    assert report.refused == len(refusals) == report.reasons.total()
    return report, [(refusal.line, refusal.code) for refusal in refusals]


def counts(report: Report) -> tuple[int, int, int, int, int]:
    return report.created, report.updated, report.unchanged, report.retired, report.refused
