"""manage.py import_catalogue: what becomes of texts, numbers, prices and categories."""

import unicodedata
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from products.models import Product, StockMovement
from products.tests.goods import LAPTOP, Write, counts, run

pytestmark = pytest.mark.django_db


def test_spaces_and_composition_are_made_even(write: Write) -> None:
    decomposed = unicodedata.normalize("NFD", "노트북")
    run(
        write(
            [
                {
                    "name": f" \u3000{decomposed}\t\u00a0 15\n인치\u200b ",
                    "brand": "  Big\u2009 Brand ",
                    "description": " one  line \r\n\r\n\r\n\r\nnext\tline ",
                    "price": 1,
                }
            ]
        )
    )
    product = Product.objects.get()
    assert (product.name, product.brand) == ("노트북 15 인치", "Big Brand")
    assert product.description == "one line\n\nnext line"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": None}, "name_missing"),
        ({"name": " \u3000"}, "name_missing"),
        ({"name": ["a"]}, "name_not_text"),
        ({"name": True}, "name_not_text"),
        ({"name": "a\0b"}, "control_character"),
        ({"name": "a\x07b"}, "control_character"),
        ({"description": "a\x1bb"}, "control_character"),
        ({"name": "\ud800"}, "control_character"),
        ({"name": "x" * 301}, "name_too_long"),
        ({"brand": "x" * 121}, "brand_too_long"),
        ({"sku": "x" * 65}, "sku_too_long"),
        ({"sku": 10**400}, "sku_too_long"),
        ({"description": "x" * 20001}, "description_too_long"),
        ({"price": None}, "price_missing"),
        ({"price": ""}, "price_missing"),
        ({"price": 0}, "price_not_positive"),
        ({"price": -5}, "price_not_positive"),
        ({"price": "-0.00"}, "price_not_positive"),
        ({"price": "nan"}, "price_not_a_number"),
        ({"price": "Infinity"}, "price_not_a_number"),
        ({"price": "12원"}, "price_not_a_number"),
        ({"price": "1,29"}, "price_not_a_number"),
        ({"price": "１２"}, "price_not_a_number"),
        ({"price": True}, "price_not_a_number"),
        ({"price": {}}, "price_not_a_number"),
        ({"price": 10**13}, "price_too_large"),
        ({"price": 10**400}, "price_too_large"),
        ({"price": "9.99"}, "price_too_precise"),
        ({"price": "1." + "0" * 30 + "1"}, "price_too_precise"),
        ({"stock": -1}, "stock_negative"),
        ({"stock": "1.5"}, "stock_not_whole"),
        ({"stock": 10**12}, "stock_too_large"),
        ({"stock": 10**400}, "stock_too_large"),
        ({"stock": "many"}, "stock_quantity_not_a_number"),
        ({"stock": False}, "stock_quantity_not_a_number"),
        ({"category": ["a", "b"]}, "category_not_text"),
    ],
)
def test_a_bad_row_is_refused_and_its_neighbours_are_not(
    write: Write, change: dict[str, Any], code: str
) -> None:
    bad = {key: value for key, value in (LAPTOP | change).items() if value is not None}
    report, refusals = run(write([{"name": "A", "price": 1}, bad, {"name": "B", "price": 1}]))
    assert refusals == [(2, code)]
    assert counts(report) == (2, 0, 0, 0, 1)
    assert set(Product.objects.values_list("name", flat=True)) == {"A", "B"}
    assert not StockMovement.objects.exists()


@pytest.mark.parametrize("quantity", ["0.00", "-0.0", "", " \u200b", None, 0])
def test_no_stock_is_written_in_many_ways(write: Write, quantity: Any) -> None:
    run(write([LAPTOP | {"stock": quantity}]))
    assert Product.objects.get().stock_quantity == 0


