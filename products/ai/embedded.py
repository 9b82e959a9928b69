"""The embedded provider: no key, no network, no server.

Two experts judge a product: the names of the categories (products.ai.tree)
and what the shop has put where so far (products.ai.learnt). The first knows
everything a little from the first day; the second learns the shop's own ways,
and is believed the more, the more products it has seen of each category.

A job learns and stores the result as one row; each process reads the newest
once and looks every few seconds whether there is a newer one.
"""

import hashlib
import json
import logging
import math
import sys
import threading
import time
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from products.ai import seo
from products.ai.learnt import Learnt
from products.ai.provider import Guess, Seo, Subject
from products.ai.text import Item, features
from products.ai.tree import Node, Tree, aliases
from products.models import Category, Classifier, Product

logger = logging.getLogger(__name__)

# Changes with whatever changes the result for the same input.
_CODE = 1
MOST_PRODUCTS = 5_000
_MOST_EACH = 200
_KEPT = 3
_LOOK_AGAIN = 5.0

# Set by trying on the products that evaluate_ai is run with.
_STEEP_TREE = 4.0
_STEEP_LEARNT = 12.0
_SURE_TREE = 1.5


@dataclass(frozen=True)
class Example:
    """A product whose category is known."""

    item: Item
    category_id: int


class Embedded:
    """A judge of products, ready to be asked. Nothing in it changes once it is made."""

    name = "embedded"

    def __init__(
        self,
        tree: Tree,
        paths: Mapping[int, str],
        learnt: Learnt | None,
        counts: Mapping[int, int],
        version: str,
    ) -> None:
        self.tree = tree
        self.paths = dict(paths)
        self.learnt = learnt
        self.counts = dict(counts)
        self.version = version
        self._seen = sum(self.counts.values())
        below: Counter[int] = Counter()
        for pk, count in self.counts.items():
            below.update(dict.fromkeys(self._above(pk), count))
        # Where the shop puts things itself, rather than into something deeper.
        self._shelves = {
            pk for pk, count in self.counts.items() if count >= 5 and count > 0.5 * below[pk]
        }
        single = sum(1 for count in self.counts.values() if count == 1)
        # Good and Turing: the share of kinds seen once is about the chance of a new one.
        self._new = min(1.0, (single + 1) / (self._seen + 2))

    @classmethod
    def build(
        cls, nodes: Sequence[Node], examples: Sequence[Example], version: str = "1"
    ) -> "Embedded":
        """Learn from the tree and from products whose category is known."""
        learnt = None
        if examples:
            learnt = Learnt.learn(
                (features(example.item) for example in examples),
                [example.category_id for example in examples],
            )
        counts = Counter(example.category_id for example in examples)
        paths = {node.pk: node.path for node in nodes}
        return cls(Tree.build(nodes), paths, learnt, counts, version)

    def classify(self, item: Item, *, limit: int = 5) -> list[Guess]:
        """Return the likeliest categories, the best first; none where nothing speaks for any."""
        named = self.tree.scores(item)
        heard = min(1.0, max(named.values(), default=0.0) / _SURE_TREE)
        chances = self._chances_by_name(named)
        if self.learnt is None:
            total, known, trust, familiar = heard, {}, 0.0, 0.0
        else:
            scores, familiar = self.learnt.scores(features(item))
            known = _soft(scores, _STEEP_LEARNT)
            each = self._seen / max(1, len(self.counts))
            trust = (1 + 3 * each / (each + 20)) * familiar * self._seen / (self._seen + 40)
            total = heard + trust
        if not total:
            return []
        # Two faint voices are no sure one.
        sure = 1 - (1 - heard) * (1 - min(1.0, familiar))
        mixed: defaultdict[int, float] = defaultdict(float)
        for pk, chance in chances.items():
            mixed[pk] += chance * heard / total * sure
        for pk, chance in known.items():
            mixed[pk] += chance * trust / total * sure
        best = sorted(mixed.items(), key=lambda found: (-found[1], found[0]))[:limit]
        return [Guess(pk, round(chance, 3)) for pk, chance in best if chance >= 0.001]

    def write_seo(self, subject: Subject) -> Seo:
        """Return what search engines may be told, by rules, templates and extraction."""
        return seo.write(subject)

    def _chances_by_name(self, named: Mapping[int, float]) -> dict[int, float]:
        """Return chances by what the names say, on the shelves that the shop uses."""
        on_shelves: dict[int, float] = {}
        for pk, score in named.items():
            if pk not in self.counts:
                pk = next((up for up in reversed(self._above(pk)) if up in self._shelves), pk)
            on_shelves[pk] = max(score, on_shelves.get(pk, 0.0))
        chances = {
            pk: chance * (1.0 if not self.counts or pk in self.counts else self._new)
            for pk, chance in _soft(on_shelves, _STEEP_TREE).items()
        }
        total = sum(chances.values()) or 1.0
        return {pk: chance / total for pk, chance in chances.items()}

    def _above(self, pk: int) -> list[int]:
        """Return the primary keys from the root down to this one."""
        return [int(step) for step in self.paths.get(pk, "").strip("/").split("/") if step]

    def pack(self) -> bytes:
        """Return it as bytes: a line of JSON and flat arrays, compressed."""
        learnt = self.learnt
        head = {
            "code": _CODE,
            "order": sys.byteorder,
            "tree": self.tree.as_data(),
            "paths": list(self.paths.items()),
            "counts": list(self.counts.items()),
            "classes": learnt.classes if learnt else None,
            "sizes": [len(part.tobytes()) for part in _arrays(learnt)],
        }
        body = b"".join(part.tobytes() for part in _arrays(learnt))
        return zlib.compress(json.dumps(head).encode() + b"\n" + body, 6)

    @classmethod
    def unpack(cls, data: bytes, version: str) -> "Embedded":
        """Read what `pack` wrote.

        Raises:
            ValueError: another version of the code, or another kind of machine, wrote it.
        """
        line, _newline, body = zlib.decompress(data).partition(b"\n")
        head = json.loads(line)
        if head["code"] != _CODE or head["order"] != sys.byteorder:
            raise ValueError("the stored classifier is of another version")
        learnt = None
        if head["classes"] is not None:
            parts: list[array[Any]] = []
            at = 0
            for kind, size in zip("QfIHf", head["sizes"], strict=True):
                part = array(kind)
                part.frombytes(body[at : at + size])
                parts.append(part)
                at += size
            learnt = Learnt(head["classes"], *parts)
        return cls(
            Tree.from_data(head["tree"]), dict(head["paths"]), learnt, dict(head["counts"]), version
        )


