"""How often search finds the right product, by what kind of query.

Queries are made from real names as people shorten, abbreviate and mistype
them: the same files and seed give the same queries. A query is made to tell
its product from others, as somebody who looks for it would: of a name's words
the rarest are taken. Right is every product with the same name, however it is
written.

Run as `python -m benchmarks.search_quality FILE…` in an arena's environment;
it fills the empty database and prints the report.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

# Queries of each kind for the figures, and in the table.
SAMPLE, SHOWN = 150, 60
# Where the right product is to be.
FIRST = 5
_LOOKED_AT = 20
_BATCH = 1000

_LATIN_KEYS = "qwertyuiopasdfghjklzxcvbnm"
_KOREAN_KEYS = "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔㅁㄴㅇㄹㅎㅗㅓㅏㅣㅋㅌㅊㅍㅠㅜㅡ"
_KEYS_OF = dict(zip(_KOREAN_KEYS, _LATIN_KEYS, strict=True)) | dict(
    zip("ㅃㅉㄸㄲㅆㅒㅖ", "QWERTOP", strict=True)
)


@dataclass(frozen=True)
class Source:
    """A product that somebody looks for: its words, as they are written."""

    name: str
    brand: str
    words: tuple[str, ...]
    # The same, the rarest first.
    rarest: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A way to ask; `make` returns nothing where a name gives no such query."""

    name: str
    make: Callable[[Source, random.Random], str]
    has_typo: bool = False


# --- Queries -----------------------------------------------------------------


def is_korean(text: str) -> bool:
    """Whether there is a Hangul syllable in it."""
    return any("가" <= letter <= "힣" for letter in text)


def _whole(source: Source, dice: random.Random) -> str:
    return source.name


def _part(source: Source, dice: random.Random) -> str:
    """Two or three words that follow one another, one of them the rarest."""
    if len(source.words) < 3:
        return ""
    length = min(len(source.words) - 1, dice.randint(2, 3))
    rare = source.words.index(source.rarest[0])
    first = dice.randint(max(0, rare - length + 1), min(rare, len(source.words) - length))
    return " ".join(source.words[first : first + length])


