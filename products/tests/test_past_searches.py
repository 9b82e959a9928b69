"""What people searched for is suggested to others, and nothing about them is kept."""

from datetime import timedelta

import pytest
from django.utils import timezone

from products import past_searches
from products.models import Product
from products.past_searches import note_search, write_waiting
from products.search_models import PastSearch, ProductSearch, SearchWord
from products.tasks import tidy_search

pytestmark = pytest.mark.django_db


@pytest.fixture
def later(monkeypatch):
    """Let time go by."""
    now = [timezone.now()]
    monkeypatch.setattr(past_searches.timezone, "now", lambda: now[0])

    def wait(**span):
        now[0] += timedelta(**span)

    return wait


@pytest.fixture
def often(later):
    def search(text, moments=3, times=1):
        for _ in range(moments):
            note_search(text, times)
            write_waiting()
            later(minutes=2)

    return search


def suggestions(client, q):
    return client.get("/api/v2/products/suggestions", {"q": q}).json()["results"]


def test_what_was_searched_for_at_three_moments_is_suggested(client, often, make_product):
    make_product("노트북 무선 마우스")
    often("노트북 마우스", moments=2)
    assert "노트북 마우스" not in suggestions(client, "노트")
    often("노트북  마우스!", moments=1)
    assert "노트북 마우스" in suggestions(client, "노트")
    assert "노트북 마우스" in suggestions(client, "노트북 마")
    assert "노트북 마우스" in suggestions(client, "ㄴㅌㅂㅁ")
    assert "노트북 마우스" not in suggestions(client, "무선")


def test_many_at_once_are_one_moment(often, later, make_product):
    make_product("노트북")
    for _ in range(5):
        note_search("노트북", 40)
        write_waiting()
        later(seconds=5)
    found = PastSearch.objects.get()
    assert (found.times, found.moments) == (200, 1)


def test_only_words_of_the_catalogue_are_kept(make_product):
    make_product("노트북 15인치 pro")
    for text in (
        "홍길동 노트북", "alice@pro.com", "노트북 01012345678", "12345 노트북", "노트", "shxmqnr",
        "노트북 " * 20, "15", "ㄴㅌㅂ", " ", "노트북 alice@example.com",
    ):  # fmt: skip
        note_search(text)
    note_search("노트북 PRO 15")
    assert write_waiting() == 1
    assert list(PastSearch.objects.values_list("text", flat=True)) == ["노트북 pro 15"]
    assert write_waiting() == 0


def test_the_search_notes_what_it_found(client, make_product):
    make_product("노트북")
    for q, page in (("노트북", 1), ("노트북", 2), ("의자", 1)):
        client.get("/api/v2/products/search", {"q": q, "page": page})
    client.get("/api/v2/products/suggestions", {"q": "노트북"})
    # Nothing is written by a request.
    assert not PastSearch.objects.exists()
    write_waiting()
    assert [(row.text, row.times) for row in PastSearch.objects.all()] == [("노트북", 1)]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(past_searches, "_WAITING", 3)
    for number in range(10):
        note_search(f"word{number}")
    note_search("word1", 5)
    assert dict(past_searches._waiting) == {"word0": 1, "word1": 6, "word2": 1}


def test_pruning(monkeypatch, often, later, make_product):
    gone = make_product("의자")
    make_product("노트북 마우스 키보드 책상")
    often("책상")
    later(days=80)
    often("의자")
    often("노트북", times=9)
    often("마우스", moments=4)
    often("키보드")
    Product.objects.filter(pk=gone.pk).update(name="책상")
    later(days=20)
    SearchWord.objects.filter(word="의자").delete()
    past_searches.prune()
    assert set(PastSearch.objects.values_list("text", flat=True)) == {"마우스", "노트북", "키보드"}
    monkeypatch.setattr(past_searches, "KEPT", 2)
    past_searches.prune()
    assert set(PastSearch.objects.values_list("text", flat=True)) == {"마우스", "노트북"}


def test_the_job_tidies_all_of_it(make_product, often):
    make_product("의자 책상")
    often("의자")
    Product.objects.update(name="책상")
    ProductSearch.objects.update(text="")
    assert tidy_search() == (
        "1 words, 0 added, 1 unused, 0 removed; 1 products indexed; 0 past searches removed"
    )
