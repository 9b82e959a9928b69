"""Finding products by what people type.

Every word of a query must be found in a product's name, brand, SKU or
category: any part of a word, in any order, in both scripts; Hangul by
syllables, by half of one, or by first consonants alone (products.hangul).
Spaces don't matter: names are also searched run together. What matches best
comes first: the whole name, its beginning, the beginning of a word, the
inside of one; then what sells best.

A query that finds nothing is tried as if the keyboard had been set to the
other language; then with one error in each word (products.vocabulary), and
with words that were run together taken apart.

What it costs is bounded. Up to `EXACT` hits all are read and ranked. Where
there are more, what is ranked are the hits among the best sellers and those
that begin like the query; the others follow by sales, and their number is an
estimate. `docs/search.md` has the whole of it.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet

from products import hangul, past_searches, vocabulary
from products.listing import Filter
from products.models import Category, Product
from products.search_hits import Hit, Shelf, best_sellers, fetch, look_through
from products.search_models import HEAD, squeezed
from products.search_query import BEGIN_WORDS, BEGINNING, BY_CATEGORY, WHOLE, Query, Word
from shop.money import from_minor
from shop.prepared import Prepared

SUGGESTIONS = 8
# Hits that are all read and ranked; and, where there are more, hits that begin
# like the query, looked for beside those among the best sellers.
EXACT = 400
BEGUN = 100
# An estimate is believed without looking if it is so many times a bound, and
# was made of so many hits.
_SURE, _SURE_OF = 4, 16
# Categories that an answer counts.
FACETS = 20
# Keys of a query that many products are likely to match; products that are looked
# through, by sales, for what no index finds.
_SHORT, _SMALL = 6, 20_000
# With fewer hits than this, it is worth looking further than the best sellers.
_FEW = 20
# Suggestions are made of what the best of the hits are called.
_LOOKED_AT = 50
_WORDS, _PAST, _CATEGORIES = 4, 2, 3
# Categories that a query's words begin words of; and those that one may mean.
_NAMED, _MEANT = 50, 4
# Keys from which a word may mean a category; words in which errors are sought.
_IN_CATEGORIES, _MENDED = 4, 6
# Latin letters of a word that may have been written as two.
_SPACED = 4
# From so many words on, one that nothing has is passed over.
_MANY_WORDS = 3
# All that is on sale.
_ALL = Filter("", (), None, None, None)


class Facet(NamedTuple):
    """How many of the hits lie in one category itself."""

    slug: str
    name_en: str
    name_ko: str
    hits: int


@dataclass(frozen=True)
class Facets:
    """What the hits are: their number by category, most first, and the span of their prices.

    A price is None where there is no hit.
    """

    categories: list[Facet]
    lowest: Decimal | None
    highest: Decimal | None


@dataclass(frozen=True)
class Hits:
    """One page of hits: how many there are in all, the page's keys, and what else is meant.

    Where `is_estimate`, the total and the facets are estimates.
    """

    total: int
    pks: list[int]
    suggestions: list[str]
    is_estimate: bool
    facets: Facets


def matching(rows: QuerySet[Product], text: str) -> QuerySet[Product]:
    """Return those of `rows` that `text` finds by their own words, in no order; all for no word."""
    # A compound consonant that is typed alone means two initials.
    query = Query.read(hangul.decompose(text))
    return rows.filter(query.matching.as_q()) if query.words else rows


def meant_by(rows: QuerySet[Product], text: str) -> QuerySet[Product]:
    """As `matching`; a text that finds nothing is tried on the other keyboard layout.

    One query, to see whether it does, where it may be such a slip.
    """
    found = matching(rows, text)
    other = hangul.other_layout(text)
    if other and not found.exists():
        return rows.filter(Query.read(other).matching.as_q())
    return found


# --- What is found -----------------------------------------------------------


@dataclass
class _Found:
    """The hits that were read, best first; all of them unless `more`.

    If `some_unseen`, the least sold products were not looked at. `sample` are hits
    that were not chosen for how well they match. `walked` is the last best seller
    that was looked at, as sales and key.
    """

    query: Query
    hits: list[Hit]
    named: "list[_Named]" = field(default_factory=list)
    more: bool = False
    some_unseen: bool = False
    total: int = 0
    sample: list[Hit] = field(default_factory=list)
    walked: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.hits.sort(key=lambda hit: (hit.rank, -hit.sold, -hit.pk))
        if not self.more:
            self.total, self.sample = len(self.hits), self.hits


def search(text: str, shelf: Shelf, *, page: int, per_page: int) -> Hits:
    """Return one page of what `text` finds on a shelf.

    One to eight queries where the text finds something as it was typed; the
    products themselves are not read.
    """
    found = _find(text, shelf)
    if found is None:
        return Hits(0, [], [], False, Facets([], None, None))
    return Hits(
        total=found.total,
        pks=_page(found, shelf, (page - 1) * per_page, per_page),
        suggestions=_suggest(found) if page == 1 else [],
        is_estimate=found.more or found.some_unseen,
        facets=_facets(found),
    )


def suggest(text: str) -> list[str]:
    """Return how `text` may go on, the likeliest first: words, past searches, categories, names."""
    found = _find(text, Shelf.of(_ALL, key=_ALL))
    return _suggest(found) if found else []


def _find(text: str, shelf: Shelf) -> _Found | None:
    """Find by each way to read `text` until one finds something; None for a text without a word."""
    query = Query.read(hangul.decompose(text))
    if not query.words:
        return None
    first = found = _look(query, shelf)
    if not found.total and (other := hangul.other_layout(text)):
        found = _look(Query.read(other), shelf)
    if not found.total:
        known = vocabulary.known(hangul.fold(text).split())
        mended = _mend(text, query, known)
        found = _look(mended, shelf)
        if not found.total and (halved := _halve(text, mended, known)):
            found = _look(halved, shelf)
        if not found.total and len(mended.words) >= _MANY_WORDS:
            found = _look(replace(mended, all_but_one=True), shelf)
    return found if found.total else first


def _halve(text: str, query: Query, known: Collection[str]) -> Query | None:
    """Return the query with one syllable enough of each unknown word of two.

    A wrong syllable leaves no more of such a word. None where there is no
    such word, or no other that must be there as a whole.
    """
    typed = hangul.fold(text).split()
    halves = [() if word in known else vocabulary.halves(word) for word in typed]
    if not any(halves) or all(halves):
        return None
    words = zip(query.words, halves, strict=True)
    return replace(query, words=tuple(replace(w, shapes=h or w.shapes) for w, h in words))


def _mend(text: str, query: Query, known: Collection[str]) -> Query:
    """Return the query with what its words may have been meant to be."""
    words, typed = hangul.fold(text).split(), hangul.as_typed(text)
    # Where all are known, any may be the wrong one. The vocabulary has no figures.
    strange = {word for word in words if word.isalpha() and word not in known} or set(words)
    mended = []
    for index, (word, read) in enumerate(zip(words, query.words, strict=True)):
        ways: dict[tuple[str, ...], None] = dict.fromkeys(read.ways)
        if (word in strange or not word.isalpha()) and index < _MENDED:
            if (other := hangul.other_layout(typed[index])) and " " not in other:
                ways[(other,)] = None
            unfinished = index == len(words) - 1
            near = vocabulary.corrections(word, unfinished=unfinished)
            ways.update(dict.fromkeys((keys,) for keys in near))
            if not near:
                ways.update(dict.fromkeys(vocabulary.parts(word)))
        # Wi-Fi, Men's: too short to be sought across spaces but where nothing else is found.
        is_name = len(word) == _SPACED and word.isascii() and word.isalpha()
        mended.append(Word(tuple(ways), shapes=(f"*{word}*",) if is_name else ()))
    return Query(tuple(mended))


def _look(query: Query, shelf: Shelf) -> _Found:
    """Find what a query matches. One to six queries."""
    named = _categories(query)
    query = _with_categories(query, named)
    sellers = best_sellers(shelf)
    best = sellers.matching(query)
    if sellers.is_all:
        return _Found(query, best, named)
    size = shelf.count()
    total = round(len(best) / len(sellers.rows) * size)
    has_index = bool(query.matching.as_trigrams())
    is_short = sum(len(word.keys) for word in query.words) <= _SHORT
    few: list[Hit] = []
    if _is_surely(best, total, EXACT):
        pass
    elif has_index and not is_short or total <= EXACT and (has_index or size <= _SMALL):
        few = fetch(query, query.matching, shelf, EXACT + 1)
        if len(few) <= EXACT:
            return _Found(query, few, named)
    pool = {hit.pk: hit for hit in (*best, *_begun(query, shelf, best, total))}
    if len(pool) < _FEW:
        if has_index:
            few = few or fetch(query, query.matching, shelf, EXACT + 1)
        else:
            few = few or look_through(query, shelf, _SMALL, EXACT + 1)
        pool.update((hit.pk, hit) for hit in few)
        if len(few) <= EXACT:
            unseen = not has_index and size > _SMALL
            return _Found(query, list(pool.values()), named, some_unseen=unseen)
    return _Found(
        query,
        list(pool.values()),
        named,
        more=True,
        total=max(total, len(pool), len(few)),
        sample=best if len(best) >= _FEW else list(pool.values()),
        walked=sellers.last,
    )


def _is_surely(hits: Sequence[Hit], estimate: float, more_than: int) -> bool:
    """Whether an estimate made of some best sellers can't but be more than a bound."""
    return len(hits) >= _SURE_OF and estimate > _SURE * more_than


