"""What search engines are told of a product: by rules, templates and extraction.

Nothing is made up: a description is made of the product's own sentences, or
of a template that says only what is known.
"""

import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from unicodedata import east_asian_width

from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from products.ai.provider import Seo, Subject, Written
from products.ai.text import DULL, is_hangul, normal, words

# Search engines cut titles at about 60 Latin letters and descriptions at about
# 155; a Hangul syllable is about twice as wide.
# https://developers.google.com/search/docs/appearance/title-link
TITLE_WIDTH = 60
DESCRIPTION_WIDTH = 155
_MOST_KEYWORDS = 8
_SENTENCE = re.compile(r"(?<=[.!?。])\s+|\n+")


def width(text: str) -> int:
    """Return how wide a text is in Latin letters; Hangul and other wide letters count twice."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def cut(text: str, widest: int) -> str:
    """Return a text cut at a word so that it is at most so wide, with an ellipsis where cut."""
    if width(text) <= widest:
        return text
    kept = ""
    for word in text.split(" "):
        longer = f"{kept} {word}".strip()
        if width(longer) > widest - 1:
            break
        kept = longer
    if not kept:
        for letter in text:
            if width(kept + letter) > widest - 1:
                break
            kept += letter
    return kept.rstrip(" ,.;:-–/&") + "…"


def is_korean(text: str) -> bool:
    """Whether a text reads as Korean: a third of its letters are Hangul."""
    letters = [letter for letter in text if letter.isalpha()]
    return bool(letters) and 3 * sum(map(is_hangul, letters)) >= len(letters)


def write(subject: Subject) -> Seo:
    """Return what search engines may be told of a product."""
    item = subject.item
    korean = is_korean(item.name) or is_korean(item.description[:200])
    category = subject.category.get("ko" if korean else "en", "")
    return Seo(
        title=Written(_title(item.name, item.brand, category), "template"),
        description=_description(subject, category, korean),
        keywords=Written(_keywords(subject, category), "extraction"),
        slug=Written(make_slug(item.name, item.brand), "rule"),
        # How much there was to work with.
        confidence=round(
            0.4 + 0.3 * bool(item.description) + 0.2 * bool(category) + 0.1 * bool(item.brand), 2
        ),
    )


def _clean(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _title(name: str, brand: str, category: str) -> str:
    name, brand = _clean(name), _clean(brand)
    title = name
    if brand and normal(brand) not in normal(name):
        title = f"{brand} {name}"
    if category and normal(category) not in normal(title):
        longer = f"{title} | {category}"
        if width(longer) <= TITLE_WIDTH:
            return longer
    return cut(title, TITLE_WIDTH)


def _description(subject: Subject, category: str, korean: bool) -> Written:
    """Return the sentences that say the most, in their order; a template where there are none."""
    item = subject.item
    sentences = [_clean(part) for part in _SENTENCE.split(item.description) if _clean(part)]
    if not sentences:
        return Written(_template(item.name, item.brand, category, korean), "template")
    counted = Counter(word for word in words(normal(item.description)) if word not in DULL)
    about = set(words(normal(f"{item.name} {item.brand} {category}")))

    def worth(place: int) -> float:
        found = [word for word in words(normal(sentences[place])) if word not in DULL]
        if len(found) < 3:
            return -1.0
        said = sum(counted[word] * (2.0 if word in about else 1.0) for word in set(found))
        # Long sentences say more by being long; the first says what the rest is about.
        return float(said / len(found) ** 0.5 + (2.0 if place == 0 else 0.0))

    chosen: list[int] = []
    for place in sorted(range(len(sentences)), key=lambda place: (-worth(place), place)):
        together = " ".join(sentences[at] for at in sorted([*chosen, place]))
        if width(together) <= DESCRIPTION_WIDTH:
            chosen.append(place)
    if not chosen:
        return Written(cut(sentences[0], DESCRIPTION_WIDTH), "extraction")
    return Written(" ".join(sentences[at] for at in sorted(chosen)), "extraction")


def _template(name: str, brand: str, category: str, korean: bool) -> str:
    name, brand = _clean(name), _clean(brand)
    whole = f"{brand} {name}" if brand and normal(brand) not in normal(name) else name
    if korean:
        text = f"{whole}. {category} 카테고리의 상품입니다." if category else f"{whole}."
    else:
        text = f"{whole}. Find it in {category}." if category else f"{whole}."
    return cut(text, DESCRIPTION_WIDTH)


def _keywords(subject: Subject, category: str) -> list[str]:
    """Return words of the name, the brand, the category, and what the description repeats."""
    item = subject.item
    found: dict[str, None] = {}

    def add(text: str) -> None:
        text = _clean(text)
        if 1 < len(text) <= 40 and len(found) < _MOST_KEYWORDS:
            found.setdefault(text)

    add(normal(item.brand))
    add(normal(category))
    for word in words(normal(re.sub(r"[\[(].*?[\])]", " ", item.name))):
        if word not in DULL and not word[0].isdigit():
            add(word)
    counted = Counter(word for word in words(normal(item.description)) if word not in DULL)
    for word, count in counted.most_common(20):
        if count > 1 and len(word) > 2 - is_hangul(word):
            add(word)
    return list(found)


def make_slug(name: str, brand: str) -> str:
    """Return a product's name as part of an address: Hangul stays, at most 80 letters."""
    text = _clean(f"{brand} {name}" if brand and normal(brand) not in normal(name) else name)
    slug = slugify(text, allow_unicode=True)[:80]
    return slug.strip("-_") or "product"


