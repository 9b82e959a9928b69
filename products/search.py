"""Finding products by what people type.

Every word of a query must be found in a product's name, brand or SKU: any
part of a word, in any order, in both scripts; Hangul by syllables, by half
of one, or by first consonants alone (products.hangul). What matches best
comes first: the whole name, its beginning, the beginning of a word, the
inside of one; then what sells best.

A query that finds nothing is tried as if the keyboard had been set to the
other language.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from django.db import connection
from django.db.models import (
    Case,
    Count,
    Exists,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
    Window,
)

from products import hangul
from products.models import Category, Product
from shop.cache import Tag
from shop.prepared import Prepared
from shop.rest import Rows

# What decides what is found, and in which order.
TAGS: tuple[Tag, ...] = ("members", "name", "category", "tree", "sold")
SUGGESTIONS = 8
# Suggestions are made of what the best of the hits are called.
_LOOKED_AT = 50
_CATEGORIES = 3


@dataclass(frozen=True)
class Hits:
    """One page of hits: how many there are in all, the page's keys, and what else is meant."""

    total: int
    pks: list[int]
    suggestions: list[str]


@dataclass(frozen=True)
class _Query:
    """What was typed, taken apart. `words` are decomposed or are bare consonants."""

    words: tuple[str, ...]

    @property
    def phrase(self) -> str:
        return " ".join(self.words)

    @property
    def by_initials(self) -> bool:
        return all(hangul.is_initials(word) for word in self.words)

    def matching(self) -> Q:
        found = Q()
        for word in self.words:
            column = "initials" if hangul.is_initials(word) else "text"
            found &= Q(**{f"search__{column}__contains": word})
        return found

    def rank(self) -> Case:
        column = "search__initials" if self.by_initials else "search__text"
        ways = (
            ("startswith", f" {self.phrase}\n"),
            ("startswith", f" {self.phrase}"),
            ("contains", f" {self.phrase}"),
        )
        return Case(
            *(
                When(**{f"{column}__{lookup}": text}, then=Value(rank))
                for rank, (lookup, text) in enumerate(ways)
            ),
            default=Value(len(ways)),
            output_field=IntegerField(),
        )


def _read(text: str) -> _Query:
    # A compound consonant that is typed alone means two initials.
    return _Query(tuple(hangul.decompose(text).split()))


def matching(rows: QuerySet[Product], text: str) -> QuerySet[Product]:
    """Return those of `rows` that `text` finds, in no order; all for a text without a word."""
    query = _read(text)
    return rows.filter(query.matching()) if query.words else rows


def meant_by(rows: QuerySet[Product], text: str) -> QuerySet[Product]:
    """As `matching`; a text that finds nothing is tried on the other keyboard layout.

    One query, to see whether it does, where it may be such a slip.
    """
    found = matching(rows, text)
    other = hangul.other_layout(text)
    if other and not found.exists():
        return rows.filter(_Query(tuple(other.split())).matching())
    return found


def search(text: str, rows: Rows, *, page: int, per_page: int) -> Hits:
    """Return one page of what `text` finds among what `rows` builds.

    Two queries on the first page (three where the other keyboard layout is
    tried), one or two on others; the products themselves are not read.
    """
    query = _read(text)
    hits = _hits(query, rows, page, per_page)
    if not hits.total and (other := hangul.other_layout(text)):
        meant = _hits(_Query(tuple(other.split())), rows, page, per_page)
        return meant if meant.total else hits
    return hits


def _hits(query: _Query, rows: Rows, page: int, per_page: int) -> Hits:
    if not query.words:
        return Hits(0, [], [])
    found = rows().filter(query.matching())
    ranked = (
        found.annotate(rank=query.rank(), hits=Window(Count("*")))
        .order_by("rank", "-sold_quantity", "-pk")
        .values_list("pk", "name", "hits")
    )
    start = (page - 1) * per_page
    limit = max(per_page, _LOOKED_AT) if page == 1 else per_page
    cut = list(ranked[start : start + limit])
    # Past the last page there is no row to carry the number.
    total = cut[0][2] if cut else (found.count() if page > 1 else 0)
    names = [name for _pk, name, _hits in cut] if page == 1 else []
    suggestions = _suggest(query, names) if page == 1 else []
    return Hits(total, [pk for pk, *_ in cut[:per_page]], suggestions)


def _suggest(query: _Query, names: Sequence[str]) -> list[str]:
    """Return how the query may go on: words of the hits, categories, whole names."""
    last = query.words[-1]
    words: Counter[str] = Counter()
    for name in names:
        words.update({word for word in name.split() if _begins(word, last)})
    told: dict[str, None] = {}
    if len(query.words) == 1:
        told.update(dict.fromkeys(word for word, _count in words.most_common(SUGGESTIONS // 2)))
    told.update(dict.fromkeys(_categories(query)))
    told.update(dict.fromkeys(names))
    # One spelling of each: 노트북, "노트북 " and 노트북! are one.
    seen: dict[str, str] = {}
    for text in told:
        seen.setdefault(hangul.fold(text), text.strip())
    return list(seen.values())[:SUGGESTIONS]


def _begins(word: str, typed: str) -> bool:
    form = hangul.initials(word) if hangul.is_initials(typed) else hangul.decompose(word)
    return form.startswith(typed)


@cache
def _categories_like() -> Prepared:
    on_sale = Product.objects.on_sale().filter(category=OuterRef("pk")).order_by()
    return Prepared(
        Category.objects.filter(Exists(on_sale))
        .filter(search_text__contains="")
        .order_by("path")
        .values_list("name_en", "name_ko")
    )


def _categories(query: _Query) -> list[str]:
    """Return names of categories with a word that begins like the query and something on sale."""
    if query.by_initials:
        return []
    pattern = f"%{connection.ops.prep_for_like_query(f' {query.phrase}')}%"
    rows = _categories_like().fetch(pattern, limit=_CATEGORIES)
    return [en if f" {query.phrase}" in f" {hangul.decompose(en)}" else ko for en, ko in rows]
