"""A product's images on its page: added, described, shown with what was made of them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.files.storage import default_storage
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy

from products.images import add_image, read_upload
from products.models import ProductImage
from shop.errors import ShopError


class _Nothing(forms.Widget):
    """A field that is not asked for."""

    def render(self, *args: Any, **kwargs: Any) -> SafeString:
        """Nothing."""
        return mark_safe("")


class ImageForm(forms.ModelForm):
    """An image: a new one comes with its file, and its file stays what it was."""

    upload = forms.FileField(label=gettext_lazy("File"))

    class Meta:
        model = ProductImage
        fields = ["alt", "position"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            # Not hidden: the cell must be there for the cells after it.
            self.fields["upload"] = forms.FileField(required=False, widget=_Nothing)

    def clean_upload(self) -> Any:
        """Read the picture; what comes out of here is clean."""
        upload = self.cleaned_data["upload"]
        if not self.instance._state.adding:
            return None
        try:
            return read_upload(upload.file, upload.size)
        except ShopError as error:
            raise forms.ValidationError(error.detail) from None

    def save(self, commit: bool = True) -> ProductImage:
        """Keep a new picture, or change what is said about an old one."""
        if not self.instance._state.adding or not commit:
            image: ProductImage = super().save(commit)
            return image
        return add_image(
            product_id=self.instance.product_id,
            picture=self.cleaned_data["upload"],
            alt=self.cleaned_data["alt"],
            actor=self.instance.added_by,
        )


class ImageInline(admin.TabularInline):
    """A product's images."""

    model = ProductImage
    form = ImageForm
    fields = ["preview", "upload", "alt", "position", "state", "made"]
    readonly_fields = ["preview", "state", "made"]
    extra = 1

    @admin.display(description=gettext_lazy("image"))
    def preview(self, image: ProductImage) -> str:
        """The smallest rendition, else the placeholder."""
        if image._state.adding:
            return ""
        shown = [found["name"] for found in image.renditions if found["format"] == "webp"]
        return format_html(
            '<a href="{}"><img src="{}" alt="{}" width="80"></a>',
            image.file.url,
            default_storage.url(shown[0]) if shown else image.file.url,
            image.alt,
        )

    @admin.display(description=gettext_lazy("renditions"))
    def made(self, image: ProductImage) -> str:
        """Each rendition with its size."""
        return format_html_join(
            mark_safe("<br>"),
            '<a href="{}">{} {}</a> {} KB',
            (
                (
                    default_storage.url(found["name"]),
                    found["format"],
                    found["width"],
                    -(-found["bytes"] // 1024),
                )
                for found in image.renditions
            ),
        )

    # Whoever may change a product may change its images.
    def _may(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("products.change_product")

    has_add_permission = has_change_permission = has_delete_permission = _may

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the product."""
        return request.user.has_perm("products.view_product") or self._may(request)
