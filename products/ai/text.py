"""What a product's words say, in Korean and English: the features that are learnt from."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Codes and sizes, words of Latin letters, words of Hangul syllables.
_WORD = re.compile(r"[a-z]*\d[a-z\d]*|[a-z][a-z']*|[가-힣]+")


def _read_words(name: str) -> frozenset[str]:
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


IDLE = _read_words("idle_words.txt")
DULL = _read_words("dull_words.txt")
# Descriptions tell the most at their beginning.
_READ = 1500


@dataclass(frozen=True)
class Item:
    """A product as far as its texts go."""

    name: str
    description: str = ""
    brand: str = ""


def normal(text: str) -> str:
    """Return a text in lower case, Hangul composed, full-width forms as plain ones."""
    return unicodedata.normalize("NFKC", text).lower().replace("’", "'")


def stem(word: str) -> str:
    """Return an English word without its plural ending; any other word as it is."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def words(text: str) -> list[str]:
    """Return the words of a normalised text, stemmed, in order."""
    return [stem(word.replace("'s", "").replace("'", "")) for word in _WORD.findall(text)]


def is_hangul(word: str) -> bool:
    """Whether a word is written in Hangul syllables."""
    return "가" <= word[:1] <= "힣"


def _grams(word: str, sizes: tuple[int, ...]) -> Iterator[str]:
    padded = f"^{word}$"
    for size in sizes:
        for start in range(len(padded) - size + 1):
            yield padded[start : start + size]


def features(item: Item) -> dict[str, float]:
    """Return what is counted of a product: words, pairs of words and pieces of words.

    The name counts fully, a word of the description a fifth. Pieces are two
    and three syllables of Hangul, since Korean compounds have no spaces, and
    four and five Latin letters.
    """
    found: dict[str, float] = {}

    def add(name: str, weight: float) -> None:
        found[name] = found.get(name, 0.0) + weight

    named = words(normal(item.name))
    for index, word in enumerate(named):
        add(f"w:{word}", 1.0)
        if is_hangul(word):
            for gram in _grams(word, (2, 3)):
                add(f"k:{gram}", 0.7)
        elif word[:1].isalpha() and not any(map(str.isdigit, word)):
            for gram in _grams(word, (4, 5)):
                add(f"e:{gram}", 0.3)
        else:
            add(f"p:{word[:4]}", 0.5)
        if index:
            add(f"b:{named[index - 1]} {word}", 0.5)
    if named:
        # What a thing is tends to be said last.
        add(f"l:{named[-1]}", 0.7)
    if item.brand:
        add(f"B:{normal(item.brand).strip()}", 1.0)
    for word in sorted(set(words(normal(item.description[:_READ])))):
        add(f"d:{word}", 0.3)
        add(f"w:{word}", 0.2)
    return found
