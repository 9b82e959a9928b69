"""Statistics: against published figures, and on made-up samples whose answer is known."""

import random

import pytest

from benchmarks.stats import bootstrap_ratio, compare, mann_whitney


def test_mann_whitney_against_published_figures():
    # Permeability constants of the human chorioamnion, Hollander and Wolfe
    # (1973), page 69, as in R's help page of wilcox.test: W = 35, exact
    # one-sided p = 0.1272. The normal approximation comes near.
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    u, p = mann_whitney(term, early)
    assert u == 35
    assert p / 2 == pytest.approx(0.1272, abs=0.006)


def test_mann_whitney_of_equal_samples_is_no_difference():
    assert mann_whitney([1, 1, 1], [1, 1]) == (3.0, 1.0)
    u, p = mann_whitney([1, 2, 3, 4], [1, 2, 3, 4])
    assert u == 8
    assert p == pytest.approx(1.0)


def test_it_does_not_matter_which_comes_first():
    dice = random.Random(7)
    a = [dice.gauss(10, 2) for _ in range(50)]
    b = [round(dice.gauss(11, 2)) for _ in range(40)]
    u, p = mann_whitney(a, b)
    v, q = mann_whitney(b, a)
    assert u + v == len(a) * len(b)
    assert p == pytest.approx(q)


def test_the_interval_holds_the_true_ratio():
    dice = random.Random(1)
    held = 0
    for trial in range(60):
        a = [dice.gauss(100, 10) for _ in range(15)]
        b = [dice.gauss(200, 20) for _ in range(15)]
        _ratio, low, high = bootstrap_ratio(a, b, seed=trial)
        held += low <= 2 <= high
    assert held >= 50


def blocks(level, noise, seed):
    dice = random.Random(seed)
    return [level * (1 + dice.uniform(-noise, noise)) for _ in range(20)]


@pytest.mark.parametrize(
    ("level", "noise", "verdict"),
    [
        (200, 0.05, "faster"),
        (50, 0.05, "slower"),
        (100, 0.01, "equivalent"),
        (104, 0.5, "inconclusive"),
    ],
)
def test_verdicts(level, noise, verdict):
    first, second = blocks(100, noise, 1), blocks(level, noise, 2)
    told = compare(first, second, [1 / rate for rate in first], [1 / rate for rate in second])
    assert told.verdict == verdict
    assert told.low <= told.ratio <= told.high


def test_throughput_and_latency_must_agree():
    # More answers a second, yet each of them slower: no verdict.
    told = compare([100] * 9, [120] * 9, [1.0] * 50, [2.0] * 50)
    assert told.verdict == "inconclusive"


@pytest.mark.parametrize("sides", [([], [1]), ([1], []), ([0], [1])])
def test_nothing_to_compare(sides):
    with pytest.raises(ValueError):
        bootstrap_ratio(*sides)
