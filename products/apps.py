"""The catalogue and its stock."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ProductsConfig(AppConfig):
    """Products, categories and the stock ledger."""

    name = "products"
    verbose_name = _("Catalogue")

    def ready(self) -> None:
        """Register the jobs."""
        from products import tasks

        assert tasks
