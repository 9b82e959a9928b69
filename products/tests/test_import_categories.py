"""manage.py import_categories: a tree from a TSV file."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from products.demo_data import load_demo_catalogue
from products.importing.categories import import_categories
from products.importing.reading import Refusal
from products.models import Category, Product, StockMovement

pytestmark = pytest.mark.django_db

HEADER = "id\tparent\tname_en\tname_ko\n"


@pytest.fixture
def tsv(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "categories.tsv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def run(path: Path) -> str:
    out = StringIO()
    call_command("import_categories", path, stdout=out, skip_checks=True)
    return out.getvalue()


def test_a_tree_in_both_languages_whatever_the_order(tsv) -> None:
    path = tsv(
        HEADER
        + "el-6\tel\tComputers\t컴퓨터\n"
        + "el-6-6\tel-6\tLaptops\t노트북\n"
        + "el\t\tElectronics\t전자기기\n"
    )
    assert "created 3, updated 0, unchanged 0, refused 0" in run(path)
    laptops = Category.objects.get(key="el-6-6")
    assert (laptops.slug, laptops.name_ko, laptops.depth) == ("laptops", "노트북", 2)
    assert laptops.parent and laptops.parent.slug == "computers"
    before = list(Category.objects.order_by("pk").values())
    assert "created 0, updated 0, unchanged 3, refused 0" in run(path)
    assert list(Category.objects.order_by("pk").values()) == before


def test_byte_order_mark_line_ends_and_order_of_columns(tsv) -> None:
    run(
        tsv(
            "\ufeffname_ko\tname_en\tid\tparent\r\n  의류  \t Clothing\u3000\taa\t\r\n\r\n".encode()
        )
    )
    assert list(Category.objects.values_list("key", "name_en", "name_ko")) == [
        ("aa", "Clothing", "의류")
    ]


def test_bad_rows_are_named_and_the_rest_goes_on(tsv) -> None:
    path = tsv(
        HEADER.encode()
        + b"a\t\tA\t\n"
        + b"\t\tNo id\t\n"
        + b"b\t\t\t\n"
        + b"a\t\tAgain\t\n"
        + b"c\tnowhere\tC\t\n"
        + b"d\t\tBad \xff byte\t\n"
        + b"e\t\tToo few\n"
        + b"f\t\tControl\x07\t\n"
        + b"g\t\t"
        + b"g" * 201
        + b"\t\n"
        + b"h\ta\tH\t\n"
    )
    refusals: list[Refusal] = []
    report = import_categories(path, on_refusal=refusals.append)
    assert [(refusal.line, refusal.code) for refusal in refusals] == [
        (3, "id_missing"),
        (4, "name_missing"),
        (5, "duplicate"),
        (6, "parent_unknown"),
        (7, "not_utf8"),
        (8, "wrong_cell_count"),
        (9, "control_character"),
        (10, "name_en_too_long"),
    ]
    assert (report.created, report.refused) == (2, 8)
    assert set(Category.objects.values_list("key", flat=True)) == {"a", "h"}


@pytest.mark.parametrize(
    "content",
    [b"", b"foo\tbar\n1\t2\n", b"id,parent,name_en,name_ko\na,,A,\n", b"id\tname_en\xff\n"],
)
def test_a_file_without_its_columns_is_refused(tsv, content: bytes) -> None:
    with pytest.raises(CommandError, match="no usable columns"):
        run(tsv(content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no file"):
        run(tmp_path / "nothing.tsv")


def test_the_demo_loads_once_and_leaves_the_shop_alone_afterwards() -> None:
    categories, products = load_demo_catalogue()
    assert (categories.created, categories.refused) == (5428, 0)
    assert (products.created, products.refused) == (194, 0)
    assert not products.unknown_categories
    assert not Product.objects.filter(category=None).exists()
    laptop = Product.objects.get(name="Lenovo Yoga 920")
    assert laptop.category and laptop.category.name_ko == "노트북"
    assert laptop.price == 1_540_000
    laptop.name, laptop.price = "Ours", laptop.price + 1
    laptop.save()
    rows, movements = list(Product.objects.order_by("pk").values()), StockMovement.objects.count()
    categories, products = load_demo_catalogue()
    assert (categories.created, categories.updated, products.created, products.updated) == (
        0,
        0,
        0,
        0,
    )
    assert list(Product.objects.order_by("pk").values()) == rows
    assert StockMovement.objects.count() == movements
