"""Medians, spreads and percentiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile; `share` is from 0 to 1.

    Raises:
        ValueError: no values, or a share outside 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("A percentile needs values and a share from 0 to 1.")
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Spread:
    """The median of some runs with the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up at least one value."""
        return cls(median(values), min(values), max(values))

    def text(self, digits: int = 0) -> str:
        """Write it as `median (low-high)`."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def ratios(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Return `first / second` of runs that were made in pairs.

    Pair by pair, so that a machine that slows down slows both sides of a pair.

    Raises:
        ValueError: the lengths differ.
    """
    return Spread.of([a / b if b else 0.0 for a, b in zip(first, second, strict=True)])
