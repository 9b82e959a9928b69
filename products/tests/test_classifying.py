"""The embedded provider: what names say, what is learnt, and both together."""

import pytest

from products.ai import embedded
from products.ai.embedded import Embedded, Example
from products.ai.learnt import Learnt
from products.ai.text import Item, features, normal, stem, words
from products.ai.tree import Node, Tree, aliases
from products.management.commands.evaluate_ai import _demo_tree
from products.models import Category, Classifier

NODES, SLUGS = _demo_tree()
NAMES = {node.pk: node.name_en for node in NODES}
TREE = Tree.build(NODES)


def best(text: str, **more: str) -> str:
    scores = TREE.scores(Item(text, **more))
    return NAMES[max(scores, key=lambda pk: scores[pk])] if scores else ""


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Wireless Mouse for Laptop", "Input Devices"),
        ("노트북 15인치", "Laptops"),
        ("게이밍 노트북", "Laptops"),
        ("카고팬츠 [블랙]", "Cargo Pants"),
        ("와이드 카고 팬츠_차콜", "Cargo Pants"),
        ("Floral Shower Curtain, 180 cm", "Shower Curtains"),
        ("무선 블루투스 이어폰", "Headphones & Headsets"),
        ("고양이 사료 2kg", "Cat Food"),
        ("Dog food with chicken", "Dog Food"),
        ("키즈 플리스 자켓", "Baby & Toddler Clothing"),
        ("플리스 자켓", "Coats & Jackets"),
        ("에코백", "Shopping Totes"),
    ],
)
def test_a_name_says_what_a_thing_is(name, category):
    assert best(name) == category


def test_colours_name_nothing():
    # 아이보리 (ivory) ends like 보리 (barley), 브라운 (brown) begins like 브라 (bra).
    assert best("티셔츠 아이보리") == "T-Shirts"
    assert best("니트 브라운") == "Sweaters"
    assert not TREE.scores(Item("화이트 블랙 브라운"))


def test_a_description_helps_where_a_name_does_not():
    assert best("Moon 7") != "Perfumes & Colognes"
    assert best("Moon 7", description="An eau de parfum for women.") == "Perfumes & Colognes"


def test_every_alias_belongs_to_a_category_of_the_demo():
    assert set(aliases()) <= {node.key for node in NODES}


def test_words_lose_their_plural_and_nothing_else():
    assert words(normal("Women’s dresses, batteries & glasses 30L 노트북")) == [
        "women", "dress", "battery", "glass", "30l", "노트북",
    ]  # fmt: skip
    assert stem("bus") == "bus"


def _taught() -> list[Example]:
    shelf = [("청바지 일자핏", 1), ("데님 바지", 1), ("머그컵 화이트", 2), ("유리컵", 2)]
    return [Example(Item(f"{name} {n}"), pk) for n in range(20) for name, pk in shelf]


FLAT = [Node(1, "x1", "/1/", "", ""), Node(2, "x2", "/2/", "", "")]


def test_what_staff_have_sorted_teaches_the_next():
    judge = Embedded.build(FLAT, _taught())
    guess = judge.classify(Item("데님 청바지"))[0]
    assert guess.category_id == 1
    assert guess.confidence > 0.6
    assert judge.classify(Item("유리 머그컵"))[0].category_id == 2


def test_what_it_has_never_seen_makes_it_unsure():
    judge = Embedded.build(FLAT, _taught())
    known, strange = judge.classify(Item("청바지"))[0], judge.classify(Item("qxj zvw 컵"))[0]
    assert strange.confidence < known.confidence
    assert judge.classify(Item("qxj zvw")) == []


def test_chances_are_chances():
    judge = Embedded.build(NODES, [])
    for name in ("노트북", "Leather Bag", "Gift Set", "x"):
        guesses = judge.classify(Item(name), limit=40)
        assert sum(guess.confidence for guess in guesses) <= 1.01
        assert [g.confidence for g in guesses] == sorted(
            (g.confidence for g in guesses), reverse=True
        )


def test_the_same_lesson_gives_the_same_judge_and_survives_storing():
    judge, twin = Embedded.build(FLAT, _taught()), Embedded.build(FLAT, _taught())
    assert judge.pack() == twin.pack()
    again = Embedded.unpack(judge.pack(), "1.7")
    assert again.version == "1.7"
    for name in ("데님", "컵", "새 바지 3"):
        assert again.classify(Item(name)) == judge.classify(Item(name))
    bare = Embedded.unpack(Embedded.build(NODES, []).pack(), "1.0")
    assert bare.classify(Item("노트북")) == Embedded.build(NODES, []).classify(Item("노트북"))


@pytest.mark.parametrize("name", ["", " ", "!!!", "🎁", "\u0000", "a" * 5000, "가" * 5000])
def test_odd_names_do_no_harm(name):
    judge = Embedded.build(FLAT, _taught())
    assert isinstance(judge.classify(Item(name, name, name)), list)
    assert isinstance(TREE.scores(Item(name, name, name)), dict)


def test_one_class_or_none_is_no_error():
    assert Learnt.learn([features(Item("a"))], [7]).scores(features(Item("a")))[0] == {7: 0.0}
    assert Learnt.learn([], []).scores(features(Item("a"))) == ({}, 0.0)


@pytest.mark.django_db
class TestStored:
    """The newest lesson in the database is the one in use."""

    def test_learning_stores_it_once(self, make_product, tree):
        laptops = Category.objects.get(slug="laptops")
        for n in range(3):
            make_product(f"노트북 {n}", category=laptops)
        assert "2 categories" not in embedded.learn()
        assert embedded.learn() == "nothing new"
        row = Classifier.objects.get()
        assert (row.categories, row.products) == (5, 3)
        make_product("노트북 9", category=laptops)
        assert embedded.learn() != "nothing new"

    def test_what_a_provider_chose_teaches_nothing(self, make_product, tree):
        make_product("노트북 15")  # chosen by its name
        assert embedded.read_examples() == []

    def test_a_newer_lesson_is_taken_up(self, make_product, tree, monkeypatch):
        embedded.learn()
        first = embedded.current()
        assert first.version.endswith(str(Classifier.objects.get().pk))
        monkeypatch.setattr(embedded, "_LOOK_AGAIN", 0)
        assert embedded.current() is first
        make_product("노트북 1", category=Category.objects.get(slug="laptops"))
        embedded.learn()
        assert embedded.current().version != first.version

    def test_what_cannot_be_read_is_learnt_anew(self, tree, caplog):
        Classifier.objects.create(categories=1, products=0, digest="x", data=b"rubbish")
        judge = embedded.current()
        assert (
            judge.classify(Item("노트북"))[0].category_id == Category.objects.get(slug="laptops").pk
        )
        assert "not readable" in caplog.text

    def test_only_the_last_few_are_kept(self, tree, make_product):
        laptops = Category.objects.get(slug="laptops")
        for n in range(5):
            make_product(f"노트북 {n}", category=laptops)
            embedded.learn()
        assert Classifier.objects.count() == 3
