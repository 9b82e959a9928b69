"""manage.py import_catalogue: files of any kind into products."""

import json
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from products import importing, stock
from products.actions import retire_product
from products.categories import CategoryRow, load_categories
from products.importing import Refusal, Report, import_catalogue, source_key
from products.models import Product, Reason, StockMovement

pytestmark = pytest.mark.django_db

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file: text or bytes as they are, dicts as JSON Lines."""

    def make(content: str | bytes | list[Any], name: str = "goods.jsonl") -> Path:
        path = tmp_path / name
        if isinstance(content, list):
            lines = (item if isinstance(item, str) else json.dumps(item) for item in content)
            content = "".join(f"{line}\n" for line in lines)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def run(path: Path, **options: Any) -> tuple[Report, list[tuple[int, str]]]:
    """Import a file; return the report, and line and code of each refusal."""
    refusals: list[Refusal] = []
    report = import_catalogue([path], on_refusal=refusals.append, **options)
    assert report.refused == len(refusals) == report.reasons.total()
    return report, [(refusal.line, refusal.code) for refusal in refusals]


def counts(report: Report) -> tuple[int, int, int, int, int]:
    return report.created, report.updated, report.unchanged, report.retired, report.refused


def everything() -> tuple[list[Any], list[Any]]:
    """Every row of products and of the ledger, as it is in the database."""
    products, ledger = Product.objects.order_by("pk"), StockMovement.objects.order_by("pk")
    return list(products.values()), list(ledger.values())


@pytest.fixture
def tree(db: None) -> None:
    load_categories(
        [
            CategoryRow(1, "el", "", "Electronics", "전자기기"),
            CategoryRow(2, "el-6", "el", "Laptops", "노트북"),
            CategoryRow(3, "aa", "", "Apparel & Accessories", "의류/액세서리"),
            CategoryRow(4, "aa-1", "aa", "Vests", "조끼"),
            CategoryRow(5, "ap-1", "el", "Vests", "조끼"),
        ]
    )


LAPTOP = {"name": "노트북", "price": 1500000, "stock": 3, "sku": "N-1", "brand": "삼성"}

# --- Both formats ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "a.jsonl",
            '{"price": 1500000, "title": "노트북", "stock": 3, "sku": "N-1", "x": [1]}\n\n',
        ),
        (
            "a.ndjson",
            '\ufeff{"name":"노트북","price":"1500000.0","quantity":"3","sku":"N-1","x":0}',
        ),
        ("a.csv", "x,SKU, Price ,Title,Stock Quantity\n1,N-1,1500000,노트북,3\n\n"),
        ("a.CSV", '\ufeffquantity,x,name,sku,price\r\n3,,"노트북","N-1","1,500,000"\r\n'),
        ("a.csv", "재고,상품명,상품코드,가격,x\n3,노트북,N-1,1500000,\n"),
        ("a.csv", "sku,stock,price,name,x\rN-1,3,1500000,노트북,1\r"),
    ],
)
def test_the_same_product_from_every_format(write: Write, name: str, content: str) -> None:
    report, refusals = run(write(content, name))
    assert (counts(report), refusals) == ((1, 0, 0, 0, 0), [])
    assert report.ignored_columns == {name: ["x"]}
    product = Product.objects.get()
    assert (product.name, product.price, product.sku) == ("노트북", Decimal(1500000), "N-1")
    assert product.stock_quantity == 3
    movement = StockMovement.objects.get()
    assert (movement.product, movement.change, movement.balance_after) == (product, 3, 3)
    assert movement.reason == Reason.RECEIVED


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


def test_of_two_names_for_a_column_the_first_known_counts(write: Write) -> None:
    run(
        write(
            [
                {"title": "Title", "name": "Name", "price": 1},
                {"name": None, "title": "T", "price": 1},
            ]
        )
    )
    run(write("title,price,name\nTitle 2,1,Name 2\n", "a.csv"))
    assert set(Product.objects.values_list("name", flat=True)) == {"Name", "T", "Name 2"}


def test_cells_may_hold_line_ends(write: Write) -> None:
    _report, refusals = run(
        write('name,price,description\nA,1,"one\ntwo, three"\nB,x,\nC,2,"say ""hi"""\n', "a.csv")
    )
    assert refusals == [(4, "price_not_a_number")]
    assert list(Product.objects.order_by("pk").values_list("name", "description")) == [
        ("A", "one\ntwo, three"),
        ("C", 'say "hi"'),
    ]


