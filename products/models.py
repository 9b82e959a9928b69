"""Categories, products and the stock ledger."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NoReturn

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import models, transaction
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from products.hangul import decompose, initials, words_of
from shop.ids import uuid7
from shop.money import MoneyField


def look_after_commit() -> None:
    """Have this process learn, once the transaction is committed, of what was written.

    Whoever writes what the catalogue shows calls it, after the writing.
    """
    from products import freshness

    transaction.on_commit(freshness.look)


class CategoryQuerySet(models.QuerySet["Category"]):
    """Verbs on categories. Names that are written past `save` are indexed as well."""

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list["Category"]:
        """Insert rows with the text they are searched by."""
        objs = list(objs)
        for category in objs:
            category.set_search_text()
        with transaction.atomic():
            created = super().bulk_create(objs, *args, **kwargs)
            SearchWord.objects.learn(f"{row.name_en} {row.name_ko}" for row in objs)
        look_after_commit()
        return created

    def bulk_update(self, objs: Any, fields: Any, batch_size: int | None = None) -> int:
        """Update rows, and the text they are searched by when a name is among the fields."""
        objs, fields = list(objs), list(fields)
        if not {"name_en", "name_ko"}.intersection(fields):
            return super().bulk_update(objs, fields, batch_size)
        for category in objs:
            category.set_search_text()
        with transaction.atomic():
            updated = super().bulk_update(objs, [*fields, "search_text"], batch_size)
            SearchWord.objects.learn(f"{row.name_en} {row.name_ko}" for row in objs)
        return updated

    def update(self, **values: Any) -> int:
        """Update rows, and what they and their products are searched by."""
        names, moved = {"name_en", "name_ko"} & values.keys(), "path" in values
        if not names and not moved:
            updated = super().update(**values)
            look_after_commit()
            return updated
        with transaction.atomic(savepoint=False):
            # Before it: afterwards the filter may find others.
            own = self.order_by().values("pk")
            named = list(own.values_list("pk", flat=True)) if names else []
            products: list[int] = []
            if moved:
                within = Product.objects.filter(category__in=own).order_by()
                products = list(within.values_list("pk", flat=True))
            updated = super().update(**values)
            if named and "search_text" not in values:
                rows = list(Category.objects.filter(pk__in=named))
                Category.objects.bulk_update(rows, sorted(names), batch_size=200)
            # Each product's row says which categories it lies in (ProductSearch).
            ProductSearch.objects.index(products)
        look_after_commit()
        return updated

    def within(self, path: str) -> "CategoryQuerySet":
        """The category with this path and all below it."""
        return self.filter(path__startswith=path)


class Category(models.Model):
    """A node of the category tree, named in both languages of the shop."""

    # Stable name in the source, so that an import finds its own rows again.
    key = models.CharField(_("key"), max_length=100, unique=True)
    slug = models.SlugField(_("slug"), max_length=120, unique=True)
    name_en = models.CharField(_("English name"), max_length=200)
    name_ko = models.CharField(_("Korean name"), max_length=200, blank=True)
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="children",
        verbose_name=_("parent"),
    )
    # The primary keys from the root down to this node: "/1/17/203/". A prefix
    # of it selects a whole branch without recursion. Kept by products.categories.
    path = models.CharField(max_length=200, editable=False, default="")
    # Both names, decomposed, a line each, each after a space. Kept by `save`.
    search_text = models.TextField(editable=False, default="")

    objects = CategoryQuerySet.as_manager()

    class Meta:
        ordering = ["path"]
        verbose_name = _("category")
        verbose_name_plural = _("categories")
        indexes = [
            # A prefix search needs byte order on PostgreSQL, whatever the locale.
            models.Index(fields=["path"], opclasses=["varchar_pattern_ops"], name="category_path"),
        ]

    def __str__(self) -> str:
        return (get_language() == "ko" and self.name_ko) or self.name_en

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save with the text it is searched by."""
        self.set_search_text()
        if (fields := kwargs.get("update_fields")) is not None:
            kwargs["update_fields"] = {*fields, "search_text"}
        with transaction.atomic():
            super().save(*args, **kwargs)
            SearchWord.objects.learn([f"{self.name_en} {self.name_ko}"])
        look_after_commit()

    def set_search_text(self) -> None:
        """Make the text it is searched by follow its names."""
        self.search_text = searchable(self.name_en, self.name_ko)

    @property
    def depth(self) -> int:
        """Levels below the root; a root has 0."""
        return self.path.count("/") - 2


# The fields of a product that products.stock alone writes.
BOOKED = frozenset({"stock_quantity", "sold_quantity"})
# The fields of a product that it is found by.
SEARCHED = frozenset({"name", "brand", "sku", "category", "category_id"})


