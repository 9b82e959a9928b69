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

import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import islice, product
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from products import hangul, past_searches, vocabulary
from products.models import Category, Product
from products.patterns import FTS, glob, trigrams
from products.search_models import HEAD, squeezed
from shop.cache import Tag
from shop.money import from_minor
from shop.prepared import Prepared
from shop.rest import Rows

# What decides what is found, in which order, and the facets.
TAGS: tuple[Tag, ...] = ("members", "name", "category", "tree", "sold", "price")
SUGGESTIONS = 8
# Hits that are all read and ranked; best sellers looked through where there are
# more; and hits that begin like the query, looked for besides.
EXACT = 400
WALKED = 1000
BEGUN = 100
# Categories that an answer counts.
FACETS = 20
# Keys of a query that many products are likely to match; products that are read
# through without an index.
_SHORT, _SMALL = 6, 20_000
# With fewer hits than this, it is worth looking through the whole catalogue.
_FEW = 20
# Suggestions are made of what the best of the hits are called.
_LOOKED_AT = 50
_WORDS, _PAST, _CATEGORIES = 4, 2, 3
# Categories that a query's words begin words of; and those that one may mean.
_NAMED, _MEANT = 50, 4
# Keys from which a word is also looked for across the spaces of a name (m65 in
# M-65 from fewer), and from which it may mean a category.
_ACROSS, _ACROSS_MODEL, _IN_CATEGORIES = 5, 3, 4
# Words in which errors are sought; ways to read a query whose words have several.
_MENDED, _PHRASES = 6, 8
# From so many words on, one that nothing has is passed over.
_MANY_WORDS = 3
# Seconds that the size of a catalogue serves for estimates.
_SIZE_AGE = 60.0

# How well a product matches: the whole name, its beginning, the beginning of a
# word, words that all begin words, the inside of words, its category.
_WHOLE, _BEGINNING, _BEGINS_WORD, _BEGIN_WORDS, _INSIDE, _BY_CATEGORY = range(6)


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


# --- What is asked -----------------------------------------------------------


class _Fits(NamedTuple):
    """A column of ProductSearch fits a pattern."""

    column: str
    pattern: str


class _All(NamedTuple):
    of: "tuple[_Condition, ...]"


class _Any(NamedTuple):
    of: "tuple[_Condition, ...]"


_Condition = _Fits | _All | _Any


def _as_q(condition: _Condition) -> Q:
    """Return a condition on products."""
    if isinstance(condition, _Fits):
        return Q(**{f"search__{condition.column}__glob": condition.pattern})
    found = Q()
    for part in condition.of:
        found = found | _as_q(part) if isinstance(condition, _Any) else found & _as_q(part)
    return found


def _as_sql(condition: _Condition) -> tuple[str, list[str]]:
    """Return a condition on rows `s` of ProductSearch."""
    if isinstance(condition, _Fits):
        sql, pattern = glob(f"s.{condition.column}", condition.pattern)
        return sql, [pattern]
    parts = [_as_sql(part) for part in condition.of]
    joined = (" OR " if isinstance(condition, _Any) else " AND ").join(sql for sql, _ in parts)
    return f"({joined})", [param for _sql, params in parts for param in params]


def _as_trigrams(condition: _Condition) -> str:
    """Return what an index of trigrams is asked for; nothing where it is of no use."""
    if isinstance(condition, _Fits):
        return trigrams(condition.column, condition.pattern)
    parts = [_as_trigrams(part) for part in condition.of]
    if isinstance(condition, _Any) and not all(parts):
        return ""
    joined = (" OR " if isinstance(condition, _Any) else " AND ").join(filter(None, parts))
    return f"({joined})" if joined else ""


def _has(keys: str) -> _Fits:
    """A word has these keys in it."""
    column = "initials" if hangul.is_initials(keys) else "text"
    if len(keys) >= (_ACROSS if keys.isalpha() else _ACROSS_MODEL) and not keys.isdigit():
        return _Fits(column, f"*{keys}*")
    # Before the bar: across spaces a short word would be found everywhere, and
    # behind it stand the keys of categories.
    return _Fits(column, f"*{keys}*|*")


