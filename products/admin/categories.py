"""Categories in the admin: the tree, indented."""

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from products.categories import place_category
from products.models import Category


def indented(category: Category, name: str) -> str:
    """Return a category's name, further right the deeper it lies."""
    return "\u2003" * category.depth + name


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    """The tree, indented."""

    list_display = ["indented", "name_ko", "slug", "key"]
    search_fields = ["name_en", "name_ko", "slug", "key"]
    autocomplete_fields = ["parent"]
    prepopulated_fields = {"slug": ["name_en"]}
    ordering = ["path"]

    @admin.display(description=gettext_lazy("English name"))
    def indented(self, category: Category) -> str:
        """The name, further right the deeper it lies."""
        return indented(category, category.name_en)

    def save_model(
        self, request: HttpRequest, obj: Category, form: "ModelForm[Category]", change: bool
    ) -> None:
        """Save the row, then hang it where it belongs with all below it."""
        parent = obj.parent
        if change:
            obj.parent_id = form.initial.get("parent")
        else:
            obj.parent = None
        super().save_model(request, obj, form, change)
        place_category(category=obj, parent=parent)
