"""The category tree: what moves its nodes, and what loads many of them at once.

A node's `path` is its ancestry in primary keys ("/1/17/203/"), so that one
prefix selects a branch. Everything that changes a parent goes through here.
Writers of the tree wait for one another on its first row: two moves that are
harmless each by itself could close a ring together.
"""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import CharField, F, Max, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Concat, Length, Replace, Substr
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from products.models import Category, look_after_commit
from shop.db import in_transaction
from shop.errors import ShopError
from shop.ids import uuid7

# Paths of so many levels fit their column, however large the primary keys get.
MAX_LEVELS = 16
_MAX_SLUG = 120
_BATCH = 1000


class CategoryCycle(ShopError):
    """A category can't lie below itself."""

    code = "category_cycle"
    title = gettext_noop("Category below itself")


class CategoryTooDeep(ShopError):
    """More levels than a path can hold."""

    code = "category_too_deep"
    title = gettext_noop("Category too deep")


def slugs_for(name_en: str, ancestors: Sequence[str]) -> Iterator[str]:
    """Yield slugs for a category, best first and without end.

    `ancestors` are the slugs above it, the parent's first: where a slug is
    taken, the parent's is put before it, then the grandparent's, then numbers
    are tried. The same tree gives the same slugs.
    """
    plain = slug = slugify(name_en)[: _MAX_SLUG - 8].strip("-_") or "category"
    yield slug
    for ancestor in ancestors:
        slug = f"{ancestor}-{slug}"
        if len(slug) > _MAX_SLUG:
            break
        yield slug
    for number in itertools.count(2):
        yield f"{plain}-{number}"


def place_category(*, category: Category, parent: Category | None) -> Category:
    """Put a category, new or known, below `parent`; None makes it a root.

    The branch below moves along, in one UPDATE. A new category is saved first
    and gets a slug and a key where it has none; of a known one only parent and
    path are written.

    Raises:
        CategoryCycle: `parent` is the category itself or lies below it.
        CategoryTooDeep: the branch would reach below MAX_LEVELS levels.
    """
    is_new = category._state.adding

    def work() -> None:
        _wait_for_the_tree()
        if is_new:
            # Also true again after a try that was rolled back.
            category.pk = None
            category.path = ""
            category.parent = parent
            category.key = category.key or f"own-{uuid7()}"
            category.slug = category.slug or _free_slug(category.name_en, parent)
            category.save(force_insert=True)
        _move(category.pk, parent.pk if parent else None)

    in_transaction(work)
    category.refresh_from_db(fields=["parent", "path"])
    return category


def _wait_for_the_tree() -> None:
    list(
        Category.objects.order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk", flat=True)[:1]
    )
    # Products show their category's names.
    look_after_commit()


def _free_slug(name_en: str, parent: Category | None) -> str:
    ancestors: list[str] = []
    if parent:
        above = Category.objects.filter(pk__in=parent.path.strip("/").split("/"))
        ancestors = list(above.order_by("-path").values_list("slug", flat=True))
    for slug in slugs_for(name_en, ancestors):
        if not Category.objects.filter(slug=slug).exists():
            return slug
    raise AssertionError("unreachable: the slugs have no end")


def _levels(path: str) -> int:
    return path.count("/") - 1


def _move(pk: int, parent_id: int | None) -> None:
    """Hang a branch below another node, reading every path anew under the lock."""
    paths = dict(Category.objects.filter(pk__in=[pk, parent_id]).values_list("pk", "path"))
    above = "/" if parent_id is None else paths[parent_id]
    if not above:
        raise ValueError("The parent has no place in the tree itself; place it first.")
    old, new = paths[pk], f"{above}{pk}/"
    if f"/{pk}/" in above:
        raise CategoryCycle(_("A category can't lie below itself."))
    # A node that has not been placed has nothing below it, and an empty
    # prefix would select the whole tree.
    branch = Category.objects.within(old) if old else Category.objects.filter(pk=pk)
    if _levels(new) + _height(branch, old) > MAX_LEVELS:
        raise CategoryTooDeep(_("The tree has at most %d levels.") % MAX_LEVELS)
    Category.objects.filter(pk=pk).update(parent_id=parent_id)
    branch.update(path=Concat(Value(new), Substr("path", len(old) + 1), output_field=CharField()))


def _height(branch: QuerySet[Category], path: str) -> int:
    """Return how many levels `branch` has below the node at `path`."""
    slashes = Length("path") - Length(Replace("path", Value("/")))
    deepest: int = branch.aggregate(deepest=Max(slashes))["deepest"]
    return deepest - path.count("/")


# --- Many at once ------------------------------------------------------------


@dataclass(frozen=True)
class CategoryRow:
    """A category as a file tells of it. An empty `parent_key` makes a root."""

    line: int
    key: str
    parent_key: str
    name_en: str
    name_ko: str


