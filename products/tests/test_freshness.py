"""What a process shows of what it has kept: never less than it has written or shown."""

import json
import threading
import time
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY

from orders.actions import cancel_order
from products import catalogue, freshness, stock, triggers
from products.categories import place_category
from products.filters import filter_products, tags_of_filters
from products.freshness import Feed, feed
from products.models import (
    Category,
    Change,
    Product,
    ProductChange,
    ProductImage,
    ProductSeo,
    Reason,
)
from products.search_models import ProductSearch
from products.stock import adjust
from products.tasks import tidy_search
from shop.ready import kept

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def product(make_product):
    return make_product(price=1000, stock=5)


@pytest.fixture
def ask(client_of):
    client = client_of(None)
    return lambda path: client.get(f"/api/v2/{path}").json()


def changes():
    """What has been noted, as (product, flags)."""
    return [
        (pk, Change(changed))
        for pk, changed in ProductChange.objects.order_by("pk").values_list("product_id", "changed")
    ]


# --- What the triggers note -------------------------------------------------


def _with(product, **values):
    for name, value in values.items():
        setattr(product, name, value)
    return product


@pytest.mark.parametrize(
    ("write", "flags"),
    [
        (lambda p: Product.objects.filter(pk=p.pk).update(price=Decimal(2)), Change.PRICE),
        (lambda p: Product.objects.bulk_update([_with(p, price=2)], ["price"]), Change.PRICE),
        (lambda p: _with(p, name="other").save(update_fields=["name"]), Change.NAME),
        (lambda p: Product.objects.filter(pk=p.pk).update(brand="b"), Change.NAME),
        (lambda p: Product.objects.filter(pk=p.pk).update(sku="b"), Change.NAME),
        (lambda p: Product.objects.filter(pk=p.pk).update(description="b"), Change(0)),
        (
            lambda p: adjust(product_id=p.pk, change=1, reason=Reason.RECEIVED, actor=None),
            Change(0),
        ),
        (
            lambda p: adjust(product_id=p.pk, change=-5, reason=Reason.LOST, actor=None),
            Change.IN_STOCK,
        ),
    ],
)
def test_a_write_is_noted_with_what_it_touches(product, write, flags):
    ProductChange.objects.all().delete()
    write(product)
    assert changes() == [(product.pk, Change.SHOWN | flags)]


def test_an_order_is_noted_with_what_it_sold(product, make_order, alice):
    ProductChange.objects.all().delete()
    order = make_order(alice, (product, 5))
    assert changes() == [(product.pk, Change.SHOWN | Change.SOLD | Change.IN_STOCK)]
    cancel_order(order_id=order.pk, reason="customer_request", actor=alice)
    assert changes()[1:] == changes()[:1]


def test_sql_typed_by_hand_is_noted(product):
    ProductChange.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE products_product SET price = 7, retired_at = created_at")
        cursor.execute("DELETE FROM products_productsearch")
        cursor.execute("DELETE FROM products_stockmovement")
        cursor.execute("DELETE FROM products_product")
    assert changes() == [
        (product.pk, Change.SHOWN | Change.PRICE | Change.MEMBERS),
        (product.pk, Change.SHOWN | Change.MEMBERS),
    ]


def test_new_products_are_noted_as_new_members(make_product):
    ProductChange.objects.all().delete()
    Product.objects.bulk_create(Product(name=f"n{n}", price=1) for n in range(3))
    assert all(Change.MEMBERS in flags for _pk, flags in changes())
    assert len(changes()) == (1 if connection.vendor == "postgresql" else 3)


def test_one_that_is_put_in_anothers_place_is_noted(product, ask):
    if connection.vendor != "sqlite":
        pytest.skip("SQLite's own")
    assert ask(f"products/{product.pk}")["name"] != "other"
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA table_info(products_product)")
        columns = [row[1] for row in cursor.fetchall()]
        values = ", ".join("'other'" if column == "name" else column for column in columns)
        cursor.execute(
            f"REPLACE INTO products_product SELECT {values} FROM products_product"  # noqa: S608
        )
    feed.catch_up()
    assert ask(f"products/{product.pk}")["name"] == "other"


