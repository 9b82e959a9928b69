"""The catalogue in the admin, a file a subject; Django finds the pages by importing this.

Stock is changed through its ledger and nowhere else.
"""

from products.admin import categories, ledger, products, suggestions

__all__ = ["categories", "ledger", "products", "suggestions"]
