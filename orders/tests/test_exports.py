"""Exports: the list as CSV and XLSX."""

import csv
import io
from datetime import datetime

import openpyxl
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders import exports
from orders.actions import move_order
from orders.models import Order
from orders.states import Status

pytestmark = pytest.mark.django_db

URL = "/api/v2/orders/export"


@pytest.fixture
def fetch(client_of):
    def get(user, **query):
        answer = client_of(user).get(URL, query)
        assert answer.status_code == 200, answer.content
        return b"".join(answer.streaming_content), answer

    return get


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def sheet_of(content):
    return openpyxl.load_workbook(io.BytesIO(content)).active


def test_csv_opens_with_hangul_intact(fetch, alice, make_order, make_product):
    order = make_order(alice, (make_product("노트북, 15인치", 1500000), 2))
    content, answer = fetch(alice)
    assert content.startswith(b"\xef\xbb\xbf")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"].endswith('.csv"')
    (row,) = rows_of(content)
    assert (row["Order"], row["Items"], row["Units"]) == (str(order.pk), "2 × 노트북, 15인치", "2")
    assert (row["Total"], row["City"], row["Status"]) == ("3000000", "Seoul", "pending")
    local = timezone.localtime(order.created_at).strftime("%Y-%m-%d %H:%M:%S")
    assert row["Placed"] == local


def test_xlsx_has_dates_numbers_a_frozen_header_and_filters(fetch, alice, make_order, make_product):
    order = make_order(alice, (make_product("노트북", 1500000), 2))
    content, answer = fetch(alice, format="xlsx")
    assert answer["Content-Type"] == exports.XLSX
    sheet = sheet_of(content)
    head = [cell.value for cell in sheet[1]]
    row = dict(zip(head, sheet[2], strict=True))
    assert row["Total"].value == 3000000 and row["Total"].data_type == "n"
    assert row["Placed"].value == timezone.localtime(order.created_at).replace(
        tzinfo=None, microsecond=0
    )
    assert isinstance(row["Placed"].value, datetime)
    assert row["Items"].value == "2 × 노트북"
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref.startswith("A1:")


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "  =1", "＝1+1", "　=1", "|cmd"],
)
def test_no_cell_is_a_formula(text):
    assert exports.harmless(text) == "'" + text


@pytest.mark.parametrize("text", ["노트북", "a=1", "1-2", ""])
def test_other_cells_stay_as_they_are(text):
    assert exports.harmless(text) == text


def test_a_name_that_begins_like_a_formula(fetch, alice, make_order, make_product):
    order = make_order(alice, (make_product("상품"), 1))
    Order.objects.filter(pk=order.pk).update(recipient='=HYPERLINK("http://x")', memo="a\x01b")
    (row,) = rows_of(fetch(alice)[0])
    assert row["Recipient"].startswith("'=")
    sheet = sheet_of(fetch(alice, format="xlsx")[0])
    cells = {cell.value: cell.data_type for cell in sheet[2]}
    assert cells['\'=HYPERLINK("http://x")'] == "s"
    assert "a b" in cells


def test_everybody_gets_their_own_and_the_desk_gets_all(
    client_of, fetch, alice, bob, clerk, make_order
):
    mine, theirs = make_order(alice), make_order(bob)
    assert [row["Order"] for row in rows_of(fetch(alice)[0])] == [str(mine.pk)]
    assert [row["Order"] for row in rows_of(fetch(clerk)[0])] == [str(theirs.pk), str(mine.pk)]
    assert client_of(None).get(URL).status_code == 401


def test_the_lists_filters_hold(fetch, clerk, alice, make_order):
    make_order(alice)
    paid = make_order(alice)
    move_order(order_id=paid.pk, to=Status.PAID, actor=clerk)
    assert [row["Order"] for row in rows_of(fetch(clerk, status="paid")[0])] == [str(paid.pk)]
    today = str(timezone.localdate())
    assert len(rows_of(fetch(clerk, start_date=today, end_date=today)[0])) == 2
    assert rows_of(fetch(clerk, end_date="2020-01-01")[0]) == []
    assert sheet_of(fetch(clerk, end_date="2020-01-01", format="xlsx")[0]).max_row == 1


@pytest.mark.parametrize(
    "query", [{"format": "pdf"}, {"page": 1}, {"per_page": 5}, {"cursor": ""}, {"status": "x"}]
)
def test_bad_questions_are_told_before_the_file_begins(client_of, alice, query):
    answer = client_of(alice).get(URL, query)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


def test_what_would_not_fit_is_refused(client_of, alice, make_order, settings):
    settings.EXPORT_MAX_ROWS = 1
    make_order(alice)
    assert client_of(alice).get(URL).status_code == 200
    make_order(alice)
    answer = client_of(alice).get(URL)
    assert (answer.status_code, answer.json()["code"]) == (409, "export_too_large")
    assert answer.json()["max_rows"] == 1


def test_it_reads_a_part_at_a_time(fetch, alice, make_order, make_product, monkeypatch):
    monkeypatch.setattr(exports, "_AT_A_TIME", 3)
    product = make_product(stock=100)
    placed = [str(make_order(alice, (product, 1)).pk) for _ in range(7)]
    with CaptureQueriesContext(
        connection,
    ) as captured:
        content, _ = fetch(alice)
    # Newest first; those of one millisecond in the order of their keys.
    assert [row["Order"] for row in rows_of(content)] == sorted(placed, reverse=True)
    # The count; then orders and lines, three times, and the end.
    assert len(captured) == 1 + 2 * 3 + 1


def test_the_admin_exports_what_is_chosen(client, clerk, alice, make_order):
    order = make_order(alice)
    make_order(alice)
    client.force_login(clerk)
    answer = client.post(
        "/admin/orders/order/", {"action": "export_csv", "_selected_action": [str(order.pk)]}
    )
    rows = rows_of(b"".join(answer.streaming_content))
    assert [row["Order"] for row in rows] == [str(order.pk)]