def test_what_is_shown_of_one_product_alone_is_noted_as_that(product):
    ProductChange.objects.all().delete()
    seo = ProductSeo.objects.create(product=product, title="t")
    seo.delete()
    image = ProductImage.objects.create(product=product, file="a.jpg", width=1, height=1)
    ProductImage.objects.filter(pk=image.pk).update(alt="b")
    assert set(changes()) == {(product.pk, Change.DETAIL)}
    assert len(changes()) == 4


def test_a_category_that_is_renamed_or_moved_touches_all_that_shows_it(tree):
    ProductChange.objects.all().delete()
    Category.objects.filter(slug="laptops").update(search_text="x")
    assert changes() == []
    Category.objects.filter(slug="laptops").update(name_ko="랩톱")
    assert changes() == [(None, Change.SHOWN | Change.CATEGORY | Change.TREE)]


def test_a_rolled_back_write_is_not_noted(product):
    ProductChange.objects.all().delete()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.filter(pk=product.pk).update(price=2000)
        raise ZeroDivisionError
    assert changes() == []


def test_the_triggers_come_back_after_a_table_was_made_anew(product):
    triggers.remove(connection)
    triggers.install()
    ProductChange.objects.all().delete()
    Product.objects.filter(pk=product.pk).update(price=2)
    assert len(changes()) == 1


# --- What a process shows of its own writes ----------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda p: Product.objects.filter(pk=p.pk).update(price=2000),
        lambda p: Product.objects.bulk_update([_with(p, price=Decimal(2000))], ["price"]),
        lambda p: _with(p, price=Decimal(2000)).save(),
    ],
    ids=["update", "bulk_update", "save"],
)
def test_a_write_is_seen_by_the_next_read(product, ask, write):
    paths = (f"products/{product.pk}", "products", "products/search?q=노트북")
    for path in paths:
        told = ask(path)
        assert told.get("price") or told["results"][0]["price"] == 1000
    write(product)
    for path in paths:
        told = ask(path)
        assert (told.get("price") or told["results"][0]["price"]) == 2000


def test_a_sale_a_new_product_and_a_retired_one_are_seen_by_the_next_read(
    product, ask, make_product, make_order, alice
):
    assert ask("products")["total"] == ask("products?in_stock=true")["total"] == 1
    make_order(alice, (product, 5))
    assert ask(f"products/{product.pk}")["stock_quantity"] == 0
    assert ask("products?in_stock=true")["total"] == 0
    make_product()
    assert ask("products")["total"] == 2
    Product.objects.filter(pk=product.pk).update(retired_at="2026-01-01T00:00Z")
    assert ask("products")["total"] == 1


def test_a_category_is_seen_by_the_next_read(ask, tree):
    laptops = Category.objects.get(slug="laptops")
    before = ask("categories?depth=2")
    laptops.name_ko = "랩톱"
    laptops.save(update_fields=["name_ko"])
    assert ask("categories?depth=2") != before


def test_a_second_read_asks_nothing_but_what_has_changed(product, ask, django_assert_num_queries):
    for path in (f"products/{product.pk}", "products", "products/search?q=노트북", "categories"):
        ask(path)
        with django_assert_num_queries(0):
            ask(path)


def test_a_stock_change_leaves_alone_what_does_not_show_it(product, ask, make_product):
    other = make_product("컵")
    paths = [f"products/{other.pk}", "products/search?q=컵", "products?max_price=1", "categories"]
    for path in [*paths, "products", f"products/{product.pk}"]:
        ask(path)
    adjust(product_id=product.pk, change=1, reason=Reason.RECEIVED, actor=None)
    kept_paths = {path for path, _query in kept().store._items}
    assert f"/api/v2/products/{other.pk}" in kept_paths
    assert f"/api/v2/products/{product.pk}" not in kept_paths
    assert len(kept().store) == 4


def test_what_a_search_lacked_is_found_when_its_index_is_in_order(product, ask):
    """As a version of the code wrote it that knew of no names run together."""
    ProductSearch.objects.update(text="")
    assert ask("products/search?q=노트북")["total"] == 0
    tidy_search()
    assert ask("products/search?q=노트북")["total"] == 1


