"""The category tree: moving branches, refusing rings, making slugs."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from products.categories import (
    MAX_LEVELS,
    CategoryCycle,
    CategoryRow,
    CategoryTooDeep,
    load_categories,
    place_category,
)
from products.models import Category

pytestmark = pytest.mark.django_db


def make(name: str, parent: Category | None = None) -> Category:
    return place_category(category=Category(name_en=name), parent=parent)


def row(key: str, parent: str = "", name: str = "", ko: str = "", line: int = 0) -> CategoryRow:
    return CategoryRow(line, key, parent, name or key.title(), ko)


def tree() -> dict[str, tuple[str | None, str]]:
    """Every category's parent and the slugs along its path."""
    by_id = {category.pk: category for category in Category.objects.all()}
    return {
        category.key: (
            category.parent.key if category.parent else None,
            "/".join(by_id[int(pk)].key for pk in category.path.strip("/").split("/")),
        )
        for category in by_id.values()
    }


def test_a_new_category_gets_key_slug_and_path() -> None:
    root = make("Apparel & Accessories")
    child = make("Clothing", root)
    assert (root.slug, root.path, root.depth) == ("apparel-accessories", f"/{root.pk}/", 0)
    assert (child.parent, child.path, child.depth) == (root, f"/{root.pk}/{child.pk}/", 1)
    assert root.key
    assert root.key != child.key


def test_a_branch_moves_whole_and_in_few_queries() -> None:
    a, b = make("A"), make("B")
    middle = make("Middle", a)
    leaves = [make(f"Leaf {number}", middle) for number in range(30)]
    beside = make("Beside", a)
    with CaptureQueriesContext(connection) as queries:
        place_category(category=middle, parent=b)
    # One of them looks for products, whose index says which categories they lie in.
    assert len(queries) <= 9
    for leaf in leaves:
        leaf.refresh_from_db()
        assert leaf.path == f"/{b.pk}/{middle.pk}/{leaf.pk}/"
    beside.refresh_from_db()
    assert beside.path == f"/{a.pk}/{beside.pk}/"
    assert Category.objects.within(b.path).count() == 32
    assert place_category(category=middle, parent=None).path == f"/{middle.pk}/"


def test_a_path_that_begins_with_the_same_digits_is_another_branch() -> None:
    seven, seventy = (
        Category.objects.create(pk=pk, key=f"{pk}", slug=f"{pk}", name_en=f"{pk}", path=f"/{pk}/")
        for pk in (900007, 9000070)
    )
    place_category(category=seven, parent=make("Root"))
    seventy.refresh_from_db()
    assert seventy.path == f"/{seventy.pk}/"


@pytest.mark.parametrize("where", ["itself", "child", "grandchild"])
def test_a_category_never_lies_below_itself(where: str) -> None:
    top = make("Top")
    child = make("Child", top)
    grandchild = make("Grandchild", child)
    before = tree()
    with pytest.raises(CategoryCycle):
        place_category(
            category=top, parent={"itself": top, "child": child, "grandchild": grandchild}[where]
        )
    assert tree() == before


def test_a_ring_is_seen_although_the_caller_holds_an_old_path() -> None:
    a, b = make("A"), make("B")
    old_a = Category.objects.get(pk=a.pk)
    place_category(category=a, parent=b)
    with pytest.raises(CategoryCycle):
        place_category(category=b, parent=old_a)


def test_a_branch_never_reaches_too_deep() -> None:
    chain: list[Category] = []
    for number in range(MAX_LEVELS):
        chain.append(make(f"Level {number}", chain[-1] if chain else None))
    with pytest.raises(CategoryTooDeep):
        make("One more", chain[-1])
    other = make("Other")
    before = tree()
    with pytest.raises(CategoryTooDeep):
        place_category(category=chain[0], parent=other)
    assert tree() == before


