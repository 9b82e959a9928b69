"""The category tree from its file."""

from pathlib import Path

from django.utils.translation import gettext as _

from products.categories import CategoryReport, CategoryRow, load_categories
from products.importing.reading import OnRefusal, Raw, Refusal, UnusableFile, read_tsv, tell
from products.importing.values import BadRow, clean_text

_COLUMNS = ("id", "parent", "name_en", "name_ko")
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
    raws: dict[str, Raw] = {}
    for raw in read_tsv(path, columns=_COLUMNS, needed={"id", "name_en"}):
        if isinstance(raw, Refusal):
            refusals.append(raw)
            continue
        try:
            row = _category_row(raw)
            if row.key in rows:
                reason = _("The same category is in line %d already.") % rows[row.key].line
                raise BadRow("duplicate", reason)
        except BadRow as bad:
            refusals.append(raw.refuse(bad))
        else:
            rows[row.key], raws[row.key] = row, raw
    report = load_categories(rows.values(), only_new=only_new)
    refusals += [
        raws[row.key].refuse(BadRow(code, _MISPLACED[code])) for row, code in report.misplaced
    ]
    report.refused = len(refusals)
    tell(refusals, on_refusal)
    return report


def _category_row(raw: Raw) -> CategoryRow:
    row = CategoryRow(
        line=raw.line,
        key=clean_text(raw.values, "id", 100),
        parent_key=clean_text(raw.values, "parent", 100),
        name_en=clean_text(raw.values, "name_en", 200),
        name_ko=clean_text(raw.values, "name_ko", 200),
    )
    if not row.key:
        raise BadRow("id_missing", _("The row has no id."))
    if not row.name_en:
        raise BadRow("name_missing", _("The row has no name."))
    return row