@pytest.mark.parametrize(
    ("price", "rate", "step", "won"),
    [
        ("9.99", "1400", "100", 14000),
        ("0.75", "1400", "100", 1100),
        ("0.99", "16", None, 16),
        ("0.03125", "16", None, 1),
        ("9.5", "1", None, 10),
        ("9.49999999999999999", "1", None, 9),
        ("2.675", "1000", "10", 2680),
        ("0.1", "3", "0.3", None),
        ("9900.0", None, None, 9900),
        ("1e3", None, None, 1000),
        ("150", None, "100", 200),
        ("149.99", None, "100", 100),
        ("999999999999", None, None, 999999999999),
    ],
)
def test_prices_are_exact(
    write: Write, price: str, rate: str | None, step: str | None, won: int | None
) -> None:
    path = write([f'{{"name": "A", "price": {price}}}'])
    options = {"rate": rate and Decimal(rate), "step": step and Decimal(step)}
    if won is None:
        with pytest.raises(ValueError, match="decimals"):
            run(path, **options)
        return
    run(path, **options)
    assert Product.objects.get().price == won


def test_a_price_that_is_rounded_to_nothing_is_refused(write: Write) -> None:
    path = write([{"name": "A", "price": 0.01}, {"name": "B", "price": 100}])
    _report, refusals = run(path, rate=Decimal(1400), step=Decimal(100))
    assert refusals == [(1, "price_not_positive")]


def test_prices_of_a_currency_with_decimals(write: Write, settings: Any) -> None:
    settings.CURRENCY = "USD"
    rows = ['{"name": "A", "price": 19.99}', '{"name": "B", "price": 19.999}']
    _report, refusals = run(write(rows))
    assert refusals == [(2, "price_too_precise")]
    assert Product.objects.get().price == Decimal("19.99")
    run(write([rows[1]]), rate=Decimal(1))
    assert Product.objects.get(name="B").price == Decimal("20.00")


@pytest.mark.parametrize(
    "options", [{"rate": "0"}, {"rate": "-1"}, {"rate": "NaN"}, {"step": "0"}, {"step": "0.5"}]
)
def test_rates_and_steps_that_make_no_sense(write: Write, options: dict[str, str]) -> None:
    with pytest.raises(CommandError):
        call_command(
            "import_catalogue",
            write([LAPTOP]),
            skip_checks=True,
            **{name: Decimal(value) for name, value in options.items()},
        )
    assert not Product.objects.exists()


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("laptops", "laptops"),
        ("apparel-accessories", "apparel-accessories"),
        ("el-6", "laptops"),
        (" LAPTOPS ", "laptops"),
        ("apparel &  accessories", "apparel-accessories"),
        ("노트북", "laptops"),
        (unicodedata.normalize("NFD", "노트북"), "laptops"),
        ("조끼", None),
        ("nothing", None),
    ],
)
def test_categories_are_found_by_whatever_they_are_called(
    write: Write, tree: None, text: str, slug: str | None
) -> None:
    report, refusals = run(write([LAPTOP | {"category": text}]))
    assert (refusals, report.created) == ([], 1)
    category = Product.objects.get().category
    assert (category and category.slug) == slug
    assert report.unknown_categories == ({} if slug else {text: 1})


def test_a_mapping_file_comes_before_all_else(write: Write, tree: None) -> None:
    mapping = write("\ufeffNotebook PCs\tlaptops\r\n\r\nVests\tapparel-accessories\r\n", "map.tsv")
    rows = [
        {"name": "A", "price": 1, "category": "notebook  pcs"},
        {"name": "B", "price": 1, "category": "Vests"},
    ]
    report, _refusals = run(write(rows), categories=mapping)
    assert not report.unknown_categories
    assert list(Product.objects.order_by("name").values_list("category__slug", flat=True)) == [
        "laptops",
        "apparel-accessories",
    ]


@pytest.mark.parametrize("content", ["no tab here", "Text\tno-such-slug", b"\xff\tlaptops", None])
def test_a_mapping_that_can_not_be_used(write: Write, tree: None, content: Any) -> None:
    mapping = Path("nowhere.tsv") if content is None else write(content, "map.tsv")
    with pytest.raises(CommandError):
        call_command("import_catalogue", write([LAPTOP]), categories=mapping, skip_checks=True)
    assert not Product.objects.exists()


def test_unknown_categories_are_counted_at_the_end(write: Write) -> None:
    rows = [{"name": f"P{n}", "price": 1, "category": f"c{n % 25}"} for n in range(60)]
    out = StringIO()
    call_command("import_catalogue", write(rows), stdout=out, skip_checks=True)
    assert "60, 25 names" in out.getvalue()
    assert "      3  c0\n" in out.getvalue()
    assert out.getvalue().count("  c") == 20
