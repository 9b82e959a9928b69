"""What each staff group may do, as data."""

from typing import Any

GROUPS: dict[str, list[str]] = {
    "Catalogue": [
        "products.view_category",
        "products.add_category",
        "products.change_category",
        "products.delete_category",
        "products.view_product",
        "products.add_product",
        "products.change_product",
        "products.delete_product",
        "products.view_stockmovement",
        "products.adjust_stock",
        "products.view_suggestion",
        "products.change_suggestion",
    ],
    "Order desk": [
        "orders.view_order",
        "orders.change_order",
        "orders.view_analytics",
        "orders.view_orderitem",
        "orders.view_payment",
        "orders.add_payment",
        "orders.change_payment",
        "orders.view_return",
        "orders.add_return",
        "products.view_product",
        "shop.view_event",
        "shop.view_user",
    ],
    "Operations": [
        "orders.view_analytics",
        "benchmarks.view_benchmarkrun",
        "benchmarks.add_benchmarkrun",
        "benchmarks.change_benchmarkrun",
        "monitoring.view_sample",
        "monitoring.empty_caches",
        *(
            f"monitoring.{verb}_{model}"
            for model in ("alertrule", "silence", "channel")
            for verb in ("view", "add", "change", "delete")
        ),
        "monitoring.view_alertchange",
        "monitoring.view_delivery",
        "shop.view_job",
        "shop.change_job",
        "shop.view_event",
        "shop.view_sinkoffset",
        "shop.change_sinkoffset",
        *(f"shop.{verb}_webhook" for verb in ("view", "add", "change", "delete")),
        "shop.view_attempt",
    ],
}


def ensure_groups(sender: Any = None, **_: Any) -> None:
    """Make the groups and give them what they lack.

    Runs after each migrate, once an app: a permission exists only when its
    app has been migrated. It adds and never takes away, so that what staff
    add to a group by hand stays.
    """
    from django.contrib.auth.models import Group, Permission

    label = getattr(sender, "label", None)
    for name, wanted in GROUPS.items():
        codenames = [
            codename
            for app, codename in (permission.split(".") for permission in wanted)
            if label is None or app == label
        ]
        if not codenames:
            continue
        found = Permission.objects.filter(codename__in=codenames)
        if label is not None:
            found = found.filter(content_type__app_label=label)
        if found:
            group, _created = Group.objects.get_or_create(name=name)
            group.permissions.add(*found)