@dataclass
class CategoryReport:
    """What loading categories did, in rows; `misplaced` are some of the refused, each with why."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    misplaced: list[tuple[CategoryRow, str]] = field(default_factory=list)


def load_categories(rows: Iterable[CategoryRow], *, only_new: bool = False) -> CategoryReport:
    """Create, rename and move categories so that the tree is as the rows say.

    Keys are unique among `rows`; their order does not matter. A slug is made
    once, when a category is created, and stays. An empty Korean name leaves
    the one that is there, and categories that no row tells of stay as they
    are. With `only_new`, so do all that exist. All of it is one transaction.

    Rows that can't be placed come back in the report: `parent_unknown`,
    `category_cycle` or `too_deep`.

    Raises:
        CategoryTooDeep: a branch that only the database knows would become too deep.
    """
    wanted = {row.key: row for row in rows}
    return in_transaction(lambda: _load(wanted, only_new))


def _load(wanted: Mapping[str, CategoryRow], only_new: bool) -> CategoryReport:
    report = CategoryReport()
    _wait_for_the_tree()
    known = {category.key: category for category in Category.objects.order_by()}
    keys = {category.pk: category.key for category in known.values()}
    parents = {
        key: keys[category.parent_id] if category.parent_id else ""
        for key, category in known.items()
    }
    rows = {key: row for key, row in wanted.items() if not (only_new and key in known)}
    report.unchanged = len(wanted) - len(rows)
    tree = _settle(rows, parents, report)
    taken = {category.slug for category in known.values()}
    renamed: list[Category] = []
    # From the top down: whatever a node hangs below is in its final place.
    for level in _by_level(tree):
        new: list[Category] = []
        for row in (rows[key] for key in level if key in rows):
            parent = known[row.parent_key] if row.parent_key else None
            category = known.get(row.key)
            if category is None:
                ancestors = [known[key].slug for key in _above(row.key, tree)]
                slug = next(slug for slug in slugs_for(row.name_en, ancestors) if slug not in taken)
                taken.add(slug)
                category = Category(
                    key=row.key, slug=slug, name_en=row.name_en, name_ko=row.name_ko, parent=parent
                )
                new.append(category)
                known[row.key] = category
                continue
            parent_id = parent.pk if parent else None
            moved = not category.path or category.parent_id != parent_id
            if moved:
                _move(category.pk, parent_id)
            name_ko = row.name_ko or category.name_ko
            if (row.name_en, name_ko) != (category.name_en, category.name_ko):
                category.name_en, category.name_ko = row.name_en, name_ko
                renamed.append(category)
            elif not moved:
                report.unchanged += 1
                continue
            report.updated += 1
        _insert(new)
        report.created += len(new)
    Category.objects.bulk_update(renamed, ["name_en", "name_ko"], batch_size=200)
    return report


def _insert(new: Sequence[Category]) -> None:
    """Insert one level of the tree, then give it its paths, which need its own keys."""
    above = Category.objects.filter(pk=OuterRef("parent_id")).order_by().values("path")[:1]
    for start in range(0, len(new), _BATCH):
        created = Category.objects.bulk_create(new[start : start + _BATCH])
        Category.objects.filter(pk__in=[category.pk for category in created]).update(
            path=Concat(
                Coalesce(Subquery(above), Value("/")),
                Cast(F("pk"), CharField()),
                Value("/"),
                output_field=CharField(),
            )
        )


def _above(key: str, tree: Mapping[str, str]) -> Iterator[str]:
    """Yield the keys above one, the parent's first."""
    while key := tree[key]:
        yield key


def _settle(
    rows: dict[str, CategoryRow], parents: Mapping[str, str], report: CategoryReport
) -> dict[str, str]:
    """Drop the rows that have no place in the tree; return each key's parent in the rest of it.

    A row that is dropped leaves its category where the database has it, which
    may make room for the rows below, so each round drops only the culprits.
    """
    while True:
        tree = {**parents, **{key: row.parent_key for key, row in rows.items()}}
        levels = _by_level(tree)
        placed = {key for level in levels for key in level}
        astray = [key for key in rows if key not in placed]
        orphans = [key for key in astray if rows[key].parent_key not in tree]
        if orphans:
            culprits, code = orphans, "parent_unknown"
        elif astray:
            culprits, code = _ringed(astray, tree), "category_cycle"
        else:
            deep = itertools.chain.from_iterable(levels[MAX_LEVELS:])
            culprits, code = [key for key in deep if key in rows], "too_deep"
        if not culprits:
            return tree
        for key in culprits:
            report.misplaced.append((rows.pop(key), code))
        report.refused += len(culprits)


def _by_level(tree: Mapping[str, str]) -> list[list[str]]:
    """Return the keys that hang from a root, sorted within each level."""
    below: defaultdict[str, list[str]] = defaultdict(list)
    for key, parent in tree.items():
        below[parent].append(key)
    levels = []
    level = sorted(below[""])
    while level:
        levels.append(level)
        level = sorted(itertools.chain.from_iterable(below.get(key, ()) for key in level))
    return levels


def _ringed(astray: Collection[str], tree: Mapping[str, str]) -> list[str]:
    """Return those of the rows that lie on a ring themselves, not merely below one."""
    ringed: set[str] = set()
    walked: set[str] = set()
    for start in astray:
        key, trail = start, dict[str, None]()
        while key in tree and key not in walked and key not in trail:
            trail[key] = None
            key = tree[key]
        if key in trail:
            steps = list(trail)
            ringed.update(steps[steps.index(key) :])
        walked.update(trail)
    return [key for key in astray if key in ringed]
