"""Search and suggestions."""

from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from products import vocabulary
from products.categories import place_category
from products.models import Category, Product
from products.search import search
from products.search_hits import Shelf
from products.search_models import ProductSearch

pytestmark = pytest.mark.django_db

URL = "/api/v2/products/search"


@pytest.fixture
def find(client_of):
    def ask(q, **query):
        answer = client_of(None).get(URL, {"q": q, **query})
        assert answer.status_code == 200, answer.content
        return answer.json()

    return ask


@pytest.fixture
def names(find):
    return lambda q, **query: [found["name"] for found in find(q, **query)["results"]]


@pytest.mark.parametrize(
    "typed",
    ["노트북", "노트", "트북", "북 프로", "프로 노트북", "노틉", "노트ㅂ", "ㄴㅌㅂ", "ㄴㅌㅂ 프로",
     "shxmqnr", "노트북프로"[:3], "PRO-15", "pro", "삼성", "ㅅㅅ", "N-77", "ㅔ개"],
)  # fmt: skip
def test_what_finds_it(names, make_product, typed):
    make_product("노트북 프로 Pro 15", brand="삼성", sku="N-77")
    make_product("의자")
    assert names(typed) == ["노트북 프로 Pro 15"]


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("무선 마우스 블랙", "무선마우스"),
        ("무선 마우스 블랙", "마우스블랙"),
        ("무선마우스 블랙", "무선 마우스"),
        ("무선마우스 블랙", "블랙 마우스 무선"),
        ("무선 마우스 블랙", "ㅁㅅㅁㅇㅅ"),
        ("Mechanical Keyboard", "key board"),
        ("Mechanical Key Board", "keyboard"),
        ("M-65 파카", "m65 파카"),
        ("압축 파우치 2세대", "ㅍㅇㅊ 2ㅅㄷ"),
        ("갤럭시 북", "삼성 갤럭시북"),
        ("갤럭시 북", "삼성갤럭시"),
        ("압축 비닐 파우치", "ㅂㄴㅍㅇ"),
        ("부츠 393920-01", "39392001"),
    ],
)
def test_spaces_do_not_matter(names, make_product, name, typed):
    make_product(name, brand="삼성")
    make_product("의자")
    assert names(typed) == [name]


def test_short_words_are_not_sought_across_spaces(names, make_product):
    make_product("big ant 128 256")
    make_product("나무 상자")
    assert names("gan") == []
    assert names("82") == []
    assert names("28256") == []
    assert names("ㅁㅅㅈ") == []


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Nescafé Gold", "nescafe gold"),
        ("Nescafe Gold", "nescafé gold"),
        ("L'Oréal Paris", "loreal paris"),
        ("클렌징워터 500㎖", "클렌징워터 500ml"),
        ("클렌징워터 500ml", "500㎖"),
    ],
)
def test_accents_and_signs_for_units_do_not_matter(names, make_product, name, typed):
    make_product(name)
    # So no typing error is sought.
    make_product("의자", brand="Nescafe loreal")
    assert names(typed) == [name]


@pytest.mark.parametrize("typed", ["노트북 의자", "ㅌㅂㄴ", "xyz", "!!", "놋"])
def test_what_does_not(find, make_product, typed):
    make_product("노트북")
    make_product("의자")
    answer = find(typed)
    assert (answer["results"], answer["total"], answer["pages"]) == ([], 0, 0)


def test_exact_then_prefix_then_word_then_inside_then_sales(names, make_product):
    inside = make_product("새노트북가방")
    word = make_product("게임 노트북")
    prefix = make_product("노트북 가방")
    exact = make_product("노트북")
    sold = make_product("노트북 거치대")
    for product, number in ((inside, 900), (word, 800), (sold, 5), (prefix, 4)):
        Product.objects.filter(pk=product.pk).update(sold_quantity=number)
    assert names("노트북") == [
        exact.name, "노트북 거치대", "노트북 가방", "게임 노트북", "새노트북가방"
    ]  # fmt: skip
    assert names("ㄴㅌㅂ")[:3] == ["노트북", "노트북 거치대", "노트북 가방"]


def test_wild_cards_are_letters(names, make_product):
    make_product("면 100% 티셔츠")
    make_product("면 1000 티셔츠")
    assert names("100% 티") == ["면 100% 티셔츠", "면 1000 티셔츠"]
    assert names("면_티") == names("면 티")
    assert names("\\") == []


def test_what_is_off_sale_is_not_found(client_of, clerk, names, make_product):
    product = make_product("노트북")
    client_of(clerk).delete(f"/api/v2/products/{product.pk}")
    assert names("노트북") == []


def test_the_lists_filters_hold(names, make_product):
    make_product("노트북 싼", price=100)
    make_product("노트북 비싼", price=900, stock=0)
    assert names("노트북", max_price="500") == ["노트북 싼"]
    assert names("노트북", in_stock="false") == ["노트북 비싼"]


