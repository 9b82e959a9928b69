"""What a provider proposes for products, and what staff make of it.

A new product without a category gets the likeliest one at once, and says so;
its texts for search engines are written by a job. All else changes nothing
before a member of staff has accepted it, and who did so is kept.
"""

import logging
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from products import catalogue
from products.ai import pricing, provider, seo
from products.ai.provider import Guess, Provider, Seo, Subject
from products.ai.text import Item
from products.models import Category, Product, ProductSeo, Suggestion
from shop.accounts.models import User
from shop.errors import ShopError

logger = logging.getLogger(__name__)

# Below it a category is not worth being put on a product unasked.
LEAST_CONFIDENCE = 0.15
_GUESSES = 5


class SuggestionDecided(ShopError):
    """Somebody has accepted or rejected it already, or a later one replaced it."""

    code = "suggestion_decided"
    title = gettext_noop("Suggestion decided")


def item_of(product: Product) -> Item:
    """Return a product's texts."""
    return Item(product.name, product.description, product.brand)


def guess_categories(item: Item) -> tuple[Provider | None, list[Guess]]:
    """Return who was asked and the likeliest categories that there are; none on any fault.

    A product is created whatever becomes of its classification.
    """
    try:
        with transaction.atomic():
            asked = provider.current()
            guesses = list(asked.classify(item, limit=_GUESSES))
            there = set(
                Category.objects.filter(pk__in=[guess.category_id for guess in guesses])
                .order_by()
                .values_list("pk", flat=True)
            )
    except Exception:
        logger.exception("a product could not be classified")
        return None, []
    return asked, [guess for guess in guesses if guess.category_id in there]


def propose_category(product: Product, asked: Provider, guesses: list[Guess]) -> Suggestion | None:
    """Keep the likeliest categories for staff to decide on; none where there are none."""
    if not guesses:
        return None
    best = Category.objects.get(pk=guesses[0].category_id)
    return _propose(
        product,
        Suggestion.Kind.CATEGORY,
        {
            "category": best.pk,
            "name": best.name_en,
            "also": [
                {"category": guess.category_id, "confidence": guess.confidence}
                for guess in guesses[1:]
            ],
        },
        asked,
        guesses[0].confidence,
    )


def _propose(
    product: Product,
    kind: Suggestion.Kind,
    data: dict[str, Any],
    asked: Provider,
    confidence: float,
) -> Suggestion:
    """Put a suggestion in the place of the open one; the same again changes nothing."""
    with transaction.atomic():
        # Two at once take turns on the product's row.
        Product.objects.select_for_update(no_key=True).only("pk").get(pk=product.pk)
        now_open = Suggestion.objects.filter(
            product=product, kind=kind, state=Suggestion.State.OPEN
        ).first()
        if now_open is not None:
            if now_open.data == data:
                return now_open
            now_open.state = Suggestion.State.REPLACED
            now_open.save(update_fields=["state"])
        return Suggestion.objects.create(
            product=product,
            kind=kind,
            data=data,
            provider=asked.name,
            version=asked.version,
            confidence=confidence,
        )


def _subject(product: Product) -> Subject:
    category = product.category
    names = {"en": category.name_en, "ko": category.name_ko or category.name_en} if category else {}
    return Subject(item_of(product), names)


def _texts(found: Seo) -> dict[str, Any]:
    return {
        "title": found.title.value,
        "description": found.description.value,
        "keywords": found.keywords.value,
        "slug": found.slug.value,
    }


def write_seo(product_id: int) -> str:
    """Write a new product's texts for search engines; staff may accept or reject them later.

    What is there already stays: running it twice is running it once.
    """
    product = Product.objects.select_related("category").filter(pk=product_id).first()
    if product is None:
        return "gone"
    asked = provider.current()
    found = asked.write_seo(_subject(product))
    with transaction.atomic():
        _row, created = ProductSeo.objects.get_or_create(
            product=product, defaults={**_texts(found), "written_by": _signature(asked)}
        )
        if created:
            _propose(product, Suggestion.Kind.SEO, _texts(found), asked, found.confidence)
    return "written" if created else "there already"


def _signature(asked: Provider) -> str:
    return f"{asked.name} {asked.version}"