def _arrays(learnt: Learnt | None) -> "list[array[Any]]":
    if learnt is None:
        return []
    return [learnt.keys, learnt.rarity, learnt.starts, learnt.of_class, learnt.weights]


def _soft(scores: Mapping[int, float], steep: float, most: int = 40) -> dict[int, float]:
    """Return chances that add up to 1, of the best scores (softmax)."""
    best = sorted(scores.items(), key=lambda found: -found[1])[:most]
    if not best:
        return {}
    top = best[0][1]
    raw = {pk: math.exp((score - top) * steep) for pk, score in best}
    total = sum(raw.values())
    return {pk: value / total for pk, value in raw.items()}


# --- From and into the database -------------------------------------------------


def read_nodes() -> list[Node]:
    """Return all categories as their names go. One query."""
    rows = Category.objects.exclude(path="").order_by("path")
    return [Node(*row) for row in rows.values_list("pk", "key", "path", "name_en", "name_ko")]


def read_examples() -> list[Example]:
    """Return the shop's newest products whose category people chose.

    At most MOST_PRODUCTS, and _MOST_EACH of one category. What a provider
    chose itself and nobody has accepted teaches nothing.
    """
    rows = (
        Product.objects.filter(Q(category__isnull=False) & Q(category_confidence__isnull=True))
        .order_by("-pk")
        .values_list("name", "description", "brand", "category_id")
    )
    examples: list[Example] = []
    each: Counter[int] = Counter()
    for name, description, brand, category_id in rows[: 5 * MOST_PRODUCTS].iterator(2000):
        if category_id is None or each[category_id] >= _MOST_EACH:
            continue
        each[category_id] += 1
        examples.append(Example(Item(name, description[:1500], brand), category_id))
        if len(examples) >= MOST_PRODUCTS:
            break
    return examples


def learn() -> str:
    """Learn anew and store it, unless nothing has changed. Returns a line on what was done."""
    nodes, examples = read_nodes(), read_examples()
    digest = _digest(nodes, examples)
    newest = Classifier.objects.defer("data").first()
    if newest and newest.digest == digest:
        return "nothing new"
    began = time.monotonic()
    data = Embedded.build(nodes, examples).pack()
    row = Classifier.objects.create(
        categories=len(nodes), products=len(examples), digest=digest, data=data
    )
    kept = list(Classifier.objects.values_list("pk", flat=True)[:_KEPT])
    Classifier.objects.exclude(pk__in=kept).delete()
    seconds = time.monotonic() - began
    return f"{row}: {len(nodes)} categories, {len(examples)} products, {seconds:.1f} s"


def _digest(nodes: Iterable[Node], examples: Iterable[Example]) -> str:
    digest = hashlib.sha256(f"{_CODE} {aliases()}".encode())
    for part in (*nodes, *examples):
        digest.update(repr(part).encode())
    return digest.hexdigest()


_lock = threading.Lock()
_current: Embedded | None = None
_looked_at = 0.0


def current() -> Embedded:
    """Return the judge in use: the newest that was stored, else one of the tree's names alone."""
    global _current, _looked_at
    found = _current
    if found is not None and time.monotonic() - _looked_at < _LOOK_AGAIN:
        return found
    with _lock:
        _looked_at = time.monotonic()
        newest = Classifier.objects.values_list("pk", flat=True).first()
        version = f"{_CODE}.{newest or 0}"
        if _current is None or _current.version != version:
            _current = _load(newest, version)
        return _current


def _load(newest: int | None, version: str) -> Embedded:
    row = Classifier.objects.filter(pk=newest).first() if newest else None
    if row is not None:
        try:
            return Embedded.unpack(bytes(row.data), version)
        except (ValueError, KeyError, zlib.error):
            logger.warning("stored classifier not readable, it will be learnt anew", exc_info=True)
    return Embedded.build(read_nodes(), [], version)


def forget() -> None:
    """Have the next call read the database again."""
    global _current
    _current = None
