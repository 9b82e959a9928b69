"""What is kept carries tags, and goes when one of them changes."""

import pytest

from shop.cache import Knowledge, Store, Tags


@pytest.fixture
def tags():
    return Tags()


@pytest.fixture
def store(tags):
    return Store(tags, 100_000)


def put(store, tags, key, *carried, since=None, size=100):
    since = tags.now if since is None else since
    return store.put(key, key.upper(), tags=carried, since=since, size=size)


def test_a_change_forgets_what_carries_its_tag_and_nothing_else(store, tags):
    put(store, tags, "one", 1)
    put(store, tags, "both", 1, 2)
    put(store, tags, "two", 2)
    tags.changed([1])
    assert [store.get(key) for key in ("one", "both", "two")] == [None, None, "TWO"]


def test_what_was_read_before_a_change_is_not_kept_after_it(store, tags):
    since = tags.now
    tags.changed([1])
    assert not put(store, tags, "slow", 1, since=since)
    assert store.get("slow") is None
    # Its other tags changed; this one did not.
    assert put(store, tags, "other", 2, since=since)


def test_after_everything_has_changed_only_what_was_read_since_is_kept(store, tags):
    since = tags.now
    put(store, tags, "one", 1)
    tags.everything_changed()
    assert store.get("one") is None
    assert not put(store, tags, "slow", 3, since=since)
    assert put(store, tags, "new", 3)


def test_more_tags_than_can_be_remembered_forget_everything():
    tags = Tags(size=10)
    store = Store(tags, 100_000)
    since = tags.now
    put(store, tags, "kept", "x")
    for number in range(11):
        tags.changed([number])
    assert store.get("kept") is None
    assert not put(store, tags, "slow", "y", since=since)


def test_the_bytes_have_a_bound_and_what_is_asked_for_stays(tags):
    store = Store(tags, 100_000)
    put(store, tags, "hot", 0, size=1000)
    for number in range(2000):
        put(store, tags, f"once {number}", number, size=1000)
        assert store.get("hot") == "HOT"
        assert store.size <= 100_000
    assert 20 < len(store) < 100
    assert store.evicted == 2001 - len(store)


def test_nothing_is_left_of_what_is_gone(store, tags):
    for number in range(10):
        put(store, tags, f"k{number}", number, number + 1, "all")
    put(store, tags, "k1", 5)
    tags.changed(["all", 5])
    assert (len(store), store.size, store._keys) == (0, 0, {})


def test_what_is_bigger_than_an_eighth_is_not_kept(store, tags):
    assert not put(store, tags, "big", 1, size=13_000)
    assert put(store, tags, "small", 1, size=11_000)


class Source:
    """Changes that come while something is read."""

    def __init__(self, changes):
        self.changes = changes
        self.sure = True
        self.knowledge = Knowledge(self.catch_up, lambda: None)

    def catch_up(self):
        if self.sure and self.changes:
            self.knowledge.tags.changed(self.changes.pop(0))
        return self.sure


def test_what_changes_while_it_is_read_is_read_again():
    source = Source([[1], [2]])
    values = iter("abc")
    value, tags, since = source.knowledge.read(lambda: (next(values), [1]))
    assert value == "b"
    assert source.knowledge.tags.unchanged(tags, since)


def test_what_changes_all_the_time_is_read_three_times_and_not_kept():
    source = Source([[1]] * 5)
    values = iter("abcdef")
    value, tags, since = source.knowledge.read(lambda: (next(values), [1]))
    assert value == "c"
    assert not source.knowledge.tags.unchanged(tags, since)


def test_with_the_source_away_what_is_read_is_shown_all_the_same():
    source = Source([])
    source.sure = False
    assert source.knowledge.read(lambda: ("a", [1]))[0] == "a"
    assert not source.knowledge.is_sure()