def _begun(query: Query, shelf: Shelf, best: Sequence[Hit], total: int) -> list[Hit]:
    """Return hits whose words begin like the query, and those whose names do, or are it.

    All of them if they are few. Of many those that come first in the database
    are of use only where `best` has none; else they would pass better sellers.
    `total` is an estimate of all that is found, made of `best`.
    """
    found: list[Hit] = []
    for condition, rank in (
        (query.beginning, BEGIN_WORDS),
        (query.heads, BEGINNING),
        (query.whole, WHOLE),
    ):
        among = [hit for hit in best if hit.rank <= rank]
        if len(among) >= _FEW and _is_surely(among, total * len(among) / len(best), BEGUN):
            continue
        some = fetch(query, condition, shelf, BEGUN)
        if len(some) < BEGUN or len(among) < _FEW:
            found += some
        if len(some) < BEGUN:
            # Names that begin so, or are it, are among them.
            break
    return found


def _page(found: _Found, shelf: Shelf, start: int, per_page: int) -> list[int]:
    """Return the keys of one page: of the hits that were read, then of the others by sales."""
    pks = [hit.pk for hit in found.hits[start : start + per_page]]
    if not found.more or len(pks) == per_page or found.walked is None:
        return pks
    sold, last = found.walked
    # Behind the best sellers that were looked at there are some that were read too.
    read = [hit.pk for hit in found.hits if (hit.sold, hit.pk) < (sold, last)]
    others = (
        shelf.rows()
        .filter(found.query.matching.as_q())
        .filter(Q(sold_quantity__lt=sold) | Q(sold_quantity=sold, pk__lt=last))
        .exclude(pk__in=read)
        .order_by("-sold_quantity", "-pk")
        .values_list("pk", flat=True)
    )
    skipped = max(0, start - len(found.hits))
    return pks + list(others[skipped : skipped + per_page - len(pks)])


