"""The migrations of the lists' indexes: there and back beside the data, on either database."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader

from products.models import Category, Product, ProductChange
from shop.database.operations import RemoveIndexLive, UnindexFieldLive

# They are built outside of a transaction.
pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = {"product_live", *(f"product_live_{n}" for n in ("price", "name", "sold", "category"))}
WIDE = {f"product_by_{n}" for n in ("key", "price", "name", "sold", "category")}
NOW = {f"product_list_{n}" for n in ("key", "price", "name", "sold", "category")}


@pytest.fixture
def migrate():
    """Migrate the products, and in the end to where they were."""

    def to(name: str) -> None:
        call_command("migrate", "products", name, verbosity=0)

    yield to
    call_command("migrate", verbosity=0)


def indexes() -> dict[str, list[str]]:
    """Return the columns of the products' indexes by name."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "products_product")
    return {name: its["columns"] for name, its in found.items() if its["index"]}


def of_lists() -> set[str]:
    return {name for name in indexes() if name.startswith("product_")}


def of_category_alone() -> list[str]:
    return [name for name, columns in indexes().items() if columns == ["category_id"]]


def triggers() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'products_%'"
            if connection.vendor == "postgresql"
            else "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
            " AND name LIKE 'products_change_%'"
        )
        return int(cursor.fetchone()[0])


def test_back_to_the_narrow_indexes_and_forth_with_all_products(migrate, make_product):
    kept = [make_product(price=price, stock=price // 100).pk for price in (100, 200)]
    before, hung = indexes(), triggers()
    assert of_lists() == {*NOW, "product_sold_out"}
    assert of_category_alone() == []

    migrate("0010")
    assert of_lists() == {*WIDE, "product_sold_out"}
    assert len(of_category_alone()) == 1

    migrate("0006")
    assert of_lists() == BEFORE

    migrate("0011")
    assert indexes() == before
    assert triggers() == hung
    assert sorted(Product.objects.values_list("pk", flat=True)) == kept


def state_at(name: str) -> Any:
    loader = MigrationLoader(connection)
    return loader.project_state(("products", name))


def run(operation: Any, *, backwards: bool = False) -> None:
    """Run one operation on what there is now, outside of a transaction; or the way back."""
    state = state_at("0011_list_covering")
    if isinstance(operation, UnindexFieldLive):
        state = state_at("0010_search_index")
    after = state.clone()
    operation.state_forwards("products", after)
    with connection.schema_editor(atomic=False) as editor:
        if backwards:
            operation.database_backwards("products", editor, after, state)
        else:
            operation.database_forwards("products", editor, state, after)


def test_an_index_is_dropped_by_itself_and_built_again(migrate):
    before = indexes()
    for name in sorted(NOW):
        drop = RemoveIndexLive("product", name)
        run(drop)
        assert {*before} - {*indexes()} == {name}
        run(drop, backwards=True)
        assert indexes() == before


def test_a_column_loses_its_own_index_and_gets_it_back(migrate):
    plain = models.ForeignKey(
        Category, models.PROTECT, null=True, blank=True, related_name="products", db_index=False
    )
    unindex = UnindexFieldLive("product", "category", plain)
    run(unindex, backwards=True)
    (name,) = of_category_alone()
    # What a broken run has left is no obstacle.
    run(unindex, backwards=True)
    assert of_category_alone() == [name]
    run(unindex)
    assert of_category_alone() == []
    assert of_lists() >= NOW


def test_a_table_that_is_written_anew_has_its_triggers_after_migrate(migrate, make_product):
    product = make_product(price=100, stock=1)
    hung = triggers()
    with connection.schema_editor(atomic=False) as editor:
        # What SQLite does to change a column.
        if connection.vendor == "sqlite":
            old, new = Product._meta.get_field("brand"), models.CharField(max_length=130)
            new.set_attributes_from_name("brand")
            new.model = Product
            editor.alter_field(Product, old, new)
            editor.alter_field(Product, new, old)
            assert triggers() == hung - 3
        assert {*NOW, "product_sold_out"} == of_lists()
    call_command("migrate", verbosity=0)
    assert triggers() == hung
    ProductChange.objects.all().delete()
    Product.objects.filter(pk=product.pk).update(price=200)
    assert list(ProductChange.objects.values_list("product_id", flat=True)) == [product.pk]
