"""The catalogue and its stock."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ProductsConfig(AppConfig):
    """Products, categories and the stock ledger."""

    name = "products"
    verbose_name = _("Catalogue")

    def ready(self) -> None:
        """Register the jobs; learn of changes, and keep triggers that note them."""
        from django.db.models.signals import post_migrate

        from products import tasks, triggers
        from products.freshness import feed
        from shop.ready import keep_answers

        post_migrate.connect(triggers.install, sender=self, dispatch_uid="products.triggers")
        keep_answers(feed.knowledge)
        assert tasks
