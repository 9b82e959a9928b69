"""What a process keeps of what it has read, and how it knows that it is still true.

Everything that is kept carries tags: what it was made from. Whoever learns of a
change names the tags that it touches (`Tags.changed`), and what carries one of
them is gone. A value is only kept if none of its tags has changed since before
it was read, so a slow reader brings nothing old back.

What a process knows of changes is itself of some moment: `sure_until` says how
long what is kept may be shown. Whoever keeps the tags current sets it.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.core.cache import caches

logger = logging.getLogger(__name__)

Tag = Hashable
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# What an entry costs beside its value and for each of its tags, in bytes; measured
# (docs/performance.md, "Ready answers").
_ENTRY = 700
_TAG = 130


class Tags:
    """When each tag last changed, counted in changes this process has learnt of."""

    def __init__(self, size: int = 100_000) -> None:
        """Remember so many tags; when there are more, everything kept is forgotten."""
        self.lock = threading.RLock()
        # Seconds of time.monotonic().
        self.sure_until = 0.0
        self.now = 0
        self._size = size
        self._floor = 0
        self._changed: dict[Tag, int] = {}
        self._stores: list[Store[Any, Any]] = []

    def changed(self, tags: Collection[Tag]) -> None:
        """Forget what was made from any of these."""
        if not tags:
            return
        with self.lock:
            self.now += 1
            for tag in tags:
                self._changed[tag] = self.now
            for store in self._stores:
                store.drop(tags)
            if len(self._changed) > self._size:
                self.everything_changed()

    def everything_changed(self) -> None:
        """Forget all that is kept."""
        with self.lock:
            self.now += 1
            self._floor = self.now
            self._changed.clear()
            for store in self._stores:
                store.clear()

    def unchanged(self, tags: Iterable[Tag], since: int) -> bool:
        """Whether none of these has changed since `now` was `since`."""
        with self.lock:
            return since >= self._floor and all(self._changed.get(tag, 0) <= since for tag in tags)

    def add(self, store: "Store[Any, Any]") -> None:
        """Have a store forget what changes."""
        self._stores.append(store)


@dataclass(slots=True)
class _Item(Generic[V]):
    value: V
    tags: Collection[Tag]
    size: int
    used: bool = field(default=False)


class Store(Generic[K, V]):
    """Values by key, within a number of bytes; what is not asked for again goes first."""

    def __init__(self, tags: Tags, most: int, *, share: int = 8) -> None:
        """Keep at most `most` bytes, as `put` is told of them; 0 keeps nothing.

        One value may have a `share`-th of them.
        """
        self.most = most
        self._largest = most // share
        self.size = 0
        self.evicted = 0
        self._tags = tags
        self._items: dict[K, _Item[V]] = {}
        self._keys: dict[Tag, set[K]] = {}
        tags.add(self)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> V | None:
        """Return what is kept under a key. Takes no lock; asks nothing of `sure_until`."""
        item = self._items.get(key)
        if item is None:
            return None
        item.used = True
        return item.value

    def put(self, key: K, value: V, *, tags: Collection[Tag], since: int, size: int) -> bool:
        """Keep a value that was read after the tags' `now` was `since`; `size` is its bytes.

        Returns whether it is kept: not if one of its tags has changed, or it is too big.
        """
        size += _ENTRY + _TAG * len(tags)
        if size > self._largest:
            return False
        with self._tags.lock:
            if not self._tags.unchanged(tags, since):
                return False
            self._remove(key)
            self._items[key] = _Item(value, tags, size)
            self.size += size
            for tag in tags:
                self._keys.setdefault(tag, set()).add(key)
            while self.size > self.most:
                self._evict()
        return True

    def grow(self, key: K, value: V, size: int) -> None:
        """Count `size` more bytes for a value, if it is still what is kept under `key`."""
        with self._tags.lock:
            item = self._items.get(key)
            if item is not None and item.value is value:
                item.size += size
                self.size += size
                while self.size > self.most:
                    self._evict()

    def drop(self, tags: Iterable[Tag]) -> None:
        """Forget what carries any of these; the caller holds the tags' lock."""
        for tag in tags:
            for key in tuple(self._keys.get(tag, ())):
                self._remove(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._tags.lock:
            self._items.clear()
            self._keys.clear()
            self.size = 0

    def biggest(self, number: int) -> list[tuple[K, int]]:
        """Return the keys of the biggest entries with their sizes in bytes."""
        with self._tags.lock:
            sizes = [(key, item.size) for key, item in self._items.items()]
        return sorted(sizes, key=lambda pair: -pair[1])[:number]

    def _evict(self) -> None:
        # Second chance: what was asked for since it came, or since it was last
        # looked at here, goes to the end of the line once more.
        key = next(iter(self._items))
        item = self._items[key]
        if item.used:
            item.used = False
            del self._items[key]
            self._items[key] = item
        else:
            self._remove(key)
            self.evicted += 1

    def _remove(self, key: K) -> None:
        item = self._items.pop(key, None)
        if item is None:
            return
        self.size -= item.size
        for tag in item.tags:
            keys = self._keys.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys[tag]


class Knowledge:
    """The tags of one source of truth, and how they are brought up to date."""

    def __init__(
        self,
        catch_up: Callable[[], bool],
        follow: Callable[[], None],
        tell_all: Callable[[], None] = lambda: None,
    ) -> None:
        """`catch_up` learns of all that is committed by now; `follow` has that done for a while.

        `tell_all` tells every process that all has changed.
        """
        self.tags = Tags()
        self.catch_up = catch_up
        self.follow = follow
        self.tell_all = tell_all
        # Seconds of time.monotonic() at which somebody last wanted to know.
        self.asked = 0.0

    def is_sure(self) -> bool:
        """Whether what is kept may be shown now; asks the source if too long ago."""
        self.asked = time.monotonic()
        self.follow()
        return time.monotonic() < self.tags.sure_until or self.catch_up()

    def read(self, make: Callable[[], tuple[V, Collection[Tag]]]) -> tuple[V, Collection[Tag], int]:
        """Make a value that is no older than anything this process has shown.

        `make` returns the value and the tags of what it was made from. If one of
        them changes meanwhile it is made again, twice at most. Returns the value,
        its tags, and their `now` from before it was made, for `Store.put`.
        """
        for _try in range(3):
            since = self.tags.now
            value, tags = make()
            # After it: whoever comes later must not be shown less than this one.
            if not self.catch_up() or self.tags.unchanged(tags, since):
                break
        return value, tags, since


class Shared:
    """The cache that web processes share; one that is gone costs a moment, then nothing.

    After a failure nobody asks it for a second, and then one does.
    """

    # Seconds.
    _PAUSE = 1.0

    def __init__(self, alias: str = "shared") -> None:
        self._alias = alias
        self._lock = threading.Lock()
        self._is_gone = False
        self._next_try = 0.0

    def get_many(self, keys: Collection[str]) -> dict[str, Any]:
        """Return what is there of these, nothing while the cache is gone."""
        found: dict[str, Any] = self._ask(lambda: caches[self._alias].get_many(keys)) or {}
        return found

    def set_many(self, values: dict[str, Any], seconds: float) -> None:
        """Put values there for so long, if the cache is there."""
        self._ask(lambda: caches[self._alias].set_many(values, timeout=seconds))

    def _ask(self, question: Callable[[], Any]) -> Any:
        if self._is_gone:
            with self._lock:
                now = time.monotonic()
                if now < self._next_try:
                    return None
                self._next_try = now + self._PAUSE
        try:
            answer = question()
        # Of a network, a server, a pool: whatever it is, the database has it all.
        except Exception as error:
            self._next_try = time.monotonic() + self._PAUSE
            if not self._is_gone:
                self._is_gone = True
                logger.warning("the shared cache is gone", extra={"error": repr(error)})
            return None
        if self._is_gone:
            self._is_gone = False
            logger.warning("the shared cache is back")
        return answer
