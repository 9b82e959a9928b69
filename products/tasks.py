"""The catalogue's background jobs."""

from uuid import UUID

from products import images
from shop.jobs.queue import job


@job("products.optimise_image")
def optimise_image(image_id: str) -> str:
    """Make the renditions of a picture that was uploaded."""
    return images.make_renditions(UUID(image_id))
