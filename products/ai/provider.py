"""What a provider of suggestions can do, whoever it is.

The embedded one works offline and without a key. Another can be put in its
place here; whatever it lacks or fails at, the embedded one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from products.ai.text import Item

# How a text came about. None of them is called generated.
Method = Literal["rule", "template", "extraction"]


@dataclass(frozen=True)
class Guess:
    """A category by its primary key, and how likely it is the right one: 0 to 1."""

    category_id: int
    confidence: float


@dataclass(frozen=True)
class Written:
    """A text, and how it came about."""

    value: Any
    method: Method


@dataclass(frozen=True)
class Seo:
    """What search engines may be told. `keywords` has a list as its value."""

    title: Written
    description: Written
    keywords: Written
    slug: Written
    confidence: float


@dataclass(frozen=True)
class Subject:
    """A product as a provider sees it: its texts, and its category's names if it has one."""

    item: Item
    category: dict[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """Who suggests."""

    @property
    def name(self) -> str:
        """What results are signed with."""

    @property
    def version(self) -> str:
        """The version of its model."""

    def classify(self, item: Item, *, limit: int = 5) -> Sequence[Guess]:
        """Return the likeliest categories, the best first; none where nothing speaks for any."""

    def write_seo(self, subject: Subject) -> Seo:
        """Return what search engines may be told of a product."""


def current() -> Provider:
    """Return the provider that is in use."""
    from products.ai import embedded

    return embedded.current()