# --- Bad rows ----------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"nonsense", "not_json"),
        (b'{"name": "A", "price": 1', "not_json"),
        (b'{"name": "A", "price": NaN}', "not_json"),
        (b'{"name": "A", "price": -Infinity}', "not_json"),
        (b'{"name": "A", "price": ' + b"9" * 5000 + b"}", "not_json"),
        (b'{"name": "A", "price": 1E+999999999999999999999}', "not_json"),
        (b'{"name": "A", "price": 1e999999}', "price_too_large"),
        (b'{"name": "A", "price": 1e-999999}', "price_too_precise"),
        (b"[" * 100_000, "not_json"),
        (b"[1, 2]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"name": "\xff", "price": 1}', "not_utf8"),
        (b'{"name": "\xed\xa0\x80", "price": 1}', "not_utf8"),
        ('{"name": "노트북", "price": 1}'.encode("cp949"), "not_utf8"),
        (b'{"name": "' + b"x" * 1_000_000 + b'", "price": 1}', "line_too_long"),
        (b'{"name": "' + b"x" * 3_000_000 + b'", "price": 1}', "line_too_long"),
    ],
    ids=range(17),
)
def test_a_bad_line_is_refused_and_its_neighbours_are_not(
    write: Write, line: bytes, code: str
) -> None:
    good = '{"name": "가", "price": 1}'.encode()
    other = '{"name": "나", "price": 1}'.encode()
    report, refusals = run(write(b"\n".join([good, line, other])))
    assert refusals == [(2, code)]
    assert set(Product.objects.values_list("name", flat=True)) == {"가", "나"}
    assert report.refused == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"X,1,2,3", "wrong_cell_count"),
        (b"X,1", "wrong_cell_count"),
        (b",1,", "name_missing"),
        (b"X,,", "price_missing"),
        (b"X\xff,1,", "not_utf8"),
        (b"X\x00,1,", "control_character"),
        (b'"X"Y,1,', "malformed_row"),
        (b'X,1,"never ends', "malformed_row"),
        (b'X,1,"' + b"x" * 200_000 + b'"', "malformed_row"),
        (b"X,1," + b"x" * 2_000_000, "line_too_long"),
    ],
    ids=range(10),
)
def test_a_bad_csv_row_is_refused_and_its_neighbours_are_not(
    write: Write, line: bytes, code: str
) -> None:
    rows = [b"name,price,description", "가,1,".encode(), line, "나,1,".encode(), b'C,1,"c"', b""]
    report, refusals = run(write(b"\n".join(rows), "a.csv"))
    assert refusals == [(3, code)]
    assert set(Product.objects.values_list("name", flat=True)) == {"가", "나", "C"}
    assert report.refused == 1


def test_the_error_file_says_where_and_why(write: Write, tmp_path: Path) -> None:
    errors = tmp_path / "errors.jsonl"
    path = write(
        b'{"name": "A", "price": 1}\n{"name": "\xff", "price": 1}\n{"name": "%s"}\n' % (b"x" * 5000)
    )
    out = StringIO()
    call_command("import_catalogue", path, errors=errors, stdout=out, skip_checks=True)
    first, second = map(json.loads, errors.read_text(encoding="utf-8").splitlines())
    assert first == {
        "file": "goods.jsonl",
        "line": 2,
        "code": "not_utf8",
        "reason": "The row is not UTF-8.",
        "row": '{"name": "\\xff", "price": 1}',
    }
    assert (second["line"], second["code"], len(second["row"])) == (3, "name_too_long", 1000)
    assert "created 1, updated 0, unchanged 0, retired 0, refused 2;" in out.getvalue()
    assert "rows a second" in out.getvalue()