def _prefix(source: Source, dice: random.Random) -> str:
    length = max(2, len(source.name) * dice.randint(50, 80) // 100)
    return source.name[:length].strip()


def _initials(source: Source, dice: random.Random) -> str:
    """The first consonants of what is written in Hangul; other words as they are."""
    from products import hangul

    if not is_korean(source.name):
        return ""
    return hangul.initials(source.name)


def _half_typed(source: Source, dice: random.Random) -> str:
    """The rarest words, the last of them not finished: in Hangul within a syllable."""
    words = list(source.rarest[:3])
    last = words[-1]
    if is_korean(last):
        place = dice.randint(min(1, len(last) - 1), len(last) - 1)
        syllable = ord(last[place]) - 0xAC00
        if not 0 <= syllable < 11172:
            return ""
        # Without its final consonant, or its first consonant alone.
        begun = (
            chr(0xAC00 + syllable // 28 * 28)
            if dice.random() < 0.5
            else _decomposed(last[place])[0]
        )
        words[-1] = last[:place] + begun
    else:
        if len(last) < 4:
            return ""
        words[-1] = last[: dice.randint(3, len(last) - 1)]
    return " ".join(words)


def _wrong_layout(source: Source, dice: random.Random) -> str:
    """Up to three words, all in one script, typed on the other keyboard."""
    words = [w for w in source.rarest if w.isalpha() and is_korean(w) == is_korean(source.name)]
    chosen = [w for w in source.words if w in words[:3]]
    text = " ".join(chosen)
    if len(text) < 3:
        return ""
    if is_korean(text):
        if not all("가" <= letter <= "힣" or letter == " " for letter in text):
            return ""
        return "".join(_KEYS_OF.get(key, key) for key in _decomposed(text))
    return _compose([_KOREAN_OF.get(letter, letter) for letter in text.lower()])


def _two_words(source: Source, dice: random.Random) -> str:
    """The two rarest words, either way round."""
    words = list(source.rarest[:2])
    if len(words) < 2:
        return ""
    dice.shuffle(words)
    return " ".join(words)


def _brand(source: Source, dice: random.Random) -> str:
    """The brand and the rarest word."""
    return f"{source.brand} {source.rarest[0]}" if source.brand else ""


def _joined(source: Source, dice: random.Random) -> str:
    """Two neighbours without the space between them, and the rarest word."""
    words = source.words
    if len(words) < 3:
        return ""
    place = dice.randrange(len(words) - 1)
    return f"{words[place]}{words[place + 1]} {source.rarest[0]}"


def _typo(kind: str) -> Callable[[Source, random.Random], str]:
    def make(source: Source, dice: random.Random) -> str:
        words = list(source.rarest[: dice.randint(1, 3)])
        long = [n for n, word in enumerate(words) if word.isalpha() and len(_decomposed(word)) > 4]
        if not long:
            return ""
        chosen = dice.choice(long)
        mistyped = mistype(words[chosen], kind, dice)
        if not mistyped:
            return ""
        words[chosen] = mistyped
        return " ".join(words)

    return make


def mistype(word: str, kind: str, dice: random.Random) -> str:
    """Return `word` with one error of a kind: a key's, or of a long Korean word a syllable's."""
    if is_korean(word) and len(word) >= 3 and dice.random() < 0.5:
        letters, other = list(word), dice.choice("가나다라마바사아자카타파하고노도로모보소")
    else:
        letters = list(_decomposed(word)) if is_korean(word) else list(word)
        other = dice.choice(_KOREAN_KEYS if is_korean(word) else _LATIN_KEYS)
    place = dice.randrange(len(letters))
    if kind == "insert":
        letters.insert(place, other)
    elif kind == "delete":
        del letters[place]
    elif kind == "replace":
        letters[place] = other
    else:
        place = min(place, len(letters) - 2)
        letters[place : place + 2] = letters[place + 1], letters[place]
    mistyped = _compose(letters)
    return "" if mistyped.casefold() == word.casefold() else mistyped


KINDS = (
    Kind("whole", _whole),
    Kind("part", _part),
    Kind("prefix", _prefix),
    Kind("initials", _initials),
    Kind("half-typed", _half_typed),
    Kind("wrong layout", _wrong_layout),
    Kind("two words", _two_words),
    Kind("brand + word", _brand),
    Kind("joined words", _joined),
    *(Kind(f"typo: {kind}", _typo(kind), True) for kind in ("insert", "delete", "replace", "swap")),
)

# --- Keys into syllables, as a Korean keyboard does --------------------------

_FIRST = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_MIDDLE = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_LAST = ["", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"]
_DOUBLE = "ㅗㅏㅗㅐㅗㅣㅜㅓㅜㅔㅜㅣㅡㅣㄱㅅㄴㅈㄴㅎㄹㄱㄹㅁㄹㅂㄹㅅㄹㅌㄹㅍㄹㅎㅂㅅ"
_BOTH = {
    _DOUBLE[2 * n : 2 * n + 2]: both
    for n, both in enumerate("ㅘㅙㅚㅝㅞㅟㅢㄳㄵㄶㄺㄻㄼㄽㄾㄿㅀㅄ")
}
_KOREAN_OF = {key: letter for letter, key in _KEYS_OF.items()}


def _decomposed(text: str) -> str:
    from products import hangul

    return hangul.decompose(text)


def _compose(letters: Sequence[str]) -> str:
    """Return what a keyboard makes of single letters: syllables as far as they go."""
    keys = [
        key for letter in letters for key in (_decomposed(letter) if is_korean(letter) else letter)
    ]
    out: list[str] = []
    place = 0
    while place < len(keys):
        if not (keys[place] in _FIRST and place + 1 < len(keys) and keys[place + 1] in _MIDDLE):
            out.append(keys[place])
            place += 1
            continue
        first, middle = keys[place], keys[place + 1]
        place += 2
        if place < len(keys) and middle + keys[place] in _BOTH:
            middle = _BOTH[middle + keys[place]]
            place += 1
        last = ""
        # A consonant belongs to the next syllable where a vowel follows it.
        while (
            place < len(keys)
            and keys[place] in _FIRST
            and not (place + 1 < len(keys) and keys[place + 1] in _MIDDLE)
        ):
            joined = _BOTH.get(last + keys[place], "") if last else keys[place]
            if joined not in _LAST or not joined:
                break
            last = joined
            place += 1
        out.append(
            chr(
                0xAC00 + (_FIRST.index(first) * 21 + _MIDDLE.index(middle)) * 28 + _LAST.index(last)
            )
        )
    return "".join(out)


# --- Asking ------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A query and where the right product was: from 1, or 0 for nowhere near."""

    kind: Kind
    language: str
    text: str
    name: str
    rank: int


def read_sources(files: Sequence[Path]) -> list[Source]:
    """Return the products of these files (CSV or JSON Lines with a name).

    Raises:
        ShopError: a file can't be used.
    """
    from products import hangul
    from products.importing.reading import Columns, Refusal, read_products
    from products.importing.values import clean_text

    found: dict[tuple[str, str], list[str]] = {}
    for file in files:
        for raw in read_products(file, Columns()):
            if isinstance(raw, Refusal):
                continue
            name = clean_text(raw.values, "name", 300)
            if name:
                brand = clean_text(raw.values, "brand", 120)
                found[name, brand] = hangul.fold(name).split()
    number = Counter(word for words in found.values() for word in set(words))
    return [
        Source(
            name,
            brand,
            tuple(words),
            tuple(sorted(dict.fromkeys(words), key=lambda word: (number[word], -len(word), word))),
        )
        for (name, brand), words in found.items()
        if words
    ]


def fill(sources: Sequence[Source]) -> None:
    """Put them into the empty shop, with sales by chance, as no shop is without them."""
    from products.models import Product

    dice = random.Random(1)  # noqa: S311
    for start in range(0, len(sources), _BATCH):
        Product.objects.bulk_create(
            Product(
                name=source.name,
                brand=source.brand,
                price=1,
                sold_quantity=int(dice.paretovariate(1.2)),
            )
            for source in sources[start : start + _BATCH]
        )


def ask(sources: Sequence[Source], *, sample: int, seed: int) -> Iterator[Asked]:
    """Ask `sample` queries of each kind in each language, as far as there are names for them."""
    from products import hangul

    for korean in (False, True):
        own = [source for source in sources if is_korean(source.name) == korean]
        for kind in KINDS:
            dice = random.Random(f"{seed} {kind.name} {korean}")  # noqa: S311
            asked = 0
            for source in dice.sample(own, len(own)):
                if asked == sample:
                    break
                text = kind.make(source, dice)[:100].strip()
                if not hangul.fold(text):
                    continue
                asked += 1
                rank = _rank(text, hangul.fold(source.name))
                yield Asked(kind, "ko" if korean else "en", text, source.name, rank)


def _rank(text: str, right: str) -> int:
    from products import hangul
    from products.models import Product
    from products.search import search
    from products.search_hits import Shelf

    hits = search(text, Shelf.of(Product.objects.on_sale), page=1, per_page=_LOOKED_AT)
    names = Product.objects.in_bulk(hits.pks)
    for place, pk in enumerate(hits.pks, 1):
        if hangul.fold(names[pk].name) == right:
            return place
    return 0


def report(asked: Sequence[Asked], products: int) -> str:
    """Return the figures and the table as Markdown."""
    lines = [
        f"{products:,} products; {len(asked):,} queries. Right among the first {FIRST}:",
        "",
        "| kind | English | Korean | both |",
        "|---|--:|--:|--:|",
    ]
    groups = [(kind.name, [a for a in asked if a.kind.name == kind.name]) for kind in KINDS]
    groups += [
        ("**without a typo**", [a for a in asked if not a.kind.has_typo]),
        ("**with one typo**", [a for a in asked if a.kind.has_typo]),
    ]
    for name, some in groups:
        cells = [
            _share([a for a in some if a.language == language]) for language in ("en", "ko")
        ] + [_share(some)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| kind | query | name | rank |", "|---|---|---|--:|"]
    for number, kind in enumerate(KINDS):
        of_kind = [
            [a for a in asked if a.kind is kind and a.language == language]
            for language in ("ko", "en")
        ]
        shown = [a for pair in zip(*of_kind, strict=False) for a in pair] or [
            a for some in of_kind for a in some
        ]
        lines += [
            f"| {kind.name} | {_cell(a.text)} | {_cell(a.name)} | {a.rank or '—'} |"
            for a in shown[: (SHOWN + len(KINDS) - 1 - number) // len(KINDS)]
        ]
    return "\n".join(lines) + "\n"


def _share(asked: Sequence[Asked]) -> str:
    if not asked:
        return ""
    right = sum(0 < a.rank <= FIRST for a in asked)
    return f"{right / len(asked):.1%} of {len(asked)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Fill the database that the environment names, ask, and print."""
    import os

    import django

    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--sample", type=int, default=SAMPLE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--misses", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    django.setup()
    sources = read_sources(options.files)
    fill(sources)
    asked = list(ask(sources, sample=options.sample, seed=options.seed))
    sys.stdout.write(report(asked, len(sources)))
    if options.misses:
        for a in asked:
            if not 0 < a.rank <= FIRST:
                sys.stdout.write(f"{a.kind.name}\t{a.text}\t{a.name}\t{a.rank}\n")


if __name__ == "__main__":
    main()