class ProductQuerySet(models.QuerySet["Product"]):
    """Verbs on products. Writes that bypass `save` are told, and indexed, as well."""

    def on_sale(self) -> "ProductQuerySet":
        """Products that have not been retired."""
        return self.filter(retired_at__isnull=True)

    def update(self, **values: Any) -> int:
        """Update rows, and have them read anew after the commit."""
        if SEARCHED.isdisjoint(values):
            updated = super().update(**values)
        else:
            with transaction.atomic():
                # Before it: afterwards the filter may find others.
                pks = list(self.order_by().values_list("pk", flat=True))
                updated = super().update(**values)
                ProductSearch.objects.index(pks)
        look_after_commit()
        return updated

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list["Product"]:
        """Insert (or upsert) rows, and have lists read anew after the commit."""
        with transaction.atomic():
            created = super().bulk_create(objs, *args, **kwargs)
            ProductSearch.objects.index([product.pk for product in created])
        look_after_commit()
        return created

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete rows that nothing points at."""
        deleted = super().delete()
        look_after_commit()
        return deleted


class Product(models.Model):
    """Something the shop sells, or sold before it was retired."""

    sku = models.CharField(_("SKU"), max_length=64, unique=True, null=True, blank=True)
    # Digest of source, brand and name where the source knows no SKU.
    source_key = models.CharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    name = models.CharField(pgettext_lazy("product", "name"), max_length=300)
    description = models.TextField(_("description"), blank=True, max_length=20_000)
    brand = models.CharField(_("brand"), max_length=120, blank=True)
    category = models.ForeignKey(
        Category,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="products",
        verbose_name=_("category"),
    )
    price = MoneyField(_("price"))
    # Written by products.stock alone.
    stock_quantity = models.IntegerField(_("stock"), default=0, editable=False)
    sold_quantity = models.BigIntegerField(_("sold"), default=0, editable=False)
    # How sure a provider (products.ai) was of the category it chose, 0 to 1;
    # empty where people chose it.
    category_confidence = models.FloatField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True, editable=False)

    objects = ProductQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("product")
        verbose_name_plural = _("products")
        permissions = [("adjust_stock", "Can change the stock of a product")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(stock_quantity__gte=0),
                name="product_stock_not_negative",
                violation_error_message=_("Stock can't be negative."),
            ),
            models.CheckConstraint(
                condition=models.Q(price__gte=0),
                name="product_price_not_negative",
                violation_error_message=_("The price can't be negative."),
            ),
        ]
        indexes = [
            # What lists are ordered by, and behind the key what they are filtered by, so
            # that a list is cut out of an index alone. Not the stock: every sale changes it.
            *(
                models.Index(
                    fields=list(fields),
                    condition=models.Q(retired_at__isnull=True),
                    name=f"product_by_{name}",
                )
                for name, fields in {
                    "key": ("id", "category", "price"),
                    "price": ("price", "id", "category"),
                    "name": ("name", "id", "category", "price"),
                    "sold": ("sold_quantity", "id", "category", "price"),
                    "category": ("category", "id", "price", "sold_quantity"),
                }.items()
            ),
            # Few, and none of them is being sold. SQLite, which knows no figures,
            # takes it for the sake of the column that it begins with.
            models.Index(
                fields=["stock_quantity", "id", "category", "price", "sold_quantity", "name"],
                condition=models.Q(retired_at__isnull=True, stock_quantity=0),
                name="product_sold_out",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and have the product read anew after the commit.

        Of a row that exists never what only products.stock may write: whoever has
        read it a moment ago would bring back what has been sold since.
        """
        if not self._state.adding and not kwargs.get("force_insert"):
            named = kwargs.get("update_fields")
            if named is None:
                unread = self.get_deferred_fields()
                named = {
                    field.name
                    for field in self._meta.local_concrete_fields
                    if field.attname not in unread and not field.primary_key
                }
            kwargs["update_fields"] = set(named) - BOOKED
        fields = kwargs.get("update_fields")
        with transaction.atomic():
            super().save(*args, **kwargs)
            if fields is None or not SEARCHED.isdisjoint(fields):
                ProductSearch.objects.index([self.pk])
        look_after_commit()

    def categorise(self, category: Category | None, confidence: float | None = None) -> None:
        """Put it into a category; `confidence` is given where no person chose it. Not saved."""
        self.category = category
        self.category_confidence = confidence if category else None

    @property
    def is_on_sale(self) -> bool:
        """Whether it can be bought, stock permitting."""
        return self.retired_at is None


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


_SEARCH_COLUMNS = ("text", "head", "initials", "initials_head")
# Products that are indexed at a time.
_INDEXED = 500


