"""What a search costs is bounded, however much it finds; and the answer says so."""

import pytest
from django.db import transaction

from products import search as finding
from products import search_hits
from products.categories import place_category
from products.models import Category, Product
from products.search_hits import Shelf

pytestmark = pytest.mark.django_db

URL = "/api/v2/products/search"


@pytest.fixture
def small_bounds(monkeypatch):
    """As with 100,000 products and the true bounds."""
    monkeypatch.setattr(finding, "EXACT", 10)
    monkeypatch.setattr(search_hits, "WALKED", 20)
    monkeypatch.setattr(finding, "BEGUN", 5)
    monkeypatch.setattr(finding, "_SMALL", 60)
    monkeypatch.setattr(finding, "_FEW", 3)


@pytest.fixture
def many(small_bounds):
    """Of 100 products 50 have 노트북 inside, the better sold ones first."""
    Product.objects.bulk_create(
        Product(name=f"새노트북 {n}" if n % 2 else f"의자 {n}", price=n + 1, sold_quantity=1000 - n)
        for n in range(100)
    )


def ask(client, **query):
    answer = client.get(URL, query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def pages(client, **query):
    found, page = [], 1
    while True:
        answer = ask(client, page=page, **query)
        if not answer["results"]:
            return found
        found += [row["name"] for row in answer["results"]]
        page += 1


def test_few_hits_are_counted(client, many):
    answer = ask(client, q="의자 9")
    assert (answer["total"], answer["total_is_estimate"]) == (5, False)
    assert answer["facets"]["is_estimate"] is False
    assert answer["facets"]["price"] == {"min": 91, "max": 99}


def test_the_product_of_that_name_comes_first_however_little_it_sells(client, many):
    Product.objects.bulk_create(
        Product(name=f"의자 {n}호", price=1, sold_quantity=2000 + n) for n in range(30)
    )
    Product.objects.bulk_create([Product(name="의자", price=1)])
    answer = ask(client, q="의자")
    assert answer["total_is_estimate"] is True
    assert answer["results"][0]["name"] == "의자"


@pytest.mark.parametrize("q", ["노트북", "ㅌㅡ", "ㅌ", "새", "ㄴㅌㅂ"])
def test_many_hits_are_estimated_and_all_can_be_read(client, many, q):
    answer = ask(client, q=q)
    assert answer["total_is_estimate"] is True
    assert 30 <= answer["total"] <= 70
    assert answer["facets"]["is_estimate"] is True
    assert answer["pages"] >= 2
    found = pages(client, q=q, per_page=7)
    assert len(found) == len(set(found)) == 50
    # What was not ranked follows by sales.
    assert found == [f"새노트북 {n}" for n in range(1, 100, 2)]


def test_exact_and_first_come_first_however_badly_they_sell(client, many):
    for name in ("노트북", "노트북 가방", "게임 노트북"):
        Product.objects.create(name=name, price=1)
    found = pages(client, q="노트북", per_page=10)
    assert found[:4] == ["노트북", "노트북 가방", "게임 노트북", "새노트북 1"]
    assert len(found) == len(set(found)) == 53


def test_what_hardly_any_product_has_is_found_behind_the_best_sellers(client, many):
    Product.objects.create(name="책Q상", price=1)
    for q in ("책q", "책q상"):
        answer = ask(client, q=q)
        assert [row["name"] for row in answer["results"]] == ["책Q상"]
        assert (answer["total"], answer["total_is_estimate"]) == (1, False)


def test_what_no_index_finds_is_looked_for_among_so_many_best_sellers(client, many):
    Product.objects.create(name="책Q상", price=1, sold_quantity=950)
    Product.objects.create(name="등Q불", price=1, sold_quantity=1)
    answer = ask(client, q="q")
    assert [row["name"] for row in answer["results"]] == ["책Q상"]
    # There may be others: they were not looked at.
    assert (answer["total"], answer["total_is_estimate"]) == (1, True)
    assert ask(client, q="q", page=2)["results"] == []


def test_filters_hold_for_all(client, many):
    answer = ask(client, q="노트북", min_price=11, max_price=30)
    assert answer["total"] == 10
    found = pages(client, q="노트북", min_price=11, max_price=60, per_page=10)
    assert sorted(found) == sorted(f"새노트북 {n}" for n in range(11, 60, 2))


def test_the_number_of_queries(client, many, django_assert_max_num_queries):
    ask(client, q="노트북")
    with django_assert_max_num_queries(9):
        ask(client, q="노트북", per_page=100)
    with django_assert_max_num_queries(40):
        ask(client, q="하나둘 셋넷다 다섯여 일곱여 아홉열", per_page=100)


def test_facets(client, make_product):
    root = place_category(
        category=Category(name_en="Computers", name_ko="컴퓨터", key="c", slug="c"), parent=None
    )
    laptops = place_category(
        category=Category(name_en="Laptops", key="l", slug="laptops"), parent=root
    )
    make_product("노트북 하나", price=100, category=laptops)
    make_product("노트북 둘", price=300, category=laptops)
    make_product("노트북 책", price=50, category=root)
    make_product("노트북", price=200)
    make_product("의자", price=1, category=root)
    assert ask(client, q="노트북", per_page=1)["facets"] == {
        "categories": [
            {"slug": "laptops", "name": {"en": "Laptops", "ko": "Laptops"}, "count": 2},
            {"slug": "c", "name": {"en": "Computers", "ko": "컴퓨터"}, "count": 1},
        ],
        "price": {"min": 50, "max": 300},
        "is_estimate": False,
    }
    filtered = ask(client, q="노트북", min_price=90, category="laptops")["facets"]
    assert [row["count"] for row in filtered["categories"]] == [2]
    assert filtered["price"] == {"min": 100, "max": 300}
    assert ask(client, q="없는말")["facets"] == {
        "categories": [], "price": None, "is_estimate": False
    }  # fmt: skip


@pytest.mark.postgresql
def test_the_planner_is_as_before_after_a_search(many):
    """The search tells PostgreSQL not to read whole tables; other queries may."""
    from django.db import connection

    with transaction.atomic():
        finding.search("노트북", Shelf.of(lambda: Product.objects.on_sale()), page=1, per_page=5)
        with connection.cursor() as cursor:
            cursor.execute("SHOW enable_seqscan")
            assert cursor.fetchone() == ("on",)
