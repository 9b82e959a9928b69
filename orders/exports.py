"""Orders as CSV and XLSX, one row an order, read a few hundred at a time.

Adding a column is one entry in COLUMNS.
"""

import csv
import io
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from django.conf import settings
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from orders.models import Order, OrderItem
from shop.errors import ShopError
from shop.money import exponent

Kind = Literal["text", "number", "money", "time"]
Format = Literal["csv", "xlsx"]
Row = dict[str, Any]

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_AT_A_TIME = 500
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Column:
    """A column: its heading, what kind of value it has, and how it is read from a row."""

    heading: Any
    kind: Kind
    read: Callable[[Row], Any]
    width: int = 12


def _field(heading: Any, kind: Kind, name: str, width: int = 12) -> Column:
    return Column(heading, kind, lambda row: row[name], width)


COLUMNS = (
    _field(gettext_lazy("Order"), "text", "pk", 38),
    _field(gettext_lazy("Placed"), "time", "created_at", 20),
    _field(gettext_lazy("Status"), "text", "status"),
    _field(gettext_lazy("Customer"), "text", "customer__username", 16),
    _field(gettext_lazy("Recipient"), "text", "recipient", 16),
    _field(gettext_lazy("Phone"), "text", "phone", 16),
    _field(gettext_lazy("E-mail"), "text", "email", 24),
    _field(gettext_lazy("Street"), "text", "street", 30),
    _field(gettext_lazy("City"), "text", "city"),
    _field(gettext_lazy("Postal code"), "text", "postal_code"),
    Column(gettext_lazy("Items"), "text", lambda row: row["lines"], 40),
    Column(gettext_lazy("Units"), "number", lambda row: row["units"]),
    _field(gettext_lazy("Items total"), "money", "items_total"),
    _field(gettext_lazy("Shipping"), "money", "shipping_fee"),
    _field(gettext_lazy("Total"), "money", "total"),
    _field(gettext_lazy("Currency"), "text", "currency"),
    _field(gettext_lazy("Paid"), "money", "paid"),
    _field(gettext_lazy("Refunded"), "money", "refunded"),
    _field(gettext_lazy("Carrier"), "text", "carrier"),
    _field(gettext_lazy("Tracking number"), "text", "tracking_number", 20),
    _field(gettext_lazy("Reason for cancelling"), "text", "cancel_reason", 20),
    _field(gettext_lazy("Memo"), "text", "memo", 30),
)
_READ = (
    "pk", "created_at", "status", "customer__username", "recipient", "phone", "email", "street",
    "city", "postal_code", "items_total", "shipping_fee", "total", "currency", "paid", "refunded",
    "carrier", "tracking_number", "cancel_reason", "memo",
)  # fmt: skip

# What a spreadsheet takes for the beginning of a formula, also after spaces
# and in full width.
_FORMULA = re.compile(r"[\s\u3000]*[=+\-@＝＋－＠|%]|[\t\r\n]")
# Not allowed in XML, and so not in a workbook.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class ExportTooLarge(ShopError):
    """More rows than are streamed at once; `max_rows` says how many that is."""

    code = "export_too_large"
    title = gettext_noop("Export too large")


def check_size(rows: QuerySet[Order]) -> None:
    """Refuse what would not fit into one answer.

    Raises:
        ExportTooLarge.
    """
    most = settings.EXPORT_MAX_ROWS
    if rows.order_by()[: most + 1].count() > most:
        raise ExportTooLarge(
            _("At most %d orders at once; narrow the dates.") % most, max_rows=most
        )


