"""Orders that were paid before payments were kept get the payment that they stand for."""

from django.db import migrations, transaction
from django.db.models import F

_COVERED = ["paid", "processing", "shipped", "delivered", "completed"]
_BATCH = 500


def book_payments(apps, schema_editor):
    """Book what is open of them, as moving an order to `paid` by hand does. May run twice."""
    Order = apps.get_model("orders", "Order")
    Payment = apps.get_model("orders", "Payment")
    open_orders = Order.objects.filter(status__in=_COVERED, paid__lt=F("total")).order_by("pk")
    while True:
        with transaction.atomic():
            orders = list(open_orders.select_for_update()[:_BATCH])
            if not orders:
                return
            Payment.objects.bulk_create(
                Payment(
                    order=order,
                    kind="payment",
                    method="other",
                    amount=order.total - order.paid,
                    state="settled",
                    note="paid before payments were kept",
                    settled_at=order.updated_at,
                )
                for order in orders
            )
            Order.objects.filter(pk__in=[order.pk for order in orders]).update(paid=F("total"))


class Migration(migrations.Migration):

    # A batch a transaction: orders are not held up for longer.
    atomic = False

    dependencies = [
        ('orders', '0004_lists'),
    ]

    operations = [
        migrations.RunPython(book_payments, migrations.RunPython.noop, elidable=True),
    ]