def analyse(product_id: int) -> dict[str, Any]:
    """Return what a provider makes of a product, as the API shows it.

    Nothing of the product changes. What is proposed is kept, open for staff.

    Raises:
        Product.DoesNotExist: no such product.
    """
    product = Product.objects.select_related("category").get(pk=product_id)
    asked, guesses = guess_categories(item_of(product))
    asked = asked or provider.current()
    found = asked.write_seo(_subject(product))
    where = pricing.position(product)
    if product.is_on_sale:
        if guesses and guesses[0].category_id != product.category_id:
            propose_category(product, asked, guesses)
        held = ProductSeo.objects.filter(product=product).first()
        if held is None or any(getattr(held, name) != text for name, text in _texts(found).items()):
            _propose(product, Suggestion.Kind.SEO, _texts(found), asked, found.confidence)
    facts = catalogue.read_facts(product.pk)
    return {
        "product_id": str(product.pk),
        "provider": asked.name,
        "model_version": asked.version,
        "category": _guesses_json(guesses),
        "seo": {
            **{name: asdict(getattr(found, name)) for name in _texts(found)},
            "json_ld": seo.json_ld(facts, settings.CURRENCY),
            "confidence": found.confidence,
            **seo.score(
                title=found.title.value,
                description=found.description.value,
                keywords=found.keywords.value,
                product={**facts, "amount": product.price},
            ),
        },
        "pricing": _pricing_json(product, where),
    }


def _guesses_json(guesses: list[Guess]) -> list[dict[str, Any]]:
    found = Category.objects.in_bulk([guess.category_id for guess in guesses])
    above = {
        int(step) for category in found.values() for step in category.path.strip("/").split("/")
    }
    names = {
        pk: (name_en, name_ko or name_en)
        for pk, name_en, name_ko in Category.objects.filter(pk__in=above)
        .order_by()
        .values_list("pk", "name_en", "name_ko")
    }
    shown = []
    for guess in guesses:
        category = found[guess.category_id]
        steps = [names[int(step)] for step in category.path.strip("/").split("/")]
        shown.append(
            {
                "category": category.slug,
                "name": {"en": category.name_en, "ko": category.name_ko or category.name_en},
                "path": {
                    "en": " > ".join(name_en for name_en, _ko in steps),
                    "ko": " > ".join(name_ko for _en, name_ko in steps),
                },
                "confidence": guess.confidence,
            }
        )
    return shown


def _pricing_json(product: Product, where: pricing.Position) -> dict[str, Any]:
    return {
        "price": product.price,
        "compared": where.compared,
        "category": where.category,
        "percentile": where.percentile,
        "median": where.median,
        "suggested_low": where.low,
        "suggested_high": where.high,
        "is_outlier": where.is_outlier,
        "confidence": where.confidence,
        "comparables": [
            {
                "product_id": str(one.product_id),
                "name": one.name,
                "price": one.price,
                "similarity": one.similarity,
            }
            for one in where.comparables
        ],
    }


def accept_suggestion(suggestion_id: int, *, actor: User) -> Suggestion:
    """Make a product what was suggested; who did so is kept.

    Raises:
        SuggestionDecided: it is not open any more, or what it names is gone.
    """
    with transaction.atomic():
        suggestion, product = _decide(suggestion_id, Suggestion.State.ACCEPTED, actor)
        if suggestion.kind == Suggestion.Kind.CATEGORY:
            category = Category.objects.filter(pk=suggestion.data["category"]).first()
            if category is None:
                raise SuggestionDecided(_("This category is gone."))
            product.categorise(category)
            product.save(update_fields=["category", "category_confidence", "updated_at"])
        else:
            ProductSeo.objects.update_or_create(
                product=product,
                defaults={
                    **suggestion.data,
                    "written_by": f"{suggestion.provider} {suggestion.version}",
                    "accepted_by": actor,
                },
            )
    return suggestion


def reject_suggestion(suggestion_id: int, *, actor: User) -> Suggestion:
    """Turn a suggestion down, and take back what it did without being asked.

    Raises:
        SuggestionDecided: it is not open any more.
    """
    with transaction.atomic():
        suggestion, product = _decide(suggestion_id, Suggestion.State.REJECTED, actor)
        if suggestion.kind == Suggestion.Kind.CATEGORY:
            chosen = suggestion.data["category"]
            if product.category_confidence is not None and product.category_id == chosen:
                product.categorise(None)
                product.save(update_fields=["category", "category_confidence", "updated_at"])
        else:
            held = ProductSeo.objects.filter(product=product, accepted_by=None).first()
            texts = suggestion.data
            if held and held.written_by and all(getattr(held, k) == v for k, v in texts.items()):
                held.delete()
    return suggestion


def _decide(suggestion_id: int, state: Suggestion.State, actor: User) -> tuple[Suggestion, Product]:
    """Note who decided what; return the suggestion and its product under its lock."""
    rows = Suggestion.objects.filter(pk=suggestion_id)
    # The product first, as everywhere: who proposes holds it and then writes here.
    product_id = rows.values_list("product_id", flat=True).first()
    products = Product.objects.select_for_update(no_key=True)
    product = products.filter(pk=product_id).first() if product_id else None
    # Compare-and-set: of two who decide at once, one does.
    decided = rows.filter(state=Suggestion.State.OPEN).update(
        state=state, decided_by=actor, decided_at=timezone.now()
    )
    if not decided or product is None:
        raise SuggestionDecided(_("This suggestion is not open any more."))
    return rows.get(), product
