"""One error in a word, and the vocabulary that it is found by."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from products import vocabulary
from products.models import Category, Product
from products.search import search
from products.search_hits import Shelf
from products.search_models import SearchWord

pytestmark = pytest.mark.django_db


@pytest.fixture
def names(make_product):
    def find(text):
        pks = search(text, Shelf.of(Product.objects.on_sale), page=1, per_page=20).pks
        return [Product.objects.get(pk=pk).name for pk in pks]

    return find


def words():
    return set(SearchWord.objects.filter(unused_since=None).values_list("word", flat=True))


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("mouse", "mouse", False),
        ("mouse", "mouses", True),
        ("mouse", "ouse", True),
        ("mouse", "moise", True),
        ("mouse", "muose", True),
        ("mouse", "mousee", True),
        ("mouse", "msoue", False),
        ("mouse", "mice", False),
        ("ab", "ba", True),
        ("abc", "cba", False),
        ("", "a", True),
    ],
)
def test_one_error_apart(one, other, near):
    assert vocabulary.one_apart(one, other) is near
    assert vocabulary.one_apart(other, one) is near


@pytest.mark.parametrize(
    "typed",
    [
        # Inserted, missing, wrong, swapped: at the beginning, inside, at the end.
        "kkeyboard", "keyyboard", "keyboardd", "eyboard", "keybard", "keyboar",
        "jeyboard", "keynoard", "keyboars", "ekyboard", "keybaord", "keyboadr",
        # A key of Hangul: 무선 마우스.
        "마으스", "마우슬", "우마스", "마우ㅅ", "나우스",
        # Whole syllables: 스테인리스.
        "스타인리스", "스테일리스", "스인리스", "스테인인리스", "스인테리스", "고테인리스",
        # One of three that is missing, two of two that changed places.
        "마스", "선무",
        # One that is still being typed.
        "keybo", "keyvo", "스테이ㄹ",
    ],
)  # fmt: skip
def test_one_error_is_forgiven(names, make_product, typed):
    make_product("무선 마우스 Keyboard 스테인리스")
    make_product("의자")
    assert names(typed) == ["무선 마우스 Keyboard 스테인리스"]


@pytest.mark.parametrize("typed", ["keyobrad", "kebord", "cot", "dex", "고테일리스", "의저ㅏ책"])
def test_two_errors_and_short_words_are_not(names, make_product, typed):
    make_product("무선 마우스 Keyboard 스테인리스 cat dey")
    make_product("의자")
    assert names(typed) == []


def test_of_a_short_word_a_letter_may_be_missing_or_in_the_wrong_place(names, make_product):
    make_product("Golf Ball")
    make_product("컵 받침")
    make_product("Red bag")
    assert names("golf bll") == ["Golf Ball"]
    assert names("abll") == ["Golf Ball"]
    assert names("rde bag") == ["Red bag"]
    assert names("ㅓㅋㅂ") == ["컵 받침"]
    assert names("rad bag") == []
    assert names("ble") == []


def test_of_two_syllables_one_may_be_wrong_beside_other_words(names, make_product):
    make_product("우먼즈 트위드 드레스 [블랙]")
    make_product("순면 차량 시트")
    make_product("벨트", brand="보스")
    assert names("드레스 블노") == ["우먼즈 트위드 드레스 [블랙]"]
    assert names("소랙 드레스") == ["우먼즈 트위드 드레스 [블랙]"]
    assert names("보스 소트") == ["벨트"]
    # Nothing else is sure; the other is no word of two; a word that is there is meant.
    assert names("블노") == []
    assert names("블노 소트") == []
    assert names("순면 드레스") == []
    # A syllable counts where it stood.
    assert names("드레스 먼소") == []


def test_four_letters_may_be_two_words(names, make_product):
    make_product("Netgear Wi-Fi Extender")
    make_product("Sirwif Chair")
    assert names("wifi netgear") == ["Netgear Wi-Fi Extender"]
    assert names("wifi") == ["Netgear Wi-Fi Extender"]
    assert names("fie") == []


def test_beside_figures_a_known_word_may_be_the_wrong_one(names, make_product):
    make_product("사무용 제본 링 30g")
    make_product("사용 설명서")
    assert names("사용 30g") == ["사무용 제본 링 30g"]


def test_what_is_found_as_it_was_typed_is_not_mended(names, make_product):
    make_product("form 폼")
    make_product("farm 팜")
    assert names("form") == ["form 폼"]
    assert names("firm") == ["farm 팜", "form 폼"]


def test_each_of_several_words_may_have_one(names, make_product):
    make_product("무선 마우스 블루투스")
    make_product("무선 키보드")
    assert names("마으스 무선") == ["무선 마우스 블루투스"]
    assert names("블루투수 마으스") == ["무선 마우스 블루투스"]
    assert names("ㅁㅅ 마으스") == ["무선 마우스 블루투스"]
    # All words are known, and no product has both: the other may be wrong.
    assert names("블루투스 키보다") == []


def test_a_word_typed_on_the_wrong_layout_beside_right_ones(names, make_product):
    make_product("LG 노트북")
    assert names("lg shxmqnr") == ["LG 노트북"]
    assert names("엘지 shxmqnr") == []
    # Shift types letters of its own.
    make_product("오뚜기 카레 200g")
    assert names("dhEnrl 200g") == ["오뚜기 카레 200g"]


def test_words_that_were_run_together(names, make_product):
    make_product("나이키 에어 운동화")
    assert names("나이키운동화") == ["나이키 에어 운동화"]


def test_of_three_words_one_may_be_unknown(names, make_product):
    make_product("나이키 에어 운동화")
    assert names("나이키 에어 jp0143") == ["나이키 에어 운동화"]
    assert names("나이키 jp0143") == []
    assert names("나이키 jp0143 xyzz") == []


class TestVocabulary:
    """Whoever writes a product writes its words."""

    def test_a_product(self, make_product):
        product = make_product("무선 마우스 X200", brand="Logi-Tech", sku="ABC-1")
        assert words() == {"무선", "마우스", "logi", "tech"}
        product.name = "유선 마우스"
        product.save(update_fields=["name"])
        assert "유선" in words()
        Product.objects.update(brand="삼성전자")
        assert "삼성전자" in words()

    def test_bulk_and_categories(self):
        Product.objects.bulk_create(
            [Product(name="의자 셋", price=1), Product(name="의자", price=1)]
        )
        assert words() == {"의자", "셋"}
        assert SearchWord.objects.count() == 2
        Category.objects.create(key="k", slug="k", name_en="Chairs", name_ko="걸상")
        Category.objects.update(name_ko="책걸상")
        assert {"chairs", "걸상", "책걸상"} <= words()

    def test_products_that_are_indexed_in_several_steps(self, monkeypatch):
        monkeypatch.setattr("products.search_models._INDEXED", 1)
        Product.objects.bulk_create(
            Product(name=name, brand="한샘", price=1) for name in ("의자 셋", "의자 둘", "책상")
        )
        assert words() == {"의자", "셋", "둘", "책상", "한샘"}
        assert SearchWord.objects.count() == 5
        SearchWord.objects.update(unused_since=timezone.now())
        Product.objects.update(brand="한샘")
        assert words() == {"의자", "셋", "둘", "책상", "한샘"}

    def test_a_rollback(self, make_product):
        with pytest.raises(RuntimeError), transaction.atomic():
            make_product("의자")
            raise RuntimeError
        assert words() == set()

    def test_tidying_takes_two_steps(self, make_product):
        product, kept = make_product("의자 탁자"), make_product("탁자 책상")
        Product.objects.filter(pk=product.pk).update(retired_at=timezone.now())
        vocabulary.tidy()
        assert words() == {"탁자", "책상"}
        # Marked, and still there for who asks.
        assert vocabulary.known(["의자"]) == {"의자"}
        vocabulary.tidy()
        assert vocabulary.known(["의자"]) == {"의자"}
        SearchWord.objects.exclude(unused_since=None).update(
            unused_since=timezone.now() - timedelta(hours=2)
        )
        # Who writes it meanwhile adds it anew; the marked one may go.
        Product.objects.filter(pk=kept.pk).update(name="탁자 의자")
        vocabulary.tidy()
        assert words() == {"탁자", "의자"}
        assert SearchWord.objects.filter(word="의자").count() == 1

    def test_tidying_adds_what_is_missing_and_drops_doubles(self, make_product):
        make_product("의자 탁자")
        SearchWord.objects.filter(word="의자").delete()
        row = SearchWord.objects.get(word="탁자")
        SearchWord.objects.create(word=row.word, keys=row.keys, backwards=row.backwards)
        vocabulary.tidy()
        assert sorted(SearchWord.objects.filter(unused_since=None).values_list("word")) == [
            ("의자",),
            ("탁자",),
        ]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_writers_of_the_same_words_never_wait_for_one_another(db):
    """Two transactions that add the same words in other orders, both still open."""
    errors = []

    def write():
        try:
            with transaction.atomic():
                for text in ("탁자", "의자"):
                    Product.objects.bulk_create([Product(name=text, price=1)])
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    with transaction.atomic():
        Product.objects.bulk_create([Product(name="의자", price=1)])
        rival = threading.Thread(target=write)
        rival.start()
        rival.join(10)
        assert not rival.is_alive(), "it waits for us"
        Product.objects.bulk_create([Product(name="탁자", price=1)])
    assert errors == []
    assert words() == {"의자", "탁자"}
