"""The catalogue of the demo: real products and a real category tree, both in this package."""

from pathlib import Path

from products.categories import CategoryReport
from products.importing.catalogue import Report, import_catalogue
from products.importing.categories import import_categories
from shop.jobs.queue import enqueue

# Its files.
DEMO = Path(__file__).resolve().parent / "demo"


def load_demo_catalogue() -> tuple[CategoryReport, Report]:
    """Load the demo's categories and products, in a few seconds.

    Run again, it adds what is missing and leaves all else as it is: products
    that were edited, moved or retired since, and stock that was sold. Prices
    are in won, and taken as numbers of the shop's currency whatever it is.
    """
    categories = import_categories(DEMO / "categories.tsv", only_new=True)
    products = import_catalogue([DEMO / "products.jsonl"], source="demo", only_new=True)
    # So that what is created next is judged by these products too.
    enqueue("products.learn_categories", unique_key="products.learn_categories")
    return categories, products
