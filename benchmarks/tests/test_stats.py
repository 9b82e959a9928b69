"""Medians, spreads, percentiles."""

import pytest

from benchmarks.stats import Spread, percentile, ratios


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert percentile(values, 0.5) == 3
    assert percentile(values, 0.99) == 5
    assert percentile(values, 0) == 1
    assert percentile([7.0], 0.5) == 7


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_nonsense_has_no_percentile(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_a_spread_is_written_with_its_ends() -> None:
    assert Spread.of([1000.0, 3000.0, 2500.0]).text() == "2,500 (1,000-3,000)"


def test_ratios_are_taken_pair_by_pair() -> None:
    # The machine was twice as slow in the second pair; the ratio does not mind.
    assert ratios([10.0, 5.0], [5.0, 2.5]) == Spread(2, 2, 2)
    with pytest.raises(ValueError):  # noqa: PT011
        ratios([1.0], [])
