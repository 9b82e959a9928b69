"""The catalogue's background jobs."""

from uuid import UUID

from products import freshness, images, past_searches, suggestions, vocabulary
from products.ai import embedded
from products.models import Product
from shop.jobs.queue import job


@job("products.optimise_image")
def optimise_image(image_id: str) -> str:
    """Make the renditions of a picture that was uploaded."""
    return images.make_renditions(UUID(image_id))


@job("products.write_seo")
def write_seo(product_id: int) -> str:
    """Write a new product's texts for search engines."""
    return suggestions.write_seo(product_id)


@job("products.analyse")
def analyse(product_id: int) -> str:
    """Propose a category and texts for a product, for staff to decide on."""
    try:
        found = suggestions.analyse(product_id)
    except Product.DoesNotExist:
        return "gone"
    return found["category"][0]["category"] if found["category"] else "no category found"


@job("products.prune_changes")
def prune_changes() -> str:
    """Delete noted changes that every process has learnt of."""
    return f"{freshness.prune()} deleted"


@job("products.learn_categories", queue="long")
def learn_categories() -> str:
    """Learn from the tree and the products anew, if anything has changed."""
    return embedded.learn()


@job("products.tidy_search", queue="long")
def tidy_search() -> str:
    """Bring the search's vocabulary, its index and the past searches in order."""
    behind = vocabulary.index_again()
    words = vocabulary.tidy()
    past = past_searches.prune()
    # What was found by what has been put in order is kept, and none of it is a change of
    # the catalogue.
    freshness.tell_all()
    return f"{words}; {behind} products indexed; {past} past searches removed"