def _begins(keys: str) -> _Fits:
    """A word begins with these keys."""
    return _Fits("initials" if hangul.is_initials(keys) else "text", f"* {keys}*")


@dataclass(frozen=True)
class _Word:
    """A word of a query: the ways to read it, each as keys that must all be there.

    `categories` are keys of those that it may mean.
    """

    ways: tuple[tuple[str, ...], ...]
    categories: tuple[int, ...] = ()

    @property
    def keys(self) -> str:
        return self.ways[0][0]

    def inside(self) -> _Condition:
        return _Any(tuple(_All(tuple(_has(keys) for keys in way)) for way in self.ways))

    def beginning(self) -> _Condition:
        return _Any(tuple(_All(tuple(_begins(keys) for keys in way)) for way in self.ways))

    def anywhere(self) -> _Condition:
        if not self.categories:
            return self.inside()
        lies = tuple(_Fits("text", f"*#{pk} *") for pk in self.categories)
        return _Any((self.inside(), *lies))


@dataclass(frozen=True)
class _Query:
    """What was typed, taken apart. `all_but_one` word must be found."""

    words: tuple[_Word, ...]
    all_but_one: bool = False

    @cached_property
    def phrases(self) -> list[str]:
        """The query with one space between words, in each way it may be read."""
        ways = product(*(word.ways for word in self.words))
        return [" ".join(" ".join(parts) for parts in way) for way in islice(ways, _PHRASES)]

    @property
    def phrase(self) -> str:
        return self.phrases[0]

    @property
    def by_initials(self) -> bool:
        return all(hangul.is_initials(word.keys) for word in self.words)

    @property
    def heads(self) -> _Condition:
        """The name begins with it, whatever its spaces are."""
        column = "initials_head" if self.by_initials else "head"
        return _Any(tuple(_Fits(column, f"{squeezed(p)[:HEAD]}*") for p in self.phrases))

    def matching(self) -> _Condition:
        words = [word.anywhere() for word in self.words]
        if not self.all_but_one:
            return _All(tuple(words))
        return _Any(tuple(_All((*words[:i], *words[i + 1 :])) for i in range(len(words))))

    def beginning(self) -> _Condition:
        return _All(tuple(word.beginning() for word in self.words))

    def rank(self) -> tuple[str, list[Any]]:
        """Return how well a row matches, as SQL."""
        column = "initials" if self.by_initials else "text"
        whole = tuple(
            _Fits(f"{column}_head" if self.by_initials else "head", squeezed(p)[:HEAD])
            for p in self.phrases
        )
        cases: list[tuple[_Condition, int]] = [
            (_Any(whole), _WHOLE),
            (self.heads, _BEGINNING),
            (_Any(tuple(_Fits(column, f"* {p}*") for p in self.phrases)), _BEGINS_WORD),
        ]
        if len(self.words) > 1:
            cases.append((self.beginning(), _BEGIN_WORDS))
        if any(word.categories for word in self.words):
            cases.append((_All(tuple(word.inside() for word in self.words)), _INSIDE))
        written = [(*_as_sql(condition), rank) for condition, rank in cases]
        sql = " ".join(f"WHEN {condition} THEN {rank}" for condition, _, rank in written)
        last = _BY_CATEGORY if cases[-1][1] == _INSIDE else _INSIDE
        return f"CASE {sql} ELSE {last} END", [p for _, params, _ in written for p in params]


def _read(decomposed: str) -> _Query:
    return _Query(tuple(_Word(((keys,),)) for keys in decomposed.split()))


def matching(rows: QuerySet[Product], text: str) -> QuerySet[Product]:
    """Return those of `rows` that `text` finds by their own words, in no order; all for no word."""
    # A compound consonant that is typed alone means two initials.
    query = _read(hangul.decompose(text))
    return rows.filter(_as_q(query.matching())) if query.words else rows