def test_without_an_error_file_the_first_bad_rows_are_printed(write: Write) -> None:
    out = StringIO()
    path = write([{"name": "A", "price": 1}, *({"name": f"B{n}", "price": 0} for n in range(25))])
    call_command("import_catalogue", path, stdout=out, skip_checks=True)
    assert "goods.jsonl:2: The price is not above 0. (price_not_positive)" in out.getvalue()
    assert out.getvalue().count("goods.jsonl:") == 20
    assert "5 more bad rows" in out.getvalue()
    assert "refused as price_not_positive: 25" in out.getvalue()


# --- Prices ------------------------------------------------------------------


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


# --- Finding products again --------------------------------------------------


@pytest.mark.parametrize("name", ["goods.jsonl", "goods.csv"])
def test_a_second_run_changes_nothing(write: Write, tree: None, name: str) -> None:
    rows = [
        LAPTOP | {"category": "laptops", "description": "가벼움"},
        {"name": "키보드", "brand": "로지텍", "price": 50000, "stock": 5, "sku": ""},
        {"name": "마우스", "price": 20000, "category": "모름", "sku": None},
        {"name": "마우스", "price": -1},
    ]
    if name.endswith(".csv"):
        columns = ["name", "price", "stock", "sku", "brand", "category", "description"]
        lines = [",".join(str(row.get(column) or "") for column in columns) for row in rows]
        path = write("\n".join([",".join(columns), *lines]), name)
    else:
        path = write(rows, name)
    report, _refusals = run(path)
    assert counts(report) == (3, 0, 0, 0, 1)
    before = everything()
    for _again in range(2):
        report, _refusals = run(path)
        assert counts(report) == (0, 0, 3, 0, 1)
        assert everything() == before


def test_what_a_file_changes_is_changed_and_stock_is_not(write: Write, tree: None) -> None:
    run(write([LAPTOP, {"name": "Other", "price": 1, "sku": "O"}]))
    before = Product.objects.get(sku="N-1")
    stock.adjust(product_id=before.pk, change=-2, reason=Reason.LOST, actor=None)
    other = Product.objects.filter(sku="O").values().get()
    changed = {
        "sku": "N-1", "name": "새 노트북", "brand": "엘지", "description": "새것",
        "price": 1400000, "category": "laptops", "stock": 99,
    }  # fmt: skip
    report, _refusals = run(write([changed, {"name": "Other", "price": 1, "sku": "O"}]))
    assert counts(report) == (0, 1, 1, 0, 0)
    after = Product.objects.get(sku="N-1")
    assert after.pk == before.pk
    assert (after.name, after.brand, after.description) == ("새 노트북", "엘지", "새것")
    assert after.price == 1400000
    assert after.category and after.category.slug == "laptops"
    assert (after.stock_quantity, after.created_at) == (1, before.created_at)
    assert after.updated_at > before.updated_at
    assert list(StockMovement.objects.order_by("pk").values_list("change", flat=True)) == [3, -2]
    assert Product.objects.filter(sku="O").values().get() == other


def test_what_a_file_leaves_empty_stays(write: Write, tree: None) -> None:
    full = LAPTOP | {"description": "가벼움", "category": "laptops"}
    run(write([full]))
    before = everything()
    for bare in (
        {"sku": "N-1", "name": "노트북", "price": 1500000},
        {**full, "description": "", "brand": None, "category": ""},
        {**full, "category": "nothing known"},
    ):
        report, _refusals = run(write([bare]))
        assert counts(report) == (0, 0, 1, 0, 0)
        assert everything() == before


