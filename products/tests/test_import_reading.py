"""manage.py import_catalogue: files of any kind, and what is wrong with them."""

import json
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from products.models import Product, Reason, StockMovement
from products.tests.goods import LAPTOP, Write, counts, run

pytestmark = pytest.mark.django_db


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


def test_several_files_are_taken_in_order(write: Write) -> None:
    first = write([LAPTOP, {"name": "A", "price": 1}], "first.jsonl")
    second = write("sku,name,price\nN-1,노트북,2\n,A,1\n", "second.csv")
    out = StringIO()
    call_command("import_catalogue", first, second, stdout=out, skip_checks=True)
    assert "created 3, updated 1, unchanged 0, retired 0, refused 0" in out.getvalue()
    assert Product.objects.get(sku="N-1").price == 2


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 1000])
def test_the_batch_size_makes_no_difference(write: Write, batch_size: int) -> None:
    rows: list[Any] = [{"name": f"P{n % 5}", "price": n} for n in range(7)]
    report, refusals = run(write([*rows, "junk"]), batch_size=batch_size)
    assert refusals == [(1, "price_not_positive"), (7, "duplicate"), (8, "not_json")]
    assert report.created == 5


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


def test_the_error_file_is_never_the_file_that_is_read(write: Write, tmp_path: Path) -> None:
    path = write([LAPTOP])
    with pytest.raises(CommandError, match="files to read"):
        call_command("import_catalogue", path, errors=path, skip_checks=True)
    assert json.loads(path.read_text()) == LAPTOP
    with pytest.raises(CommandError, match="written"):
        call_command("import_catalogue", path, errors=tmp_path / "no" / "where", skip_checks=True)