def test_in_a_transaction_nothing_kept_is_shown_and_nothing_is_kept(product, ask):
    ask(f"products/{product.pk}")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.filter(pk=product.pk).update(price=2000)
        assert ask(f"products/{product.pk}")["price"] == 2000
        raise ZeroDivisionError
    assert ask(f"products/{product.pk}")["price"] == 1000


def test_a_slow_reader_brings_nothing_old_back(product, ask, monkeypatch):
    """The rival writes after the reader has read, and before it can keep that."""
    rendered = catalogue.read_facts

    def slow(pk):
        found = rendered(pk)
        if found["price"] == 1000:
            in_another_thread(lambda: Product.objects.filter(pk=pk).update(price=2000))
        return found

    monkeypatch.setattr(catalogue, "read_facts", slow)
    # It has been told of the write when it looks once more.
    assert ask(f"products/{product.pk}")["price"] == 2000
    assert ask(f"products/{product.pk}")["price"] == 2000


def in_another_thread(work):
    def run():
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


# --- What others write --------------------------------------------------------


@pytest.fixture
def theirs():
    """The feed of another process."""
    other = Feed()
    settle(other)
    yield other
    other.stop()


def settle(feed):
    """Wait until no transaction runs that was there before: of others, on the same server."""
    wait_for(lambda: feed.catch_up() and feed.horizon >= feed._floor)
    last = max(feed._positions.values(), default=-1)
    wait_for(lambda: feed.catch_up() and feed.horizon > last)


def test_another_process_learns_of_it(product, theirs):
    since = theirs.knowledge.tags.now
    Product.objects.filter(pk=product.pk).update(price=2000)
    assert theirs.knowledge.tags.unchanged([product.pk], since)
    assert theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged([product.pk], since)
    assert theirs.knowledge.tags.unchanged(["name", "members", product.pk + 1], since)


def test_what_is_learnt_once_is_not_learnt_again(product, theirs):
    Product.objects.filter(pk=product.pk).update(price=2000)
    theirs.catch_up()
    now = theirs.knowledge.tags.now
    theirs.catch_up()
    assert theirs.knowledge.tags.now == now


@pytest.mark.postgresql
def test_what_commits_late_is_learnt_and_once(product, make_product, theirs):
    """The first to write is the last to commit; its id and its row's are the smaller ones."""
    other = make_product()
    theirs.catch_up()
    written, may_end = threading.Event(), threading.Event()

    def late():
        with transaction.atomic():
            Product.objects.filter(pk=product.pk).update(price=2000)
            written.set()
            may_end.wait(20)

    thread = threading.Thread(target=lambda: (late(), connection.close()))
    thread.start()
    assert written.wait(20)
    Product.objects.filter(pk=other.pk).update(price=3000)
    since = theirs.knowledge.tags.now
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged([other.pk], since)
    assert theirs.knowledge.tags.unchanged([product.pk], since)
    # What the early one read may not say what the late one wrote.
    position = theirs.horizon
    now = theirs.knowledge.tags.now
    theirs.catch_up()
    assert theirs.knowledge.tags.now == now
    # However long it takes, what is known is not read again and again.
    assert [row[4] for row in theirs._read()] == [None]
    with CaptureQueriesContext(connection) as asked:
        theirs._read()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN ANALYZE " + asked[0]["sql"])
        assert "Rows Removed" not in str(cursor.fetchall())
    may_end.set()
    thread.join()
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged([product.pk], now)
    assert theirs.knowledge.tags.unchanged([other.pk], now)
    assert not theirs.believes(product.pk, position)
    settle(theirs)
    assert theirs.believes(product.pk, theirs.horizon)


def test_what_was_read_before_a_change_is_not_believed_after_it(product, theirs):
    position = theirs.horizon
    assert theirs.believes(product.pk, position)
    Product.objects.filter(pk=product.pk).update(price=2000)
    theirs.catch_up()
    assert not theirs.believes(product.pk, position)
    settle(theirs)
    assert theirs.believes(product.pk, theirs.horizon)
    # Of what was read before it began it knows nothing.
    newcomer = Feed()
    newcomer.catch_up()
    assert not newcomer.believes(product.pk, position)