def test_without_a_sku_source_brand_and_name_tell_products_apart(write: Write) -> None:
    row = {"name": "에어 맥스", "brand": "나이키", "price": 1000}
    run(write([row], "spring.jsonl"))
    assert Product.objects.get().source_key == source_key("spring", "나이키", "에어 맥스")
    variants = [
        row | {"name": unicodedata.normalize("NFD", " 에어  맥스 "), "price": 2000},
        row | {"brand": "아디다스"},
        row | {"name": "에어 조던"},
    ]
    report, _refusals = run(write(variants, "spring.jsonl"))
    assert counts(report) == (2, 1, 0, 0, 0)
    report, _refusals = run(write([row], "autumn.jsonl"))
    assert counts(report) == (1, 0, 0, 0, 0)
    report, _refusals = run(write([row], "winter.jsonl"), source="spring")
    assert counts(report) == (0, 1, 0, 0, 0)


def test_of_the_same_key_twice_the_first_good_one_counts(write: Write) -> None:
    rows = [
        {"name": "A", "price": 0, "sku": "1"},
        {"name": "A", "price": 1, "sku": "1"},
        {"name": "B", "price": 2, "sku": "1"},
        {"name": "C", "price": 3},
        {"name": "c ", "price": 4},
        {"name": "C", "price": 5, "sku": "2"},
    ]
    for batch_size in (1, 2, 1000):
        report, refusals = run(write(rows), batch_size=batch_size)
        assert refusals == [(1, "price_not_positive"), (3, "duplicate"), (5, "duplicate")]
    assert counts(report) == (0, 0, 3, 0, 3)
    assert list(Product.objects.order_by("pk").values_list("name", "price")) == [
        ("A", Decimal(1)),
        ("C", Decimal(3)),
        ("C", Decimal(5)),
    ]


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_a_product_named_by_sku_and_by_name_is_written_once(write: Write, batch_size: int) -> None:
    run(write([{"name": "A", "price": 1}]))
    Product.objects.update(sku="GIVEN-LATER")
    rows = [{"name": "A", "price": 2}, {"name": "A", "price": 3, "sku": "GIVEN-LATER"}]
    _report, refusals = run(write(rows), batch_size=batch_size)
    assert refusals == [(2, "duplicate")]
    assert Product.objects.get().price == 2


def test_a_retired_product_stays_retired(write: Write) -> None:
    run(write([LAPTOP]))
    retire_product(Product.objects.get().pk)
    before = everything()
    for row in (LAPTOP, LAPTOP | {"price": 1}):
        report, _refusals = run(write([row]))
        assert counts(report) == (0, 0, 0, 1, 0)
        assert everything() == before


