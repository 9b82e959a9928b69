"""Orders and their items."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from orders.states import MOVES, Status
from products.models import Product
from shop.accounts.models import User
from shop.ids import uuid7
from shop.money import MoneyField


class OrderQuerySet(models.QuerySet["Order"]):
    """Verbs on orders."""

    def visible_to(self, user: User) -> "OrderQuerySet":
        """All for the order desk, one's own for everybody else."""
        # Asking for permissions costs two queries; customers have none.
        if user.is_staff and user.has_perm("orders.view_order"):
            return self
        return self.filter(customer=user)

    def unpaid_since(self, moment: datetime) -> "OrderQuerySet":
        """Orders placed before `moment` that still wait for money."""
        return self.filter(status=Status.PENDING, created_at__lt=moment)


class Order(models.Model):
    """What one customer bought at one time. Amounts are as they were then."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="orders",
        verbose_name=_("customer"),
    )
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.PENDING
    )
    # Counts the changes; the event of each change has it as its sequence.
    version = models.PositiveIntegerField(default=1, editable=False)

    currency = models.CharField(_("currency"), max_length=3)
    items_total = MoneyField(_("items"))
    shipping_fee = MoneyField(_("shipping"))
    total = MoneyField(_("total"))

    recipient = models.CharField(_("recipient"), max_length=100, blank=True)
    phone = models.CharField(_("phone"), max_length=30, blank=True)
    email = models.EmailField(_("e-mail"), blank=True)
    memo = models.CharField(_("memo"), max_length=500, blank=True)
    street = models.CharField(_("street"), max_length=200)
    city = models.CharField(_("city"), max_length=100)
    postal_code = models.CharField(_("postal code"), max_length=20)

    carrier = models.CharField(_("carrier"), max_length=60, blank=True)
    tracking_number = models.CharField(_("tracking number"), max_length=60, blank=True)
    cancel_reason = models.CharField(_("reason for cancelling"), max_length=100, blank=True)

    created_at = models.DateTimeField(_("placed"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="order_status_valid"
            ),
            models.CheckConstraint(
                condition=Q(total=F("items_total") + F("shipping_fee")),
                name="order_total_is_sum",
            ),
            models.CheckConstraint(
                condition=Q(items_total__gte=0, shipping_fee__gte=0),
                name="order_amounts_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "-id"], name="order_customer"),
            models.Index(fields=["status", "-id"], name="order_status"),
            models.Index(fields=["created_at"], name="order_created"),
            models.Index(
                fields=["created_at"], condition=Q(status=Status.PENDING), name="order_pending"
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def subject(self) -> str:
        """The subject of this order's events."""
        return f"order/{self.pk}"

    @property
    def moves(self) -> tuple[Status, ...]:
        """The states it may go to from here."""
        return MOVES[Status(self.status)]


class OrderItem(models.Model):
    """One product of an order, with its name and price at the time of buying."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="items")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="order_items")
    product_name = models.CharField(_("product"), max_length=300)
    sku = models.CharField(_("SKU"), max_length=64, blank=True)
    price = MoneyField(_("price"))
    quantity = models.PositiveIntegerField(_("quantity"))
    line_total = MoneyField(_("line total"))

    class Meta:
        ordering = ["id"]
        verbose_name = _("item")
        verbose_name_plural = _("items")
        constraints = [
            models.UniqueConstraint(fields=["order", "product"], name="orderitem_product_once"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="orderitem_quantity_positive"),
            models.CheckConstraint(
                condition=Q(line_total=F("price") * F("quantity")),
                name="orderitem_total_is_product",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product_name}"
