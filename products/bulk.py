"""What can be done to many products at once in the admin."""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from products import stock
from products.actions import change_product, retire_product
from products.models import Category, Product, Reason
from shop.accounts.models import User
from shop.bulk import Line, Work
from shop.errors import ShopError

_COLUMNS = [gettext_lazy("SKU"), gettext_lazy("category"), gettext_lazy("in stock")]


class NotOnSale(ShopError):
    """The product was taken off sale before."""


class ChangeField(forms.IntegerField):
    """A change of stock: how many come or, below zero, go."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=-stock.MAX_STOCK, max_value=stock.MAX_STOCK, **kwargs)

    def clean(self, value: Any) -> int | None:
        """Refuse a change of nothing."""
        change: int | None = super().clean(value)
        if change == 0:
            raise forms.ValidationError(_("A change is not zero."))
        return change


class StockForm(forms.Form):
    """Why stock changes."""

    reason = forms.ChoiceField(label=gettext_lazy("Reason"), choices=Reason.choices)
    note = forms.CharField(label=gettext_lazy("Note"), max_length=200, required=False)


class CategoryForm(forms.Form):
    """Where products belong."""

    category = forms.ModelChoiceField(
        label=gettext_lazy("Category"),
        queryset=Category.objects.all(),
        widget=AutocompleteSelect(Product._meta.get_field("category"), admin.site),
    )


def _look(
    effect: Callable[[Product], str], *, retired: bool = False
) -> Callable[[Sequence[int]], list[Line]]:
    """Return what shows products; those off sale are refused unless `retired` ones will do."""

    def look(pks: Sequence[int]) -> list[Line]:
        products = Product.objects.select_related("category").in_bulk(pks)
        return [
            Line(
                pk=pk,
                label=products[pk].name,
                url=reverse("admin:products_product_change", args=[pk]),
                facts=[products[pk].sku, products[pk].category, products[pk].stock_quantity],
                effect=effect(products[pk]),
                refusal=""
                if retired or products[pk].is_on_sale
                else _("It was taken off sale before."),
            )
            for pk in dict.fromkeys(pks)
            if pk in products
        ]

    return look


def _left(product: Product) -> str:
    text = _("off sale for good")
    if left := product.stock_quantity:
        text += ", " + ngettext("%d stays in stock", "%d stay in stock", left) % left
    return text


def _retire(pk: int, user: User, data: dict[str, Any]) -> str:
    if not retire_product(pk):
        raise NotOnSale(_("It was taken off sale before."))
    return _("off sale")


def _categorise(pk: int, user: User, data: dict[str, Any]) -> str:
    product = change_product(Product.objects.get(pk=pk), category=data["category"])
    return str(product.category)


def _book(pk: int, user: User, data: dict[str, Any]) -> str:
    movement = stock.adjust(
        product_id=pk,
        change=data["own"],
        reason=Reason(data["reason"]),
        note=data["note"],
        actor=user,
    )
    return _("%(change)+d, %(left)d in stock now") % {
        "change": movement.change,
        "left": movement.balance_after,
    }


RETIRE = Work(
    name="retire",
    title=gettext_lazy("Take off sale"),
    button=gettext_lazy("Take these off sale"),
    look=_look(_left),
    do=_retire,
    columns=_COLUMNS,
)
CATEGORISE = Work(
    name="categorise",
    title=gettext_lazy("Change the category"),
    button=gettext_lazy("Put them there"),
    look=_look(lambda product: _("moves to the category chosen above")),
    do=_categorise,
    columns=_COLUMNS,
    form=CategoryForm,
)
BOOK = Work(
    name="book_stock",
    title=gettext_lazy("Change the stock"),
    button=gettext_lazy("Book the changes"),
    look=_look(lambda product: _("is left as it is where nothing is typed"), retired=True),
    do=_book,
    columns=_COLUMNS,
    form=StockForm,
    own=ChangeField(label=gettext_lazy("Change")),
)
