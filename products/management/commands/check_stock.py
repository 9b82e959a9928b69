"""manage.py check_stock: proves that the stock is what its ledger says."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum, Window
from django.db.models.functions import Coalesce, Lag

from products.models import Product, StockMovement

_SHOWN = 20


def _checks() -> list[tuple[str, QuerySet[Any, Any]]]:
    """Return what would be wrong, each with the rows of which it is true.

    Each is one statement, so that it sees a live shop at one moment.
    """
    products = Product.objects.order_by("pk")
    ledger = StockMovement.objects.order_by("pk")
    before = Window(
        Lag("balance_after", default=0), partition_by=[F("product_id")], order_by=F("id").asc()
    )
    last = (
        StockMovement.objects.filter(product=OuterRef("pk"))
        .order_by("-pk")
        .values("balance_after")[:1]
    )
    return [
        (
            "product {pk}: the stock is {stock_quantity}, its ledger comes to {total}",
            products.values("pk", "stock_quantity")
            .annotate(total=Coalesce(Sum("movements__change"), 0))
            .exclude(stock_quantity=F("total")),
        ),
        (
            "product {pk}: the stock is {stock_quantity}, the last movement left {after}",
            # Not a window: a condition beside it would be applied before it.
            products.annotate(after=Coalesce(Subquery(last), 0))
            .exclude(stock_quantity=F("after"))
            .values("pk", "stock_quantity", "after"),
        ),
        (
            "product {product_id}: movement {pk} turned {before} by {change} into {balance_after}",
            ledger.annotate(before=before)
            .exclude(balance_after=F("before") + F("change"))
            .values("pk", "product_id", "before", "change", "balance_after"),
        ),
        (
            "product {pk}: the stock is {stock_quantity}",
            products.filter(stock_quantity__lt=0).values("pk", "stock_quantity"),
        ),
        (
            "product {product_id}: movement {pk} left {balance_after}",
            ledger.filter(balance_after__lt=0).values("pk", "product_id", "balance_after"),
        ),
    ]


class Command(BaseCommand):
    """Check every product's stock against its ledger."""

    help = (
        "Prove that each product's ledger comes to its stock, that each balance is the one "
        "before plus the change, that the last balance is the stock, and that nothing is below "
        "zero. Prints what is wrong (the first 20) and then exits with 1. May run beside a live "
        "shop; for a very long ledger set STATEMENT_TIMEOUT_MS=0."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and report.

        Raises:
            CommandError: something is wrong; the exit code is 1.
        """
        wrong = 0
        for text, rows in _checks():
            found = list(rows[: _SHOWN + 1])
            # Counted only where there are more than can be shown.
            count = len(found) if len(found) <= _SHOWN else rows.count()
            for row in found[: max(0, _SHOWN - wrong)]:
                self.stdout.write(text.format(**row))
            wrong += count
        if wrong:
            more = f" ({wrong - _SHOWN} more than shown)" if wrong > _SHOWN else ""
            raise CommandError(f"{wrong} things are wrong with the stock{more}.", returncode=1)
        products, movements = Product.objects.count(), StockMovement.objects.count()
        self.stdout.write(f"The stock is right: {products} products, {movements} movements.")
