"""What products are found by, the words that they are called, and what people asked for.

Written by products.models in the transaction that writes a product or category.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import models

from products.hangul import decompose, initials, words_of


def searchable(*texts: str | None) -> str:
    """Return texts as they are searched: decomposed, a line each, each after a space.

    So the end of one text, the beginning of one and the beginning of a word
    can all be asked for with LIKE.
    """
    return "".join(f" {decompose(text or '')}\n" for text in texts)


# Of a name run together, what is compared from its beginning.
HEAD = 64


def squeezed(text: str) -> str:
    """Return decomposed or folded text without its spaces."""
    return text.replace(" ", "")


def search_columns(name: str, brand: str, sku: str | None, path: str | None) -> dict[str, str]:
    """Return what a product is found by, as the columns of ProductSearch.

    `path` is its category's.
    """
    keys, first = decompose(name), initials(name)
    categories = "".join(f"#{pk} " for pk in (path or "").strip("/").split("/") if pk)
    return {
        "text": f"{searchable(name, brand, sku)}"
        f"|{squeezed(decompose(brand))}{squeezed(keys)}\n{categories}\n",
        "head": squeezed(keys)[:HEAD],
        "initials": f" {first}\n {initials(brand)}\n"
        f"|{squeezed(initials(brand))}{squeezed(first)}\n",
        "initials_head": squeezed(first)[:HEAD],
    }


_COLUMNS = ("text", "head", "initials", "initials_head")
# Products that are indexed at a time.
_INDEXED = 500


class ProductSearchQuerySet(models.QuerySet["ProductSearch"]):
    """Keeping the index."""

    def index(self, pks: Sequence[int | None]) -> None:
        """Make the index say of these products what their rows say. Four queries per 500 at most.

        What it says already is not written again: most writes leave the texts as
        they are, and a row's trigrams cost more than all the rest of the product.
        """
        # products.models stands above this module.
        product: Any = self.model._meta.get_field("product").related_model
        known = sorted(pk for pk in pks if pk is not None)
        columns = ("pk", "name", "brand", "sku", "category__path")
        written = tuple(f"search__{column}" for column in _COLUMNS)
        sure: set[str] = set()
        for start in range(0, len(known), _INDEXED):
            found = (
                product.objects.filter(pk__in=known[start : start + _INDEXED])
                .order_by()
                .values_list(*columns, *written)
            )
            differing: list[ProductSearch] = []
            words: dict[str, str] = {}
            for pk, name, brand, sku, path, *stands in found:
                says = search_columns(name, brand, sku, path)
                if [says[column] for column in _COLUMNS] != stands:
                    differing.append(ProductSearch(product_id=pk, **says))
                # Both are folded for the columns already.
                for word, keys in (*words_of(name), *words_of(brand)):
                    words[keys] = word
            self.bulk_create(
                differing,
                update_conflicts=True,
                unique_fields=["product"],
                update_fields=_COLUMNS,
            )
            SearchWord.objects.learn_words({k: w for k, w in words.items() if k not in sure})
            # For this call alone: a word that is relied on for longer may be removed
            # meanwhile (products.vocabulary.tidy).
            sure.update(words)


class ProductSearch(models.Model):
    """What a product is found by; written in the transaction that writes the product.

    A table of its own: a sale changes the product's row, and must not have
    its hundred trigrams written again. On PostgreSQL the long columns have a
    trigram index (migration 0004).

    `text` has a line each for name, brand and SKU, decomposed, each after a
    space; then, after a bar, brand and name run together; and the keys of the
    categories that the product lies in. `initials` has the first consonants of
    the first two and the same run together. The heads are the beginning of the
    name run together.
    """

    product = models.OneToOneField(
        "products.Product", on_delete=models.CASCADE, primary_key=True, related_name="search"
    )
    text = models.TextField()
    head = models.CharField(max_length=HEAD, db_default="")
    initials = models.TextField()
    initials_head = models.CharField(max_length=HEAD, db_default="")

    objects = ProductSearchQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["head"], opclasses=["varchar_pattern_ops"], name="productsearch_head"
            ),
            models.Index(
                fields=["initials_head"],
                opclasses=["varchar_pattern_ops"],
                name="productsearch_initials_head",
            ),
        ]

    def __str__(self) -> str:
        return self.text


class SearchWordQuerySet(models.QuerySet["SearchWord"]):
    """Keeping the vocabulary."""

    def learn(self, texts: Iterable[str]) -> None:
        """Make sure that the words of these texts are in the vocabulary. Two queries at most.

        Nothing is locked and nothing is waited for: see SearchWord.
        """
        self.learn_words({keys: word for text in texts for word, keys in words_of(text)})

    def learn_words(self, words: Mapping[str, str]) -> None:
        """As `learn`, of folded words by their keys."""
        if not words:
            return
        known = self.filter(keys__in=list(words), unused_since=None)
        missing = sorted(words.keys() - set(known.values_list("keys", flat=True)))
        self.bulk_create(
            [SearchWord(word=words[keys], keys=keys, backwards=keys[::-1]) for keys in missing],
            batch_size=1000,
        )


class SearchWord(models.Model):
    """A word of the catalogue, for finding what a mistyped one may have meant.

    Whoever writes a product adds the words that are not there, in the same
    transaction; words that nobody has any more are removed by a job. There is
    no unique constraint on purpose: two writers who add the same words would
    wait for one another on it, or deadlock. A word that stands here twice
    does no harm until the job finds it.
    """

    # Folded, and as the keys that type it; the latter also from its end.
    word = models.CharField(max_length=24)
    keys = models.CharField(max_length=72)
    backwards = models.CharField(max_length=72)
    # Since when no product on sale and no category has it. Writers take such
    # a word for missing, so that it may go (products.vocabulary).
    unused_since = models.DateTimeField(null=True, blank=True)

    objects = SearchWordQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["keys"], opclasses=["varchar_pattern_ops"], name="searchword_keys"
            ),
            models.Index(
                fields=["backwards"], opclasses=["varchar_pattern_ops"], name="searchword_backwards"
            ),
        ]

    def __str__(self) -> str:
        return self.word


class PastSearch(models.Model):
    """What people have searched for and found, without who or when each did.

    Texts made of the catalogue's own words only (products.past_searches).
    """

    # Folded.
    text = models.CharField(max_length=100, unique=True)
    # Run together, as typed: decomposed, and by first consonants.
    head = models.CharField(max_length=HEAD)
    initials_head = models.CharField(max_length=HEAD)
    times = models.PositiveBigIntegerField(default=0)
    # Times at least a minute apart.
    moments = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(
                fields=["head"], opclasses=["varchar_pattern_ops"], name="pastsearch_head"
            ),
        ]

    def __str__(self) -> str:
        return self.text
