"""Who people are and what they may do."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission


class Backend(ModelBackend):
    """Django's own, which asks for a user's rights in one query instead of two."""

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return the user's own rights and those of the user's groups."""
        if obj is not None or not user_obj.is_active or user_obj.is_superuser:
            return super().get_all_permissions(user_obj, obj)
        # Where Django keeps them as well: whoever asks again asks nobody.
        if not hasattr(user_obj, "_perm_cache"):
            own, of_groups = (
                Permission.objects.filter(**{lookup: user_obj.pk})
                .order_by()
                .values_list("content_type__app_label", "codename")
                for lookup in ("user", "group__user")
            )
            user_obj._perm_cache = {f"{app}.{name}" for app, name in own.union(of_groups)}
        rights: set[str] = user_obj._perm_cache
        return rights
