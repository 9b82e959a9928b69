"""Bringing products and categories in from files.

A file is read as a stream and written batch by batch, one transaction each,
so that its size costs time and not memory, and a run that dies leaves whole
batches behind; running it again finishes the work. A row that can't be used
is refused with its reason and the rest goes on. Importing a file again
changes nothing.

Stock in a file is the first stock of a product that is new. The stock of a
product that the shop has already is the ledger's business, and no file's.
"""

import csv
import hashlib
import json
import re
import sqlite3
import time
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TextIO

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils.translation import gettext as _

from products import stock
from products.categories import CategoryReport, CategoryRow, load_categories
from products.models import Category, Product
from shop.db import in_transaction
from shop.errors import BadRequest
from shop.money import MAX_MINOR, exponent, from_minor, to_minor

# In characters. A row of several lines is cut off later, or one open quotation
# mark would take the rest of the file into memory.
_MAX_LINE = 1_000_000
# What the error file shows of a bad row.
_SHOWN = 1000
# Distinct texts kept for the report, whatever a file may hold.
_MAX_TEXTS = 10_000
_ATTEMPTS = 3

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
    title = "Unusable file"


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


@dataclass
class Report:
    """What an import did, in rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    retired: int = 0
    refused: int = 0
    seconds: float = 0.0
    # Rows by the code of their refusal.
    reasons: Counter[str] = field(default_factory=Counter)
    # Rows by a category's name that is no category here.
    unknown_categories: Counter[str] = field(default_factory=Counter)
    # By file; the columns that nothing is done with.
    ignored_columns: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All rows that were read."""
        return self.created + self.updated + self.unchanged + self.retired + self.refused

    def add(self, outcome: "_Outcome", refusals: Sequence[Refusal]) -> None:
        """Count one batch."""
        self.created += outcome.created
        self.updated += outcome.updated
        self.unchanged += outcome.unchanged
        self.retired += outcome.retired
        self.refused += len(refusals)
        self.reasons.update(refusal.code for refusal in refusals)


OnRefusal = Callable[[Refusal], None]


def import_catalogue(
    paths: Sequence[Path],
    *,
    source: str = "",
    rate: Decimal | None = None,
    step: Decimal | None = None,
    batch_size: int = 1000,
    categories: Path | None = None,
    only_new: bool = False,
    on_refusal: OnRefusal | None = None,
) -> Report:
    """Import products from CSV and JSON Lines files, in the order given.

    A row is matched by its SKU, or, where it has none, by source, brand and
    name; `source` defaults to each file's stem. What a row leaves empty stays
    as it is in the shop, and so does a category that is not known. With
    `only_new`, products that exist stay as they are altogether.

    `rate` is what one unit of the files' currency is worth in the shop's, and
    `step` what prices are rounded to, half up, in the shop's currency. With
    neither, prices are taken as they are and may not have more decimals than
    the currency. `categories` names a TSV file: a category as the files write
    it, and the slug that it stands for. `on_refusal` is called for each bad
    row once what precedes it is in the database.

    Raises:
        UnusableFile: a file is missing, of an unknown format or without names
            and prices; the files before it have been imported.
        ValueError: `rate`, `step` or `batch_size` is out of bounds.
    """
    started = time.monotonic()
    if not 1 <= batch_size <= 5000:
        raise ValueError(_("A batch has 1 to 5000 rows."))
    prices = _Prices(rate, step)
    for path in paths:
        if path.suffix.lower() not in _READERS:
            raise UnusableFile(_("%s is none of .csv, .jsonl and .ndjson.") % path)
        if not path.is_file():
            raise UnusableFile(_("There is no file %s.") % path)
    names = _CategoryNames(categories)
    report = Report()

    for path in paths:
        parse = partial(_parse, source=source or path.stem, prices=prices, names=names)
        with _open(path) as file, _Seen() as seen:
            columns = _Columns()
            reader = _READERS[path.suffix.lower()](_Lines(file), path.name, columns)
            while batch := list(islice(reader, batch_size)):
                rows, refusals = _sift(batch, path.name, parse, seen)
                outcome = _write(rows, path.name, seen, only_new)
                refusals += outcome.refusals
                report.add(outcome, refusals)
                _tell(refusals, on_refusal)
            report.ignored_columns[path.name] = sorted(columns.ignored)
    report.unknown_categories = names.unknown
    report.seconds = time.monotonic() - started
    return report


