"""Queries as people type them: what the evaluation of search is made of."""

import random

import pytest

from benchmarks.search_quality import KINDS, Source, ask, fill, mistype, read_sources, report
from products import hangul
from products.demo_data import DEMO
from products.vocabulary import one_apart

KIND = {kind.name: kind for kind in KINDS}
SOURCE = Source(
    "무선 마우스 블랙 X200",
    "로지텍",
    ("무선", "마우스", "블랙", "x200"),
    ("x200", "마우스", "무선", "블랙"),
)


def make(kind, seed=1):
    return KIND[kind].make(SOURCE, random.Random(seed))


def test_the_kinds():
    assert make("whole") == SOURCE.name
    assert make("initials") == "ㅁㅅ ㅁㅇㅅ ㅂㄹ x200"
    assert SOURCE.name.startswith(make("prefix"))
    assert make("brand + word") == "로지텍 x200"
    assert set(make("two words").split()) == {"x200", "마우스"}
    typed = make("wrong layout")
    assert hangul.other_layout(typed) == hangul.decompose("무선 마우스 블랙")


@pytest.mark.parametrize("kind", ["insert", "delete", "replace", "swap"])
@pytest.mark.parametrize("word", ["keyboard", "마우스", "블랙"])
def test_a_mistyped_word_has_one_error_and_is_typed_in_syllables(kind, word):
    for seed in range(30):
        typed = mistype(word, kind, random.Random(seed))
        if not typed:
            continue
        assert one_apart(hangul.decompose(typed), hangul.decompose(word)) or one_apart(typed, word)


@pytest.mark.django_db
def test_the_same_files_and_seed_ask_the_same():
    sources = read_sources([DEMO / "products.jsonl"])[:40]
    fill(sources)
    asked = list(ask(sources, sample=3, seed=5))
    assert asked == list(ask(sources, sample=3, seed=5))
    assert asked != list(ask(sources, sample=3, seed=6))
    assert all(1 <= a.rank <= 5 for a in asked if not a.kind.has_typo)
    text = report(asked, len(sources))
    assert "| whole | 100.0% of 3 |  | 100.0% of 3 |" in text