def test_a_change_of_everything_leaves_nothing_to_believe(product, theirs, tree):
    position = theirs.horizon
    since = theirs.knowledge.tags.now
    Category.objects.filter(slug="laptops").update(name_ko="랩톱")
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged(["anything"], since)
    assert not theirs.believes(product.pk, position)


def test_very_many_changes_are_one_of_everything(product, theirs, monkeypatch):
    monkeypatch.setattr(freshness, "_MOST_ROWS", 2)
    since = theirs.knowledge.tags.now
    for price in range(3):
        Product.objects.filter(pk=product.pk).update(price=price)
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged(["anything"], since)


def test_the_positions_that_are_remembered_have_a_bound(make_product, theirs, monkeypatch):
    monkeypatch.setattr(freshness, "_POSITIONS", 2)
    position = theirs.horizon
    products = [make_product(f"p{n}") for n in range(4)]
    for product in products:
        Product.objects.filter(pk=product.pk).update(price=5)
        theirs.catch_up()
    assert len(theirs._positions) == 2
    assert not any(theirs.believes(product.pk, position) for product in products)


def test_who_has_not_asked_for_long_begins_anew(product, theirs, monkeypatch):
    monkeypatch.setattr(freshness, "_LONGEST_GAP", -1)
    since = theirs.knowledge.tags.now
    position = theirs.horizon
    ProductChange.objects.all().delete()
    Product.objects.filter(pk=product.pk).update(price=2000)
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged(["anything"], since)
    assert not theirs.believes(product.pk, position)


def test_the_thread_learns_by_itself_and_rests_when_nobody_asks(product, theirs, monkeypatch):
    monkeypatch.setattr(freshness, "_EVERY", 0.01)
    assert theirs.knowledge.is_sure()
    since = theirs.knowledge.tags.now
    Product.objects.filter(pk=product.pk).update(price=2000)
    wait_for(lambda: not theirs.knowledge.tags.unchanged([product.pk], since))
    monkeypatch.setattr(freshness, "_REST_AFTER", 0.05)
    wait_for(lambda: not theirs._thread.is_alive())
    monkeypatch.setattr(freshness, "_REST_AFTER", 60)
    assert theirs.knowledge.is_sure()
    assert theirs._thread.is_alive()