def _tell(refusals: Iterable[Refusal], on_refusal: OnRefusal | None) -> None:
    if on_refusal:
        for refusal in sorted(refusals, key=lambda refusal: refusal.line):
            on_refusal(refusal)


# --- Lines and rows -----------------------------------------------------------


@dataclass(frozen=True)
class _Raw:
    """A row as the file has it: values by column, and the text for the error file."""

    line: int
    text: str
    values: Mapping[str, Any]


class _BadRow(Exception):
    """What is wrong with a row."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    def refusal(self, file: str, line: int, text: str) -> Refusal:
        return Refusal(file, line, self.code, self.reason, text)


class _TooLong(Exception):
    """A line beyond all reason."""


def _open(path: Path) -> TextIO:
    # A bad byte becomes a lone surrogate, so that it spoils its own row only.
    # JSON Lines end in a line feed and nothing else; csv wants ends untouched.
    newline = "" if path.suffix.lower() == ".csv" else "\n"
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)
    except OSError as error:
        raise UnusableFile(_("%s can't be read.") % path) from error


class _Lines(Iterator[str]):
    """The lines of a file, in memory no longer than the row they belong to."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._size = 0
        self.number = 0
        self.row: list[str] = []

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.row = []
        self._size = 0

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._file.readline(_MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == _MAX_LINE and line[-1] not in "\r\n":
            while (rest := self._file.readline(_MAX_LINE)) and rest[-1] not in "\r\n":
                pass
            self.row.append(line[:_SHOWN])
            raise _TooLong
        self.row.append(line)
        self._size += len(line)
        if self._size > _MAX_LINE and len(self.row) > 1:
            raise csv.Error("the row does not end")
        return line

    def put_back(self) -> None:
        """Have all lines of the row but its first read again."""
        again = self.row[1:]
        self._again.extendleft(reversed(again))
        self.number -= len(again)
        self.row = self.row[:1]

    def text(self) -> str:
        """Return the row for the error file, bad bytes as `\\xff`."""
        text = "".join(self.row)[:_SHOWN].rstrip("\r\n")
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

    def check(self) -> None:
        """Raise _BadRow where the row is not UTF-8."""
        try:
            for line in self.row:
                line.encode()
        except UnicodeEncodeError:
            raise _BadRow("not_utf8", _("The row is not UTF-8.")) from None


class _Columns:
    """Which of a file's columns are used."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.ignored: set[str] = set()
        self._known: dict[str, tuple[int, str] | None] = {}

    def find(self, name: str) -> tuple[int, str] | None:
        """Return the column that a name stands for, with the name's rank among its aliases."""
        if name in self._known:
            return self._known[name]
        found = _ALIASES.get(re.sub(r"[\s\-]+", "_", _fold(name)))
        if len(self._known) < _MAX_TEXTS:
            self._known[name] = found
            if found:
                self.used.add(found[1])
            elif name.strip():
                self.ignored.add(_printable(name))
        return found


Reader = Iterator[_Raw | Refusal]


def _read_jsonl(lines: _Lines, file: str, columns: _Columns) -> Reader:
    """Read one JSON object a line; empty lines are passed over."""
    any_object = False
    while True:
        lines.begin_row()
        try:
            text = next(lines).strip()
            lines.check()
            if not text:
                continue
            found = _json_object(text)
        except StopIteration:
            break
        except _TooLong:
            yield _too_long().refusal(file, lines.number, lines.text())
            continue
        except _BadRow as bad:
            yield bad.refusal(file, lines.number, lines.text())
            continue
        values: dict[str, Any] = {}
        ranks: dict[str, int] = {}
        for name, value in found.items():
            if (alias := columns.find(name)) and value is not None:
                rank, column = alias
                if rank < ranks.get(column, len(_ALIASES)):
                    ranks[column] = rank
                    values[column] = value
        any_object = True
        yield _Raw(lines.number, lines.text(), values)
    # One object may lack a column; that none has any is another matter.
    if any_object and not columns.used & {"name", "price"}:
        raise _no_columns(file)


def _no_columns(file: str) -> UnusableFile:
    return UnusableFile(_("%s has no usable columns: a name and a price are needed.") % file)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = _JSON.decode(text)
    except (ValueError, ArithmeticError, RecursionError):
        raise _BadRow("not_json", _("The line is not JSON.")) from None
    if not isinstance(found, dict):
        raise _BadRow("not_an_object", _("The line is not a JSON object."))
    return found


def _read_csv(lines: _Lines, file: str, columns: _Columns) -> Reader:
    """Read rows below a header; empty lines are passed over.

    Where quotation marks are wrong, only the line that the row begins in is
    given up, and reading goes on in the next one.
    """
    # Strict: a stray quotation mark shows as soon as it can.
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    used: dict[str, int] = {}
    while True:
        lines.begin_row()
        line = lines.number + 1
        try:
            cells = next(reader)
            lines.check()
            if not "".join(cells).strip() and len(cells) < 2:
                continue
            if header is None:
                header, used = cells, _csv_header(cells, columns)
                if not {"name", "price"} <= columns.used:
                    raise _no_columns(file)
                continue
            if len(cells) != len(header):
                raise _BadRow(
                    "wrong_cell_count",
                    _("The row has %(found)d cells, the header %(wanted)d.")
                    % {"found": len(cells), "wanted": len(header)},
                )
        except StopIteration:
            break
        except _TooLong:
            refusal = _too_long().refusal(file, line, lines.text())
        except csv.Error:
            lines.put_back()
            reason = _("The quotation marks of the row don't match, or a cell is too long.")
            refusal = _BadRow("malformed_row", reason).refusal(file, line, lines.text())
        except _BadRow as bad:
            refusal = bad.refusal(file, line, lines.text())
        else:
            values = {column: cells[index] for column, index in used.items()}
            yield _Raw(line, lines.text(), values)
            continue
        if header is None:
            raise _no_columns(file)
        yield refusal
    if header is None:
        raise _no_columns(file)


def _csv_header(cells: Sequence[str], columns: _Columns) -> dict[str, int]:
    """Return where each known column stands; of several names for one, the first in COLUMNS."""
    found = sorted(
        (column, rank, index)
        for index, cell in enumerate(cells)
        for rank, column in filter(None, [columns.find(cell)])
    )
    for (column, rank, _first), (other, same, _second) in zip(found, found[1:], strict=False):
        if (column, rank) == (other, same):
            raise UnusableFile(_("The column %s is there twice.") % COLUMNS[column][rank])
    return {column: index for column, rank, index in reversed(found)}


def _too_long() -> _BadRow:
    return _BadRow("line_too_long", _("The line is too long."))


_READERS: dict[str, Callable[[_Lines, str, _Columns], Reader]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
}


# --- Values -------------------------------------------------------------------

_SPACES = re.compile(r"\s+")
# Zero width space, word joiner, byte order mark: seen by nobody, met in many files.
_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}|[0-9]{1,3}(?:,[0-9]{3}){1,10})(?:\.[0-9]{1,40})?\Z")
_EXACT = Context(prec=200, rounding=ROUND_HALF_UP)


