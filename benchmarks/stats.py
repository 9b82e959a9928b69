"""Medians, spreads, percentiles, and whether one sample is quicker than another."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, erfc, sqrt
from statistics import median
from typing import Literal


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


Verdict = Literal["faster", "slower", "equivalent", "inconclusive"]

# Ratios nearer to 1 than this are no difference that anybody would notice.
MARGIN = 0.05
_RESAMPLES = 2000
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """The second against the first: a ratio above 1 means that the second is quicker.

    `low` and `high` bound the ratio with 95 % confidence; `p` is the
    Mann-Whitney test's of the latencies; `effect` is Cliff's delta, from -1 to
    1, above 0 where the second's latencies are lower.
    """

    ratio: float
    low: float
    high: float
    p: float
    effect: float
    verdict: Verdict


def bootstrap_ratio(
    first: Sequence[float], second: Sequence[float], *, seed: int = 1
) -> tuple[float, float, float]:
    """Return the ratio of medians, second by first, and its 95 % percentile interval.

    What is resampled are blocks, since requests within one block are not
    independent of each other. Efron and Tibshirani, An Introduction to the
    Bootstrap (1993), chapter 13.

    Raises:
        ValueError: no values, or a median of zero.
    """
    if not first or not second:
        raise ValueError("There is nothing to compare.")
    if median(first) <= 0:
        raise ValueError("A ratio to zero is none.")
    dice = random.Random(seed)  # noqa: S311
    found = []
    for _ in range(_RESAMPLES):
        below = median(dice.choices(first, k=len(first)))
        above = median(dice.choices(second, k=len(second)))
        if below > 0:
            found.append(above / below)
    return (
        median(second) / median(first),
        percentile(found, 0.025),
        percentile(found, 0.975),
    )


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return U of the first sample and the two-sided p-value.

    Normal approximation with correction for ties and continuity; Mann and
    Whitney (1947), ties as in Lehmann, Nonparametrics (1975), section 1.4.

    Raises:
        ValueError: a sample is empty.
    """
    n, m = len(first), len(second)
    if not n or not m:
        raise ValueError("There is nothing to compare.")
    ordered = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    rank, rank_sum, ties = 1, 0.0, 0.0
    for _value, group in groupby(ordered, key=lambda pair: pair[0]):
        members = list(group)
        size = len(members)
        middle = rank + (size - 1) / 2
        rank_sum += middle * sum(1 for _, which in members if which == 0)
        ties += size**3 - size
        rank += size
    u = rank_sum - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1))) if total > 1 else 0.0
    if variance <= 0:
        return u, 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / sqrt(variance)
    return u, erfc(z / sqrt(2))


def compare(
    first_rates: Sequence[float],
    second_rates: Sequence[float],
    first_latencies: Sequence[float],
    second_latencies: Sequence[float],
) -> Comparison:
    """Compare two ways by their throughput, block by block, and their latencies.

    `equivalent` where the whole interval of the ratio is within MARGIN of 1;
    `faster` or `slower` where it lies beyond 1 and the latencies differ with
    p < 0.05 in the same direction; otherwise `inconclusive`.

    Raises:
        ValueError: there is nothing to compare.
    """
    ratio, low, high = bootstrap_ratio(first_rates, second_rates)
    u, p = mann_whitney(first_latencies, second_latencies)
    # U counts the pairs in which the first is larger, that is slower.
    effect = 2 * u / (len(first_latencies) * len(second_latencies)) - 1
    verdict: Verdict = "inconclusive"
    if low >= 1 - MARGIN and high <= 1 + MARGIN:
        verdict = "equivalent"
    elif low > 1 and p < _SIGNIFICANT and effect > 0:
        verdict = "faster"
    elif high < 1 and p < _SIGNIFICANT and effect < 0:
        verdict = "slower"
    return Comparison(ratio, low, high, p, effect, verdict)
