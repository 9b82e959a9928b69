"""Rights by action: what is not listed is closed."""

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db.models.signals import post_migrate

from shop.accounts.groups import GROUPS, ensure_groups
from shop.accounts.models import User
from shop.accounts.permissions import ByAction

pytestmark = pytest.mark.django_db


def allowed(user, action, rights):
    view = SimpleNamespace(action=action, rights=rights)
    return ByAction().has_permission(SimpleNamespace(user=user), view)


def test_who_may_do_what(alice, clerk, admin):
    rights = {"list": None, "mine": True, "create": "products.add_product"}
    people = {"nobody": AnonymousUser(), "alice": alice, "clerk": clerk, "admin": admin}
    may = {
        (name, action)
        for name, user in people.items()
        for action in [*rights, "forgotten"]
        if allowed(user, action, rights)
    }
    assert may == {
        *((name, "list") for name in people),
        ("alice", "mine"), ("clerk", "mine"), ("admin", "mine"),
        ("clerk", "create"), ("admin", "create"),
    }  # fmt: skip


def test_rights_of_ones_own_and_of_ones_groups_take_one_query(
    alice, clerk, admin, django_assert_num_queries
):
    own = Permission.objects.get(codename="view_job")
    clerk.user_permissions.add(own)
    with django_assert_num_queries(1):
        rights = clerk.get_all_permissions()
    assert rights == {"shop.view_job", *GROUPS["Catalogue"], *GROUPS["Order desk"]}
    with django_assert_num_queries(0):
        assert clerk.has_perm("shop.view_job")
        assert not clerk.has_perm("shop.change_job")
        assert admin.has_perm("shop.change_job")
    assert alice.get_all_permissions() == set()
    clerk.is_active = False
    assert clerk.get_all_permissions() == set()
    assert not clerk.has_perm("shop.view_job")


def test_the_groups_have_every_right_that_the_table_names():
    for name, wanted in GROUPS.items():
        group = Group.objects.get(name=name)
        has = {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()}
        assert has == set(wanted)


def test_what_staff_added_to_a_group_stays_after_a_migrate():
    group = Group.objects.get(name="Order desk")
    extra = Permission.objects.get(codename="add_category")
    group.permissions.add(extra)
    ensure_groups()
    assert extra in group.permissions.all()
    assert User.objects.count() == 0
    assert post_migrate.has_listeners()
