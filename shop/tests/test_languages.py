"""Korean and English: what people read, how it is chosen, and that nothing is left out."""

import json
import re
import runpy
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from django.conf import settings as project
from django.test import Client
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import override

from benchmarks.models import BenchmarkRun
from benchmarks.scenarios import SCENARIOS
from monitoring.models import AlertChange, AlertRule, Channel, Delivery, Silence
from orders.actions import move_order
from orders.states import Status
from products.models import Category
from shop.money import written

pytestmark = pytest.mark.django_db

KOREAN, ENGLISH = {"Accept-Language": "ko"}, {"Accept-Language": "en"}
HANGUL = re.compile(r"[가-힣]+")
# %(name)s, %d and {name}; %% is none.
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[+\d.]*[a-z]|\{[\w.:]+\}")


@pytest.fixture(scope="module")
def catalog():
    with (project.BASE_DIR / "locale/ko/LC_MESSAGES/django.po").open("rb") as file:
        return read_po(file, "ko")


def test_every_text_is_translated_and_compiled(capsys):
    check = runpy.run_path(str(project.BASE_DIR / ".ci/messages"))["main"]
    assert (check(check=True), capsys.readouterr().out) == (0, "")


def test_translations_have_the_placeholders_of_their_texts(catalog):
    def placeholders(text):
        found = PLACEHOLDER.findall(text.replace("%%", ""))
        # Without a name their order counts.
        return Counter(found) if all("(" in one or "{" in one for one in found) else found

    wrong = {}
    for message in catalog:
        originals, translated = (
            (text,) if isinstance(text, str) else text for text in (message.id, message.string)
        )
        # Of a plural the last form has the number.
        if originals[-1] and placeholders(originals[-1]) != placeholders(translated[-1]):
            wrong[originals[-1]] = translated
    assert wrong == {}


class Texts(HTMLParser):
    """What a page says: its texts, what it says to readers of screens, and to its script."""

    def __init__(self, html):
        super().__init__()
        self.found = set()
        self._kept = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self._kept = attributes.get("type", "") if tag == "script" else ""
        for name, value in attributes.items():
            # A page's element has the words of its script; other data- are codes.
            spoken = name.startswith("data-") and tag == "article"
            if value and (spoken or name in ("aria-label", "title", "alt")):
                self.found.add(value.strip())

    def handle_data(self, data):
        if self._kept == "application/json":
            self.found.update(json.loads(data).values())
        elif data.strip():
            self.found.add(data.strip())

    def handle_endtag(self, tag):
        self._kept = ""


@pytest.fixture
def scene(client, admin, alice, clerk, make_order):
    """An order on its way, an alert, a run; and whoever may see it all."""
    order = make_order(alice)
    for status in (Status.PAID, Status.PROCESSING, Status.SHIPPED):
        move_order(order_id=order.pk, to=status, actor=clerk)
    AlertRule.objects.update(state="firing", value=91.5)
    BenchmarkRun.objects.create(name="run-1", benchmark_type="product", state="finished")
    client.force_login(admin)
    return {"track": f"/orders/{order.pk}/track"}


