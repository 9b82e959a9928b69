"""Orders and their items."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Expression, F, Q, TextField, Value
from django.db.models.functions import Cast, Replace, Right, Upper
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from orders.states import MOVES, Status
from products.models import Product
from shop.accounts.models import User
from shop.database.indexes import PrefixIndex
from shop.ids import uuid7
from shop.money import MoneyField, written

# How many characters of its id, from the end, an order is called by.
SHORT_ID = 12


def _without(column: str, *characters: str) -> Expression | F:
    bare: Expression | F = F(column)
    for character in characters:
        bare = Replace(bare, Value(character))
    return bare


# What orders are found by (orders.search). Each has its index below, and only
# an expression written as it is there finds it.
short_id = Right(Cast("id", TextField()), SHORT_ID)
tracking_bare = Upper(_without("tracking_number", "-", " "))


def phone_end(length: int) -> Expression:
    """Return the last digits of the phone number, however it was written."""
    return Right(_without("phone", "-", " ", ".", ")"), length)


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
    items_total = MoneyField(pgettext_lazy("money", "items"))
    shipping_fee = MoneyField(_("shipping"))
    total = MoneyField(_("total"))
    # Sums of the order's payments and refunds, kept by orders.books.
    paid = MoneyField(_("paid"), default=0, editable=False)
    refunded = MoneyField(_("refunded"), default=0, editable=False)
    refund_due = MoneyField(_("refund due"), default=0, editable=False)

    recipient = models.CharField(_("recipient"), max_length=100, blank=True)
    phone = models.CharField(_("phone"), max_length=30, blank=True)
    email = models.EmailField(_("e-mail"), blank=True)
    memo = models.CharField(_("memo"), max_length=500, blank=True)
    # The buyer's, in which mails are written; empty: the shop's.
    language = models.CharField(
        _("language"), max_length=10, blank=True, default="", db_default="", editable=False
    )
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
        permissions = [("view_analytics", "Can see what was sold")]
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
            models.CheckConstraint(
                condition=Q(
                    refunded__gte=0, refund_due__gte=0, paid__gte=F("refunded") + F("refund_due")
                ),
                name="order_refunds_within_payments",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "-id"], name="order_customer"),
            models.Index(fields=["status", "-id"], name="order_status"),
            models.Index(fields=["created_at"], name="order_created"),
            models.Index(
                fields=["created_at"], condition=Q(status=Status.PENDING), name="order_pending"
            ),
            models.Index(fields=["-id"], condition=Q(refund_due__gt=0), name="order_refund_due"),
            models.Index(short_id, name="order_short_id"),
            models.Index(phone_end(4), name="order_phone_end"),
            PrefixIndex(Upper("email"), name="order_email"),
            PrefixIndex(Upper("recipient"), name="order_recipient"),
            models.Index(
                tracking_bare, condition=~Q(tracking_number=""), name="order_tracking_number"
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def subject(self) -> str:
        """The subject of this order's events."""
        return f"order/{self.pk}"

    @property
    def short_id(self) -> str:
        """The end of its id, to be read to people; the beginning is the time."""
        return str(self.pk)[-SHORT_ID:]

    @property
    def moves(self) -> tuple[Status, ...]:
        """The states it may go to from here."""
        return MOVES[Status(self.status)]


class OrderItem(models.Model):
    """One product of an order, with its name and price at the time of buying."""

    order = models.ForeignKey(
        Order, on_delete=models.CASCADE, related_name="items", verbose_name=_("order")
    )
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="order_items", verbose_name=_("product")
    )
    product_name = models.CharField(pgettext_lazy("order line", "product"), max_length=300)
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


class Payment(models.Model):
    """Money in for an order, or back out of it. An amount is never edited."""

    class Kind(models.TextChoices):
        PAYMENT = "payment", _("payment")
        REFUND = "refund", _("refund")

    class Method(models.TextChoices):
        CARD = "card", _("card")
        BANK_TRANSFER = "bank_transfer", _("bank transfer")
        VIRTUAL_ACCOUNT = "virtual_account", _("virtual account")
        CASH = "cash", _("cash")
        OTHER = "other", _("other")

    class State(models.TextChoices):
        # Only a refund: it is owed and has not been sent yet.
        DUE = "due", pgettext_lazy("payment", "due")
        SETTLED = "settled", pgettext_lazy("payment", "settled")

    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, related_name="payments", verbose_name=_("order")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    method = models.CharField(_("method"), max_length=16, choices=Method.choices)
    # The provider's, by which the same payment is known again.
    reference = models.CharField(_("reference"), max_length=100, blank=True)
    amount = MoneyField(_("amount"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices)
    note = models.CharField(_("note"), max_length=200, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("actor"),
    )
    created_at = models.DateTimeField(_("time"), auto_now_add=True)
    settled_at = models.DateTimeField(_("settled"), null=True, blank=True)

    class Meta:
        ordering = ["id"]
        verbose_name = _("payment")
        verbose_name_plural = _("payments and refunds")
        constraints = [
            models.UniqueConstraint(
                fields=["method", "reference"],
                condition=Q(kind="payment") & ~Q(reference=""),
                name="payment_reference_unique",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_amount_positive"),
            models.CheckConstraint(
                condition=Q(kind="payment", state="settled")
                | Q(kind="refund", state__in=["due", "settled"]),
                name="payment_state_valid",
            ),
            models.CheckConstraint(
                condition=Q(
                    method__in=["card", "bank_transfer", "virtual_account", "cash", "other"]
                ),
                name="payment_method_valid",
            ),
        ]
        indexes = [
            models.Index(fields=["-id"], condition=Q(state="due"), name="payment_due"),
            models.Index(
                fields=["reference"], condition=~Q(reference=""), name="payment_reference"
            ),
            models.Index(fields=["created_at"], name="payment_created"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {written(self.amount)}"


class Return(models.Model):
    """Goods that came back after delivery."""

    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, related_name="returns", verbose_name=_("order")
    )
    reason = models.CharField(_("reason"), max_length=100)
    restock = models.BooleanField(_("back into stock"))
    # None where the goods had cost nothing.
    refund = models.OneToOneField(
        Payment,
        null=True,
        on_delete=models.PROTECT,
        related_name="returned",
        verbose_name=_("refund"),
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("actor"),
    )
    created_at = models.DateTimeField(_("time"), auto_now_add=True)

    class Meta:
        ordering = ["id"]
        verbose_name = _("return")
        verbose_name_plural = _("returns")

    def __str__(self) -> str:
        return self.reason


class ReturnItem(models.Model):
    """How much of one line came back."""

    parent = models.ForeignKey(Return, on_delete=models.CASCADE, related_name="items")
    item = models.ForeignKey(OrderItem, on_delete=models.PROTECT, related_name="returned")
    quantity = models.PositiveIntegerField(_("quantity"))

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["parent", "item"], name="returnitem_once"),
            models.CheckConstraint(
                condition=Q(quantity__gt=0), name="returnitem_quantity_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.item_id}"
