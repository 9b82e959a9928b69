"""The catalogue in the admin."""

import pytest
from django.contrib.auth.models import Permission

from products.models import Category, Product, StockMovement

pytestmark = pytest.mark.django_db

NO_IMAGES = {
    "images-TOTAL_FORMS": "0",
    "images-INITIAL_FORMS": "0",
    "seo-TOTAL_FORMS": "0",
    "seo-INITIAL_FORMS": "0",
}


def test_products_are_found_and_filtered(client, clerk, make_product):
    make_product("노트북 프로", sku="N-1", stock=3)
    make_product("의자", stock=0)
    client.force_login(clerk)
    assert "노트북 프로" in client.get("/admin/products/product/?q=노트북").content.decode()
    none_left = client.get("/admin/products/product/?stock=none").content.decode()
    assert "의자" in none_left
    assert "노트북 프로" not in none_left
    assert "노트북 프로" in client.get("/admin/products/product/?stock=low").content.decode()


@pytest.mark.parametrize("number", [1, 20])
def test_the_list_costs_the_same_however_long_it_is(
    client, clerk, make_product, number, django_assert_max_num_queries
):
    for n in range(number):
        make_product(f"상품 {n}")
    client.force_login(clerk)
    with django_assert_max_num_queries(7):
        client.get("/admin/products/product/")


def test_a_product_is_made_and_its_stock_received(client, clerk):
    client.force_login(clerk)
    page = client.post(
        "/admin/products/product/add/",
        {
            "name": "노트북",
            "price": "1500000",
            "description": "",
            "brand": "",
            "sku": "",
            **NO_IMAGES,
        },
    )
    assert page.status_code == 302, page.context["adminform"].form.errors
    product = Product.objects.get()
    assert (product.price, product.stock_quantity) == (1500000, 0)

    url = f"/admin/products/product/{product.pk}/stock/"
    client.post(url, {"change": "7", "reason": "received", "note": "첫 입고"})
    refused = client.post(url, {"change": "-8", "reason": "lost"})
    assert "not enough" in refused.content.decode()
    assert client.post(url, {"change": "0", "reason": "lost"}).status_code == 200
    product.refresh_from_db()
    assert product.stock_quantity == 7
    movement = StockMovement.objects.get()
    assert (movement.change, movement.actor, movement.note) == (7, clerk, "첫 입고")
    assert "첫 입고" in client.get(url).content.decode()


def test_the_form_does_not_write_stock(client, clerk, make_product):
    product = make_product(stock=5)
    client.force_login(clerk)
    client.post(
        f"/admin/products/product/{product.pk}/change/",
        {
            "name": "새 이름",
            "price": "1",
            "stock_quantity": "500",
            "sold_quantity": "9",
            **NO_IMAGES,
        },
    )
    product.refresh_from_db()
    assert (product.name, product.stock_quantity, product.sold_quantity) == ("새 이름", 5, 0)


def test_two_products_without_a_sku_can_be_saved(client, clerk, make_product):
    client.force_login(clerk)
    for name in ("하나", "둘"):
        client.post(
            "/admin/products/product/add/", {"name": name, "price": "1", "sku": "", **NO_IMAGES}
        )
    assert Product.objects.filter(sku=None).count() == 2


def test_a_price_with_too_many_decimals_is_refused(client, clerk):
    client.force_login(clerk)
    page = client.post("/admin/products/product/add/", {"name": "x", "price": "0.5"})
    assert page.status_code == 200
    assert not Product.objects.exists()


def test_products_are_retired_not_deleted(client, admin, make_product):
    product = make_product()
    client.force_login(admin)
    client.post(
        "/admin/products/product/", {"action": "retire", "_selected_action": [str(product.pk)]}
    )
    product.refresh_from_db()
    assert product.retired_at is not None
    answer = client.post(f"/admin/products/product/{product.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 403
    assert Product.objects.exists()


def test_a_category_is_moved_with_all_below_it(client, admin):
    client.force_login(admin)
    for slug, parent in (("a", ""), ("b", ""), ("c", "a")):
        parent_id = Category.objects.get(slug=parent).pk if parent else ""
        client.post(
            "/admin/products/category/add/",
            {"key": slug, "slug": slug, "name_en": slug, "parent": parent_id},
        )
    a, b, c = (Category.objects.get(slug=slug) for slug in "abc")
    assert c.path == f"/{a.pk}/{c.pk}/"
    client.post(
        f"/admin/products/category/{a.pk}/change/",
        {"key": "a", "slug": "a", "name_en": "a", "parent": b.pk},
    )
    c.refresh_from_db()
    assert c.path == f"/{b.pk}/{a.pk}/{c.pk}/"


def test_who_has_no_right_changes_no_stock(client, alice, make_product):
    product = make_product(stock=5)
    alice.is_staff = True
    alice.save(update_fields=["is_staff"])
    client.force_login(alice)
    url = f"/admin/products/product/{product.pk}/stock/"
    assert client.get(url).status_code == 403
    assert client.post(url, {"change": "1", "reason": "received"}).status_code == 403
    product.refresh_from_db()
    assert product.stock_quantity == 5


def test_the_ledger_and_its_pen_are_two_rights(client, alice, make_product):
    product = make_product(stock=5)
    alice.is_staff = True
    alice.save(update_fields=["is_staff"])
    client.force_login(alice)
    url = f"/admin/products/product/{product.pk}/stock/"
    note = {"change": "1", "reason": "received", "note": "from the cellar"}
    for right, sees, writes in (
        ("view_product", 403, 403),
        ("view_stockmovement", 200, 403),
        ("adjust_stock", 200, 302),
    ):
        alice.user_permissions.set(Permission.objects.filter(codename=right))
        assert client.get(url).status_code == sees
        assert client.post(url, note).status_code == writes
    product.refresh_from_db()
    assert product.stock_quantity == 6
    assert "from the cellar" not in client.get(url).content.decode()


def test_the_ledger_is_only_read(client, admin, make_product):
    make_product(stock=5)
    client.force_login(admin)
    movement = StockMovement.objects.get()
    base = "/admin/products/stockmovement/"
    assert client.get(base).status_code == 200
    assert client.get(f"{base}add/").status_code == 403
    assert client.post(f"{base}{movement.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    "model", ["shop/user", "shop/accesstoken", "shop/event", "shop/job", "auth/group"]
)
def test_every_other_room_opens(client, admin, alice, make_order, model):
    from shop.accounts.models import AccessToken
    from shop.jobs.models import Job

    make_order(alice)
    AccessToken.issue(alice)
    Job.objects.create(task="shop.prune", state="failed", error="x")
    client.force_login(admin)
    assert client.get(f"/admin/{model}/").status_code == 200


def test_a_failed_job_is_run_again_by_staff(client, admin):
    from shop.jobs.models import Job

    job = Job.objects.create(task="shop.prune", state="failed", error="x", attempts=5)
    client.force_login(admin)
    client.post("/admin/shop/job/", {"action": "run_again", "_selected_action": [str(job.pk)]})
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("queued", 0)
