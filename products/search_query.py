"""What people type, taken apart into conditions on what products are found by.

A condition is a pattern for a column of ProductSearch, or several of which all
or any must be met. It can be asked of the database, as SQL or of its index of
trigrams, and of texts that are in memory already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice, product
from typing import Any, NamedTuple

from django.db.models import Q

from products import hangul
from products.patterns import glob, matcher, trigrams
from products.search_models import HEAD, squeezed

# Keys from which a word is also looked for across the spaces of a name: letters, first
# consonants, what has figures in it (m65 in M-65), figures alone.
_ACROSS, _ACROSS_INITIALS, _ACROSS_MODEL, _ACROSS_NUMBER = 5, 4, 3, 6
# Ways to read a query whose words have several.
_PHRASES = 8

# How well a product matches: the whole name, its beginning, the beginning of a
# word, words that all begin words, the inside of words, its category.
WHOLE, BEGINNING, BEGINS_WORD, BEGIN_WORDS, INSIDE, BY_CATEGORY = range(6)


class Texts(NamedTuple):
    """What a product is found by: a row of ProductSearch, without what follows from the rest."""

    text: str
    initials: str

    @property
    def head(self) -> str:
        """The beginning of the name, run together."""
        return squeezed(self.text.partition("\n")[0])[:HEAD]

    @property
    def initials_head(self) -> str:
        """The beginning of the name's first consonants, run together."""
        return squeezed(self.initials.partition("\n")[0])[:HEAD]


Test = Callable[[Texts], bool]


class Fits(NamedTuple):
    """A column of ProductSearch fits a pattern."""

    column: str
    pattern: str

    def as_q(self) -> Q:
        """Return it as a condition on products."""
        return Q(**{f"search__{self.column}__glob": self.pattern})

    def as_sql(self) -> tuple[str, list[str]]:
        """Return it as a condition on rows `s` of ProductSearch, with its parameters."""
        sql, pattern = glob(f"s.{self.column}", self.pattern)
        return sql, [pattern]

    def as_trigrams(self) -> str:
        """Return what an index of trigrams is asked for; nothing where it is of no use."""
        return trigrams(self.column, self.pattern)

    def as_test(self) -> Test:
        """Return it as a function of texts."""
        fits, column = matcher(self.pattern), self.column
        if column == "text":
            return lambda texts: fits(texts[0])
        return lambda texts: fits(getattr(texts, column))


class AllOf(NamedTuple):
    """All of these are met."""

    parts: "tuple[Condition, ...]"

    def as_q(self) -> Q:
        """Return it as a condition on products."""
        found = Q()
        for part in self.parts:
            found &= part.as_q()
        return found

    def as_sql(self) -> tuple[str, list[str]]:
        """Return it as a condition on rows `s` of ProductSearch, with its parameters."""
        return _joined(" AND ", self.parts)

    def as_trigrams(self) -> str:
        """Return what an index of trigrams is asked for; nothing where it is of no use."""
        asked = [likely for part in self.parts if (likely := part.as_trigrams())]
        return f"({' AND '.join(asked)})" if asked else ""

    def as_test(self) -> Test:
        """Return it as a function of texts."""
        tests = [part.as_test() for part in self.parts]
        return tests[0] if len(tests) == 1 else partial(_all, tests)


class AnyOf(NamedTuple):
    """One of these at least is met."""

    parts: "tuple[Condition, ...]"

    def as_q(self) -> Q:
        """Return it as a condition on products."""
        found = Q()
        for part in self.parts:
            found |= part.as_q()
        return found

    def as_sql(self) -> tuple[str, list[str]]:
        """Return it as a condition on rows `s` of ProductSearch, with its parameters."""
        return _joined(" OR ", self.parts)

    def as_trigrams(self) -> str:
        """Return what an index of trigrams is asked for; nothing where it is of no use."""
        asked = [part.as_trigrams() for part in self.parts]
        return f"({' OR '.join(asked)})" if all(asked) else ""

    def as_test(self) -> Test:
        """Return it as a function of texts."""
        tests = [part.as_test() for part in self.parts]
        return tests[0] if len(tests) == 1 else partial(_any, tests)


Condition = Fits | AllOf | AnyOf


def _joined(word: str, parts: tuple[Condition, ...]) -> tuple[str, list[str]]:
    written = [part.as_sql() for part in parts]
    joined = word.join(sql for sql, _params in written)
    return f"({joined})", [param for _sql, params in written for param in params]


# Loops, not all() and any() of a generator: these run for each of a thousand texts.
def _all(tests: list[Test], texts: Texts) -> bool:
    for test in tests:  # noqa: SIM110
        if not test(texts):
            return False
    return True


def _any(tests: list[Test], texts: Texts) -> bool:
    for test in tests:  # noqa: SIM110
        if test(texts):
            return True
    return False


def _has(keys: str) -> Fits:
    """A word has these keys in it."""
    column, least = "text", _ACROSS if keys.isalpha() else _ACROSS_MODEL
    if hangul.is_initials(keys):
        column, least = "initials", min(least, _ACROSS_INITIALS)
    elif keys.isdigit():
        least = _ACROSS_NUMBER
    if len(keys) >= least:
        return Fits(column, f"*{keys}*")
    # Before the bar: across spaces a short word would be found everywhere, and
    # behind it stand the keys of categories.
    return Fits(column, f"*{keys}*|*")