def json_ld(product: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """Return a product as schema.org describes one, from what the API shows of it.

    Only what is known is said; prices are exact numbers. https://schema.org/Product
    """
    names = product.get("category_name") or {}
    pictures = [image["url"] for image in product.get("images", ())]
    said: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": product["name"],
        "description": product["description"] or None,
        "sku": product["sku"],
        "brand": {"@type": "Brand", "name": product["brand"]} if product["brand"] else None,
        "category": names.get("en"),
        # Search engines want whole addresses.
        "image": [url for url in pictures if url.startswith(("http://", "https://"))] or None,
        "offers": {
            "@type": "Offer",
            "price": product["price"],
            "priceCurrency": currency,
            "availability": "https://schema.org/"
            + ("InStock" if product["in_stock"] else "OutOfStock"),
        },
    }
    return {name: value for name, value in said.items() if value is not None}


# Code, points, and what to mend where the points are not had.
_CHECKS: tuple[tuple[str, int, str], ...] = (
    ("title_length", 20, _("A title is best 20 to 60 letters wide; a Hangul syllable counts two.")),
    ("description_length", 20, _("A description is best 70 to 155 letters wide.")),
    ("product_text", 15, _("The product's own description has fewer than 50 letters.")),
    ("category", 15, _("The product has no category.")),
    ("brand", 10, _("The product has no brand.")),
    ("image", 10, _("The product has no image.")),
    ("keywords", 5, _("There are fewer than 3 keywords.")),
    ("price", 5, _("The price is 0.")),
)


def score(
    *, title: str, description: str, keywords: list[str], product: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how well a product can be found, 0 to 100, and what to mend."""
    good = {
        "title_length": 20 <= width(title) <= TITLE_WIDTH,
        "description_length": 70 <= width(description) <= DESCRIPTION_WIDTH,
        "product_text": width(product["description"]) >= 50,
        "category": bool(product["category"]),
        "brand": bool(product["brand"]),
        "image": bool(product.get("images")),
        "keywords": len(keywords) >= 3,
        "price": Decimal(str(product["amount"])) > 0,
    }
    had = sum(points for code, points, _mend in _CHECKS if good[code])
    return {
        "score": had,
        "mend": [
            {"code": code, "detail": gettext(mend)}
            for code, _points, mend in _CHECKS
            if not good[code]
        ],
    }