def _facets(found: _Found) -> Facets:
    counts = Counter(hit.category for hit in found.sample if hit.category is not None)
    scale = found.total / len(found.sample) if found.sample else 1.0
    most = {pk: round(number * scale) for pk, number in counts.most_common(FACETS)}
    rows = _several_categories(len(most)).fetch(*most) if most else []
    facets = [Facet(slug, en, ko or en, most[pk]) for pk, slug, en, ko in rows]
    prices = [hit.price for hit in found.hits]
    return Facets(
        sorted(facets, key=lambda facet: (-facet.hits, facet.slug)),
        from_minor(min(prices)) if prices else None,
        from_minor(max(prices)) if prices else None,
    )


@lru_cache(maxsize=FACETS + 1)
def _several_categories(number: int) -> Prepared:
    rows = Category.objects.filter(pk__in=range(number)).order_by()
    return Prepared(rows.values_list("pk", "slug", "name_en", "name_ko"))


# --- Categories and suggestions ----------------------------------------------


class _Named(NamedTuple):
    """A category with a word that begins like one of the query."""

    pk: int
    path: str
    name_en: str
    name_ko: str
    text: str
    has_products: bool


@lru_cache(maxsize=64)
def _categories_like(words: int) -> Prepared:
    on_sale = Product.objects.on_sale().filter(category=OuterRef("pk")).order_by()
    begins = Q()
    for _ in range(words):
        begins |= Q(search_text__contains="")
    rows = Category.objects.filter(begins).order_by("path").annotate(filled=Exists(on_sale))
    columns = ("pk", "path", "name_en", "name_ko", "search_text", "filled")
    return Prepared(rows.values_list(*columns))


