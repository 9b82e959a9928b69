"""Token buckets and their headers."""

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from shop.accounts.throttles import Buckets, CallerThrottle, address_key, buckets


def test_a_bucket_lets_a_burst_through_and_then_its_rate():
    buckets = Buckets()
    took = [buckets.take("a", rate=2, burst=3, now=100.0)[0] for _ in range(4)]
    assert took == [True, True, True, False]
    assert buckets.take("a", rate=2, burst=3, now=100.4)[0] is False
    assert buckets.take("a", rate=2, burst=3, now=100.5)[0] is True
    assert buckets.take("b", rate=2, burst=3, now=100.5)[0] is True


def test_a_refusal_says_how_much_is_missing():
    buckets = Buckets()
    buckets.take("a", rate=1, burst=1, now=0.0)
    allowed, left = buckets.take("a", rate=1, burst=1, now=0.25)
    assert not allowed
    assert left == pytest.approx(-0.75)


def test_memory_is_bounded_and_the_longest_unused_goes_first():
    buckets = Buckets(size=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key, rate=1, burst=1, now=0.0)
    assert buckets.take("a", rate=1, burst=1, now=0.0)[0] is False
    assert buckets.take("b", rate=1, burst=1, now=0.0)[0] is True


@pytest.mark.django_db
def test_answers_carry_the_figures_and_the_limit_refuses(client_of, alice, settings):
    settings.RATE_LIMIT_ANONYMOUS = (0.001, 2)
    client = client_of(None)
    first = client.get("/api/v2/products")
    assert first["RateLimit"] == '"default";r=1;t=1000'
    assert first["RateLimit-Policy"] == '"default";q=2;w=2000'
    client.get("/api/v2/products")
    refused = client.get("/api/v2/products")
    assert refused.status_code == 429
    assert refused.json()["code"] == "rate_limited"
    assert int(refused["Retry-After"]) > 900
    # Who is signed in has a bucket of their own.
    assert client_of(alice).get("/api/v2/products").status_code == 200


@pytest.mark.django_db
def test_they_can_be_switched_off(client_of, settings):
    settings.RATE_LIMIT_ANONYMOUS = (0.001, 1)
    settings.RATE_LIMITS = False
    answers = [client_of(None).get("/api/v2/products") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert not answers[0].has_header("RateLimit")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/api/v2/products", "Bearer shop_guessed", 401),
        ("/api/v2/orders", None, 401),
        ("/api/v1/orders", "Bearer shop_guessed", 401),
        ("/api/v1/orders", None, 401),
        ("/api/v1/orders/analytics/summary", None, 401),
    ],
)
def test_who_is_refused_is_limited_as_well(client_of, settings, path, header, status):
    settings.RATE_LIMIT_ANONYMOUS = (0.001, 2)
    client = client_of(None)
    if header:
        client.credentials(HTTP_AUTHORIZATION=header)
    answers = [client.get(path) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 429]
    assert int(answers[-1]["Retry-After"]) > 900


@pytest.mark.django_db
def test_who_may_not_is_limited_as_well(client_of, alice, settings):
    settings.RATE_LIMIT_USER = (0.001, 2)
    client = client_of(alice)
    answers = [client.get("/api/v2/alerts").status_code for _ in range(3)]
    assert answers == [403, 403, 429]


@pytest.mark.django_db
def test_a_request_takes_one_token_whatever_comes_of_it(client_of, settings):
    settings.RATE_LIMIT_ANONYMOUS = (0.001, 5)
    client = client_of(None)
    assert client.get("/api/v2/orders")["RateLimit"].startswith('"default";r=4;')
    assert client.get("/api/v2/products")["RateLimit"].startswith('"default";r=3;')
    assert client.get("/api/v1/products")["RateLimit"].startswith('"default";r=2;')


def test_who_has_been_counted_already_is_not_counted_again(settings):
    settings.RATE_LIMITS = True
    request = Request(APIRequestFactory().get("/", REMOTE_ADDR="192.0.2.77"))
    request._request.scope = {"shop": {"rate_limit": (5, 10, 3)}}
    assert CallerThrottle().allow_request(request, None)
    assert request._request.rate_limit == (5, 10, 3)
    assert address_key("192.0.2.77") not in buckets._buckets