def _begins(keys: str) -> Fits:
    """A word begins with these keys."""
    return Fits("initials" if hangul.is_initials(keys) else "text", f"* {keys}*")


@dataclass(frozen=True)
class Word:
    """A word of a query: the ways to read it, each as keys that must all be there.

    `categories` are keys of those that it may mean; `shapes` are patterns that its
    texts may also have.
    """

    ways: tuple[tuple[str, ...], ...]
    categories: tuple[int, ...] = ()
    shapes: tuple[str, ...] = ()

    @property
    def keys(self) -> str:
        """What was typed."""
        return self.ways[0][0]

    def inside(self) -> Condition:
        """It stands anywhere in the texts."""
        ways = tuple(AllOf(tuple(_has(keys) for keys in way)) for way in self.ways)
        return AnyOf((*ways, *(Fits("text", shape) for shape in self.shapes)))

    def beginning(self) -> Condition:
        """A word of the texts begins with it."""
        return AnyOf(tuple(AllOf(tuple(_begins(keys) for keys in way)) for way in self.ways))

    def anywhere(self) -> Condition:
        """It stands anywhere in the texts, or the product lies in a category that it may mean."""
        if not self.categories:
            return self.inside()
        lies = tuple(Fits("text", f"*#{pk} *") for pk in self.categories)
        return AnyOf((self.inside(), *lies))


@dataclass(frozen=True)
class Query:
    """What was typed, taken apart. `all_but_one` word must be found."""

    words: tuple[Word, ...]
    all_but_one: bool = False

    @classmethod
    def read(cls, decomposed: str) -> "Query":
        """Read a text that has been decomposed (products.hangul), each word in one way."""
        return cls(tuple(Word(((keys,),)) for keys in decomposed.split()))

    @cached_property
    def phrases(self) -> list[str]:
        """The query with one space between words, in each way it may be read."""
        ways = product(*(word.ways for word in self.words))
        return [" ".join(" ".join(parts) for parts in way) for way in islice(ways, _PHRASES)]

    @property
    def phrase(self) -> str:
        """The query as it was typed."""
        return self.phrases[0]

    @property
    def by_initials(self) -> bool:
        """Whether first consonants are all there is."""
        return all(hangul.is_initials(word.keys) for word in self.words)

    @cached_property
    def whole(self) -> Condition:
        """It is the name, whatever its spaces are."""
        column = "initials_head" if self.by_initials else "head"
        return AnyOf(tuple(Fits(column, squeezed(p)[:HEAD]) for p in self.phrases))

    @cached_property
    def heads(self) -> Condition:
        """The name begins with it, whatever its spaces are."""
        column = "initials_head" if self.by_initials else "head"
        return AnyOf(tuple(Fits(column, f"{squeezed(p)[:HEAD]}*") for p in self.phrases))

    @cached_property
    def matching(self) -> Condition:
        """A product is found by it."""
        words = [word.anywhere() for word in self.words]
        if not self.all_but_one:
            return AllOf(tuple(words))
        return AnyOf(tuple(AllOf((*words[:i], *words[i + 1 :])) for i in range(len(words))))

    @cached_property
    def beginning(self) -> Condition:
        """Each word begins some word."""
        return AllOf(tuple(word.beginning() for word in self.words))

    @cached_property
    def ranks(self) -> list[tuple[Condition, int]]:
        """How well what is found matches: the first of these that is met, else `worst`."""
        column = "initials" if self.by_initials else "text"
        ranks: list[tuple[Condition, int]] = [
            (self.whole, WHOLE),
            (self.heads, BEGINNING),
            (AnyOf(tuple(Fits(column, f"* {p}*") for p in self.phrases)), BEGINS_WORD),
        ]
        if len(self.words) > 1:
            ranks.append((self.beginning, BEGIN_WORDS))
        if any(word.categories for word in self.words):
            ranks.append((AllOf(tuple(word.inside() for word in self.words)), INSIDE))
        return ranks

    @property
    def worst(self) -> int:
        """How well matches what meets none of the `ranks`."""
        return BY_CATEGORY if self.ranks[-1][1] == INSIDE else INSIDE

    def rank_as_sql(self) -> tuple[str, list[Any]]:
        """Return how well a row `s` of ProductSearch matches, as SQL with its parameters."""
        written = [(*condition.as_sql(), rank) for condition, rank in self.ranks]
        sql = " ".join(f"WHEN {condition} THEN {rank}" for condition, _, rank in written)
        params = [param for _, params, _ in written for param in params]
        return f"CASE {sql} ELSE {self.worst} END", params

    def rank_as_function(self) -> Callable[[Texts], int]:
        """Return a function that tells how well texts match."""
        tests = [(condition.as_test(), rank) for condition, rank in self.ranks]
        worst = self.worst

        def rank_of(texts: Texts) -> int:
            for test, rank in tests:
                if test(texts):
                    return rank
            return worst

        return rank_of
