"""The app that holds what every other app shares."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class ShopConfig(AppConfig):
    """Accounts, events, jobs and idempotency."""

    default = True
    name = "shop"
    verbose_name = "Shop"

    def ready(self) -> None:
        """Keep the staff groups complete after each migrate; wire jobs to Celery."""
        from django.db.models.signals import post_migrate

        from shop import checks
        from shop.accounts import failures, reset
        from shop.accounts.groups import ensure_groups
        from shop.celery import wake_worker
        from shop.jobs import housekeeping, queue
        from shop.webhooks import sending

        post_migrate.connect(ensure_groups, dispatch_uid="shop.ensure_groups")
        queue.set_wake(wake_worker)
        sending.register()
        # Imported for what they register.
        assert checks and failures and housekeeping and reset


class BackOfficeConfig(admin_apps.AdminConfig):
    """Django's admin with the shop's site."""

    default = False
    default_site = "shop.back_office.BackOffice"
