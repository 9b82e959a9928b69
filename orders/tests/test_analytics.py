"""Analytics: equal to what the raw rows give, to the last unit."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from orders.analytics import SOLD, Question, summarise
from orders.models import Order, OrderItem
from orders.states import Status
from products.models import Category, Product

pytestmark = pytest.mark.django_db

URL = "/api/v2/orders/analytics/summary"


def an_order(moment, status, *lines, shipping=3000, currency="KRW"):
    """Write an order as it may stand in the books; lines are (product, quantity)."""
    items_total = sum((product.price * quantity for product, quantity in lines), Decimal(0))
    order = Order.objects.create(
        status=status,
        currency=currency,
        items_total=items_total,
        shipping_fee=shipping,
        total=items_total + shipping,
        street="x",
        city="x",
        postal_code="x",
    )
    Order.objects.filter(pk=order.pk).update(created_at=moment)
    OrderItem.objects.bulk_create(
        OrderItem(
            order=order,
            product=product,
            product_name=product.name,
            price=product.price,
            quantity=quantity,
            line_total=product.price * quantity,
        )
        for product, quantity in lines
    )
    return order


@pytest.fixture
def ask(client_of, clerk):
    def get(**query):
        answer = client_of(clerk).get(URL, query)
        assert answer.status_code == 200, answer.content
        return answer.json()

    return get


def seoul(*parts):
    return datetime(*parts, tzinfo=ZoneInfo("Asia/Seoul"))


def test_days_are_the_shops_days(ask, make_product):
    chair = make_product("의자", 10000, 100)
    # 15:00 in London is midnight in Seoul.
    an_order(datetime(2026, 3, 1, 14, 59, 59, tzinfo=UTC), Status.PAID, (chair, 1))
    an_order(datetime(2026, 3, 1, 15, 0, 0, tzinfo=UTC), Status.PAID, (chair, 2))
    told = ask(start_date="2026-03-01", end_date="2026-03-02", compare="false")
    assert [(row["start"], row["orders"], row["items"]) for row in told["series"]] == [
        ("2026-03-01", 1, 1),
        ("2026-03-02", 1, 2),
    ]
    assert told["previous"] is None


def test_what_counts(ask, make_product):
    chair, lamp = make_product("의자", 10000, 100), make_product("조명", 333, 100)
    day = seoul(2026, 3, 5, 12)
    for status in (Status.PAID, Status.PROCESSING, Status.SHIPPED, Status.DELIVERED):
        an_order(day, status, (chair, 1))
    an_order(day, Status.COMPLETED, (lamp, 3), shipping=0)
    an_order(day, Status.PENDING, (chair, 9))
    an_order(day, Status.CANCELLED, (chair, 9))
    an_order(seoul(2026, 3, 4, 23, 59), Status.PAID, (chair, 1))
    told = ask(start_date="2026-03-05", end_date="2026-03-05")
    assert told["totals"] == {
        "revenue": 4 * 13000 + 999,
        "orders": 5,
        "items": 7,
        # 52,999 by 5 is 10,599.8.
        "average_order_value": 10600,
        "placed": 7,
        "pending": 1,
        "cancelled": 1,
        "cancellation_rate": 0.1429,
    }
    assert told["previous"]["revenue"] == 13000
    assert told["previous"]["start_date"] == "2026-03-04"
    assert told["change"]["orders"] == 4.0
    assert told["change"]["cancelled"] is None
    assert [(row["name"], row["revenue"], row["orders"]) for row in told["top_products"]] == [
        ("의자", 40000, 4),
        ("조명", 999, 1),
    ]
    assert ask(start_date="2026-03-05", end_date="2026-03-05", top=1)["top_products"][1:] == []


def test_weeks_begin_on_monday_and_no_period_is_left_out(ask, make_product):
    chair = make_product("의자", 10000, 100)
    an_order(seoul(2026, 3, 8, 12), Status.PAID, (chair, 1))
    an_order(seoul(2026, 3, 9, 12), Status.PAID, (chair, 1))
    weeks = ask(start_date="2026-03-04", end_date="2026-03-24", interval="week")["series"]
    assert [(row["start"], row["end"], row["orders"]) for row in weeks] == [
        ("2026-03-04", "2026-03-08", 1),
        ("2026-03-09", "2026-03-15", 1),
        ("2026-03-16", "2026-03-22", 0),
        ("2026-03-23", "2026-03-24", 0),
    ]
    months = ask(start_date="2026-02-15", end_date="2026-03-31", interval="month")["series"]
    assert [(row["start"], row["end"], row["orders"]) for row in months] == [
        ("2026-02-15", "2026-02-28", 0),
        ("2026-03-01", "2026-03-31", 2),
    ]


def test_a_category_takes_in_what_lies_below(ask, make_product):
    from products.categories import place_category

    top = place_category(
        category=Category(key="f", slug="furniture", name_en="Furniture"), parent=None
    )
    chairs = place_category(
        category=Category(key="c", slug="chairs", name_en="Chairs", name_ko="의자"), parent=top
    )
    chair = make_product("의자", 10000, 100, category=chairs)
    lamp = make_product("조명", 5000, 100)
    day = seoul(2026, 3, 5, 12)
    an_order(day, Status.PAID, (chair, 2), (lamp, 1))
    an_order(day, Status.CANCELLED, (chair, 1))
    an_order(day, Status.PAID, (lamp, 1))
    span = {"start_date": "2026-03-05", "end_date": "2026-03-05"}
    for query in ({"category": "furniture"}, {"product": str(chair.pk)}):
        told = ask(**span, **query)
        assert (told["totals"]["revenue"], told["totals"]["orders"], told["totals"]["items"]) == (
            20000, 1, 2,
        ), query  # fmt: skip
        assert (told["totals"]["placed"], told["totals"]["cancelled"]) == (2, 1)
    by_category = ask(**span)["by_category"]
    assert by_category == [
        {"category": "chairs", "name": {"en": "Chairs", "ko": "의자"},
         "revenue": 20000, "items": 2, "orders": 1},
        {"category": None, "name": None, "revenue": 10000, "items": 2, "orders": 2},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [{"start_date": "2026-02-30"}, {"start_date": "2026-03-02", "end_date": "2026-03-01"},
     {"start_date": "2000-01-01", "end_date": "2026-01-01"}, {"interval": "year"},
     {"category": "none"}, {"product": "x"}, {"top": 101}, {"compare": "1"}, {"what": 1}],
)  # fmt: skip
def test_bad_questions(client_of, clerk, query):
    assert client_of(clerk).get(URL, query).status_code == 400


def test_without_dates_it_is_the_last_thirty_days(ask):
    told = ask()
    today = timezone.localdate()
    assert (told["start_date"], told["end_date"]) == (
        str(today - timedelta(days=29)), str(today),
    )  # fmt: skip
    assert told["totals"]["average_order_value"] is None
    assert told["totals"]["cancellation_rate"] is None
    assert len(told["series"]) == 30


def test_only_who_may(client_of, alice, clerk):
    assert client_of(None).get(URL).status_code == 401
    assert client_of(alice).get(URL).status_code == 403
    assert client_of(clerk).get(URL).status_code == 200


@pytest.mark.parametrize("number", [1, 40])
def test_queries(django_assert_num_queries, make_product, number):
    products = [make_product(f"상품 {n}") for n in range(number)]
    for n, product in enumerate(products):
        an_order(seoul(2026, 3, 1 + n % 28), Status.PAID, (product, 1))
    with django_assert_num_queries(6):
        summarise(Question(date(2026, 3, 1), date(2026, 3, 31)))


moments = st.datetimes(
    datetime(2026, 2, 20), datetime(2026, 4, 10), timezones=st.just(UTC)
) | st.sampled_from(
    # Midnights of Seoul and New York, and the hour that New York skips.
    [
        datetime(2026, 3, 1, 15, 0, tzinfo=UTC),
        datetime(2026, 3, 1, 14, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 8, 5, 0, tzinfo=UTC),
        datetime(2026, 3, 8, 6, 59, 59, tzinfo=UTC),
        datetime(2026, 3, 9, 4, 0, tzinfo=UTC),
    ]
)
orders = st.lists(
    st.tuples(
        moments,
        st.sampled_from(list(Status)),
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(1, 9)),
            min_size=1,
            max_size=3,
            unique_by=lambda line: line[0],
        ),
    ),
    max_size=12,
)


@given(orders=orders, zone=st.sampled_from(["Asia/Seoul", "America/New_York"]))
@hypothesis_settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_equal_to_the_raw_rows(db, orders, zone):
    from django.db import transaction

    start, end = date(2026, 3, 1), date(2026, 3, 31)
    with transaction.atomic(), timezone.override(ZoneInfo(zone)):
        products = [
            Product.objects.create(name=f"상품 {n}", price=Decimal(p))
            for n, p in enumerate((10**12 // 100, 333, 1, 0))
        ]
        for moment, status, lines in orders:
            an_order(moment, status, *((products[n], quantity) for n, quantity in lines))
        told = summarise(Question(start, end))

        revenue, count, items = defaultdict(int), defaultdict(int), defaultdict(int)
        for order in Order.objects.prefetch_related("items"):
            day = order.created_at.astimezone(ZoneInfo(zone)).date()
            if start <= day <= end and order.status in SOLD:
                revenue[day] += int(order.total)
                count[day] += 1
                items[day] += sum(item.quantity for item in order.items.all())
        assert {
            row["start"]: (row["revenue"], row["orders"], row["items"])
            for row in told["series"]
            if row["orders"]
        } == {day: (revenue[day], count[day], items[day]) for day in count}
        total, number = sum(revenue.values()), sum(count.values())
        assert (told["totals"]["revenue"], told["totals"]["orders"]) == (total, number)
        if number:
            average = (Decimal(total) / number).quantize(Decimal(1), ROUND_HALF_UP)
            assert told["totals"]["average_order_value"] == average
        worth = sum(row["revenue"] for row in told["top_products"])
        assert worth == total - 3000 * number
        transaction.set_rollback(True)
    assert connection.vendor in ("sqlite", "postgresql")
