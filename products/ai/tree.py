"""What the names of the categories say of a product.

Nothing is learnt here: names of the tree in both languages, and what else
people call these things (aliases.tsv), are looked for in the product's name
and the beginning of its description.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from products.ai.text import IDLE, Item, is_hangul, normal, words

_ALIASES = Path(__file__).with_name("aliases.tsv")
# What follows one of these tells of something else: "case for phones".
_AFTER = {"for": 0.15, "with": 0.25, "in": 0.3, "by": 0.3, "of": 0.5, "from": 0.3, "w": 0.25}
# Colours, sizes and codes come after these.
_BREAK = re.compile(r"[\[\](){}_,:;/|•·+]|\s[-–—]\s|\s&\s")
_READ = 400
_HANGUL_RUN = re.compile(r"[가-힣]+(?:\s+[가-힣]+)*")
_LONGEST_WORDS = 4
_LONGEST_SYLLABLES = 10
_SHARED = re.compile(r"[,&/]| and ")
# Roots whose names are ordinary words for things that few shops sell.
_SELDOM = {"se": 0.4, "pa": 0.3, "na": 0.1, "ma": 0.5, "so": 0.7, "bi": 0.75, "ha": 0.85, "vp": 0.9}


@dataclass(frozen=True)
class Node:
    """A category as its names go."""

    pk: int
    key: str
    path: str
    name_en: str
    name_ko: str


@cache
def aliases() -> dict[str, list[str]]:
    """Return what categories are also called, by their key in the tree."""
    found: dict[str, list[str]] = {}
    for line in _ALIASES.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            key, _tab, names = line.partition("\t")
            found.setdefault(key, []).extend(name.strip() for name in names.split(","))
    return found


@dataclass
class Tree:
    """The names, ready to be looked for. Plain data, so that it can be stored as JSON."""

    pks: list[int]
    # By phrase: positions in `pks`, each with its weight.
    phrases: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    # For whom a thing is ("kids"): counts wherever it stands in a name.
    anywhere: set[str] = field(default_factory=set)
    # Single syllables that may end a compound ("백").
    endings: set[str] = field(default_factory=set)
    # By position: the branch two levels down, and how likely such a thing is sold at all.
    branches: list[int] = field(default_factory=list)
    likely: list[float] = field(default_factory=list)
    # By word: positions, each with the word's share in the names.
    words: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    @classmethod
    def build(cls, nodes: Iterable[Node]) -> "Tree":
        """Read the names of all categories."""
        nodes = list(nodes)
        by_pk = {node.pk: index for index, node in enumerate(nodes)}
        tree = cls([node.pk for node in nodes])
        phrases: defaultdict[str, dict[int, float]] = defaultdict(dict)

        def add(phrase: str, index: int, weight: float) -> None:
            if phrase:
                phrases[phrase][index] = max(weight, phrases[phrase].get(index, 0.0))

        own: list[set[str]] = []
        for index, node in enumerate(nodes):
            english, korean = normal(node.name_en), normal(node.name_ko)
            add(_phrase(english), index, 1.0)
            for part in _SHARED.split(english):
                add(_phrase(part), index, 0.8)
            for part in (korean, *_SHARED.split(korean)):
                add(_phrase(part), index, 1.0)
            for alias in aliases().get(node.key, ()):
                phrase = _phrase(normal(alias))
                add(phrase, index, 1.25)
                if alias.startswith("!"):
                    tree.anywhere.add(phrase)
                if alias.startswith("~"):
                    tree.endings.add(phrase)
            own.append({*words(english), *words(korean)} - IDLE)
            above = [int(pk) for pk in node.path.strip("/").split("/") if pk]
            tree.branches.append(above[min(1, len(above) - 1)] if above else node.pk)
            tree.likely.append(_SELDOM.get(node.key.partition("-")[0], 1.0))
        tree.phrases = {phrase: sorted(found.items()) for phrase, found in phrases.items()}
        tree._weigh(nodes, by_pk, own)
        return tree

    def _weigh(self, nodes: list[Node], by_pk: Mapping[int, int], own: list[set[str]]) -> None:
        times: defaultdict[str, int] = defaultdict(int)
        for found in own:
            for word in found:
                times[word] += 1
        rare = {word: math.log(len(nodes) / count) + 0.1 for word, count in times.items()}
        index_of: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, node in enumerate(nodes):
            weights: dict[str, float] = {}
            for above in node.path.strip("/").split("/"):
                position = by_pk.get(int(above)) if above else None
                if position is None:
                    continue
                for word in own[position]:
                    weight = rare[word] * (1.0 if position == index else 0.3)
                    weights[word] = max(weight, weights.get(word, 0.0))
            length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
            for word, weight in weights.items():
                index_of[word].append((index, round(weight / length, 4)))
        self.words = dict(index_of)

    def scores(self, item: Item) -> dict[int, float]:
        """Return how well each category's names fit, by primary key; those that don't are out."""
        scores: defaultdict[int, float] = defaultdict(float)
        named = self._spot(item.name, of_name=True)
        for phrase, weight in named.items():
            if phrase not in self.anywhere:
                self._count(phrase, weight, scores)
        # A name that says what the thing is needs no description.
        heard = 0.15 if max(scores.values(), default=0.0) > 1.0 else 0.45
        for phrase, weight in self._spot(item.description[:_READ], of_name=False).items():
            if phrase not in self.anywhere:
                self._count(phrase, heard * weight, scores)
        self._soft(item, scores)
        for index in scores:
            scores[index] *= self.likely[index]
        self._for_whom(self.anywhere.intersection(named), scores)
        return {self.pks[index]: score for index, score in scores.items()}

    def _for_whom(self, phrases: set[str], scores: dict[int, float]) -> None:
        """Put the clothes of children before the clothes that a name speaks of otherwise."""
        best: defaultdict[int, float] = defaultdict(float)
        for index, score in scores.items():
            branch = self.branches[index]
            best[branch] = max(best[branch], score)
        meant = {index for phrase in phrases for index, _weight in self.phrases[phrase]}
        for index in meant:
            if best[self.branches[index]] > 0.3:
                scores[index] = scores.get(index, 0.0) + best[self.branches[index]] + 0.1

    def _count(self, phrase: str, weight: float, scores: dict[int, float]) -> None:
        named = self.phrases[phrase]
        shared = len(named) ** -0.7
        for index, strength in named:
            scores[index] += weight * strength * shared

    def _soft(self, item: Item, scores: dict[int, float]) -> None:
        named = words(normal(item.name))
        told = words(normal(item.description[:_READ]))
        for found, weight in ((named, 0.5), (told, 0.1)):
            for word in set(found) - IDLE:
                if len(word) < 2:
                    continue
                for index, share in self.words.get(word, ()):
                    scores[index] += weight * share

    def _spot(self, text: str, *, of_name: bool) -> dict[str, float]:
        """Return the phrases in a text, each with the weight of its best place."""
        found: dict[str, float] = {}
        near = 1.0
        for segment in _BREAK.split(normal(text)):
            hits = [*self._english(segment), *self._korean(segment)]
            last = max((end for phrase, _, end in hits if phrase not in self.anywhere), default=0)
            for phrase, weight, end in hits:
                # The last name in a run of them is what the thing is.
                place = near * (1.0 if end == last or not of_name else 0.5)
                found[phrase] = max(found.get(phrase, 0.0), weight * place)
            if hits and of_name:
                near = 0.5
        return found

    def _english(self, segment: str) -> Iterable[tuple[str, float, int]]:
        """Yield phrase, weight and where it ends, the longest that fit and none twice."""
        run = words(segment)
        factor, start = 1.0, 0
        while start < len(run):
            word = run[start]
            if word in _AFTER:
                factor = min(factor, _AFTER[word])
                start += 1
                continue
            for size in range(min(_LONGEST_WORDS, len(run) - start), 0, -1):
                phrase = " ".join(run[start : start + size])
                if phrase in self.phrases and phrase not in IDLE and not is_hangul(word):
                    at = segment.rfind(run[start + size - 1])
                    end = at + len(run[start + size - 1]) if factor == 1.0 else 0
                    yield phrase, (1 + 0.35 * (size - 1)) * factor, end
                    start += size
                    break
            else:
                start += 1

    def _korean(self, segment: str) -> Iterable[tuple[str, float, int]]:
        for run in _HANGUL_RUN.finditer(segment):
            yield from self._in_run(run.group(), run.start())

    def _in_run(self, run: str, offset: int) -> Iterable[tuple[str, float, int]]:
        """Look through words of Hangul from their end: compounds have their head last."""
        letters = [(syllable, at) for at, syllable in enumerate(run) if syllable != " "]
        text = "".join(syllable for syllable, _at in letters)
        begins = {
            position
            for position, (_syllable, at) in enumerate(letters)
            if at == 0 or run[at - 1] == " "
        }
        ends = {position for position in range(1, len(text) + 1) if position in begins}
        ends.add(len(text))
        idle = self._idle_places(run, letters)
        end = len(text)
        while end > 0:
            if end - 1 in idle:
                end -= 1
                continue
            for size in range(min(_LONGEST_SYLLABLES, end), 0, -1):
                begin = end - size
                phrase = text[begin:end]
                if phrase not in self.phrases:
                    continue
                whole = begin in begins and end in ends
                ending = end in ends and (size > 1 or phrase in self.endings)
                # The beginning of a word says little: 브라운 is no 브라.
                beginning = begin in begins and size > 2
                if not (whole or ending or beginning) or phrase in IDLE:
                    continue
                weight = (0.55 + 0.15 * size) * (1.0 if end in ends else 0.6)
                yield phrase, min(weight, 1.6), offset + letters[end - 1][1] + 1
                end = begin
                break
            else:
                end -= 1

    @staticmethod
    def _idle_places(run: str, letters: list[tuple[str, int]]) -> set[int]:
        """Return the positions of syllables in words that name nothing: 아이보리 is no 보리."""
        idle = {
            match.start() + offset
            for match in re.finditer(r"\S+", run)
            if match.group() in IDLE
            for offset in range(len(match.group()))
        }
        return {position for position, (_syllable, at) in enumerate(letters) if at in idle}

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "pks": self.pks,
            "phrases": self.phrases,
            "anywhere": sorted(self.anywhere),
            "endings": sorted(self.endings),
            "branches": self.branches,
            "likely": self.likely,
            "words": self.words,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Tree":
        """The reverse of `as_data`."""
        return cls(
            pks=data["pks"],
            phrases=data["phrases"],
            anywhere=set(data["anywhere"]),
            endings=set(data["endings"]),
            branches=data["branches"],
            likely=data["likely"],
            words=data["words"],
        )


def _phrase(text: str) -> str:
    """Return a name as it is looked for: stems, or Hangul without spaces."""
    found = words(text)
    return ("" if all(map(is_hangul, found)) else " ").join(found)
