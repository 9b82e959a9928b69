"""Files to raw rows: values by column, and a refusal for each row that can't be read.

Files are read as streams, so that their size costs time and not memory.
"""

import csv
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from products.importing.values import BadRow, fold, printable
from shop.errors import BadRequest

T = TypeVar("T")

# In characters. A row of several lines is cut off later, or one open quotation
# mark would take the rest of the file into memory.
MAX_LINE = 1_000_000
# Distinct texts kept for the report, whatever a file may hold.
MAX_TEXTS = 10_000
# What the error file shows of a bad row.
_SHOWN = 1000

# Columns by the names that files give them, the most telling first.
COLUMNS = {
    "name": ("name", "title", "상품명"),
    "description": ("description", "상품설명", "설명"),
    "brand": ("brand", "브랜드"),
    "price": ("price", "판매가", "가격"),
    "stock_quantity": ("stock_quantity", "stock", "quantity", "재고수량", "재고"),
    "sku": ("sku", "상품코드"),
    "category": ("category", "카테고리"),
}
_ALIASES = {
    alias: (rank, column) for column, names in COLUMNS.items() for rank, alias in enumerate(names)
}


class UnusableFile(BadRequest):
    """A file that no row can be read from."""

    code = "unusable_file"
    title = gettext_noop("Unusable file")


@dataclass(frozen=True)
class Refusal:
    """A row that was left out. `row` is what the file says, cut to a sane length."""

    file: str
    line: int
    code: str
    reason: str
    row: str

    def as_json(self) -> str:
        """Return one line for the error file."""
        return json.dumps(asdict(self), ensure_ascii=False)


OnRefusal = Callable[[Refusal], None]


def tell(refusals: Iterable[Refusal], on_refusal: OnRefusal | None) -> None:
    """Name refusals to whoever wants to know, in the file's order."""
    if on_refusal:
        for refusal in sorted(refusals, key=lambda refusal: refusal.line):
            on_refusal(refusal)


@dataclass(frozen=True)
class Raw:
    """A row as the file has it: values by column, and the text for the error file."""

    file: str
    line: int
    text: str
    values: Mapping[str, Any]

    def refuse(self, bad: BadRow) -> Refusal:
        """Return why the row is left out."""
        return Refusal(self.file, self.line, bad.code, bad.reason, self.text)


Rows = Generator[Raw | Refusal, None, None]


class Columns:
    """Which of a file's columns are used."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.ignored: set[str] = set()
        self._known: dict[str, tuple[int, str] | None] = {}

    def find(self, name: str) -> tuple[int, str] | None:
        """Return the column that a name stands for, after the name's rank among its aliases."""
        if name in self._known:
            return self._known[name]
        found = _ALIASES.get(re.sub(r"[\s\-]+", "_", fold(name)))
        if len(self._known) < MAX_TEXTS:
            self._known[name] = found
            if found:
                self.used.add(found[1])
            elif name.strip():
                self.ignored.add(printable(name))
        return found

    def pick(self, items: Iterable[tuple[str, T | None]]) -> dict[str, T]:
        """Return a value for each column; of several names for one, the first in COLUMNS."""
        best: dict[str, tuple[int, T]] = {}
        for name, value in items:
            if (found := self.find(name)) and value is not None:
                rank, column = found
                if column not in best or rank < best[column][0]:
                    best[column] = rank, value
        return {column: value for column, (_rank, value) in best.items()}


