"""How long search and suggestions take, cold, while somebody types.

A database of its own is filled with names of a natural spread: words of the
demo's categories and products, few of them common and many rare, in both
languages. Then a server is asked for what people have typed after one to six
characters, over HTTP, by one client. The times are those of the client on the same machine. No
answer is kept, nor a product: with 26 letters most would be ready.

Run as `python -m benchmarks.search_speed --products 100000` it fills the
database that the environment names and prints queries as JSON.
"""

import argparse
import http.client
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from django.db import connection

from benchmarks.arena import Arena, ArenaError, on_cores
from benchmarks.stats import percentile
from benchmarks.windows import Options, environment_of

TYPED = range(1, 7)
CALLS = ("search", "suggestions")
LANGUAGES = {"en": "English", "ko": "Korean"}
# What the 95th percentile is to stay below, in milliseconds.
TARGETS = {"postgresql": 25.0, "sqlite": 80.0}
_WARM_UP = 30
_BATCH = 1000


@dataclass(frozen=True)
class Row:
    """The times of one call after so many characters, in milliseconds."""

    call: str
    language: str
    typed: int
    times: list[float]

    def cells(self) -> str:
        """Return p50, p95 and the longest."""
        return (
            f"{percentile(self.times, 0.5):.1f} | {percentile(self.times, 0.95):.1f} "
            f"| {max(self.times):.1f}"
        )


def measure_search(*, products: int, queries: int, say: Callable[[str], None]) -> str:
    """Measure in an arena of its own; return Markdown.

    Raises:
        ArenaError: something could not be set up, or an answer was no answer.
    """
    say(f"filling a database with {products:,} products")
    with Arena(products=0, people=1) as arena:
        asked: dict[str, list[list[str]]] = json.loads(
            arena.run(
                ["-m", "benchmarks.search_speed"]
                + ["--products", str(products), "--queries", str(queries)]
            )
        )
        if connection.vendor == "postgresql":
            arena.run(["-c", _VACUUM])
        environment = environment_of(arena, Options(products=products, rounds=1))
        rows = []
        cold = {"READY_ANSWERS_MB": "0", "FRAGMENTS_MB": "0"}
        with arena.server(**cold) as server, on_cores(arena.load_cores):
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            for text in asked["en"][0][:_WARM_UP] + asked["ko"][0][:_WARM_UP]:
                for call in CALLS:
                    _ask(client, call, text)
            for call in CALLS:
                for language in LANGUAGES:
                    for typed in TYPED:
                        texts = asked[language][typed - 1]
                        row = Row(
                            call, language, typed, [_ask(client, call, text) for text in texts]
                        )
                        slowest = texts[row.times.index(max(row.times))]
                        say(f"  {call}, {language}, {typed}: {row.cells()} ({slowest!r})")
                        rows.append(row)
    return _markdown(rows, environment.partition(";")[0], products, queries)


def _ask(client: http.client.HTTPConnection, call: str, text: str) -> float:
    target = f"/api/v2/products/{call}?q={quote(text)}"
    began = time.perf_counter()
    client.request("GET", target)
    answer = client.getresponse()
    answer.read()
    took = (time.perf_counter() - began) * 1000
    if answer.status != 200:
        raise ArenaError(f"{target} answers {answer.status}.")
    return took


def _markdown(rows: list[Row], environment: str, products: int, queries: int) -> str:
    target = TARGETS[connection.vendor]
    lines = [
        f"{environment}; {products:,} products; {queries} queries a line, one client.",
        "",
        "| call | language | typed | p50, ms | p95, ms | longest, ms | |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for call in CALLS:
        for language, name in LANGUAGES.items():
            own = [row for row in rows if (row.call, row.language) == (call, language)]
            lines += [f"| {call} | {name} | {row.typed} | {row.cells()} | |" for row in own]
            together = Row(call, language, 0, [took for row in own for took in row.times])
            p95 = percentile(together.times, 0.95)
            lines.append(
                f"| **{call}** | **{name}** | all | {together.cells()} | "
                f"p95 < {target:g}: {'yes' if p95 < target else 'no'} |"
            )
    return "\n".join(lines) + "\n"


# --- Inside the arena --------------------------------------------------------


def _words() -> dict[str, list[str]]:
    """Return words of the demo in both languages, in an order by chance."""
    from products.demo_data import DEMO

    found: dict[str, dict[str, None]] = {"en": {}, "ko": {}}
    for line in (DEMO / "categories.tsv").read_text("utf-8").splitlines()[1:]:
        _key, _parent, en, ko = (*line.split("\t"), "", "")[:4]
        found["en"].update(dict.fromkeys(en.split()))
        found["ko"].update(dict.fromkeys(ko.replace("/", " ").split()))
    for line in (DEMO / "products.jsonl").read_text("utf-8").splitlines():
        found["en"].update(dict.fromkeys(json.loads(line)["name"].split()))
    words = {}
    for language, own in found.items():
        words[language] = [word for word in own if len(word) > 1 and word[0].isalpha()]
        random.Random(1).shuffle(words[language])  # noqa: S311
    return words


def fill(products: int) -> list[str]:
    """Put products into the empty shop and return their names; the same number, the same names."""
    from decimal import Decimal

    from products.demo_data import DEMO
    from products.importing.categories import import_categories
    from products.models import Category, Product

    import_categories(DEMO / "categories.tsv")
    categories = list(Category.objects.order_by("pk"))
    words, dice = _words(), random.Random(2)  # noqa: S311
    # Zipf's law: the n-th word is as frequent as 1/n.
    weights = {language: [1 / (n + 5) for n in range(len(own))] for language, own in words.items()}
    names = []
    for start in range(0, products, _BATCH):
        batch = []
        for number in range(start, min(start + _BATCH, products)):
            language = "ko" if dice.random() < 0.6 else "en"
            parts = dice.choices(words[language], weights[language], k=dice.randint(2, 6))
            if dice.random() < 0.3:
                parts.append(str(dice.randrange(2000)))
            name = " ".join(parts)
            names.append(name)
            brand = dice.choice(words["en"][:300])
            batch.append(
                Product(
                    name=name,
                    brand=brand,
                    sku=f"S-{number:07}",
                    description=f"{name}. " + "오래 쓰는 물건입니다. A good thing. " * 8,
                    price=Decimal(dice.randrange(1, 2000) * 100),
                    category=dice.choice(categories),
                    stock_quantity=0,
                    sold_quantity=min(10**6, int(dice.paretovariate(0.8))),
                )
            )
        Product.objects.bulk_create(batch)
    return names


def typed_texts(names: list[str], language: str, typed: int, queries: int) -> Iterator[str]:
    """Yield what has been typed after so many characters of some product's name, from any word."""
    dice = random.Random(f"{language} {typed}")  # noqa: S311
    while queries:
        parts = dice.choice(names).split()
        text = " ".join(parts[dice.randrange(len(parts)) :])[:typed].strip()
        if len(text) == typed and text[0].isalpha() and text[0].isascii() == (language == "en"):
            queries -= 1
            yield text.lower()


def main() -> None:
    """Fill the database that the environment names; print what is to be asked."""
    import os

    import django

    parser = argparse.ArgumentParser()
    parser.add_argument("--products", type=int, required=True)
    parser.add_argument("--queries", type=int, required=True)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    django.setup()
    names = fill(options.products)
    asked = {
        language: [list(typed_texts(names, language, n, options.queries)) for n in TYPED]
        for language in LANGUAGES
    }
    json.dump(asked, sys.stdout)


_VACUUM = """
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("VACUUM ANALYZE")
"""

if __name__ == "__main__":
    main()
