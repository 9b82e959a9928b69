"""manage.py check_stock: proves that the stock is what its ledger says."""

from typing import Any

from django.db.models import F, OuterRef, Subquery, Sum, Window
from django.db.models.functions import Coalesce, Lag

from products.models import Product, StockMovement
from shop.audit import Audit, AuditCommand, Fault


class Command(AuditCommand):
    """Check every product's stock against its ledger."""

    help = (
        "Prove that each product's ledger comes to its stock, that each balance is the one "
        "before plus the change, that the last balance is the stock, and that nothing is below "
        "zero. Prints what is wrong (the first ten of a kind) and exits with 1; with 2 if the "
        "database can't be asked. Looks at one moment of a live shop and holds up nobody."
    )
    right = "The stock is right"
    wrong = "wrong with the stock"

    def audit(self, **options: Any) -> Audit:
        """What can be wrong with a ledger."""
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
        faults = [
            Fault(
                "product {pk}: the stock is {stock_quantity}, its ledger comes to {total}",
                products.values("pk", "stock_quantity")
                .annotate(total=Coalesce(Sum("movements__change"), 0))
                .exclude(stock_quantity=F("total")),
            ),
            Fault(
                "product {pk}: the stock is {stock_quantity}, the last movement left {after}",
                # Not a window: a condition beside it would be applied before it.
                products.annotate(after=Coalesce(Subquery(last), 0))
                .exclude(stock_quantity=F("after"))
                .values("pk", "stock_quantity", "after"),
            ),
            Fault(
                "product {product_id}: movement {pk} turned {before} by {change}"
                " into {balance_after}",
                ledger.annotate(before=before)
                .exclude(balance_after=F("before") + F("change"))
                .values("pk", "product_id", "before", "change", "balance_after"),
            ),
            Fault(
                "product {pk}: the stock is {stock_quantity}",
                products.filter(stock_quantity__lt=0).values("pk", "stock_quantity"),
            ),
            Fault(
                "product {product_id}: movement {pk} left {balance_after}",
                ledger.filter(balance_after__lt=0).values("pk", "product_id", "balance_after"),
            ),
        ]
        return Audit(faults, {"products": products, "movements": ledger})