def wait_for(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_sells_best_is_settled_by_the_thread_alone(
    product, theirs, make_order, alice, monkeypatch
):
    monkeypatch.setattr(freshness, "_SETTLED_FOR", 60)
    theirs._look(sold=True)
    since = theirs.knowledge.tags.now
    make_order(alice, (product, 1))
    theirs.catch_up()
    assert theirs.knowledge.tags.unchanged(["sold"], since)
    theirs._look(sold=True)
    assert not theirs.knowledge.tags.unchanged(["sold"], since)


def test_where_the_thread_has_rested_who_looks_first_settles_what_sells_best(
    product, theirs, make_order, alice
):
    since = theirs.knowledge.tags.now
    make_order(alice, (product, 1))
    theirs._settled_at -= freshness._REST_AFTER
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged(["sold"], since)


def test_when_changes_cannot_be_read_nothing_kept_is_shown(product, ask, monkeypatch):
    from django.db import OperationalError

    ask(f"products/{product.pk}")

    def gone(self):
        raise OperationalError("gone")

    monkeypatch.setattr(Feed, "_read", gone)
    feed._look()
    in_the_database = Product.objects.filter(pk=product.pk)
    super(type(in_the_database), in_the_database).update(price=2000)
    assert ask(f"products/{product.pk}")["price"] == 2000
    monkeypatch.undo()
    assert ask(f"products/{product.pk}")["price"] == 2000


def test_changes_are_pruned_when_nobody_can_need_them(product, monkeypatch):
    Product.objects.filter(pk=product.pk).update(price=2000)
    assert freshness.prune() == 0
    monkeypatch.setattr(freshness, "KEPT_FOR", -1)
    assert freshness.prune() >= 2
    assert not ProductChange.objects.exists()


def test_positions_go_on_after_all_changes_are_pruned(product, theirs):
    before = theirs.horizon
    Product.objects.filter(pk=product.pk).update(price=2000)
    ProductChange.objects.all().delete()
    theirs.catch_up()
    Product.objects.filter(pk=product.pk).update(price=2001)
    since = theirs.knowledge.tags.now
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged([product.pk], since)
    settle(theirs)
    assert theirs.horizon > before


def test_counts_are_kept_until_who_is_counted_changes(product, ask, monkeypatch):
    counted = []
    real = catalogue.Product.objects.on_sale().__class__.count
    monkeypatch.setattr(
        catalogue.Product.objects.on_sale().__class__,
        "count",
        lambda self: counted.append(1) or real(self),
    )
    assert ask("products?per_page=1")["total"] == 1
    assert ask("products?per_page=2")["total"] == 1
    assert len(counted) == 1
    stock.adjust(product_id=product.pk, change=-1, reason=Reason.LOST, actor=None)
    assert ask("products?per_page=1")["total"] == 1
    assert len(counted) == 1
    Product.objects.create(name="another", price=1)
    assert ask("products?per_page=1")["total"] == 2
    assert len(counted) == 2


def test_what_was_counted_in_a_branch_that_has_changed_counts_for_nobody_else(
    make_product, tree, ask
):
    """Who read the branch before the change counts after this process has learnt of it."""
    vests = Category.objects.get(key="aa-1")
    make_product("a", category=vests)
    query = {"category": Category.objects.get(key="el").slug}
    before = filter_products(query)
    place_category(category=vests, parent=Category.objects.get(key="el"))
    feed.catch_up()
    assert catalogue.count_products(before, tags_of_filters(query)).rows == 0
    assert ask(f"products?category={query['category']}")["total"] == 1


def test_a_json_body_is_what_it_was(product, ask):
    assert json.loads(catalogue.read_product(product.pk)) == ask(f"products/{product.pk}")


def test_positions_that_went_back_are_a_database_of_which_nothing_is_known(product, theirs):
    theirs.catch_up()
    theirs.horizon += 1000
    since = theirs.knowledge.tags.now
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged(["members"], since)
    Product.objects.filter(pk=product.pk).update(price=7)
    since = theirs.knowledge.tags.now
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged([product.pk], since)


def test_putting_triggers_in_place_tells_all_that_something_may_be_missed(product, theirs):
    theirs.catch_up()
    triggers.remove(connection)
    Product.objects.filter(pk=product.pk).update(name="unnoted")
    since = theirs.knowledge.tags.now
    triggers.install()
    theirs.catch_up()
    assert not theirs.knowledge.tags.unchanged([product.pk], since)


@pytest.mark.postgresql
def test_who_writes_without_a_search_path_is_noted_too(product):
    with connection.cursor() as cursor:
        schema = cursor.execute("SELECT current_schema()").fetchone()[0]
        ProductChange.objects.all().delete()
        cursor.execute("SET search_path = ''")
        try:
            cursor.execute(f"UPDATE {schema}.products_product SET price = 7")  # noqa: S608
        finally:
            cursor.execute("RESET search_path")
    assert [pk for pk, _flags in changes()] == [product.pk]


@pytest.mark.postgresql
def test_an_emptied_table_is_noted(product):
    ProductChange.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE products_productseo")
    [(pk, flags)] = changes()
    assert pk is None
    assert Change.SHOWN in flags


def test_a_kept_search_counts_for_whoever_is_given_it(product, ask, monkeypatch):
    noted = []
    monkeypatch.setattr(
        "products.past_searches.note_search", lambda text, times=1: noted.append(text)
    )
    path = f"products/search?q={product.name.split()[0]}"
    assert ask(path)["total"]
    ask(path)
    assert len(noted) == 2


def test_what_the_thread_asks_is_counted_apart_from_requests(product, ask):
    def executed(alias):
        vendor = connection.vendor
        return REGISTRY.get_sample_value(
            "django_db_execute_total", {"alias": alias, "vendor": vendor}
        )

    ask("products")
    before, asked = executed("default"), executed("changes") or 0
    thread = Feed()
    thread.knowledge.asked = time.monotonic()
    thread.follow()
    end = time.monotonic() + 30
    while (executed("changes") or 0) == asked and time.monotonic() < end:
        time.sleep(0.02)
    thread.stop()
    assert (executed("changes") or 0) > asked
    assert executed("default") == before