def _fold(text: str) -> str:
    """Return what texts that differ in case, spaces and composition have in common."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(_INVISIBLE.sub("", folded).split())


def _printable(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)[:100]


def _text(values: Mapping[str, Any], column: str, limit: int, *, keep_lines: bool = False) -> str:
    """Return a clean text, empty where the row has none.

    Raises:
        _BadRow: it holds control characters, is no text, or is longer than `limit`.
    """
    value = values.get(column, "")
    if isinstance(value, int) and not isinstance(value, bool):
        # A SKU of digits, say. Beyond this no column has room for it.
        value = str(value) if abs(value) < 10**300 else "9" * 301
    if not isinstance(value, str):
        raise _BadRow(f"{column}_not_text", _("The column %s is not a text.") % column)
    if _CONTROL.search(value):
        raise _BadRow(
            "control_character", _("The column %s has control characters in it.") % column
        )
    value = _INVISIBLE.sub("", unicodedata.normalize("NFC", value))
    if keep_lines:
        lines = [_SPACES.sub(" ", line).strip() for line in value.splitlines()]
        value = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    else:
        value = _SPACES.sub(" ", value).strip()
    if len(value) > limit:
        raise _BadRow(
            f"{column}_too_long",
            _("The column %(column)s has more than %(limit)d characters.")
            % {"column": column, "limit": limit},
        )
    return value


def _number(value: Any, column: str) -> Decimal | None:
    """Return an exact number, None where there is none; `1,299` is read as thousands.

    Raises:
        _BadRow: it is not a number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        text = _INVISIBLE.sub("", value).strip()
        if not text:
            return None
        if _NUMBER.match(text):
            return Decimal(text.replace(",", ""))
    elif value is None:
        return None
    raise _BadRow(f"{column}_not_a_number", _("The column %s is not a number.") % column)