def _categories(query: Query) -> list[_Named]:
    words = [f"% {keys}%" for word in query.words for way in word.ways for keys in way][:20]
    return [_Named(*row) for row in _categories_like(len(words)).fetch(*words, limit=_NAMED)]


def _with_categories(query: Query, named: Sequence[_Named]) -> Query:
    """Return the query with the categories that its words may mean."""
    words = []
    for word in query.words:
        chosen: list[_Named] = []
        begins = [f" {keys}" for way in word.ways for keys in way if len(keys) >= _IN_CATEGORIES]
        for category in named:
            # In the order of their paths: what lies below one that is meant is meant with it.
            if any(begin in category.text for begin in begins) and not (
                chosen and category.path.startswith(chosen[-1].path)
            ):
                chosen.append(category)
        words.append(replace(word, categories=tuple(c.pk for c in chosen[:_MEANT])))
    return replace(query, words=tuple(words))


def _suggest(found: _Found) -> list[str]:
    """Return how the query may go on: words of the hits, past searches, categories, names."""
    query = found.query
    names = [hit.name for hit in found.hits if hit.rank != BY_CATEGORY][:_LOOKED_AT]
    told: dict[str, None] = {}
    if len(query.words) == 1:
        words: Counter[str] = Counter()
        lasts = [keys for (*_parts, keys) in query.words[-1].ways]
        for name in names:
            words.update({word for word in name.split() if _goes_on(word, lasts)})
        told.update(dict.fromkeys(word for word, _count in words.most_common(_WORDS)))
    begins = squeezed(query.phrase)[:HEAD]
    told.update(
        dict.fromkeys(past_searches.begin_with(begins, _PAST, by_initials=query.by_initials))
    )
    told.update(dict.fromkeys(islice(_names_of(query, found.named), _CATEGORIES)))
    told.update(dict.fromkeys(names))
    # One spelling of each: 노트북, "노트북 " and 노트북! are one.
    seen: dict[str, str] = {}
    for text in told:
        seen.setdefault(hangul.fold(text), text.strip())
    return list(seen.values())[:SUGGESTIONS]


def _goes_on(word: str, typed: Sequence[str]) -> bool:
    form = hangul.initials(word) if hangul.is_initials(typed[0]) else hangul.decompose(word)
    return form.startswith(tuple(typed))


def _names_of(query: Query, named: Sequence[_Named]) -> Iterator[str]:
    """Yield names of categories with the query at the beginning of a word and something on sale."""
    for category in named:
        for phrase in query.phrases:
            if category.has_products and f" {phrase}" in category.text:
                in_english = f" {phrase}" in f" {hangul.decompose(category.name_en)}"
                yield category.name_en if in_english else category.name_ko
