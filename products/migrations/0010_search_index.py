from django.db import migrations, models, transaction

from shop.database.operations import AddIndexLive

_BATCH = 500


def fill(apps, schema_editor):
    """Index what is there already anew, a batch at a time; may be run again after a failure.

    What code of before writes meanwhile is found by `products.tidy_search`.
    """
    from products.hangul import words_of
    from products.search_models import search_columns

    Word = apps.get_model("products", "SearchWord")
    seen = set(Word.objects.values_list("keys", flat=True))

    def learn(texts):
        new = {keys: word for text in texts for word, keys in words_of(text) if keys not in seen}
        seen.update(new)
        Word.objects.bulk_create(
            [Word(word=new[keys], keys=keys, backwards=keys[::-1]) for keys in sorted(new)]
        )

    Category = apps.get_model("products", "Category")
    learn(f"{en} {ko}" for en, ko in Category.objects.values_list("name_en", "name_ko"))
    Product = apps.get_model("products", "Product")
    Search = apps.get_model("products", "ProductSearch")
    columns = ("pk", "name", "brand", "sku", "category__path")
    last = 0
    while True:
        with transaction.atomic():
            # Whoever renames one of these meanwhile comes after this batch.
            keys = Product.objects.filter(pk__gt=last).order_by("pk").select_for_update()
            pks = list(keys.values_list("pk", flat=True)[:_BATCH])
            if not pks:
                break
            found = list(Product.objects.filter(pk__in=pks).order_by("pk").values_list(*columns))
            Search.objects.bulk_create(
                (
                    Search(product_id=pk, **search_columns(name, brand, sku, path))
                    for pk, name, brand, sku, path in found
                ),
                update_conflicts=True,
                unique_fields=["product"],
                update_fields=["text", "head", "initials", "initials_head"],
            )
            learn(f"{name} {brand}" for _pk, name, brand, *_ in found)
        last = pks[-1]


def add_trigrams(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        from products.patterns import add_trigram_table

        add_trigram_table(schema_editor)


def remove_trigrams(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        from products.patterns import remove_trigram_table

        remove_trigram_table(schema_editor)


class Migration(migrations.Migration):

    # A batch is a transaction: people are buying meanwhile.
    atomic = False

    dependencies = [
        ('products', '0009_search_words'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        AddIndexLive(
            model_name='productsearch',
            index=models.Index(fields=['head'], name='productsearch_head', opclasses=['varchar_pattern_ops']),
        ),
        AddIndexLive(
            model_name='productsearch',
            index=models.Index(fields=['initials_head'], name='productsearch_initials_head', opclasses=['varchar_pattern_ops']),
        ),
        # Last: on SQLite, adding an index may write the table anew.
        migrations.RunPython(add_trigrams, remove_trigrams),
    ]
