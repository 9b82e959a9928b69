"""A product's texts for search engines on its page."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from products.models import ProductSeo


class SeoForm(forms.ModelForm):
    """Texts for search engines, keywords in one line."""

    keywords = forms.CharField(
        label=gettext_lazy("Keywords"),
        required=False,
        max_length=500,
        help_text=gettext_lazy("By commas."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )

    class Meta:
        model = ProductSeo
        fields = ["title", "description", "keywords", "slug"]
        widgets = {"description": forms.Textarea(attrs={"rows": 3, "cols": 80})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["keywords"] = ", ".join(self.instance.keywords)

    def clean_keywords(self) -> list[str]:
        """Return the words by themselves."""
        words = [word.strip() for word in self.cleaned_data["keywords"].split(",")]
        return [word for word in words if word]


class SeoInline(admin.StackedInline):
    """What search engines are told."""

    model = ProductSeo
    form = SeoForm
    readonly_fields = ["written_by", "accepted_by"]

    # Whoever may change a product may change its texts.
    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("products.change_product")

    has_add_permission = has_change_permission = has_delete_permission = _may

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the product."""
        return request.user.has_perm("products.view_product") or self._may(request)