def meant_by(rows: QuerySet[Product], text: str) -> QuerySet[Product]:
    """As `matching`; a text that finds nothing is tried on the other keyboard layout.

    One query, to see whether it does, where it may be such a slip.
    """
    found = matching(rows, text)
    other = hangul.other_layout(text)
    if other and not found.exists():
        return rows.filter(_as_q(_read(other).matching()))
    return found


# --- What is found -----------------------------------------------------------


class _Hit(NamedTuple):
    pk: int
    sold: int
    price: int
    category: int | None
    name: str
    rank: int


@dataclass
class _Found:
    """The hits that were read, best first; all of them unless `more`.

    `sample` are hits that were not chosen for how well they match. `walked` is
    the last best seller that was looked at, as sales and key.
    """

    query: _Query
    hits: list[_Hit]
    named: "list[_Named]" = field(default_factory=list)
    more: bool = False
    total: int = 0
    sample: list[_Hit] = field(default_factory=list)
    walked: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.hits.sort(key=lambda hit: (hit.rank, -hit.sold, -hit.pk))
        if not self.more:
            self.total, self.sample = len(self.hits), self.hits


def search(text: str, rows: Rows, *, page: int, per_page: int, key: Hashable = None) -> Hits:
    """Return one page of what `text` finds among what `rows` builds; `key` names its filters.

    Two to six queries where the text finds something as it was typed; the
    products themselves are not read.
    """
    found = _find(text, rows, key)
    if found is None:
        return Hits(0, [], [], False, Facets([], None, None))
    return Hits(
        total=found.total,
        pks=_page(found, rows, (page - 1) * per_page, per_page),
        suggestions=_suggest(found) if page == 1 else [],
        is_estimate=found.more,
        facets=_facets(found),
    )


def suggest(text: str) -> list[str]:
    """Return how `text` may go on, the likeliest first: words, past searches, categories, names."""
    found = _find(text, Product.objects.on_sale, "on sale")
    return _suggest(found) if found else []


def _find(text: str, rows: Rows, key: Hashable) -> _Found | None:
    """Find by each way to read `text` until one finds something; None for a text without a word."""
    query = _read(hangul.decompose(text))
    if not query.words:
        return None
    first = found = _look(query, rows, key)
    if not found.total and (other := hangul.other_layout(text)):
        found = _look(_read(other), rows, key)
    if not found.total and (mended := _mend(hangul.fold(text), query)):
        found = _look(mended, rows, key)
        if not found.total and len(mended.words) >= _MANY_WORDS:
            found = _look(replace(mended, all_but_one=True), rows, key)
    return found if found.total else first


def _mend(folded: str, query: _Query) -> _Query | None:
    """Return the query with what its words may have been meant to be."""
    words = folded.split()
    known = vocabulary.known(words)
    # Where all are known, any may be the wrong one.
    strange = {word for word in words if word not in known} or set(words)
    mended = []
    for index, (word, read) in enumerate(zip(words, query.words, strict=True)):
        ways: dict[tuple[str, ...], None] = dict.fromkeys(read.ways)
        if word in strange and index < _MENDED:
            if (other := hangul.other_layout(word)) and " " not in other:
                ways[(other,)] = None
            unfinished = index == len(words) - 1
            near = vocabulary.corrections(word, unfinished=unfinished)
            ways.update(dict.fromkeys((keys,) for keys in near))
            if not near:
                ways.update(dict.fromkeys(vocabulary.parts(word)))
        mended.append(_Word(tuple(ways)))
    return _Query(tuple(mended))


