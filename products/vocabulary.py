"""The words of the catalogue, and what a mistyped one may have meant.

One error is a letter too many, one missing, another in its place, or two that
have changed places. In Hangul that is a key (ㄴㅗㅌㅡㅂㅗㄱ), and in words of
three syllables and more also a whole syllable (노투북), also one that is missing and
leaves two (노북), or two that changed places (크림, 림크).

One error leaves either the first or the last part of a word as it is. So its
neighbours are found by two short ranges of the vocabulary, read forwards and
backwards, and a look at each word in them; no table of possible errors, which
would be ten times as long as the vocabulary.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Length
from django.utils import timezone

from products import hangul, patterns
from products.models import Category, Product
from products.search_models import ProductSearch, SearchWord

# Keys that a word has at least for any error in it to be looked for: what is one
# error away from a shorter one is half the dictionary. Of one key less, what is
# missing or changed places.
LEAST_KEYS = 4
_LEAST_SYLLABLES = 3
# The most keys of one syllable: ㄲㅜㅓㄹㅂ.
_SYLLABLE_KEYS = 5
# Words looked at in each range, and corrections given.
_LOOKED_AT = 2000
MOST = 8

_BATCH = 2000
# Longer than any transaction that may have seen a word before it was marked.
_GRACE = timedelta(hours=1)

assert patterns  # for `glob`


def one_apart(one: str, other: str) -> bool:
    """Whether one error makes `other` of `one`: insert, delete, replace, or transpose."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start, end = 0, min(len(one), len(other))
    while start < end and one[start] == other[start]:
        start += 1
    rest, its = one[start:], other[start:]
    if len(rest) == len(its):
        return rest[1:] == its[1:] or (rest[:2] == its[1::-1] and rest[2:] == its[2:])
    return rest[1:] == its or rest == its[1:]