def test_slugs_take_in_what_lies_above_only_where_they_clash() -> None:
    pets, babies = make("Pets"), make("Babies")
    assert make("Carriers", pets).slug == "carriers"
    second = make("Carriers", babies)
    assert second.slug == "babies-carriers"
    third = make("Carriers", make("Carriers", second))
    assert third.slug not in {"carriers", "babies-carriers"}
    assert make("Carriers").slug == "carriers-2"
    assert make("한글").slug == "category"


def test_loading_is_the_same_in_any_order_of_rows() -> None:
    rows = [
        row("c", "b", "Baskets"),
        row("b", "a"),
        row("a"),
        row("z", "", "Baskets"),
        row("d", "a", "Baskets"),
    ]
    load_categories(rows)
    first = dict(Category.objects.values_list("key", "slug"))
    assert first == {"a": "a", "b": "b", "z": "baskets", "d": "a-baskets", "c": "b-baskets"}
    assert tree()["c"] == ("b", "a/b/c")
    for key in "cdbaz":
        Category.objects.get(key=key).delete()
    load_categories(reversed(rows))
    assert dict(Category.objects.values_list("key", "slug")) == first


def test_loading_again_changes_nothing_and_keeps_slugs() -> None:
    rows = [row("a"), row("b", "a"), row("c", "b")]
    load_categories(rows)
    before = list(Category.objects.order_by("pk").values())
    report = load_categories(rows)
    assert (report.created, report.updated, report.unchanged) == (0, 0, 3)
    assert list(Category.objects.order_by("pk").values()) == before
    report = load_categories([row("b", "a", "Renamed")])
    assert (report.updated, report.unchanged) == (1, 0)
    renamed = Category.objects.get(key="b")
    assert (renamed.name_en, renamed.slug) == ("Renamed", "b")


def test_loading_moves_branches_even_where_a_tree_is_turned_round() -> None:
    load_categories([row("a"), row("b", "a"), row("c", "b")])
    load_categories([row("c"), row("b", "c"), row("a", "b")])
    assert tree() == {"c": (None, "c"), "b": ("c", "c/b"), "a": ("b", "c/b/a")}


def test_rows_without_a_place_are_left_out_and_the_rest_goes_on() -> None:
    report = load_categories(
        [
            row("a"),
            row("orphan", "nowhere"),
            row("below-orphan", "orphan"),
            row("x", "y"),
            row("y", "x"),
            row("below-ring", "x"),
            row("self", "self"),
        ]
    )
    assert {found.key: code for found, code in report.misplaced} == {
        "orphan": "parent_unknown",
        "below-orphan": "parent_unknown",
        "x": "category_cycle",
        "y": "category_cycle",
        "self": "category_cycle",
        "below-ring": "parent_unknown",
    }
    assert (report.created, report.refused) == (1, 6)
    assert list(Category.objects.values_list("key", flat=True)) == ["a"]


def test_a_known_category_stays_where_it_was_when_its_row_has_no_place() -> None:
    load_categories([row("a"), row("b", "a")])
    report = load_categories([row("a", "b"), row("new", "a")])
    assert [(found.key, code) for found, code in report.misplaced] == [("a", "category_cycle")]
    assert tree() == {"a": (None, "a"), "b": ("a", "a/b"), "new": ("a", "a/new")}


def test_only_new_leaves_what_staff_has_changed() -> None:
    load_categories([row("a"), row("b", "a")])
    Category.objects.filter(key="b").update(name_en="Ours")
    place_category(category=Category.objects.get(key="b"), parent=None)
    report = load_categories([row("a"), row("b", "a"), row("c", "b")], only_new=True)
    assert (report.created, report.updated, report.unchanged) == (1, 0, 2)
    assert tree()["b"] == (None, "b")
    assert tree()["c"] == ("b", "b/c")
    assert Category.objects.get(key="b").name_en == "Ours"


def test_the_queries_do_not_grow_with_the_rows() -> None:
    def queries(count: int, prefix: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            load_categories(
                [row(f"{prefix}{number}", name=f"{prefix} {number}") for number in range(count)]
            )
        return len(captured)

    assert queries(100, "first") == queries(10, "second")