class _Lines(Iterator[str]):
    """The lines of a file, in memory no longer than the row they belong to."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._again: deque[str] = deque()
        self._number = 0
        self.begin_row()

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self._row: list[str] = []
        self._size = 0
        self._first = self._number + 1

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            while (rest := self._file.readline(MAX_LINE)) and rest[-1] not in "\r\n":
                pass
            self._row.append(line[:_SHOWN])
            raise BadRow("line_too_long", _("The line is too long."))
        self._row.append(line)
        self._size += len(line)
        if self._size > MAX_LINE and len(self._row) > 1:
            raise csv.Error("the row does not end")
        return line

    def put_back(self) -> None:
        """Have all lines of the row but its first read again."""
        again = self._row[1:]
        self._again.extendleft(reversed(again))
        self._number -= len(again)
        self._row = self._row[:1]

    def check(self) -> None:
        """Raise BadRow where the row is not UTF-8."""
        try:
            for line in self._row:
                line.encode()
        except UnicodeEncodeError:
            raise BadRow("not_utf8", _("The row is not UTF-8.")) from None

    def raw(self, values: Mapping[str, Any]) -> Raw:
        """Return the row; bad bytes show as `\\xff`."""
        text = "".join(self._row)[:_SHOWN].rstrip("\r\n")
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return Raw(self._name, self._first, text, values)

    def refuse(self, bad: BadRow) -> Refusal:
        """Return why the row is left out."""
        return self.raw({}).refuse(bad)


def read_products(path: Path, columns: Columns) -> Rows:
    """Read a CSV file below its header, or JSON Lines; empty lines are passed over.

    Raises:
        UnusableFile: it can't be opened, or has no names and prices.
    """
    with _open(path) as file:
        lines = _Lines(file, path.name)
        if path.suffix.lower() == ".csv":
            # Strict: a stray quotation mark shows as soon as it can.
            cells = csv.reader(lines, strict=True)
            yield from _read_table(lines, cells, lambda header: _csv_header(header, path, columns))
        else:
            yield from _read_jsonl(lines, path, columns)


def read_tsv(path: Path, *, columns: Sequence[str], needed: set[str]) -> Rows:
    """Read rows of tab-separated cells, which may be called `columns`, below a header.

    Raises:
        UnusableFile: it can't be opened, or lacks a column that is needed.
    """

    def header_of(cells: Sequence[str]) -> dict[str, int]:
        header = {fold(cell): index for index, cell in enumerate(cells)}
        if not needed <= header.keys():
            raise UnusableFile(
                _("%(file)s has no usable columns: %(columns)s are needed, by tabs.")
                % {"file": path, "columns": ", ".join(columns)}
            )
        return header

    with _open(path) as file:
        lines = _Lines(file, path.name)
        # No generator: that would end with the first line that raises.
        yield from _read_table(lines, map(_tab_cells, lines), header_of)


def _tab_cells(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _open(path: Path) -> TextIO:
    # A bad byte becomes a lone surrogate, so that it spoils its own row only.
    # JSON Lines end in a line feed and nothing else; csv wants ends untouched.
    newline = "" if path.suffix.lower() == ".csv" else "\n"
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)
    except OSError as error:
        raise UnusableFile(_("%s can't be read.") % path) from error


def _read(lines: _Lines, parsed: Iterator[T]) -> Iterator[T | Refusal]:
    """Yield what each row is parsed to; `parsed` takes its lines from `lines`.

    Where quotation marks are wrong, only the line that the row begins in is
    given up, and reading goes on in the next one.
    """
    while True:
        lines.begin_row()
        try:
            found = next(parsed)
            lines.check()
        except StopIteration:
            return
        except BadRow as bad:
            yield lines.refuse(bad)
        except csv.Error:
            lines.put_back()
            reason = _("The quotation marks of the row don't match, or a cell is too long.")
            yield lines.refuse(BadRow("malformed_row", reason))
        else:
            yield found


def _read_table(
    lines: _Lines,
    parsed: Iterator[list[str]],
    header_of: Callable[[Sequence[str]], Mapping[str, int]],
) -> Rows:
    """Read rows below a header; `header_of` says which cell is which column's, or raises."""
    width = 0
    header: Mapping[str, int] = {}
    for cells in _read(lines, parsed):
        if isinstance(cells, list) and len(cells) < 2 and not "".join(cells).strip():
            continue
        if not header:
            found = [] if isinstance(cells, Refusal) else cells
            width, header = len(found), header_of(found)
        elif isinstance(cells, Refusal):
            yield cells
        elif len(cells) != width:
            reason = _("The row has %(found)d cells, the header %(wanted)d.")
            found_and_wanted = {"found": len(cells), "wanted": width}
            yield lines.refuse(BadRow("wrong_cell_count", reason % found_and_wanted))
        else:
            yield lines.raw({column: cells[index] for column, index in header.items()})
    if not header:
        header_of([])


def _csv_header(cells: Sequence[str], path: Path, columns: Columns) -> dict[str, int]:
    names = Counter(found for cell in cells if (found := columns.find(cell)))
    for (rank, column), times in names.items():
        if times > 1:
            raise UnusableFile(_("The column %s is there twice.") % COLUMNS[column][rank])
    if not {"name", "price"} <= columns.used:
        raise _no_columns(path)
    return columns.pick((cell, index) for index, cell in enumerate(cells))


def _no_columns(path: Path) -> UnusableFile:
    return UnusableFile(_("%s has no usable columns: a name and a price are needed.") % path.name)


def _read_jsonl(lines: _Lines, path: Path, columns: Columns) -> Rows:
    any_object = False
    for text in _read(lines, lines):
        if isinstance(text, Refusal):
            yield text
        elif text := text.strip():
            try:
                found = _json_object(text)
            except BadRow as bad:
                yield lines.refuse(bad)
                continue
            any_object = True
            yield lines.raw(columns.pick(found.items()))
    # One object may lack a column; that none has any is another matter.
    if any_object and not columns.used & {"name", "price"}:
        raise _no_columns(path)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = _JSON.decode(text)
    except (ValueError, ArithmeticError, RecursionError):
        raise BadRow("not_json", _("The line is not JSON.")) from None
    if not isinstance(found, dict):
        raise BadRow("not_an_object", _("The line is not a JSON object."))
    return found
