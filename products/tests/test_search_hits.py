"""Hits are the same whether the database looks for them or the process."""

import tracemalloc
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from products import hangul, search_hits
from products.actions import retire_product
from products.freshness import feed
from products.listing import Filter
from products.models import Category, Product, Reason
from products.patterns import glob, matcher
from products.search import _categories, _with_categories
from products.search_hits import Shelf, best_sellers, fetch
from products.search_models import ProductSearch
from products.search_query import Query
from products.stock import adjust
from shop.money import to_minor

ALL = Shelf.of(Product.objects.on_sale, key="all")


# --- Patterns ----------------------------------------------------------------


@pytest.mark.django_db
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text("ㄱㅏ|*", max_size=6), st.text("ㄱㅏ|", max_size=8))
@example("ㄱ*ㄱ", "ㄱ")
@example("*ㄱㅏ*|*", "|ㄱㅏ")
@example("", "")
def test_a_pattern_means_the_same_in_memory_and_in_the_database(pattern, text):
    sql, param = glob("texts.text", pattern)
    with connection.cursor() as cursor:
        looked_at = f"SELECT 1 FROM (SELECT %s AS text) AS texts WHERE {sql}"  # noqa: S608
        cursor.execute(looked_at, [text, param])
        assert matcher(pattern)(text) == (cursor.fetchone() is not None)


# --- Best sellers ------------------------------------------------------------


@pytest.fixture
def goods(make_product, tree):
    laptops = {"category": Category.objects.get(key="el-6")}
    return [
        make_product("노트북 가방", 3000, sku="B-1"),
        make_product("게이밍노트북", 9000, brand="노바", **laptops),
        make_product("노트북", 8000, **laptops),
        make_product("Laptop sleeve", 1000, brand="Nova"),
        make_product("의자", 2000),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "typed",
    [
        "노트북",
        "노트 북가",
        "ㄴㅌㅂ",
        "laptop",
        "ㄴㅌㅂ ㄱ",
        "노",
        "b-1",
        "nova",
        "전자기기 노바",
        "없다",
    ],
)
def test_a_query_finds_and_ranks_the_same_in_memory_and_in_the_database(goods, typed):
    query = Query.read(hangul.decompose(typed))
    query = _with_categories(query, _categories(query))
    in_memory = best_sellers(ALL).matching(query)
    assert sorted(in_memory) == sorted(fetch(query, query.matching, ALL, 100))
    assert bool(in_memory) == (typed != "없다")


@pytest.mark.django_db
def test_a_product_that_is_not_indexed_yet_counts_among_the_best_sellers(goods, monkeypatch):
    monkeypatch.setattr(search_hits, "WALKED", 5)
    ProductSearch.objects.filter(product=goods[0]).delete()
    best = best_sellers(ALL)
    assert (len(best.rows), best.is_all) == (5, False)
    assert len(best.matching(Query.read("ㄴㅗㅌㅡ"))) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change",
    [
        lambda first: Product.objects.filter(pk=first.pk).update(name="책상"),
        lambda first: Product.objects.filter(pk=first.pk).update(price=Decimal(7)),
        lambda first: Product.objects.filter(pk=first.pk).update(sold_quantity=5),
        lambda first: Product.objects.filter(pk=first.pk).update(
            category=Category.objects.get(key="aa")
        ),
        lambda first: retire_product(first.pk),
    ],
)
def test_kept_best_sellers_go_with_what_changes_them(goods, change):
    kept = best_sellers(ALL)
    assert best_sellers(ALL) is kept
    adjust(product_id=goods[1].pk, change=3, reason=Reason.RECEIVED, actor=None)
    feed.catch_up()
    assert best_sellers(ALL) is kept
    change(goods[0])
    # As the thread does: what sells best is settled by it alone.
    feed._look(sold=True)
    now = best_sellers(ALL)
    assert now is not kept and now.rows != kept.rows or now.texts != kept.texts


@pytest.mark.django_db(transaction=True)
def test_best_sellers_with_long_names_are_kept_too():
    name = "겨울 방한 기모 오버핏 후드 집업 점퍼 남녀공용 빅사이즈 단체 주문 " * 2
    Product.objects.bulk_create(
        Product(name=f"{name}{n}", brand="가나다라마", price=1) for n in range(search_hits.WALKED)
    )
    assert best_sellers(ALL) is best_sellers(ALL)


@pytest.mark.django_db(transaction=True)
def test_what_a_transaction_sees_is_not_kept(goods):
    kept = best_sellers(ALL)
    with transaction.atomic():
        Product.objects.filter(pk=goods[0].pk).update(price=Decimal(7))
        (row,) = (row for row in best_sellers(ALL).rows if row[0] == goods[0].pk)
        assert row[2] == to_minor(Decimal(7))
        transaction.set_rollback(True)
    assert best_sellers(ALL).rows == kept.rows


@pytest.mark.django_db(transaction=True)
def test_shelves_have_a_bound_however_many_categories_lie_in_each():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for low in range(600):
            branch = tuple(range(10**6 + low, 10**6 + low + 1000))
            chosen = Filter("electronics", branch, Decimal(low), None, None)
            best_sellers(Shelf.of(chosen, key=chosen))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < search_hits._SHELVES + search_hits._KEPT
