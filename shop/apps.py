"""The app that holds what every other app shares."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class ShopConfig(AppConfig):
    """Accounts, events, jobs and idempotency."""

    default = True
    name = "shop"
    verbose_name = _("Shop")

    def ready(self) -> None:
        """Keep the staff groups complete after each migrate; wire jobs to Celery."""
        from django.conf import settings
        from django.db.models.signals import post_migrate

        from shop import checks
        from shop.accounts import failures, reset
        from shop.accounts.groups import ensure_groups
        from shop.celery import waker
        from shop.jobs import housekeeping, queue
        from shop.webhooks import sending

        post_migrate.connect(ensure_groups, dispatch_uid="shop.ensure_groups")
        if settings.BROKER_URL:
            # One made of files is slower than looking.
            queue.set_wake(waker.wake)
        sending.register()
        # Imported for what they register.
        assert checks and failures and housekeeping and reset


class BackOfficeConfig(admin_apps.AdminConfig):
    """Django's admin with the shop's site."""

    default = False
    default_site = "shop.back_office.BackOffice"