class _Prices:
    """Prices of a file into the shop's currency, exactly."""

    def __init__(self, rate: Decimal | None, step: Decimal | None) -> None:
        if rate is not None and not (
            rate.is_finite() and 0 < rate < 10**9 and _decimals(rate) < 18
        ):
            raise ValueError(_("The rate is a number above 0."))
        if step is not None:
            try:
                if to_minor(step) <= 0:
                    raise ValueError(_("The step for rounding is above 0."))
            except ValidationError as error:
                raise ValueError(error.messages[0]) from None
        self._rounds = rate is not None or step is not None
        self._rate = rate or Decimal(1)
        self._step = step or from_minor(1)

    def convert(self, value: Any) -> Decimal:
        """Return a price in the shop's currency.

        Raises:
            _BadRow: there is none, or none that could be asked for.
        """
        amount = _number(value, "price")
        if amount is None:
            raise _BadRow("price_missing", _("The row has no price."))
        if amount <= 0:
            raise _BadRow("price_not_positive", _("The price is not above 0."))
        # The size first: 1E+999999 must not be written out.
        if amount.adjusted() > 15:
            raise _BadRow("price_too_large", _("The price is too large."))
        if _decimals(amount) > 18 or not (self._rounds or _decimals(amount) <= exponent()):
            raise _BadRow("price_too_precise", _("The price has too many decimals."))
        if self._rounds:
            whole, rest = _EXACT.divmod(_EXACT.multiply(amount, self._rate), self._step)
            if _EXACT.add(rest, rest) >= self._step:
                whole = _EXACT.add(whole, 1)
            amount = _EXACT.multiply(whole, self._step)
        if amount > from_minor(MAX_MINOR):
            raise _BadRow("price_too_large", _("The price is too large."))
        if not amount:
            raise _BadRow("price_not_positive", _("The price is rounded to 0."))
        return from_minor(to_minor(amount))


def _decimals(number: Decimal) -> int:
    """Return how many decimals a finite number needs; `9900.0` needs none."""
    places = number.as_tuple().exponent
    digits = number.as_tuple().digits
    zeros = 0
    while zeros < len(digits) and digits[-1 - zeros] == 0:
        zeros += 1
    return max(0, -int(places) - zeros)


def _stock(value: Any) -> int:
    """Return a first stock, 0 where the row has none; raises _BadRow where it can't be one."""
    number = _number(value, "stock_quantity")
    if number is None:
        return 0
    if number < 0:
        raise _BadRow("stock_negative", _("The stock is below 0."))
    if number.adjusted() > 15 or number > stock.MAX_STOCK:
        raise _BadRow("stock_too_large", _("The stock is too large."))
    if _decimals(number):
        raise _BadRow("stock_not_whole", _("The stock is not a whole number."))
    return int(number)


