"""Products, rendered once: kept in the process, shared by processes, never believed too long."""

import json

import pytest
from django.core.cache import caches

from products import catalogue, fragments
from products.freshness import Feed, feed
from products.models import Product
from products.tests.test_freshness import settle
from shop.cache import Shared

pytestmark = pytest.mark.django_db(transaction=True)


class Renderer:
    """Renders, and says what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, pks):
        self.asked.append(list(pks))
        return {pk: b"%d" % pk for pk in pks}


@pytest.fixture
def render():
    return Renderer()


@pytest.fixture
def shared(monkeypatch, settings):
    """A shared cache, in memory."""
    settings.CACHES = {
        **settings.CACHES,
        "shared": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "shared-in-tests",
        },
    }
    made = Shared()
    monkeypatch.setattr(fragments, "shared", made)
    caches["shared"].clear()
    return made


@pytest.fixture
def products(make_product):
    made = [make_product(f"p{n}") for n in range(3)]
    settle(feed)
    return made


def test_what_is_kept_is_not_rendered_again(products, render):
    pks = [product.pk for product in products]
    assert fragments.read_fragments(pks[:2], render) == {pk: b"%d" % pk for pk in pks[:2]}
    assert set(fragments.read_fragments(pks, render)) == set(pks)
    assert render.asked == [pks[:2], pks[2:]]


def test_a_change_has_only_its_product_rendered_again(products, render):
    pks = [product.pk for product in products]
    fragments.read_fragments(pks, render)
    Product.objects.filter(pk=pks[1]).update(price=5)
    fragments.read_fragments(pks, render)
    assert render.asked[1:] == [[pks[1]]]


def another_process():
    """Forget what this one keeps, but not what is shared."""
    fragments.in_process.clear()


def test_what_one_process_rendered_serves_the_others(products, render, shared):
    pks = [product.pk for product in products]
    fragments.read_fragments(pks, render)
    another_process()
    assert fragments.read_fragments(pks, render)[pks[0]] == b"%d" % pks[0]
    assert len(render.asked) == 1


def test_what_was_shared_before_a_change_is_not_believed_after_it(products, render, shared):
    pk = products[0].pk
    fragments.read_shared("list", [pk], render)
    Product.objects.filter(pk=pk).update(price=5)
    settle(feed)
    fragments.read_shared("list", [pk], render)
    fragments.read_shared("list", [pk], render)
    assert len(render.asked) == 2


def test_what_a_slow_process_shares_after_a_change_is_not_believed(products, render, shared):
    pk = products[0].pk

    def slow(pks):
        Product.objects.filter(pk=pk).update(price=5)
        return {pk: b"old"}

    assert fragments.read_shared("list", [pk], slow) == {pk: b"old"}
    assert fragments.read_shared("list", [pk], render) == {pk: b"%d" % pk}


def test_who_has_just_begun_believes_nothing_that_is_older(products, render, shared, monkeypatch):
    pk = products[0].pk
    fragments.read_shared("list", [pk], render)
    Product.objects.filter(pk=pk).update(price=5)
    newcomer = Feed()
    newcomer.catch_up()
    monkeypatch.setattr(fragments, "feed", newcomer)
    fragments.read_shared("list", [pk], render)
    assert len(render.asked) == 2
    newcomer.stop()


def test_the_two_kinds_are_kept_apart(products, shared):
    pk = products[0].pk
    detail = json.loads(catalogue.read_product(pk))
    [(_pk, listed)] = catalogue.read_products([pk])
    assert "images" in detail
    assert "images" not in json.loads(catalogue.dump_json(listed))


def test_without_knowledge_nothing_kept_is_shown(products, render, monkeypatch):
    pk = products[0].pk
    fragments.read_fragments([pk], render)
    monkeypatch.setattr(feed, "catch_up", lambda: False)
    monkeypatch.setattr(feed.knowledge, "catch_up", lambda: False)
    feed.knowledge.tags.sure_until = 0.0
    fragments.read_fragments([pk], render)
    assert len(render.asked) == 2


class Gone:
    """A cache whose server has gone."""

    def __init__(self):
        self.asked = 0
        self.is_back = False

    def get_many(self, keys):
        self.asked += 1
        if not self.is_back:
            raise ConnectionError("gone")
        return {}

    def set_many(self, values, timeout):
        return self.get_many(values)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("shop.cache.time.monotonic", lambda: now[0])
    return now


def test_a_cache_that_is_gone_is_asked_once_a_second_and_used_again(monkeypatch, clock):
    gone = Gone()
    monkeypatch.setattr("shop.cache.caches", {"shared": gone})
    shared = Shared()
    for _ in range(50):
        assert shared.get_many(["a"]) == {}
        shared.set_many({"a": 1}, 60)
    assert gone.asked == 1
    clock[0] += 1.1
    for _ in range(50):
        shared.get_many(["a"])
    assert gone.asked == 2
    gone.is_back = True
    clock[0] += 1.1
    for _ in range(50):
        shared.get_many(["a"])
    assert gone.asked == 52


@pytest.mark.redis
def test_redis_shares_them(products, render):
    pk = products[0].pk
    caches["shared"].delete_many([f"product:{fragments.SCHEMA}:list:{pk}"])
    fragments.read_shared("list", [pk], render)
    fragments.read_shared("list", [pk], render)
    assert len(render.asked) == 1
