"""manage.py evaluate_ai: how often the embedded provider is right, on labelled products."""

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from products.ai.embedded import Embedded, Example
from products.ai.text import Item
from products.ai.tree import Node
from products.demo_data import DEMO
from products.importing.reading import Columns, Refusal, read_products, read_tsv
from products.importing.values import clean_text
from shop.errors import ShopError

_PARTS = 5


@dataclass(frozen=True)
class Labelled:
    """A product and what its source files it under."""

    item: Item
    label: str


@dataclass
class _Score:
    """How often the first answer, one of the first three, or none was given."""

    asked: int = 0
    first: int = 0
    three: int = 0
    none: int = 0

    def add(self, right: Sequence[bool]) -> None:
        """Count one product; `right` says of each answer whether it is."""
        self.asked += 1
        self.first += bool(right) and right[0]
        self.three += any(right[:3])
        self.none += not right

    def __str__(self) -> str:
        asked = self.asked or 1
        return (
            f"first {self.first / asked:6.1%}  one of three {self.three / asked:6.1%}  "
            f"no answer {self.none / asked:5.1%}  of {self.asked}"
        )


class Command(BaseCommand):
    """Measure the classification on products whose category is known."""

    help = (
        "Measure how often the embedded provider finds the right category, on files of labelled "
        "products (CSV or JSON Lines with a name and a category; by default the demo's). "
        "Two figures: by the names of the category tree alone, having seen no product; and "
        "learnt, five parts, each judged by what the other four taught. "
        "The tree is the demo's; nothing is read from or written to the database."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the command line."""
        parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
        parser.add_argument(
            "--labels",
            type=Path,
            metavar="TSV",
            help="what the files' categories mean in the tree: label, tab, slug; a label may have "
            "several lines, and whatever lies below a slug is right too. Labels without a line are "
            "left out of the first figure (default: labels are slugs)",
        )
        parser.add_argument(
            "--each", action="store_true", help="print the figures of each label as well"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print.

        Raises:
            CommandError: a file can't be used.
        """
        try:
            nodes, slugs = _demo_tree()
            files: list[Path] = options["files"] or [DEMO / "products.jsonl"]
            products = [row for file in files for row in _read(file)]
            meant = _meaning(options["labels"], products, slugs)
        except (ShopError, OSError, argparse.ArgumentTypeError) as error:
            raise CommandError(str(error)) from error
        if not products:
            raise CommandError("There is no product with a name and a category.")
        paths = {node.pk: node.path for node in nodes}
        self.stdout.write(
            f"{len(products)} products, {len({row.label for row in products})} labels, "
            f"{len(nodes)} categories"
        )
        self._by_names(products, nodes, paths, meant, each=options["each"])
        self._learnt(products, each=options["each"])
        if all(len(pks) == 1 for pks in meant.values()):
            self._both(products, nodes, meant)

    def _by_names(
        self,
        products: Sequence[Labelled],
        nodes: Sequence[Node],
        paths: dict[int, str],
        meant: dict[str, list[int]],
        *,
        each: bool,
    ) -> None:
        began = time.perf_counter()
        judge = Embedded.build(nodes, [])
        built = time.perf_counter() - began
        exact, scores = _Score(), defaultdict[str, _Score](_Score)
        asked = [row for row in products if row.label in meant]
        began = time.perf_counter()
        for row in asked:
            guesses = [guess.category_id for guess in judge.classify(row.item)]
            below = tuple(paths[pk] for pk in meant[row.label])
            right = [paths[pk].startswith(below) for pk in guesses]
            scores[""].add(right)
            scores[row.label].add(right)
            exact.add([pk in meant[row.label] for pk in guesses])
        if not asked:
            self.stdout.write("by names alone: no label means anything in the tree")
            return
        per = (time.perf_counter() - began) / len(asked) * 1000
        self.stdout.write(f"by names alone, in the right branch: {scores['']}")
        if all(len(pks) == 1 for pks in meant.values()):
            self.stdout.write(f"by names alone, the very category:   {exact}")
        self.stdout.write(f"  {per:.2f} ms a product, {built:.1f} s to read the tree")
        if each:
            self._print_each(scores)

    def _learnt(self, products: Sequence[Labelled], *, each: bool) -> None:
        """Judge by what was learnt of the labels themselves, without any tree."""
        labels = sorted({row.label for row in products})
        number = {label: index + 1 for index, label in enumerate(labels)}
        flat = [Node(pk, f"label-{pk}", f"/{pk}/", "", "") for pk in number.values()]
        scores = defaultdict[str, _Score](_Score)
        for taught, judged in _parts(products):
            judge = Embedded.build(flat, [Example(r.item, number[r.label]) for r in taught])
            for row in judged:
                guesses = judge.classify(row.item)
                right = [guess.category_id == number[row.label] for guess in guesses]
                scores[""].add(right)
                scores[row.label].add(right)
        self.stdout.write(f"learnt from four fifths, no tree:    {scores['']}")
        if each:
            self._print_each(scores)

    def _both(
        self, products: Sequence[Labelled], nodes: Sequence[Node], meant: dict[str, list[int]]
    ) -> None:
        """Judge as the shop does: by the tree's names and by its own products."""
        score, sure, right_when_sure = _Score(), 0, 0
        known = [row for row in products if row.label in meant]
        for taught, judged in _parts(known):
            judge = Embedded.build(nodes, [Example(r.item, meant[r.label][0]) for r in taught])
            for row in judged:
                guesses = judge.classify(row.item)
                right = [guess.category_id == meant[row.label][0] for guess in guesses]
                score.add(right)
                if guesses and guesses[0].confidence >= 0.8:
                    sure += 1
                    right_when_sure += right[0]
        self.stdout.write(f"names and four fifths, the category: {score}")
        if sure:
            share = right_when_sure / sure
            self.stdout.write(f"  80 % sure or more: {sure} products, {share:.1%} of them right")

    def _print_each(self, scores: dict[str, _Score]) -> None:
        for label, score in sorted(scores.items()):
            if label:
                self.stdout.write(f"  {label:<30} {score}")


def _parts(products: Sequence[Labelled]) -> Iterator[tuple[list[Labelled], list[Labelled]]]:
    """Yield what is taught and what is judged, five times; always the same parts."""
    shuffled = list(products)
    random.Random(1).shuffle(shuffled)  # noqa: S311
    for part in range(_PARTS):
        judged = shuffled[part::_PARTS]
        taught = [row for index, row in enumerate(shuffled) if index % _PARTS != part]
        if taught and judged:
            yield taught, judged


def _read(file: Path) -> Iterator[Labelled]:
    for raw in read_products(file, Columns()):
        if isinstance(raw, Refusal):
            continue
        name = clean_text(raw.values, "name", 1000)
        label = clean_text(raw.values, "category", 1000)
        if name and label:
            description = clean_text(raw.values, "description", 20_000, keep_lines=True)
            yield Labelled(Item(name, description, clean_text(raw.values, "brand", 1000)), label)


def _demo_tree() -> tuple[list[Node], dict[str, int]]:
    """Return the demo's categories and their slugs, without a database."""
    from products.categories import slugs_for

    rows: dict[str, tuple[str, str, str]] = {}
    for raw in read_tsv(
        DEMO / "categories.tsv", columns=("id", "parent", "name_en", "name_ko"), needed={"id"}
    ):
        if not isinstance(raw, Refusal):
            values = raw.values
            rows[values["id"]] = (values["parent"], values["name_en"], values["name_ko"])
    pks = {key: index for index, key in enumerate(rows, 1)}
    above: dict[str, list[str]] = {}

    def ancestors(key: str) -> list[str]:
        if key not in above:
            parent = rows[key][0]
            above[key] = [parent, *ancestors(parent)] if parent else []
        return above[key]

    slugs: dict[str, str] = {}
    taken: set[str] = set()
    # Level by level, each in the order of its keys: as they are loaded.
    for key in sorted(rows, key=lambda key: (len(ancestors(key)), key)):
        names = slugs_for(rows[key][1], [slugs[up] for up in ancestors(key)])
        slugs[key] = next(slug for slug in names if slug not in taken)
        taken.add(slugs[key])
    nodes = [
        Node(
            pks[key],
            key,
            "/" + "/".join(str(pks[up]) for up in [*reversed(ancestors(key)), key]) + "/",
            rows[key][1],
            rows[key][2],
        )
        for key in rows
    ]
    return nodes, {slug: pks[key] for key, slug in slugs.items()}


def _meaning(
    file: Path | None, products: Sequence[Labelled], slugs: dict[str, int]
) -> dict[str, list[int]]:
    """Return the categories that each label means."""
    if file is None:
        return {row.label: [slugs[row.label]] for row in products if row.label in slugs}
    meant: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        label, _tab, slug = (part.strip() for part in line.partition("\t"))
        if slug not in slugs:
            raise argparse.ArgumentTypeError(f"{file}, line {number}: no category {slug!r}")
        meant[label].append(slugs[slug])
    return dict(meant)