class _CategoryNames:
    """Categories by whatever a file may call them.

    By the mapping file first, then by slug, key, English and Korean name. A
    name that several categories share says nothing.
    """

    def __init__(self, mapping: Path | None) -> None:
        rows = list(
            Category.objects.order_by("pk").values_list("pk", "slug", "key", "name_en", "name_ko")
        )
        self.unknown: Counter[str] = Counter()
        slugs = {slug: pk for pk, slug, *_names in rows}
        found: dict[str, int | None] = {}
        for which in (4, 3):
            shared = Counter(_fold(str(row[which])) for row in rows)
            for row in rows:
                if name := _fold(str(row[which])):
                    found[name] = row[0] if shared[name] == 1 else None
        for which in (2, 1):
            found.update((_fold(str(row[which])), row[0]) for row in rows)
        if mapping:
            found.update(_read_mapping(mapping, slugs))
        self._found = found

    def find(self, text: str) -> int | None:
        """Return the category's primary key; one that is not known is counted."""
        if not text:
            return None
        pk = self._found.get(_fold(text))
        if pk is None:
            shown = text[:100]
            if shown not in self.unknown and len(self.unknown) >= _MAX_TEXTS:
                shown = "…"
            self.unknown[shown] += 1
        return pk


def _read_mapping(path: Path, slugs: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableFile(_("%s can't be read.") % path) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        text, tab, slug = line.partition("\t")
        if not tab or slug.strip() not in slugs:
            raise UnusableFile(
                _("%(file)s, line %(line)d: a category's text, a tab and a slug are needed.")
                % {"file": path, "line": number}
            )
        yield _fold(text), slugs[slug.strip()]


# --- Products -----------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A product as a row tells of it; None and empty texts are what it does not tell."""

    line: int
    text: str
    sku: str
    source_key: str
    name: str
    description: str
    brand: str
    price: Decimal
    stock: int
    category_id: int | None


def source_key(source: str, brand: str, name: str) -> str:
    """Return the key of a product whose source knows no SKU: 64 hexadecimal digits.

    Case, spaces and how Hangul is composed make no difference.
    """
    parts = (_fold(source), _fold(brand), _fold(name))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _parse(raw: _Raw, *, source: str, prices: _Prices, names: _CategoryNames) -> _Row:
    """Make a row of what the file says; raises _BadRow."""
    name = _text(raw.values, "name", 300)
    if not name:
        raise _BadRow("name_missing", _("The row has no name."))
    brand = _text(raw.values, "brand", 120)
    sku = _text(raw.values, "sku", 64)
    description = _text(raw.values, "description", 20_000, keep_lines=True)
    category = _text(raw.values, "category", _MAX_LINE)
    price = prices.convert(raw.values.get("price"))
    return _Row(
        line=raw.line,
        text=raw.text,
        sku=sku,
        source_key="" if sku else source_key(source, brand, name),
        name=name,
        description=description,
        brand=brand,
        price=price,
        stock=_stock(raw.values.get("stock_quantity")),
        # Last, so that the categories of bad rows are not counted.
        category_id=names.find(category),
    )


class _Seen:
    """What a file has named already, on disk: memory stays flat, however long the file."""

    def __init__(self) -> None:
        # An empty name is a temporary file of SQLite's own, gone when it is closed.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def __enter__(self) -> "_Seen":
        return self

    def __exit__(self, *_error: object) -> None:
        self._db.close()

    def first_line(self, key: str, line: int) -> int:
        """Return the line that named `key` first, which is `line` itself if none did before."""
        added = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, line))
        if added.rowcount:
            return line
        found = self._db.execute("SELECT line FROM seen WHERE key = ?", (key,)).fetchone()
        return int(found[0])


def _duplicate(row: _Row, file: str, first: int) -> Refusal:
    reason = _("The same product is in line %d already.") % first
    return Refusal(file, row.line, "duplicate", reason, row.text)


