"""What is booked on an order's page: money that came in, goods that came back."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from orders.models import Order, Payment
from shop.errors import ShopError
from shop.money import to_minor


class PaymentForm(forms.Form):
    """Money that came in."""

    amount = forms.DecimalField(label=gettext_lazy("Amount"), max_digits=15, min_value=0)
    method = forms.ChoiceField(label=gettext_lazy("Method"), choices=Payment.Method.choices)
    reference = forms.CharField(label=gettext_lazy("Reference"), max_length=100, required=False)
    note = forms.CharField(label=gettext_lazy("Note"), max_length=200, required=False)

    def clean_amount(self) -> Any:
        """Take what the currency can express, and more than nothing."""
        amount = self.cleaned_data["amount"]
        to_minor(amount)
        if amount <= 0:
            raise forms.ValidationError(_("A payment is more than nothing."))
        return amount


class NothingReturned(ShopError):
    """A return without a line."""


class ReturnForm(forms.Form):
    """Goods that came back: a quantity for each line."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=100)
    restock = forms.BooleanField(label=gettext_lazy("Back into stock"), required=False)

    def __init__(self, order: Order, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for item in order.items.all():
            self.fields[f"item_{item.product_id}"] = forms.IntegerField(
                label=item.product_name,
                min_value=0,
                max_value=item.quantity,
                required=False,
                initial=0,
            )
        self.order_fields(sorted(self.fields, key=lambda name: not name.startswith("item_")))

    @property
    def quantities(self) -> dict[int, int]:
        """What came back, by product."""
        return {
            int(name.removeprefix("item_")): value
            for name, value in self.cleaned_data.items()
            if name.startswith("item_") and value
        }