PAGES = {
    "front": (
        "/",
        "모니터링",
        "벤치마크",
        "상태 점검",
        "로그아웃",
        "본문으로 건너뛰기",
    ),
    "password": (
        "/accounts/password",
        "비밀번호 변경",
        "기존 비밀번호:",
    ),
    "track": (
        "",
        "주문 번호",
        "배송 중",
        "배송 완료",
        "운송장 번호",
        "진행 내역",
        "주문 접수",
        "13,000원",
    ),
    "monitoring": (
        "/monitoring/",
        "모니터링",
        "발생 중",
        "임계값",
        "초당 요청",
        "메모리 사용률입니다.",
    ),
    "benchmarks": (
        "/api/v2/benchmarks/dashboard",
        "벤치마크",
        "초당 요청 수",
        "완료",
        "동시 사용자 수",
    ),
    "missing": (
        "/nothing",
        "찾을 수 없음",
        "요청하신 페이지나 항목을 찾을 수 없습니다.",
    ),
    "admin": (
        "/admin/",
        "쇼핑몰 관리",
        "알림 규칙",
        "재고 변동",
        "결제 및 환불",
        "추가",
        "변경",
    ),
}
# Words that stand in pages as parts of longer texts.
LEFT_OVER = re.compile(
    r"\b(sign|order|orders|state|shipped|delivered|pending|timeline|carrier|tracking|total"
    r"|alert|rule|threshold|average|requests|seconds|live|version|run|password|found)\b",
    re.IGNORECASE,
)
# What is no word of ours: names of metrics, scenarios and parameters, addresses.
CODE = re.compile(r"[\w/-]*[._/:][\w./:-]+|\b[a-z]+-\d+\b|\(\w+\)|High (?:CPU Usage|Error Rate)")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_in_korean_has_no_english_left(client, scene, catalog, name):
    path, *words = PAGES[name]
    response = client.get(path or scene[name], headers=KOREAN)
    assert response["Content-Language"] == "ko"
    html = response.content.decode()
    assert '<html lang="ko"' in html
    # But for the shop's own name, and what can be measured.
    texts = Texts(html).found - {project.SHOP_NAME, *SCENARIOS}
    assert [word for word in words if not any(word in text for text in texts)] == []
    untranslated = {
        str(message.id) for message in catalog if message.id and HANGUL.search(str(message.string))
    }
    assert texts & untranslated == set()
    if name != "admin":
        assert [text for text in texts if LEFT_OVER.search(CODE.sub("", text))] == []


@pytest.mark.parametrize("path", ["/accounts/login", "/accounts/reset", "/accounts/reset/sent"])
def test_who_is_not_signed_in_reads_korean_too(client, catalog, path):
    texts = Texts(client.get(path, headers=KOREAN).content.decode()).found
    assert "로그인" in texts
    assert [text for text in texts if LEFT_OVER.search(CODE.sub("", text))] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_in_english_has_no_korean(client, scene, name):
    response = client.get(PAGES[name][0] or scene[name], headers=ENGLISH)
    assert response["Content-Language"] == "en"
    html = response.content.decode()
    # The switch names each language in itself, and what was bought is a 노트북.
    assert set(HANGUL.findall(html)) <= {"한국어", "노트북"}
    assert '<html lang="en"' in html