def _look(query: _Query, rows: Rows, key: Hashable) -> _Found:
    """Find what a query matches. One to five queries."""
    named = _categories(query)
    query = _with_categories(query, named)
    matches, shelf = query.matching(), _Shelf.of(rows, key)
    has_index = bool(_as_trigrams(matches))
    is_short = sum(len(word.keys) for word in query.words) <= _SHORT
    few: list[_Hit] = []
    if has_index and not is_short:
        few = _fetch(query, matches, shelf, EXACT + 1)
        if len(few) <= EXACT:
            return _Found(query, few, named)
    best, looked_at, last = _walk(query, shelf)
    if looked_at < WALKED:
        return _Found(query, best, named)
    size = _size(rows, key)
    total = round(len(best) / looked_at * size)
    if not few and total <= EXACT and (has_index or size <= _SMALL):
        few = _fetch(query, matches, shelf, EXACT + 1)
        if len(few) <= EXACT:
            return _Found(query, few, named)
    pool = {hit.pk: hit for hit in (*best, *_begun(query, shelf, best))}
    if len(pool) < _FEW:
        few = few or _fetch(query, matches, shelf, EXACT + 1)
        if len(few) <= EXACT:
            return _Found(query, few, named)
        pool.update((hit.pk, hit) for hit in few)
    sample = best if len(best) >= _FEW else list(pool.values())
    return _Found(
        query, list(pool.values()), named, True, max(total, len(pool), len(few)), sample, last
    )


def _begun(query: _Query, shelf: "_Shelf", best: Sequence[_Hit]) -> list[_Hit]:
    """Return hits whose words begin like the query, and those whose names do.

    All of them if they are few. Of many those that come first in the database
    are of use only where `best` has none; else they would pass better sellers.
    """
    found: list[_Hit] = []
    for condition, rank in ((query.beginning(), _BEGIN_WORDS), (query.heads, _BEGINNING)):
        some = _fetch(query, condition, shelf, BEGUN)
        if len(some) < BEGUN or sum(hit.rank <= rank for hit in best) < _FEW:
            found += some
        if len(some) < BEGUN:
            # Names that begin so are among them.
            break
    return found


_COLUMNS = ("pk", "sold_quantity", "price", "category_id", "name")
_SHOWN = ", ".join(f"p.{column}" for column in _COLUMNS)
_INDEX = "products_productsearch"


@dataclass(frozen=True)
class _Shelf:
    """The products that are searched, as SQL with `_COLUMNS`, in no order."""

    sql: str
    params: tuple[Any, ...]

    @classmethod
    def of(cls, rows: Rows, key: Hashable) -> "_Shelf":
        """Compile `rows`; `key`, if there is one, names them, and then it is done once."""
        known = _shelves.get(key)
        if known is None:
            known = cls(*rows().order_by().values_list(*_COLUMNS).query.sql_with_params())
            if key is not None:
                if len(_shelves) >= _SHELVES:
                    _shelves.clear()
                _shelves[key] = known
        return known


_SHELVES = 1000
_shelves: dict[Hashable, _Shelf] = {}


def _fetch(query: _Query, condition: _Condition, shelf: _Shelf, limit: int) -> list[_Hit]:
    """Return up to `limit` products that fulfil `condition`, whichever they are."""
    products, params = shelf.sql, shelf.params
    rank, rank_params = query.rank()
    matches, match_params = _as_sql(condition)
    if connection.vendor == "sqlite":
        # It joins from the left to the right: the index first.
        likely, source = _as_trigrams(condition), f"{_INDEX} AS s"
        if likely:
            source = (
                f"(SELECT rowid AS pk FROM {FTS} WHERE {FTS} MATCH %s) AS f "  # noqa: S608
                f"CROSS JOIN {_INDEX} AS s ON s.product_id = f.pk"
            )
            rank_params.append(likely)
        sql = f"{source} CROSS JOIN ({products}) AS p ON p.pk = s.product_id WHERE {matches}"
        params = (*params, *match_params)
    else:
        # OFFSET 0 keeps the planner from reading 100,000 products for a few hundred hits.
        sql = (
            f"(SELECT * FROM {_INDEX} AS s WHERE {matches} OFFSET 0) AS s CROSS JOIN LATERAL "  # noqa: S608
            f"(SELECT * FROM ({products}) AS p WHERE p.pk = s.product_id OFFSET 0) AS p"
        )
        params = (*match_params, *params)
    return _run(f"SELECT {_SHOWN}, {rank} FROM {sql} LIMIT {limit}", [*rank_params, *params])  # noqa: S608


