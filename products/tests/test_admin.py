"""The catalogue in the admin."""

import pytest
from django.contrib.auth.models import Permission

from products import stock
from products.admin import ledger
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


@pytest.fixture
def listed(client, clerk):
    client.force_login(clerk)

    def ask(query, model="product"):
        page = client.get(f"/admin/products/{model}/?{query}")
        assert page.status_code == 200, page["Location"]
        return [str(row) for row in page.context["cl"].result_list]

    return ask


def test_products_are_found_by_part_by_id_and_by_slip(listed, make_product):
    laptop, chair = make_product("노트북 프로", sku="N-1", brand="한빛"), make_product("의자")
    for text in ("ㄴㅌㅂ", "shxmqnr", "n-1", "한빛", str(laptop.pk)):
        assert listed(f"q={text}") == ["노트북 프로"], text
    assert listed("q=9" * 3) == []
    assert listed("q= ") == ["의자", "노트북 프로"]
    assert listed(f"q={chair.pk}&stock=none") == []


def test_products_are_filtered_by_sale_and_stock(listed, make_product):
    make_product("의자", stock=0)
    gone = make_product("조명", stock=6)
    Product.objects.filter(pk=gone.pk).update(retired_at="2026-01-01T00:00Z")
    assert listed("sale=on") == ["의자"]
    assert listed("sale=off") == ["조명"]
    assert listed("stock=some") == ["조명"]
    assert listed("stock=low") == ["의자"]


@pytest.mark.usefixtures("tree")
def test_products_are_filtered_by_a_category_and_all_below_it(client, listed, make_product):
    electronics, laptops, apparel = (Category.objects.get(key=key) for key in ("el", "el-6", "aa"))
    make_product("하나", category=laptops)
    make_product("둘", category=electronics)
    make_product("셋", category=apparel)
    assert listed(f"category={electronics.pk}") == ["둘", "하나"]
    assert listed(f"category={laptops.pk}") == ["하나"]
    page = client.get(f"/admin/products/product/?category={electronics.pk}")
    (branch,) = (
        spec for spec in page.context["cl"].filter_specs if spec.parameter_name == "category"
    )
    names = [name.strip("\u2003") for _pk, name in branch.lookup_choices]
    assert names == ["Electronics", "Laptops", "Vests"]
    for nonsense in ("x", "0", "9" * 30):
        page = client.get(f"/admin/products/product/?category={nonsense}")
        assert page["Location"] == "/admin/products/product/?e=1"


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


def test_products_are_not_deleted(client, admin, make_product):
    product = make_product()
    client.force_login(admin)
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


def test_the_ledger_of_a_product_is_paged(client, clerk, make_product, monkeypatch):
    monkeypatch.setattr(ledger, "_MOVEMENTS", 2)
    product = make_product(stock=5)
    for change in (1, 2, 3):
        stock.adjust(product_id=product.pk, change=change, reason="received", actor=clerk)
    client.force_login(clerk)
    url, seen = f"/admin/products/product/{product.pk}/stock/", []
    page = client.get(url)
    while True:
        seen += [row.change for row, _order in page.context["movements"]]
        if page.context["older"] is None:
            break
        page = client.get(f"{url}?before={page.context['older']}")
    assert seen == [3, 2, 1, 5]
    assert "Newest" in page.content.decode()
    assert len(client.get(f"{url}?before=nonsense").context["movements"]) == 2


def test_movements_are_found_by_product_and_order(listed, alice, make_order, make_product):
    chair = make_product("의자", sku="CH-1", stock=5)
    make_product("조명", stock=3)
    order = make_order(alice, (chair, 2))
    assert listed("q=ch-1", "stockmovement") == ["-2 sold", "+5 received"]
    assert listed(f"q={order.pk}", "stockmovement") == ["-2 sold"]
    assert listed("q=조명", "stockmovement") == ["+3 received"]
    assert listed("q=책상", "stockmovement") == []
    assert listed("q=조명&reason__exact=sold", "stockmovement") == []
    assert len(listed("from=2020-01-01", "stockmovement")) == 3
    assert listed("to=2020-01-01", "stockmovement") == []


def test_movements_of_too_many_products_are_those_of_the_best(
    client, clerk, make_product, make_order, alice, monkeypatch
):
    monkeypatch.setattr(ledger, "_PRODUCTS", 1)
    make_product("조명 하나", stock=1)
    make_order(alice, (make_product("조명 둘", stock=9), 2))
    client.force_login(clerk)
    page = client.get("/admin/products/stockmovement/?q=조명")
    assert [row.change for row in page.context["cl"].result_list] == [-2, 9]
    assert "More match" in page.content.decode()


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