class ProductSearchQuerySet(models.QuerySet["ProductSearch"]):
    """Keeping the index."""

    def index(self, pks: Sequence[int | None]) -> None:
        """Make the index say of these products what their rows say. Four queries per 500 at most.

        What it says already is not written again: most writes leave the texts as
        they are, and a row's trigrams cost more than all the rest of the product.
        """
        known = sorted(pk for pk in pks if pk is not None)
        columns = ("pk", "name", "brand", "sku", "category__path")
        written = tuple(f"search__{column}" for column in _SEARCH_COLUMNS)
        sure: set[str] = set()
        for start in range(0, len(known), _INDEXED):
            found = (
                Product.objects.filter(pk__in=known[start : start + _INDEXED])
                .order_by()
                .values_list(*columns, *written)
            )
            differing: list[ProductSearch] = []
            words: dict[str, str] = {}
            for pk, name, brand, sku, path, *stands in found:
                says = search_columns(name, brand, sku, path)
                if [says[column] for column in _SEARCH_COLUMNS] != stands:
                    differing.append(ProductSearch(product_id=pk, **says))
                # Both are folded for the columns already.
                for word, keys in (*words_of(name), *words_of(brand)):
                    words[keys] = word
            self.bulk_create(
                differing,
                update_conflicts=True,
                unique_fields=["product"],
                update_fields=_SEARCH_COLUMNS,
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
        Product, on_delete=models.CASCADE, primary_key=True, related_name="search"
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


class Change(enum.IntFlag):
    """What a change touches. `SHOWN`: the product wherever it is shown; the rest: which lists."""

    SHOWN = 1
    # Products that are on sale: added, retired, deleted.
    MEMBERS = 2
    PRICE = 4
    # What it is called and found by.
    NAME = 8
    CATEGORY = 16
    # Whether there is any left.
    IN_STOCK = 32
    SOLD = 64
    # What is shown of a product alone: pictures, texts for search engines.
    DETAIL = 128
    # Categories, their names and where they hang.
    TREE = 256


class ProductChange(models.Model):
    """A change of the catalogue, noted by a trigger for processes that keep what they read.

    See products.freshness. Pruned after an hour.
    """

    # None: not of one product. No foreign key, the product may be gone.
    product_id = models.BigIntegerField(null=True)
    # The transaction's id on PostgreSQL; on SQLite the row's id says as much.
    position = models.BigIntegerField(default=0)
    # Flags of Change.
    changed = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["position"], name="productchange_position")]

    def __str__(self) -> str:
        return f"{self.product_id or 'all'}: {Change(self.changed).name}"


class Reason(models.TextChoices):
    """Why stock changed."""

    RECEIVED = "received", pgettext_lazy("stock", "received")
    SOLD = "sold", pgettext_lazy("stock", "sold")
    RETURNED = "returned", pgettext_lazy("stock", "returned")
    DAMAGED = "damaged", pgettext_lazy("stock", "damaged")
    LOST = "lost", pgettext_lazy("stock", "lost")
    CORRECTION = "correction", pgettext_lazy("stock", "correction")
    CANCELLED = "cancelled", pgettext_lazy("stock", "cancelled")


class StockMovementQuerySet(models.QuerySet["StockMovement"]):
    """A ledger: rows are added, never edited."""

    def update(self, **values: Any) -> NoReturn:
        """Refuse."""
        raise TypeError("The stock ledger is never edited; add a correction.")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise TypeError("The stock ledger is never edited; add a correction.")