def _walk(query: _Query, shelf: _Shelf) -> tuple[list[_Hit], int, tuple[int, int]]:
    """Look through the best sellers; return the hits, how many were looked at, and the last."""
    best = f"{shelf.sql} ORDER BY sold_quantity DESC, pk DESC LIMIT {WALKED}"
    rank, rank_params = query.rank()
    matches, match_params = _as_sql(query.matching())
    own = (
        f"{_INDEX} AS s ON s.product_id = p.pk"
        if connection.vendor == "sqlite"
        else f"LATERAL (SELECT * FROM {_INDEX} AS s WHERE s.product_id = p.pk OFFSET 0) AS s"  # noqa: S608
    )
    found = _run(
        f"WITH p AS MATERIALIZED ({best}) "  # noqa: S608
        f"SELECT {_SHOWN}, {rank} FROM p CROSS JOIN {own} WHERE {matches} "
        "UNION ALL SELECT * FROM (SELECT pk, sold_quantity, (SELECT COUNT(*) FROM p), 0, '', -1"
        " FROM p ORDER BY sold_quantity, pk LIMIT 1) AS last",
        [*shelf.params, *rank_params, *match_params],
    )
    if not found:
        return [], 0, (0, 0)
    *hits, last = found
    return hits, last.price, (last.sold, last.pk)


def _run(sql: str, params: Sequence[Any]) -> list[_Hit]:
    """Run a query for hits.

    PostgreSQL is told not to read whole tables: what it expects of a LIKE is
    often wrong by a hundred times. That holds for this statement alone, and
    costs no round trip of its own.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"SET LOCAL enable_seqscan = off; {sql}; SET LOCAL enable_seqscan = on", params
            )
            cursor.nextset()
        else:
            cursor.execute(sql, params)
        return [_Hit(*row) for row in cursor.fetchall()]


_sizes: dict[Hashable, tuple[float, int]] = {}


def _size(rows: Rows, key: Hashable) -> int:
    """Return how many products `rows` builds, or did a minute ago: for estimates."""
    if key is None:
        return rows().order_by().count()
    known = _sizes.get(key)
    now = time.monotonic()
    if known is None or now - known[0] > _SIZE_AGE:
        if len(_sizes) > 1000:
            _sizes.clear()
        known = _sizes[key] = (now, rows().order_by().count())
    return known[1]


def _page(found: _Found, rows: Rows, start: int, per_page: int) -> list[int]:
    """Return the keys of one page: of the hits that were read, then of the others by sales."""
    pks = [hit.pk for hit in found.hits[start : start + per_page]]
    if not found.more or len(pks) == per_page or found.walked is None:
        return pks
    sold, last = found.walked
    # Behind the best sellers that were looked at there are some that were read too.
    read = [hit.pk for hit in found.hits if (hit.sold, hit.pk) < (sold, last)]
    others = (
        rows()
        .filter(_as_q(found.query.matching()))
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


def _categories(query: _Query) -> list[_Named]:
    words = [f"% {keys}%" for word in query.words for way in word.ways for keys in way][:20]
    return [_Named(*row) for row in _categories_like(len(words)).fetch(*words, limit=_NAMED)]


def _with_categories(query: _Query, named: Sequence[_Named]) -> _Query:
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
    names = [hit.name for hit in found.hits if hit.rank != _BY_CATEGORY][:_LOOKED_AT]
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


def _names_of(query: _Query, named: Sequence[_Named]) -> Iterator[str]:
    """Yield names of categories with the query at the beginning of a word and something on sale."""
    for category in named:
        for phrase in query.phrases:
            if category.has_products and f" {phrase}" in category.text:
                in_english = f" {phrase}" in f" {hangul.decompose(category.name_en)}"
                yield category.name_en if in_english else category.name_ko