def test_the_track_page_in_english_says_what_it_said(client, scene):
    texts = Texts(client.get(scene["track"], headers=ENGLISH).content.decode()).found
    assert texts >= {
        "Order", "State", "shipped", "What comes next", "delivered", "Timeline", "order placed",
        "Items", "Price", "Shipping", "₩3,000", "Total", "₩13,000",
        "Live: changes appear by themselves.",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/accounts/login", "/nothing", "/api/v2/nothing"])
def test_caches_are_told_that_the_language_was_negotiated(client, path):
    response = client.get(path, headers=KOREAN)
    assert "Accept-Language" in response["Vary"]
    assert response["Content-Language"] == "ko"


class TestSwitch:
    """Choosing a language on a page."""

    def test_it_holds_whatever_the_browser_asks_for_and_keeps_the_page(self, client):
        page = client.get("/accounts/login?next=/orders/1%26/track", headers=ENGLISH)
        html = page.content.decode()
        form = html[html.index('action="/language"') : html.index("</form>")]
        assert 'name="csrfmiddlewaretoken"' in form
        assert re.search(r'value="en" lang="en" aria-current="true">English<', form)
        assert re.search(r'value="ko" lang="ko">한국어<', form)
        target = re.search(r'name="next" value="([^"]+)"', form)[1]

        answer = client.post("/language", {"language": "ko", "next": target}, headers=ENGLISH)
        assert (answer.status_code, answer["Location"]) == (302, target)
        cookie = answer.cookies["django_language"]
        assert (cookie.value, cookie["samesite"], cookie["httponly"]) == ("ko", "Lax", True)
        again = client.get(answer["Location"], headers=ENGLISH)
        assert again["Content-Language"] == "ko"
        assert "Cookie" in again["Vary"]
        assert ">로그인</h1>" in again.content.decode()
        client.post("/language", {"language": "en", "next": "/"}, headers=KOREAN)
        assert client.get("/", headers=KOREAN)["Content-Language"] == "en"

    def test_the_admin_has_it_too(self, client, admin):
        client.force_login(admin)
        html = client.get("/admin/", headers=KOREAN).content.decode()
        assert re.search(r'value="ko" lang="ko" aria-current="true">한국어<', html)

    def test_it_leads_nowhere_else(self, client):
        answer = client.post("/language", {"language": "ko", "next": "//evil.example/"})
        assert answer["Location"] == "/"

    def test_it_takes_nothing_but_a_post(self, client):
        answer = client.get("/language?language=ko&next=/")
        assert answer.status_code == 405
        assert "django_language" not in answer.cookies

    def test_only_our_own_pages_can_use_it(self):
        strict = Client(enforce_csrf_checks=True)
        answer = strict.post("/language", {"language": "ko"})
        assert answer.status_code == 403
        assert "django_language" not in answer.cookies

    @pytest.mark.parametrize("language", ["xx", "", "../ko"])
    def test_what_is_not_offered_changes_nothing(self, client, language):
        answer = client.post("/language", {"language": language, "next": "/"})
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert "django_language" not in answer.cookies


class TestProblems:
    """The API: texts follow the language, codes never do."""

    @pytest.mark.parametrize(
        ("headers", "title", "detail"),
        [
            (KOREAN, "찾을 수 없음", "요청하신 페이지나 항목을 찾을 수 없습니다."),
            (ENGLISH, "Not found", "There is nothing here by that name."),
            ({}, "Not found", "There is nothing here by that name."),
            ({"Accept-Language": "fr"}, "Not found", "There is nothing here by that name."),
        ],
    )
    def test_title_and_detail_follow_the_client(self, client_of, headers, title, detail):
        problem = client_of(None).get("/api/v2/products/1", headers=headers).json()
        assert (problem["title"], problem["detail"]) == (title, detail)
        assert (problem["code"], problem["type"]) == ("not_found", "urn:shop:problem:not_found")

    def test_a_refusal_is_told_with_the_names_of_the_states(
        self, client_of, clerk, alice, make_order
    ):
        order = make_order(alice)

        def move(headers):
            return client_of(clerk).post(
                f"/api/v2/orders/{order.pk}/transitions", {"status": "delivered"}, headers=headers
            )

        korean, english = move(KOREAN).json(), move(ENGLISH).json()
        assert korean["detail"] == (
            "‘결제 대기’ 상태의 주문을 ‘배송 완료’ 상태로 바꿀 수 없습니다."
        )
        assert english["detail"] == "An order that is pending can't become delivered."
        for problem in (korean, english):
            assert (problem["code"], problem["current"]) == ("illegal_transition", "pending")
            assert problem["allowed"] == ["paid", "cancelled"]

    @pytest.mark.parametrize("first", [KOREAN, ENGLISH], ids=["Korean first", "English first"])
    def test_whoever_comes_first_does_not_choose_for_the_others(self, client_of, first):
        """DRF keeps a filled-in text in the field, and a form serves many requests."""
        texts = {
            "ko": "150자 이하로 입력하세요.",
            "en": "Ensure this field has no more than 150 characters.",
        }
        for headers in (first, KOREAN, ENGLISH):
            problem = client_of(None).post(
                "/api/v2/auth/tokens", {"username": "x" * 151, "password": "x"}, headers=headers
            )
            (error,) = problem.json()["errors"]["username"]
            assert error == {"code": "max_length", "detail": texts[headers["Accept-Language"]]}

    @pytest.mark.parametrize(
        ("body", "detail"),
        [({}, "필수 항목입니다."), ({"username": None}, "null일 수 없는 항목입니다.")],
    )
    def test_what_drf_says_is_korean_too(self, client_of, body, detail):
        problem = client_of(None).post("/api/v2/auth/tokens", body, headers=KOREAN).json()
        assert problem["errors"]["username"][0]["detail"] == detail

    def test_who_asks_too_often_is_told_when_to_come_back(self, client_of, settings):
        settings.RATE_LIMITS, settings.RATE_LIMIT_ANONYMOUS = True, (0.5, 1)
        client = client_of(None)
        client.get("/api/v2/categories")
        response = client.get("/api/v2/categories", headers=KOREAN)
        assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
        wait = response["Retry-After"]
        assert response.json()["detail"] == f"요청이 너무 많습니다. {wait}초 후에 다시 시도하세요."


class TestAmounts:
    """Amounts as people write them."""

    @pytest.mark.parametrize(
        ("amount", "currency", "english", "korean"),
        [
            ("182000", "", "₩182,000", "182,000원"),
            ("0", "KRW", "₩0", "0원"),
            ("-1234567", "KRW", "-₩1,234,567", "-1,234,567원"),
            ("1000000000000", "KRW", "₩1,000,000,000,000", "1,000,000,000,000원"),
            ("19.9", "USD", "$19.90", "$19.90"),
            ("1234.5", "EUR", "€1,234.50", "€1,234.50"),
            ("1980", "JPY", "¥1,980", "¥1,980"),
            ("5", "CHF", "CHF\xa05.00", "CHF\xa05.00"),
            ("1.2", "KWD", "KWD\xa01.200", "KWD\xa01.200"),
            # What is not to be, but must not be hidden: more decimals than there are.
            ("10.25", "KRW", "₩10.25", "10.25원"),
        ],
    )
    def test_separators_sign_and_every_decimal(self, amount, currency, english, korean):
        with override("en"):
            assert written(Decimal(amount), currency) == english
        with override("ko"):
            assert written(Decimal(amount), currency) == korean

    def test_the_shop_s_currency_is_meant_where_none_is_named(self, settings):
        settings.CURRENCY = "USD"
        with override("en"):
            assert written(Decimal("1999.5")) == "$1,999.50"

    def test_lists_group_their_numbers(self):
        with override("ko"):
            assert number_format(Decimal(182000)) == "182,000"


def test_dates_are_written_as_koreans_do():
    moment = datetime(2026, 1, 5, 15, 4, tzinfo=UTC)
    with override("ko"), timezone.override("Asia/Seoul"):
        local = timezone.localtime(moment)
        assert date_format(local, "DATETIME_FORMAT") == "2026년 1월 6일 오전 12:04"
        assert date_format(local, "SHORT_DATETIME_FORMAT") == "2026-01-06 00:04"


class TestRows:
    """What a row is called where it is mentioned."""

    def test_alerts(self):
        rule = AlertRule.objects.create(
            name="CPU", metric_name="system.cpu.usage", condition="gt", threshold=1
        )
        now = timezone.now()
        change = AlertChange.objects.create(rule=rule, before="ok", state="firing", time=now)
        channel = Channel.objects.create(name="팀", kind="email", target="a@example.com")
        silence = Silence.objects.create(ends_at=datetime(2126, 1, 5, 3, tzinfo=UTC))
        with override("ko"):
            assert str(change) == "CPU: 발생 중"
            assert str(Delivery(channel=channel, change=change)) == "팀: 대기 중"
            assert str(silence) == "모든 규칙 – 2126-01-05 12:00"
        with override("en"):
            assert str(change) == "CPU: firing"
            assert str(silence).startswith("all rules")

    def test_a_category_by_its_name_in_the_language(self):
        category = Category(name_en="Laptops", name_ko="노트북")
        with override("ko"):
            assert str(category) == "노트북"
            assert str(Category(name_en="Laptops")) == "Laptops"
        with override("en"):
            assert str(category) == "Laptops"


def test_no_script_has_words_of_its_own():
    """They come from the page, in its language."""
    scripts = [
        path
        for path in Path(project.BASE_DIR / "static").rglob("*.js")
        if "vendor" not in path.parts
    ]
    assert scripts
    for path in scripts:
        code = re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE)
        spoken = re.findall(r"[\"'`]([A-Z][a-z]+(?: [a-z]+)+[^\"'`]*)[\"'`]", code)
        assert spoken == [], path