def test_pages(find, make_product):
    for number in range(7):
        make_product(f"노트북 {number}")
    first = find("노트북", per_page=3)
    last = find("노트북", per_page=3, page=3)
    assert (first["total"], first["pages"], len(first["results"])) == (7, 3, 3)
    assert "page=2" in first["next"]
    assert (len(last["results"]), last["next"], last["suggestions"]) == (1, None, [])
    seen = [
        found["id"]
        for page in (1, 2, 3)
        for found in find("노트북", per_page=3, page=page)["results"]
    ]
    assert len(set(seen)) == 7
    beyond = find("노트북", per_page=3, page=9)
    assert (beyond["total"], beyond["results"]) == (7, [])


@pytest.mark.parametrize(
    "query",
    [{}, {"q": ""}, {"q": " "}, {"q": "x" * 101}, {"q": "a\0"}, {"q": "a", "cursor": ""},
     {"q": "a", "ordering": "price"}, {"q": "a", "page": 0}, {"q": "a", "what": 1}],
)  # fmt: skip
def test_bad_queries(client_of, query):
    answer = client_of(None).get(URL, query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_suggestions(find, make_product):
    laptops = Category.objects.create(
        key="l", slug="laptops", name_en="Laptops", name_ko="노트북 컴퓨터"
    )
    Category.objects.create(key="n", slug="none", name_en="Nothing", name_ko="노트북 부품")
    make_product("노트북 가방", category=laptops)
    make_product("노트북용 거치대")
    make_product("게임 노트북")
    told = find("노트")["suggestions"]
    assert told[:3] == ["노트북", "노트북용", "노트북 컴퓨터"]
    assert "노트북 부품" not in told
    assert set(told[3:]) == {"노트북 가방", "노트북용 거치대", "게임 노트북"}
    assert find("lap")["suggestions"] == ["Laptops"]
    assert find("노틉")["suggestions"][0] == "노트북"
    assert find("ㄴㅌ")["suggestions"][0] == "노트북"
    assert find("없는 말")["suggestions"] == []


@pytest.mark.parametrize("number", [1, 30])
def test_queries(django_assert_num_queries, client_of, make_product, number):
    for n in range(number):
        make_product(f"노트북 {n}")
    with django_assert_num_queries(4):
        client_of(None).get(URL, {"q": "노트북", "per_page": 100})


class TestKeptCurrent:
    """Whoever writes, the next search knows."""

    def test_save(self, names, make_product):
        product = make_product("의자")
        product.name = "책상"
        product.save()
        assert (names("책상"), names("의자")) == (["책상"], [])
        product.name = "침대"
        product.save(update_fields=["name"])
        assert names("침대") == ["침대"]

    def test_the_api(self, names, client_of, clerk, make_product):
        product = make_product("의자")
        client_of(clerk).patch(f"/api/v2/products/{product.pk}", {"brand": "한샘"})
        assert names("한샘") == ["의자"]

    def test_update_where_the_filter_no_longer_finds_them(self, names, make_product):
        make_product("의자")
        make_product("책상")
        assert Product.objects.filter(name="의자").update(name="침대") == 1
        assert (names("침대"), names("의자"), names("책상")) == (["침대"], [], ["책상"])

    def test_bulk(self, names):
        made = Product.objects.bulk_create(
            Product(name=name, price=Decimal(1)) for name in ("의자", "책상")
        )
        assert names("의자") == ["의자"]
        for product in made:
            product.name = "큰 " + product.name
        Product.objects.bulk_update(made, ["name"])
        assert set(names("큰")) == {"큰 의자", "큰 책상"}

    def test_an_import_twice(self, names, tmp_path):
        file = tmp_path / "goods.csv"
        file.write_text("sku,name,price\nA-1,의자,100\n", encoding="utf-8")
        call_command("import_catalogue", str(file), verbosity=0)
        assert names("의자") == ["의자"]
        file.write_text("sku,name,price\nA-1,침대,100\n", encoding="utf-8")
        call_command("import_catalogue", str(file), verbosity=0)
        assert (names("침대"), names("의자")) == (["침대"], [])

    def test_what_is_rolled_back_was_never_there(self, names, make_product):
        with pytest.raises(RuntimeError), transaction.atomic():
            make_product("의자")
            raise RuntimeError
        assert not ProductSearch.objects.exists()
        assert names("의자") == []

    def test_a_sale_leaves_the_index_alone(
        self, make_product, make_order, alice, django_assert_num_queries
    ):
        product = make_product("의자")
        ProductSearch.objects.update(text=" marked\n")
        make_order(alice, (product, 1))
        Product.objects.update(price=Decimal(5))
        assert ProductSearch.objects.get().text == " marked\n"

    def test_what_is_written_already_is_not_written_again(self, names, make_product):
        product = make_product("의자")
        with CaptureQueriesContext(connection) as queries:
            product.price = Decimal(5)
            product.save()
            Product.objects.bulk_create(
                [product], update_conflicts=True, unique_fields=["id"], update_fields=["name"]
            )
        assert not [q for q in queries if 'INTO "products_productsearch"' in q["sql"]]
        assert names("의자") == ["의자"]

    @pytest.mark.parametrize("column", ["text", "head", "initials", "initials_head"])
    def test_a_save_mends_each_column(self, make_product, column):
        product = make_product("의자")
        right = ProductSearch.objects.values().get()
        ProductSearch.objects.update(**{column: "other"})
        product.save()
        assert ProductSearch.objects.values().get() == right

    def test_a_row_that_is_missing_is_made_by_a_save(self, names, make_product):
        product = make_product("의자")
        ProductSearch.objects.all().delete()
        product.save()
        assert names("의자") == ["의자"]

    def test_a_category(self, names, make_product):
        electronics = place_category(
            category=Category(name_en="Electronics", name_ko="전자기기", key="e", slug="e"),
            parent=None,
        )
        shoes = place_category(
            category=Category(name_en="Sneakers", name_ko="운동화", key="s", slug="s"), parent=None
        )
        product = make_product("에어포스 1", brand="나이키", category=shoes)
        assert names("나이키 운동화") == names("sneakers") == ["에어포스 1"]
        assert names("전자기기") == []
        shoes.name_ko = "스니커즈"
        shoes.save(update_fields=["name_ko"])
        assert (names("스니커즈"), names("나이키 운동화")) == (["에어포스 1"], [])
        Category.objects.filter(pk=shoes.pk).update(name_ko="단화들")
        assert (names("단화들"), names("스니커즈")) == (["에어포스 1"], [])
        place_category(category=shoes, parent=electronics)
        assert names("전자기기") == ["에어포스 1"]
        Product.objects.filter(pk=product.pk).update(category=None)
        assert (names("전자기기"), names("단화들")) == ([], [])

    def test_retiring_in_every_way(self, names, make_product):
        product = make_product("의자")
        Product.objects.filter(pk=product.pk).update(retired_at=timezone.now())
        assert names("의자") == names("의저") == []
        Product.objects.filter(pk=product.pk).update(retired_at=None)
        assert names("의자") == ["의자"]
        product.refresh_from_db()
        product.retired_at = timezone.now()
        product.save(update_fields=["retired_at"])
        assert names("의자") == []

    def test_a_product_that_is_deleted(self, names, make_product):
        make_product("책상", stock=0)
        product = make_product("의자", stock=0)
        product.delete()
        assert (names("의자"), names("책상")) == ([], ["책상"])

    def test_what_code_of_before_wrote_is_indexed_again(self, names, make_product):
        make_product("의자")
        ProductSearch.objects.update(text=" ㅇㅡㅣㅈㅏ\n \n \n", head="")
        gone = make_product("책상")
        ProductSearch.objects.filter(product=gone).delete()
        assert names("책상") == []
        assert vocabulary.index_again() == 2
        assert (names("의자"), names("책상")) == (["의자"], ["책상"])
        assert vocabulary.index_again() == 0

    def test_what_code_of_before_wrote_with_accents_is_indexed_again(self, make_product):
        make_product("Café")
        Category.objects.create(key="d", slug="d", name_en="Décor", name_ko="장식")
        Category.objects.update(search_text=" décor\n ㅈㅏㅇㅅㅣㄱ\n")
        ProductSearch.objects.update(
            text=" café\n \n \n|café\n\n", head="café", initials=" café\n \n|café\n"
        )
        assert vocabulary.index_again() == 1
        assert ProductSearch.objects.get().head == "cafe"
        assert Category.objects.get().search_text.startswith(" decor\n")
        assert vocabulary.index_again() == 0

    def test_category_names(self):
        category = Category.objects.create(key="k", slug="k", name_en="Chairs")
        category.name_ko = "의자"
        category.save(update_fields=["name_ko"])
        category.refresh_from_db()
        assert category.search_text == " chairs\n ㅇㅢㅈㅏ\n".replace("ㅢ", "ㅡㅣ")


def test_the_admin_finds_the_same(client, clerk, make_product):
    make_product("노트북")
    make_product("의자")
    client.force_login(clerk)
    page = client.get("/admin/products/product/?q=ㄴㅌㅂ").content.decode()
    assert "노트북" in page
    assert "의자" not in page


@pytest.mark.postgresql
def test_postgresql_has_an_index_for_it(make_product):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        rows = ProductSearch.objects.filter(text__contains="ㅌㅡㅂㅜㄱ")
        sql, params = rows.query.sql_with_params()
        cursor.execute(f"EXPLAIN {sql}", params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "productsearch_text" in plan


def test_search_reads_no_products(make_product, django_assert_num_queries):
    make_product("노트북")
    with django_assert_num_queries(3):
        hits = search("노트", Shelf.of(lambda: Product.objects.on_sale()), page=1, per_page=5)
    assert (hits.total, len(hits.pks)) == (1, 1)