def _sift(
    batch: Iterable[_Raw | Refusal], file: str, parse: Callable[[_Raw], _Row], seen: _Seen
) -> tuple[list[_Row], list[Refusal]]:
    """Part a batch into rows to write and rows to refuse."""
    rows: list[_Row] = []
    refusals: list[Refusal] = []
    for raw in batch:
        if isinstance(raw, Refusal):
            refusals.append(raw)
            continue
        try:
            row = parse(raw)
        except _BadRow as bad:
            refusals.append(bad.refusal(file, raw.line, raw.text))
            continue
        # A bad row does not stand in the way of a good one after it.
        first = seen.first_line(f"sku {row.sku}" if row.sku else row.source_key, row.line)
        if first == row.line:
            rows.append(row)
        else:
            refusals.append(_duplicate(row, file, first))
    return rows, refusals


@dataclass
class _Outcome:
    """What one batch did."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    retired: int = 0
    refusals: list[Refusal] = field(default_factory=list)


class _Overtaken(Exception):
    """Somebody else changed what a batch had read."""


def _write(rows: Sequence[_Row], file: str, seen: _Seen, only_new: bool) -> _Outcome:
    """Write a batch, again if somebody else was quicker with one of its products."""
    if not rows:
        return _Outcome()
    for _attempt in range(_ATTEMPTS - 1):
        try:
            return in_transaction(lambda: _write_batch(rows, file, seen, only_new))
        except (IntegrityError, _Overtaken):
            continue
    return in_transaction(lambda: _write_batch(rows, file, seen, only_new))


def _write_batch(rows: Sequence[_Row], file: str, seen: _Seen, only_new: bool) -> _Outcome:
    outcome = _Outcome()
    known = _known_products(rows)
    new: list[_Row] = []
    differing: dict[int, _Row] = {}
    for row in rows:
        product = known.get(row.sku or row.source_key)
        if product is None:
            new.append(row)
            continue
        # One product can be meant by its SKU in one row and by its name in another.
        first = seen.first_line(f"id {product.pk}", row.line)
        if first != row.line:
            outcome.refusals.append(_duplicate(row, file, first))
        elif product.retired_at is not None:
            outcome.retired += 1
        elif only_new or not _apply(row, product):
            outcome.unchanged += 1
        else:
            differing[product.pk] = row
    _create(new)
    outcome.created = len(new)
    _update(differing, outcome)
    return outcome


def _known_products(rows: Iterable[_Row]) -> dict[str, Product]:
    """Return the products that rows are about, by SKU and by source key."""
    skus = [row.sku for row in rows if row.sku]
    keys = [row.source_key for row in rows if row.source_key]
    products = Product.objects.order_by()
    found: dict[str, Product] = {}
    if skus:
        found.update((str(product.sku), product) for product in products.filter(sku__in=skus))
    if keys:
        found.update(
            (str(product.source_key), product) for product in products.filter(source_key__in=keys)
        )
    return found


def _apply(row: _Row, product: Product) -> bool:
    """Make a product what the row says; returns whether that changed anything."""
    told = {
        "name": row.name,
        "description": row.description or product.description,
        "brand": row.brand or product.brand,
        "price": row.price,
        "category_id": row.category_id or product.category_id,
    }
    changes = {name: value for name, value in told.items() if getattr(product, name) != value}
    for name, value in changes.items():
        setattr(product, name, value)
    return bool(changes)


def _create(rows: Sequence[_Row]) -> None:
    if not rows:
        return
    products = Product.objects.bulk_create(
        Product(
            sku=row.sku or None,
            source_key=row.source_key or None,
            name=row.name,
            description=row.description,
            brand=row.brand,
            price=row.price,
            category_id=row.category_id,
        )
        for row in rows
    )
    stock.receive_new(
        {product.pk: row.stock for product, row in zip(products, rows, strict=True)}, actor=None
    )


def _update(differing: Mapping[int, _Row], outcome: _Outcome) -> None:
    """Change products under their locks, taken in primary-key order and last of all."""
    if not differing:
        return
    locked = list(
        Product.objects.filter(pk__in=differing).order_by("pk").select_for_update(no_key=True)
    )
    if len(locked) < len(differing):
        raise _Overtaken
    changed = []
    for product in locked:
        if product.retired_at is not None:
            outcome.retired += 1
        elif _apply(differing[product.pk], product):
            changed.append(product)
        else:
            outcome.unchanged += 1
    outcome.updated = len(changed)
    # An upsert of rows that exist: bulk_update's CASE per row and field takes
    # many times as long. The columns left out, stock above all, stay as they are.
    Product.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["name", "description", "brand", "price", "category", "updated_at"],
    )


# --- Categories ---------------------------------------------------------------

_CATEGORY_COLUMNS = ("id", "parent", "name_en", "name_ko")
_MISPLACED = {
    "parent_unknown": "The parent is not known, or was refused.",
    "category_cycle": "The category lies below itself.",
    "too_deep": "The category lies too deep.",
}


def import_categories(
    path: Path, *, only_new: bool = False, on_refusal: OnRefusal | None = None
) -> CategoryReport:
    """Import a category tree from tab-separated `id, parent, name_en, name_ko`.

    The columns are named in the first line, and rows may come in any order;
    the tree is held in memory and written in one transaction. See
    `load_categories` for what becomes of each.

    Raises:
        UnusableFile: there is no such file, or it lacks `id` or `name_en`.
    """
    if not path.is_file():
        raise UnusableFile(_("There is no file %s.") % path)
    refusals: list[Refusal] = []
    rows: dict[str, CategoryRow] = {}
    texts: dict[int, str] = {}
    with _open(path) as file:
        for found in _read_categories(_Lines(file), path):
            if isinstance(found, Refusal):
                refusals.append(found)
                continue
            try:
                row = _category_row(found)
                if row.key in rows:
                    reason = _("The same category is in line %d already.") % rows[row.key].line
                    raise _BadRow("duplicate", reason)
            except _BadRow as bad:
                refusals.append(bad.refusal(path.name, found.line, found.text))
            else:
                rows[row.key] = row
                texts[row.line] = found.text
    report = load_categories(rows.values(), only_new=only_new)
    for row, code in report.misplaced:
        refusals.append(Refusal(path.name, row.line, code, _MISPLACED[code], texts[row.line]))
    report.refused = len(refusals)
    _tell(refusals, on_refusal)
    return report


def _read_categories(lines: _Lines, path: Path) -> Reader:
    header: list[str] | None = None
    while True:
        lines.begin_row()
        try:
            cells = next(lines).rstrip("\r\n").split("\t")
            lines.check()
            if cells == [""]:
                continue
            if header is None:
                header = [_fold(cell) for cell in cells]
                if not {"id", "name_en"} <= set(header):
                    break
                continue
            if len(cells) != len(header):
                raise _BadRow(
                    "wrong_cell_count",
                    _("The row has %(found)d cells, the header %(wanted)d.")
                    % {"found": len(cells), "wanted": len(header)},
                )
        except StopIteration:
            break
        except _TooLong:
            refusal = _too_long().refusal(path.name, lines.number, lines.text())
        except _BadRow as bad:
            refusal = bad.refusal(path.name, lines.number, lines.text())
        else:
            yield _Raw(lines.number, lines.text(), dict(zip(header, cells, strict=True)))
            continue
        if header is None:
            break
        yield refusal
    if header is None or not {"id", "name_en"} <= set(header):
        raise UnusableFile(
            _("%(file)s has no usable columns: %(columns)s are needed, by tabs.")
            % {"file": path, "columns": ", ".join(_CATEGORY_COLUMNS)}
        )


def _category_row(raw: _Raw) -> CategoryRow:
    row = CategoryRow(
        line=raw.line,
        key=_text(raw.values, "id", 100),
        parent_key=_text(raw.values, "parent", 100),
        name_en=_text(raw.values, "name_en", 200),
        name_ko=_text(raw.values, "name_ko", 200),
    )
    if not row.key:
        raise _BadRow("id_missing", _("The row has no id."))
    if not row.name_en:
        raise _BadRow("name_missing", _("The row has no name."))
    return row