def test_a_product_retired_in_the_middle_of_the_run_stays_as_it_is(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(write([LAPTOP]))
    create = importing._create

    def rival(rows: Any) -> None:
        retire_product(Product.objects.get().pk)
        create(rows)

    monkeypatch.setattr(importing, "_create", rival)
    report, _refusals = run(write([LAPTOP | {"price": 1}]))
    assert counts(report) == (0, 0, 0, 1, 0)
    assert Product.objects.get().price == 1500000


def test_a_product_that_somebody_else_creates_meanwhile_is_found(
    write: Write, monkeypatch: pytest.MonkeyPatch, make_product: Any
) -> None:
    known = importing._known_products
    rivals: list[Product] = []

    def overtaken(rows: Any) -> dict[str, Product]:
        if not rivals:
            rivals.append(make_product(name="Theirs", price=5, stock=0, sku="N-1"))
            return {}
        return known(rows)

    monkeypatch.setattr(importing, "_known_products", overtaken)
    # The rival's row is rolled back with the batch here, where all is one
    # connection; what counts is that the batch is tried again as a whole.
    report, _refusals = run(write([LAPTOP]))
    assert report.rows == 1
    assert Product.objects.get(sku="N-1").name == "노트북"
    assert StockMovement.objects.count() == 1


def test_only_new_adds_and_changes_nothing(write: Write) -> None:
    run(write([LAPTOP]))
    before = Product.objects.values().get()
    report, _refusals = run(
        write([LAPTOP | {"price": 1}, {"name": "New", "price": 1}]), only_new=True
    )
    assert counts(report) == (1, 0, 1, 0, 0)
    assert Product.objects.filter(sku="N-1").values().get() == before


# --- Categories --------------------------------------------------------------


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


# --- Runs --------------------------------------------------------------------


def test_a_run_that_dies_leaves_whole_batches_and_can_be_finished(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"name": f"P{n}", "price": 1, "stock": 2, "sku": f"S{n}"} for n in range(25)]
    path = write(rows)
    receive, calls = stock.receive_new, []

    def dies_in_the_second(*args: Any, **kwargs: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        receive(*args, **kwargs)

    monkeypatch.setattr(stock, "receive_new", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(path, batch_size=10)
    assert Product.objects.count() == StockMovement.objects.count() == 10
    assert set(Product.objects.values_list("stock_quantity", flat=True)) == {2}
    call_command("check_stock", stdout=StringIO(), skip_checks=True)

    report, _refusals = run(path, batch_size=10)
    assert counts(report) == (15, 0, 10, 0, 0)
    assert Product.objects.count() == StockMovement.objects.count() == 25
    call_command("check_stock", stdout=StringIO(), skip_checks=True)


def test_the_queries_of_a_batch_do_not_grow_with_its_rows(write: Write) -> None:
    def queries(rows: list[dict[str, Any]]) -> int:
        path = write(rows)
        with CaptureQueriesContext(connection) as captured:
            run(path)
        return len(captured)

    def rows(count: int, price: int) -> list[dict[str, Any]]:
        return [{"name": f"{count}-{n}", "price": price, "stock": 1} for n in range(count)]

    # Below the number of variables that SQLite takes in one statement.
    few = [queries(rows(5, 1)), queries(rows(5, 1)), queries(rows(5, 2))]
    many = [queries(rows(60, 1)), queries(rows(60, 1)), queries(rows(60, 2))]
    assert many == few
    assert max(many) <= 10


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 1000])
def test_the_batch_size_makes_no_difference(write: Write, batch_size: int) -> None:
    rows: list[Any] = [{"name": f"P{n % 5}", "price": n} for n in range(7)]
    report, refusals = run(write([*rows, "junk"]), batch_size=batch_size)
    assert refusals == [(1, "price_not_positive"), (7, "duplicate"), (8, "not_json")]
    assert report.created == 5


def test_several_files_are_taken_in_order(write: Write) -> None:
    first = write([LAPTOP, {"name": "A", "price": 1}], "first.jsonl")
    second = write("sku,name,price\nN-1,노트북,2\n,A,1\n", "second.csv")
    out = StringIO()
    call_command("import_catalogue", first, second, stdout=out, skip_checks=True)
    assert "created 3, updated 1, unchanged 0, retired 0, refused 0" in out.getvalue()
    assert Product.objects.get(sku="N-1").price == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "no usable columns"),
        ("a.csv", "name,brand\nA,B\n", "no usable columns"),
        ("a.csv", b"name,price\xff\nA,1\n", "no usable columns"),
        ("a.csv", '"name,price\n', "no usable columns"),
        ("a.csv", "name,price,Name\nA,1,B\n", "there twice"),
        ("a.jsonl", '{"foo": 1}\n{"bar": 2}\n', "no usable columns"),
        ("a.xlsx", "name,price\n", "none of .csv"),
    ],
)
def test_a_file_that_can_not_be_used_at_all(
    write: Write, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("import_catalogue", write(content, name), skip_checks=True)
    assert not Product.objects.exists()


def test_a_missing_file_is_noticed_before_anything_is_written(write: Write, tmp_path: Path) -> None:
    for missing in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(CommandError):
            call_command("import_catalogue", write([LAPTOP]), missing, skip_checks=True)
    assert not Product.objects.exists()


def test_the_error_file_is_never_the_file_that_is_read(write: Write, tmp_path: Path) -> None:
    path = write([LAPTOP])
    with pytest.raises(CommandError, match="files to read"):
        call_command("import_catalogue", path, errors=path, skip_checks=True)
    assert json.loads(path.read_text()) == LAPTOP
    with pytest.raises(CommandError, match="written"):
        call_command("import_catalogue", path, errors=tmp_path / "no" / "where", skip_checks=True)
