"""What is suggested for products, and what staff make of it."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connections

from products.ai import embedded, pricing, seo
from products.ai.provider import Subject
from products.ai.text import Item
from products.models import Category, Product, ProductSeo, Suggestion
from products.suggestions import (
    SuggestionDecided,
    accept_suggestion,
    analyse,
    reject_suggestion,
    write_seo,
)
from products.tests.test_admin import NO_IMAGES
from shop.jobs.models import Job
from shop.jobs.queue import sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("tree")]

LAPTOP = {"name": "게이밍 노트북", "price": 1500000, "description": "가볍고 빠릅니다."}


def laptops() -> Category:
    return Category.objects.get(slug="laptops")


class TestCreate:
    """A product without a category gets the likeliest one, and says so."""

    def test_the_category_is_chosen_and_said_to_be(self, client_of, clerk):
        response = client_of(clerk).post("/api/v2/products", LAPTOP)
        assert response.status_code == 201
        product = response.json()
        assert product["category"] == "laptops"
        assert product["category_source"] == "ai"
        assert 0.15 <= product["category_confidence"] <= 1
        suggestion = Suggestion.objects.get()
        assert (suggestion.kind, suggestion.state) == ("category", "open")
        assert suggestion.confidence == product["category_confidence"]
        assert suggestion.provider == "embedded"

    @pytest.mark.parametrize("category", [None, "vests"])
    def test_null_is_no_choice_and_a_given_one_stays(self, client_of, clerk, category):
        response = client_of(clerk).post("/api/v2/products", {**LAPTOP, "category": category})
        product = response.json()
        assert product["category"] == (category or "laptops")
        assert product["category_source"] == ("given" if category else "ai")
        assert (product["category_confidence"] is None) == bool(category)

    def test_where_nothing_speaks_for_any_it_stays_empty(self, client_of, clerk):
        product = client_of(clerk).post("/api/v2/products", {"name": "qxj", "price": 1}).json()
        assert product["category"] is product["category_source"] is None
        assert product["category_confidence"] is None

    def test_it_never_stands_in_the_way(self, client_of, clerk, monkeypatch):
        def broken(*_args, **_named):
            raise RuntimeError("no judge today")

        monkeypatch.setattr(embedded.Embedded, "classify", broken)
        response = client_of(clerk).post("/api/v2/products", {**LAPTOP, "stock_quantity": 2})
        assert response.status_code == 201
        assert response.json()["category"] is None
        assert response.json()["stock_quantity"] == 2

    def test_an_error_of_the_database_in_it_loses_nothing(self, client_of, clerk, monkeypatch):
        def broken(*_args, **_named):
            from django.db import connection

            connection.cursor().execute("SELECT * FROM no_such_table")

        monkeypatch.setattr(embedded.Embedded, "classify", broken)
        assert client_of(clerk).post("/api/v2/products", LAPTOP).status_code == 201
        assert Product.objects.count() == 1

    def test_the_admin_does_it_too(self, client, clerk):
        client.force_login(clerk)
        client.post("/admin/products/product/add/", {**LAPTOP, "sku": "", "brand": "", **NO_IMAGES})
        product = Product.objects.get()
        assert product.category == laptops()
        assert product.category_confidence is not None

    def test_whoever_chooses_another_has_chosen(self, client_of, clerk, client):
        made = client_of(clerk).post("/api/v2/products", LAPTOP).json()
        url = f"/api/v2/products/{made['id']}"
        changed = client_of(clerk).patch(url, {"category": "vests"}).json()
        assert (changed["category"], changed["category_source"]) == ("vests", "given")
        assert client_of(clerk).patch(url, {"name": "노트북"}).json()["category_source"] == "given"


class TestSeo:
    """Texts for search engines."""

    def test_a_job_writes_them_after_the_commit(self, client_of, clerk):
        made = client_of(clerk).post("/api/v2/products", {**LAPTOP, "brand": "별"}).json()
        assert made["seo"] is None
        assert sweep() == 1
        shown = client_of(None).get(f"/api/v2/products/{made['id']}").json()["seo"]
        assert shown["title"] == "별 게이밍 노트북"
        assert shown["description"] == "가볍고 빠릅니다."
        assert shown["slug"] == "별-게이밍-노트북"
        assert shown["written_by"].startswith("embedded ")
        assert shown["accepted"] is False
        assert shown["json_ld"]["offers"]["price"] == 1500000
        assert shown["json_ld"]["offers"]["availability"] == "https://schema.org/OutOfStock"

    def test_twice_is_once(self, make_product):
        product = make_product()
        assert write_seo(product.pk) == "written"
        assert write_seo(product.pk) == "there already"
        assert ProductSeo.objects.count() == 1
        assert write_seo(999) == "gone"

    def test_english(self):
        text = seo.write(
            Subject(
                Item(
                    "Noise-Cancelling Headphones",
                    "Hear nothing else. These headphones cancel noise for 30 hours. "
                    "Comes in a box. The headphones fold flat and fit in any bag you carry.",
                    "Aura",
                ),
                {"en": "Headphones", "ko": "헤드폰"},
            )
        )
        assert text.title.value == "Aura Noise-Cancelling Headphones"
        assert (text.title.method, text.description.method) == ("template", "extraction")
        assert "cancel noise for 30 hours" in text.description.value
        assert len(text.description.value) <= seo.DESCRIPTION_WIDTH
        assert "headphone" in text.keywords.value
        assert text.slug.value == "aura-noise-cancelling-headphones"

    def test_without_a_description_a_template_says_only_what_is_known(self):
        subject = Subject(Item("후드 티셔츠"), {"en": "Hoodies", "ko": "후드티"})
        text = seo.write(subject).description
        assert text == seo.Written("후드 티셔츠. 후드티 카테고리의 상품입니다.", "template")

    @pytest.mark.parametrize("name", ["x" * 300, "가" * 300, "a b " * 75, "!!!", "🎁"])
    def test_texts_fit_whatever_the_name(self, name):
        text = seo.write(Subject(Item(name, name * 20, "브" * 120)))
        assert 0 < seo.width(text.title.value) <= seo.TITLE_WIDTH
        assert seo.width(text.description.value) <= seo.DESCRIPTION_WIDTH
        assert 0 < len(text.slug.value) <= 80

    def test_the_score_says_what_to_mend(self):
        product = {"description": "", "category": None, "brand": "", "images": [], "amount": "0"}
        found = seo.score(title="x", description="", keywords=[], product=product)
        assert found["score"] == 0
        assert {mend["code"] for mend in found["mend"]} == {code for code, *_ in seo._CHECKS}
        assert sum(points for _code, points, _mend in seo._CHECKS) == 100


class TestPricing:
    """Where a price stands."""

    def test_among_comparables(self, make_product):
        others = [
            make_product(f"노트북 {n}", 1000 * n, category=laptops()) for n in (8, 9, 10, 11, 12)
        ]
        make_product("조끼", 5, category=Category.objects.get(slug="vests"))
        retired = make_product("노트북 옛날", 1, category=laptops())
        Product.objects.filter(pk=retired.pk).update(retired_at="2026-01-01T00:00:00Z")
        product = make_product("노트북 10 새", 10500, category=laptops())
        where = pricing.position(product)
        assert where.compared == 5
        assert (where.low, where.median, where.high) == (9000, 10000, 11000)
        assert where.percentile == pytest.approx(0.6)
        assert not where.is_outlier
        assert where.comparables[0].product_id == others[2].pk
        product.price = Decimal(90000)
        assert pricing.position(product).is_outlier
        product.price = Decimal(0)
        assert pricing.position(product).is_outlier

    def test_too_few_say_nothing(self, make_product):
        for n in range(4):
            make_product(f"노트북 {n}", category=laptops())
        where = pricing.position(make_product("노트북", category=laptops()))
        assert (where.compared, where.median, where.percentile) == (4, None, None)
        assert len(where.comparables) == 4
        nowhere = make_product("qxj")
        assert pricing.position(nowhere) == pricing.Position(0, None)

    def test_equal_prices_are_no_error(self, make_product):
        for n in range(6):
            make_product(f"노트북 {n}", 1000, category=laptops())
        where = pricing.position(make_product("노트북", 1000, category=laptops()))
        assert (where.percentile, where.is_outlier) == (0.5, False)


class TestAnalyze:
    """POST …/analyze."""

    def test_it_answers_and_changes_nothing(self, client_of, clerk, make_product):
        vests = Category.objects.get(slug="vests")
        product = make_product("게이밍 노트북", 1000, category=vests)
        before = Product.objects.values().get()
        found = client_of(clerk).post(f"/api/v2/products/{product.pk}/analyze").json()
        assert found["category"][0]["category"] == "laptops"
        assert found["category"][0]["path"]["ko"] == "전자기기 > 노트북"
        assert found["seo"]["title"]["method"] == "template"
        assert 0 <= found["seo"]["score"] <= 100
        assert found["pricing"]["compared"] == 0
        assert found["pricing"]["median"] is None
        assert found["provider"] == "embedded"
        assert Product.objects.values().get() == before
        assert not ProductSeo.objects.exists()
        assert {row.kind for row in Suggestion.objects.all()} == {"category", "seo"}

    def test_again_the_same_suggestions_stay_and_new_ones_replace_them(self, make_product):
        product = make_product("게이밍 노트북", category=Category.objects.get(slug="vests"))
        analyse(product.pk)
        first = set(Suggestion.objects.values_list("pk", "state"))
        analyse(product.pk)
        assert set(Suggestion.objects.values_list("pk", "state")) == first
        Product.objects.filter(pk=product.pk).update(name="무선 마우스")
        analyse(product.pk)
        states = list(Suggestion.objects.filter(kind="seo").values_list("state", flat=True))
        assert states == ["open", "replaced"]

    @pytest.mark.parametrize(("who", "status"), [(None, 401), ("alice", 403)])
    def test_only_staff(self, client_of, request, make_product, who, status):
        user = request.getfixturevalue(who) if who else None
        product = make_product()
        response = client_of(user).post(f"/api/v2/products/{product.pk}/analyze")
        assert response.status_code == status
        assert not Suggestion.objects.filter(kind="seo").exists()

    @pytest.mark.parametrize("pk", ["999", "x", "9" * 30])
    def test_no_such_product(self, client_of, clerk, pk):
        assert client_of(clerk).post(f"/api/v2/products/{pk}/analyze").status_code == 404

    def test_a_retired_product_gets_no_suggestions(self, client_of, clerk, make_product):
        product = make_product("게이밍 노트북", category=laptops())
        Product.objects.filter(pk=product.pk).update(retired_at="2026-01-01T00:00:00Z")
        assert client_of(clerk).post(f"/api/v2/products/{product.pk}/analyze").status_code == 200
        assert not Suggestion.objects.exists()


class TestDeciding:
    """Accepting and rejecting, and who did so."""

    @pytest.fixture
    def chosen(self, make_product):
        """A product whose category was chosen for it."""
        return make_product("게이밍 노트북")

    def test_accepting_makes_it_peoples_choice(self, chosen, clerk):
        suggestion = accept_suggestion(Suggestion.objects.get().pk, actor=clerk)
        chosen.refresh_from_db()
        assert (chosen.category, chosen.category_confidence) == (laptops(), None)
        assert (suggestion.state, suggestion.decided_by) == ("accepted", clerk)
        assert suggestion.decided_at is not None

    def test_rejecting_takes_it_back(self, chosen, clerk):
        reject_suggestion(Suggestion.objects.get().pk, actor=clerk)
        chosen.refresh_from_db()
        assert (chosen.category, chosen.category_confidence) == (None, None)

    def test_rejecting_leaves_what_people_chose_since(self, chosen, clerk, client_of):
        client_of(clerk).patch(f"/api/v2/products/{chosen.pk}", {"category": "vests"})
        reject_suggestion(Suggestion.objects.get().pk, actor=clerk)
        chosen.refresh_from_db()
        assert chosen.category.slug == "vests"

    def test_once_is_enough(self, chosen, clerk, admin):
        suggestion = Suggestion.objects.get()
        reject_suggestion(suggestion.pk, actor=clerk)
        for decide in (accept_suggestion, reject_suggestion):
            with pytest.raises(SuggestionDecided):
                decide(suggestion.pk, actor=admin)
        suggestion.refresh_from_db()
        assert (suggestion.state, suggestion.decided_by) == ("rejected", clerk)
        with pytest.raises(SuggestionDecided):
            accept_suggestion(999, actor=clerk)

    def test_a_category_that_is_gone_changes_nothing(self, chosen, clerk, client_of):
        suggestion = Suggestion.objects.get()
        suggestion.data["category"] = 999
        suggestion.save()
        with pytest.raises(SuggestionDecided):
            accept_suggestion(suggestion.pk, actor=clerk)
        suggestion.refresh_from_db()
        assert suggestion.state == "open"

    def test_texts(self, make_product, clerk, admin):
        product = make_product(category=laptops())
        write_seo(product.pk)
        suggestion = Suggestion.objects.get()
        accept_suggestion(suggestion.pk, actor=clerk)
        assert ProductSeo.objects.get().accepted_by == clerk
        other = make_product("의자", category=laptops())
        write_seo(other.pk)
        reject_suggestion(Suggestion.objects.get(state="open").pk, actor=admin)
        assert not ProductSeo.objects.filter(product=other).exists()
        assert write_seo(product.pk) == "there already"

    def test_buttons_in_the_admin(self, client, clerk, chosen):
        write_seo(chosen.pk)
        client.force_login(clerk)
        page = client.get(f"/admin/products/product/{chosen.pk}/change/").content.decode()
        assert "Laptops" in page and "AI," in page
        for suggestion in Suggestion.objects.all():
            client.post(
                f"/admin/products/product/{chosen.pk}/suggestions/{suggestion.pk}/",
                {"decision": "accept"},
            )
        assert set(Suggestion.objects.values_list("state", "decided_by")) == {
            ("accepted", clerk.pk)
        }
        page = client.post(f"/admin/products/product/{chosen.pk}/analyse/").content.decode()
        assert "전자기기 &gt; 노트북" in page

    def test_many_at_once_in_the_admin(self, client, clerk, make_product):
        for n in range(3):
            make_product(f"노트북 {n}")
        client.force_login(clerk)
        Suggestion.objects.filter(pk=Suggestion.objects.first().pk).update(state="replaced")
        page = client.post(
            "/admin/products/suggestion/",
            {
                "action": "reject",
                "_selected_action": list(Suggestion.objects.values_list("pk", flat=True)),
            },
            follow=True,
        ).content.decode()
        assert "2 decided" in page and "not open any more" in page
        assert Product.objects.filter(category=None).count() == 2

    def test_the_list_costs_the_same_however_long(
        self, client, clerk, make_product, django_assert_max_num_queries
    ):
        for n in range(12):
            make_product(f"노트북 {n}")
        client.force_login(clerk)
        with django_assert_max_num_queries(7):
            client.get("/admin/products/suggestion/")

    def test_whoever_may_only_look_decides_nothing(self, client, chosen, django_user_model):
        from django.contrib.auth.models import Permission

        viewer = django_user_model.objects.create_user("viewer", is_staff=True)
        for codename in ("view_product", "view_suggestion"):
            viewer.user_permissions.add(Permission.objects.get(codename=codename))
        client.force_login(viewer)
        base = f"/admin/products/product/{chosen.pk}"
        suggestion = Suggestion.objects.get()
        assert 'value="accept"' not in client.get(f"{base}/change/").content.decode()
        url = f"{base}/suggestions/{suggestion.pk}/"
        assert client.post(url, {"decision": "accept"}).status_code == 403
        assert client.post(f"{base}/analyse/").status_code == 403
        assert client.get(url).status_code == 405
        suggestion.refresh_from_db()
        assert suggestion.state == "open"

    def test_products_are_analysed_by_jobs(self, client, clerk, make_product):
        product = make_product("게이밍 노트북", category=Category.objects.get(slug="vests"))
        client.force_login(clerk)
        for _twice in range(2):
            client.post(
                "/admin/products/product/",
                {"action": "suggest", "_selected_action": [str(product.pk)]},
            )
        assert Job.objects.filter(task="products.analyse").count() == 1
        sweep()
        assert Suggestion.objects.get(kind="category").data["name"] == "Laptops"

    def test_who_edits_a_text_has_written_it(self, client, clerk, make_product):
        product = make_product(category=laptops())
        write_seo(product.pk)
        client.force_login(clerk)
        form = {
            "name": product.name,
            "price": "1",
            "category": str(laptops().pk),
            **NO_IMAGES,
            "seo-TOTAL_FORMS": "1",
            "seo-INITIAL_FORMS": "1",
            "seo-0-product": str(product.pk),
            "seo-0-title": "내가 쓴 제목",
            "seo-0-description": "설명",
            "seo-0-keywords": "노트북, 가벼운 , ",
            "seo-0-slug": "note",
        }
        page = client.post(f"/admin/products/product/{product.pk}/change/", form)
        assert page.status_code == 302, page.context["errors"]
        shown = client.get(f"/api/v2/products/{product.pk}").json()["seo"]
        assert (shown["title"], shown["written_by"]) == ("내가 쓴 제목", "staff")
        assert shown["keywords"] == ["노트북", "가벼운"]
        assert shown["accepted"] is True


def test_evaluate_ai_prints_what_it_measured(capsys, write):
    from django.core.management import call_command
    from django.core.management.base import CommandError

    file = write(
        [{"name": f"노트북 {n}", "price": 1, "category": "laptops"} for n in range(5)]
        + [{"name": f"청바지 {n}", "price": 1, "category": "jeans"} for n in range(5)]
        + [{"name": "이름만", "price": 1}]
    )
    call_command("evaluate_ai", str(file), "--each")
    printed = capsys.readouterr().out
    assert "10 products, 2 labels" in printed
    assert "in the right branch: first 100.0%" in printed
    labels = write("laptops\tno-such-slug\n", "labels.tsv")
    with pytest.raises(CommandError, match="no-such-slug"):
        call_command("evaluate_ai", str(file), "--labels", str(labels))
    with pytest.raises(CommandError, match="no product"):
        call_command("evaluate_ai", str(write([{"name": "x", "price": 1}], "none.jsonl")))


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_many_who_decide_at_once_one_does(clerk, make_product):
    suggestion = Suggestion.objects.get(product=make_product("게이밍 노트북"))

    def decide(number):
        try:
            (accept_suggestion if number % 2 else reject_suggestion)(suggestion.pk, actor=clerk)
            return number % 2
        except SuggestionDecided:
            return None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        ended = [found for found in pool.map(decide, range(8)) if found is not None]
    assert len(ended) == 1
    suggestion.refresh_from_db()
    assert suggestion.state == ("accepted" if ended[0] else "rejected")
    assert (Product.objects.get().category is not None) == bool(ended[0])


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_analysing_against_deciding_neither_locks_up_nor_leaves_two_open(clerk, make_product):
    product = make_product("게이밍 노트북", category=Category.objects.get(slug="vests"))

    def work(number):
        try:
            if number % 2:
                analyse(product.pk)
            else:
                for pk in Suggestion.objects.filter(state="open").values_list("pk", flat=True):
                    with contextlib.suppress(SuggestionDecided):
                        reject_suggestion(pk, actor=clerk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    for kind in ("category", "seo"):
        assert Suggestion.objects.filter(kind=kind, state="open").count() <= 1
