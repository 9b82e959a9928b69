"""The right product is among the first five, however people ask for it.

A small fixed table; `manage.py evaluate_search` measures the same on thousands of names.
"""

import pytest

from products.models import Product
from products.search import search
from products.search_hits import Shelf

pytestmark = pytest.mark.django_db

SHELF = [
    ("삼성", "갤럭시 북4 프로 노트북 16인치"),
    ("삼성", "갤럭시 버즈 무선 이어폰 화이트"),
    ("LG", "그램 노트북 17인치 코어 울트라"),
    ("LG", "울트라와이드 모니터 34인치"),
    ("로지텍", "MX Master 3S 무선 마우스 블랙"),
    ("로지텍", "MX Keys 무선 키보드 그래파이트"),
    ("로지텍", "페블 무선 마우스 핑크"),
    ("나이키", "에어포스 1 로우 운동화 화이트"),
    ("나이키", "에어맥스 97 운동화 블랙"),
    ("나이키", "스포츠웨어 후드 티셔츠"),
    ("아디다스", "삼바 OG 운동화 화이트 블랙"),
    ("아디다스", "트레포일 후드 티셔츠 블랙"),
    ("한샘", "샘 책상 1200 화이트 오크"),
    ("한샘", "컴퓨터 의자 메쉬 블랙"),
    ("락앤락", "스테인리스 텀블러 500ml 네이비"),
    ("락앤락", "비스프리 밀폐용기 세트"),
    ("Sony", "WH-1000XM5 Wireless Headphones Black"),
    ("Sony", "Compact Bluetooth Speaker Blue"),
    ("Apple", "MacBook Air Laptop 13 Midnight"),
    ("Apple", "Magic Keyboard Black Keys"),
    ("Levi's", "501 Original Denim Jeans"),
    ("IKEA", "Standing Desk Oak Veneer"),
    ("Stanley", "Stainless Steel Tumbler 1.2L"),
    ("Essence", "Lash Princess Mascara"),
]

# What is typed, and the number of the product in the shelf, by kind.
QUERIES = {
    "whole": [("샘 책상 1200 화이트 오크", 12), ("Magic Keyboard Black Keys", 19)],
    "part": [("버즈 무선 이어폰", 1), ("bluetooth speaker", 17), ("1000xm5", 16)],
    "prefix": [("갤럭시 북4", 0), ("macb", 18), ("스테인", 14)],
    "initials": [("ㄱㄹ ㄴㅌㅂ", 2), ("ㅇㄷㅎ", 7), ("ㅅㅌㅇㄹㅅ", 14), ("ㅍㅂㅁㅅㅁㅇㅅ", 6)],
    "half-typed": [("텀브", 14), ("페블 무선 마웃", 6), ("트레포일 후ㄷ", 11), ("standing de", 21)],
    "wrong layout": [("xjaqmffj", 14), ("vpqmf akdntm", 6), ("ㅡㅁㄴㅊㅁㄱㅁ", 23)],
    "one typo": [
        ("스테인레스 텀블러", 14), ("텀블라", 14), ("에어포즈", 7), ("갤럭지 버즈", 1),
        ("밀폐용이", 15),
        ("maskara", 23), ("headphons", 16), ("spaeker", 17), ("laptopp", 18), ("denin jeans", 20),
    ],
    "two words": [
        ("운동화 삼바", 10), ("모니터 울트라와이드", 3), ("oak desk", 21), ("jeans denim", 20),
    ],
    "joined": [("무선이어폰", 1), ("밀폐 용기", 15), ("macbookair", 18), ("mac book", 18)],
    "brand": [("락앤락 텀블러", 14), ("한샘 의자", 13), ("sony speaker", 17), ("나이키 후드", 9)],
}  # fmt: skip


@pytest.fixture
def shelf():
    return Product.objects.bulk_create(
        Product(name=name, brand=brand, price=1, sold_quantity=(7 * n) % 24)
        for n, (brand, name) in enumerate(SHELF)
    )


def test_the_right_one_is_among_the_first_five(shelf):
    missed = []
    for kind, queries in QUERIES.items():
        for typed, right in queries:
            pks = search(typed, Shelf.of(Product.objects.on_sale), page=1, per_page=5).pks
            if shelf[right].pk not in pks:
                missed.append((kind, typed))
    assert missed == []
