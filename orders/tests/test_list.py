"""Listing orders."""

from datetime import UTC, datetime

import pytest

from orders.models import Order

pytestmark = pytest.mark.django_db


def ids(response):
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def test_everybody_sees_their_own_and_the_desk_sees_all(
    client_of, alice, bob, clerk, admin, make_order
):
    hers, his = make_order(alice), make_order(bob)
    assert ids(client_of(alice).get("/api/v2/orders")) == [str(hers.pk)]
    assert ids(client_of(bob).get("/api/v2/orders")) == [str(his.pk)]
    for user in (clerk, admin):
        assert ids(client_of(user).get("/api/v2/orders")) == [str(his.pk), str(hers.pk)]
    assert client_of(None).get("/api/v2/orders").status_code == 401


def test_filters_by_status_and_by_the_shops_days(client_of, alice, make_order):
    first, second, third = (make_order(alice) for _ in range(3))
    # Midnight in Seoul is 15:00 the day before in UTC.
    for order, time in (
        (first, datetime(2024, 1, 1, 14, 59, tzinfo=UTC)),
        (second, datetime(2024, 1, 1, 15, 0, tzinfo=UTC)),
        (third, datetime(2024, 1, 2, 15, 0, tzinfo=UTC)),
    ):
        Order.objects.filter(pk=order.pk).update(created_at=time)
    Order.objects.filter(pk=second.pk).update(status="paid")
    client = client_of(alice)

    day = client.get("/api/v2/orders?start_date=2024-01-02&end_date=2024-01-02")
    assert ids(day) == [str(second.pk)]
    assert ids(client.get("/api/v2/orders?end_date=2024-01-01")) == [str(first.pk)]
    assert ids(client.get("/api/v2/orders?status=paid&start_date=2024-01-01")) == [str(second.pk)]
    open_end = client.get("/api/v2/orders?status=pending&start_date=2024-01-01&end_date=")
    assert set(ids(open_end)) == {str(first.pk), str(third.pk)}


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "start_date=yesterday",
        "start_date=2024-13-01",
        "start_date=0001-01-01",
        # Other ways of ISO 8601 and of Python to write a day.
        "start_date=20240101",
        "start_date=2024-W01-1",
        "start_date=2024-1-1",
        "page=1_0",
        "page=%D9%A3",
        "end_date=9999-12-31",
        "start_date=2024-02-01&end_date=2024-01-01",
        "customer=bob",
        "cursor=x",
    ],
)
def test_bad_filters_are_400(client_of, alice, query):
    response = client_of(alice).get(f"/api/v2/orders?{query}")
    assert response.status_code == 400
    assert response.json()["errors"]


def test_cursors_visit_every_order_once(client_of, alice, make_order):
    placed = [str(make_order(alice).pk) for _ in range(5)]
    client, url, seen = client_of(alice), "/api/v2/orders?per_page=2&cursor=", []
    while url:
        page = client.get(url)
        seen += ids(page)
        url = page.json()["next"]
    # Newest first; those of one millisecond in the order of their keys.
    assert seen == sorted(placed, reverse=True)


def test_the_way_back_has_the_same_order(client_of, alice, make_order, make_product):
    product = make_product(stock=100)
    placed = [str(make_order(alice, (product, 1)).pk) for _ in range(6)]
    client = client_of(alice)
    second = client.get(client.get("/api/v2/orders?per_page=2&cursor=").json()["next"]).json()
    third = client.get(second["next"]).json()
    back = client.get(third["previous"])
    assert ids(back) == placed[::-1][2:4]


@pytest.mark.parametrize("number", [1, 12])
def test_orders_with_their_items_cost_one_query(
    client_of, alice, make_order, make_product, number, django_assert_num_queries
):
    products = [make_product(f"상품 {n}", stock=100) for n in range(3)]
    for _ in range(number):
        make_order(alice, *((product, 1) for product in products))
    client, one = client_of(alice), Order.objects.latest("pk")
    with django_assert_num_queries(1):
        client.get("/api/v2/orders")
    with django_assert_num_queries(1):
        client.get(f"/api/v2/orders/{one.pk}")