class StockMovement(models.Model):
    """One change of one product's stock. Their sum is the stock."""

    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="movements", verbose_name=_("product")
    )
    change = models.IntegerField(_("change"))
    reason = models.CharField(_("reason"), max_length=12, choices=Reason.choices)
    balance_after = models.IntegerField(_("balance after"))
    note = models.CharField(_("note"), max_length=200, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("actor"),
    )
    # No foreign key: orders know products, not the other way round.
    order_id = models.UUIDField(_("order"), null=True, blank=True, db_index=True)
    created_at = models.DateTimeField(_("time"), auto_now_add=True)

    objects = StockMovementQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("stock movement")
        verbose_name_plural = _("stock movements")
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(change=0), name="stockmovement_changes_something"
            ),
            models.CheckConstraint(
                condition=models.Q(balance_after__gte=0), name="stockmovement_balance_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(reason__in=Reason.values), name="stockmovement_reason_valid"
            ),
        ]
        indexes = [
            models.Index(fields=["product", "id"], name="stockmovement_product"),
            models.Index(fields=["created_at"], name="stockmovement_created"),
            # Nearly all are sales; the others are looked for.
            models.Index(
                fields=["reason", "-id"],
                condition=~models.Q(reason="sold"),
                name="stockmovement_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.change:+d} {self.get_reason_display()}"


class ProductImage(models.Model):
    """A picture of a product: the original, without metadata, and its renditions."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        READY = "ready", _("ready")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="images")
    file = models.FileField(_("original"), max_length=200, editable=False)
    width = models.PositiveIntegerField(_("width"), editable=False)
    height = models.PositiveIntegerField(_("height"), editable=False)
    alt = models.CharField(_("text in its place"), max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.PENDING, editable=False
    )
    # [{"name", "format", "width", "height", "bytes"}]
    renditions = models.JSONField(default=list, editable=False)
    # A data: address.
    placeholder = models.TextField(blank=True, editable=False)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        editable=False,
    )
    created_at = models.DateTimeField(_("time"), auto_now_add=True)

    class Meta:
        ordering = ["position", "id"]
        verbose_name = _("image")
        verbose_name_plural = _("images")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["pending", "ready"]),
                name="productimage_state_valid",
            ),
        ]
        indexes = [models.Index(fields=["product", "position"], name="productimage_product")]

    def __str__(self) -> str:
        return self.alt or str(self.pk)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and have the product read anew after the commit."""
        super().save(*args, **kwargs)
        look_after_commit()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the row, and after the commit its files."""
        names = [str(self.file.name), *(rendition["name"] for rendition in self.renditions)]
        deleted = super().delete(*args, **kwargs)
        look_after_commit()

        def remove() -> None:
            for name in names:
                default_storage.delete(name)

        transaction.on_commit(remove)
        return deleted

    @property
    def folder(self) -> str:
        """Where its files lie in the storage."""
        return str(PurePosixPath(str(self.file.name)).parent)


class ProductSeo(models.Model):
    """What search engines are told of a product. Written by a job, accepted by staff."""

    product = models.OneToOneField(
        Product, on_delete=models.CASCADE, primary_key=True, related_name="seo"
    )
    title = models.CharField(_("title"), max_length=200)
    description = models.CharField(_("description"), max_length=400, blank=True)
    keywords = models.JSONField(_("keywords"), default=list, blank=True)
    slug = models.CharField(_("slug"), max_length=200, blank=True)
    # "embedded 1", or empty where a person wrote it.
    written_by = models.CharField(_("written by"), max_length=100, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        editable=False,
        verbose_name=_("accepted by"),
    )
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("search engine texts")
        verbose_name_plural = _("search engine texts")

    def __str__(self) -> str:
        return self.title

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and have the product read anew after the commit."""
        super().save(*args, **kwargs)
        look_after_commit()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete, and have the product read anew after the commit."""
        deleted = super().delete(*args, **kwargs)
        look_after_commit()
        return deleted


class Suggestion(models.Model):
    """What a provider proposed for a product, and what staff made of it."""

    class Kind(models.TextChoices):
        CATEGORY = "category", _("category")
        SEO = "seo", _("search engine texts")

    class State(models.TextChoices):
        OPEN = "open", _("open")
        ACCEPTED = "accepted", _("accepted")
        REJECTED = "rejected", _("rejected")
        # A later one took its place before anybody decided.
        REPLACED = "replaced", _("replaced")

    product = models.ForeignKey(
        Product, on_delete=models.CASCADE, related_name="suggestions", verbose_name=_("product")
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    # {"category": primary key, "name", "also": [{"category", "confidence"}]}, or the texts.
    data = models.JSONField(_("proposal"))
    provider = models.CharField(_("provider"), max_length=50)
    version = models.CharField(_("version"), max_length=50)
    confidence = models.FloatField(_("confidence"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.OPEN)
    created_at = models.DateTimeField(_("time"), auto_now_add=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("suggestion")
        verbose_name_plural = _("suggestions")
        constraints = [
            models.UniqueConstraint(
                fields=["product", "kind"],
                condition=models.Q(state="open"),
                name="suggestion_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["open", "accepted", "rejected", "replaced"]),
                name="suggestion_state_valid",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=["category", "seo"]), name="suggestion_kind_valid"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.product}"


class Classifier(models.Model):
    """What was learnt of the categories from their names and the shop's own products.

    `products.ai.embedded` makes, packs and reads it; the newest row counts.
    """

    created_at = models.DateTimeField(_("time"), auto_now_add=True)
    categories = models.PositiveIntegerField(_("categories"))
    products = models.PositiveIntegerField(_("products"))
    # Of everything it was learnt from: the same input needs no second lesson.
    digest = models.CharField(max_length=64)
    data = models.BinaryField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"classifier {self.pk}"