def harmless(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula."""
    return "'" + text if _FORMULA.match(text) else text


def response(rows: QuerySet[Order], kind: Format) -> StreamingHttpResponse:
    """Answer with the file."""
    name = f"orders-{timezone.localdate()}.{kind}"
    return StreamingHttpResponse(
        stream(rows, kind),
        content_type="text/csv; charset=utf-8" if kind == "csv" else XLSX,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
        },
    )


def stream(rows: QuerySet[Order], kind: Format) -> Iterator[bytes]:
    """Yield the file's bytes, newest order first. Memory does not grow with its length."""
    # In the caller's language: the generator runs in a thread that has none.
    headings = [str(column.heading) for column in COLUMNS]
    title = str(_("Orders"))[:31]
    return _csv(rows, headings) if kind == "csv" else _xlsx(rows, headings, title)


def _read(rows: QuerySet[Order]) -> Iterator[list[Row]]:
    """Yield orders with their lines, some hundred at a time. Two queries each time."""
    rows = rows.order_by("-pk")
    last = None
    while True:
        # By key, not by offset: what is placed meanwhile moves nothing.
        part = list((rows.filter(pk__lt=last) if last else rows).values(*_READ)[:_AT_A_TIME])
        if not part:
            return
        last = part[-1]["pk"]
        lines: dict[Any, list[tuple[str, int]]] = {}
        items = OrderItem.objects.filter(order__in=[row["pk"] for row in part]).order_by("pk")
        for order_id, name, quantity in items.values_list("order_id", "product_name", "quantity"):
            lines.setdefault(order_id, []).append((name, quantity))
        for row in part:
            bought = lines.get(row["pk"], [])
            row["lines"] = "; ".join(f"{quantity} × {name}" for name, quantity in bought)
            row["units"] = sum(quantity for _name, quantity in bought)
        yield part


def _local(moment: datetime) -> datetime:
    """Return a moment on the shop's clock; spreadsheets know no zones."""
    return timezone.localtime(moment).replace(tzinfo=None, microsecond=0)


def _text(value: Any) -> str:
    return _CONTROL.sub(" ", "" if value is None else str(value))


def _csv_cell(column: Column, row: Row) -> str:
    value = column.read(row)
    if column.kind == "time":
        return _local(value).isoformat(sep=" ")
    if column.kind == "money":
        return format(value, "f")
    return harmless(_text(value)) if column.kind == "text" else str(value)


def _csv(rows: QuerySet[Order], headings: Sequence[str]) -> Iterator[bytes]:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    # By the mark Excel knows UTF-8.
    out.write("\ufeff")
    writer.writerow(headings)
    for part in _read(rows):
        writer.writerows([_csv_cell(column, row) for column in COLUMNS] for row in part)
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    if out.tell():
        yield out.getvalue().encode()


def _xlsx(rows: QuerySet[Order], headings: Sequence[str], title: str) -> Iterator[bytes]:
    # Only who exports pays for the import.
    import xlsxwriter

    with tempfile.TemporaryFile() as file:
        # constant_memory writes each row as it comes; a workbook is a zip
        # archive and can be sent only when it is whole.
        book = xlsxwriter.Workbook(
            file, {"constant_memory": True, "strings_to_formulas": False, "in_memory": False}
        )
        _write_sheet(book, book.add_worksheet(title), rows, headings)
        book.close()
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


def _write_sheet(book: Any, sheet: Any, rows: QuerySet[Order], headings: Sequence[str]) -> None:
    bold = book.add_format({"bold": True})
    styles = {
        "time": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        "money": book.add_format(
            {"num_format": "#,##0" + ("." + "0" * exponent() if exponent() else "")}
        ),
    }
    for place, column in enumerate(COLUMNS):
        sheet.set_column(place, place, column.width)
        sheet.write_string(0, place, headings[place], bold)
    sheet.freeze_panes(1, 0)
    number = 0
    for part in _read(rows):
        for row in part:
            number += 1
            for place, column in enumerate(COLUMNS):
                value = column.read(row)
                if column.kind == "time":
                    sheet.write_datetime(number, place, _local(value), styles["time"])
                elif column.kind == "text":
                    # Always a string, so never a formula; it is made harmless
                    # all the same, for whoever saves it as CSV.
                    sheet.write_string(number, place, harmless(_text(value))[:32_767])
                else:
                    amount = float(value) if isinstance(value, Decimal) else value
                    sheet.write_number(number, place, amount, styles.get(column.kind))
    sheet.autofilter(0, 0, number, len(COLUMNS) - 1)