def corrections(word: str, *, unfinished: bool = False) -> list[str]:
    """Return what a folded word may have been meant to be, as keys, the likeliest first.

    Words of the catalogue; where there is none and the word is `unfinished`,
    beginnings of them. None for a word that is too short, or no word of letters.
    One to five queries.
    """
    keys = hangul.decompose(word)
    if len(keys) not in hangul.WORD_KEYS or not word.isalpha():
        return []
    if len(keys) < LEAST_KEYS:
        return _likeliest(keys, _known_keys(_slips(keys)))
    found = _likeliest(keys, (near for near, _word in _neighbours(word, keys)))
    if found or not unfinished:
        return found
    # Whoever is still typing has got the beginning right, or there is no telling.
    begins = keys[: (len(keys) + 1) // 2]
    words = SearchWord.objects.filter(keys__glob=f"{begins}*").values_list("keys", flat=True)
    typed = len(keys)
    return _likeliest(
        keys,
        (
            near[:length]
            for near in words[:_LOOKED_AT]
            for length in (typed - 1, typed, typed + 1)
            if length <= len(near) and one_apart(keys, near[:length])
        ),
    )


def _likeliest(keys: str, near: Iterable[str]) -> list[str]:
    """Sort: rarely is the first letter wrong; swapped or wrong letters leave the length."""
    return sorted(
        set(near), key=lambda other: (other[0] != keys[0], len(other) != len(keys), other)
    )[:MOST]


def _slips(keys: str) -> set[str]:
    """Return what a key more makes of some keys, and two that change places."""
    letters = hangul.LATIN if keys[0] in hangul.LATIN else hangul.KOREAN
    places = range(len(keys) + 1)
    swapped = {keys[:n] + keys[n + 1] + keys[n] + keys[n + 2 :] for n in range(len(keys) - 1)}
    return swapped | {keys[:n] + letter + keys[n:] for n in places for letter in letters}


def _known_keys(asked: Iterable[str]) -> set[str]:
    found = SearchWord.objects.filter(keys__in=list(asked)).values_list("keys", flat=True)
    return set(found)


def _of_two_syllables(word: str) -> Iterator[tuple[str, str]]:
    """Yield words of which two syllables are left, or changed places, as keys and folded."""
    first, last = word[0], word[1]
    around = f"{hangul.decompose(first)}*{hangul.decompose(last)}"
    for condition in (Q(keys=hangul.decompose(last + first)), Q(keys__glob=around)):
        rows = SearchWord.objects.filter(condition).values_list("keys", "word")
        for near, its in rows[:_LOOKED_AT]:
            if its == last + first or (len(its) == _LEAST_SYLLABLES and one_apart(word, its)):
                yield near, its


def halves(word: str) -> tuple[str, ...]:
    """Return what texts look like that have one syllable of a folded word of two, where it was."""
    if len(word) != 2 or not hangul.is_syllables(word):
        return ()
    first, last = hangul.decompose(word[0]), hangul.decompose(word[1])
    # Before the bar: behind it there are no words.
    return (f"* {first}*|*", f"*{last} *|*", f"*{last}\n*|*")


def _neighbours(word: str, keys: str) -> Iterator[tuple[str, str]]:
    """Yield words of the catalogue that are one error away, as keys and folded; some twice."""
    if len(word) == 2 and hangul.is_syllables(word):
        yield from _of_two_syllables(word)
    looks = [(_ranges(keys), len(keys) - 1, len(keys) + 1)]
    syllables = len(word) >= _LEAST_SYLLABLES and hangul.is_syllables(word)
    if syllables:
        half = len(word) // 2
        both = (hangul.decompose(word[:half]), hangul.decompose(word[half + 1 :])[::-1])
        looks.append((both, len(keys) - _SYLLABLE_KEYS, len(keys) + _SYLLABLE_KEYS))
    for (first, last), shortest, longest in looks:
        of_length = SearchWord.objects.annotate(length=Length("keys")).filter(
            length__gte=shortest, length__lte=longest
        )
        for within in (Q(keys__glob=f"{first}*"), Q(backwards__glob=f"{last}*")):
            rows: QuerySet[SearchWord, tuple[str, str]] = of_length.filter(within).values_list(
                "keys", "word"
            )
            for near, its in rows[:_LOOKED_AT]:
                if one_apart(keys, near) or (syllables and one_apart(word, its)):
                    yield near, its


def _ranges(keys: str) -> tuple[str, str]:
    """Return the part before the middle, and that behind it from its end.

    There is one letter in between: two that changed places are never on both sides.
    """
    half = len(keys) // 2
    return keys[:half], keys[half + 1 :][::-1]


def parts(word: str) -> list[tuple[str, str]]:
    """Return the ways to cut a folded word into two words of the catalogue, as keys. One query."""
    cuts = [
        (hangul.decompose(word[:place]), hangul.decompose(word[place:]))
        for place in range(1, len(word))
    ]
    cuts = [cut for cut in cuts if all(len(part) in hangul.WORD_KEYS for part in cut)]
    if not cuts or not word.isalpha():
        return []
    known = _known_keys({part for cut in cuts for part in cut})
    return [cut for cut in cuts if known.issuperset(cut)][:MOST]


def known(words: Iterable[str]) -> set[str]:
    """Return those of these folded words that the catalogue has. One query."""
    keys = {hangul.decompose(word): word for word in words}
    return {keys[key] for key in _known_keys(keys)}


def tidy() -> str:
    """Remove words that no product on sale and no category has any more; add what is missing.

    A word goes in two steps, an hour apart at least. First it is marked, and
    whoever writes it from then on adds it anew; then it is removed if it is
    still unused. So a transaction that relied on a word before it was marked
    has long ended, and its product is seen, when the word would go.
    """
    used: dict[str, str] = {}
    for text in _texts():
        used.update((keys, word) for word, keys in hangul.words_of(text))
    now = timezone.now()
    unused, again, gone = [], [], []
    stand: set[str] = set()
    order = F("unused_since").asc(nulls_first=True), "pk"
    words = SearchWord.objects.order_by(*order).values_list("pk", "keys", "unused_since")
    for pk, keys, since in words.iterator(_BATCH):
        if keys in used and keys not in stand:
            stand.add(keys)
            if since:
                again.append(pk)
        elif since is None:
            unused.append(pk)
        elif since < now - _GRACE:
            gone.append(pk)
    for pks, values in ((again, None), (unused, now)):
        for start in range(0, len(pks), _BATCH):
            SearchWord.objects.filter(pk__in=pks[start : start + _BATCH]).update(
                unused_since=values
            )
    for start in range(0, len(gone), _BATCH):
        SearchWord.objects.filter(pk__in=gone[start : start + _BATCH]).delete()
    missing = sorted(used.keys() - stand)
    for start in range(0, len(missing), _BATCH):
        SearchWord.objects.learn(used[keys] for keys in missing[start : start + _BATCH])
    return f"{len(used)} words, {len(missing)} added, {len(unused)} unused, {len(gone)} removed"


def _texts() -> Iterator[str]:
    for en, ko in Category.objects.order_by().values_list("name_en", "name_ko"):
        yield f"{en} {ko}"
    rows = Product.objects.on_sale().order_by("pk").values_list("name", "brand")
    for name, brand in rows.iterator(_BATCH):
        yield f"{name} {brand}"


def index_again() -> int:
    """Index the products that code of an earlier version has written since; return how many.

    Also the categories; their words `tidy` adds.
    """
    categories = list(Category.objects.filter(search_text__regex=hangul.UNFOLDED))
    for category in categories:
        category.set_search_text()
    Category.objects.bulk_update(categories, ["search_text"], batch_size=_BATCH // 10)
    whole = Q(search__text__glob="*\n|*") & ~Q(search__text__regex=hangul.UNFOLDED)
    pks = list(Product.objects.exclude(whole).order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(pks), _BATCH):
        ProductSearch.objects.index(pks[start : start + _BATCH])
    return len(pks)
