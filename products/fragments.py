"""Products as the API shows them, rendered once.

As lists show one they are kept in the process, and shared between processes by the
shared cache where there is one; a product alone is kept ready by shop.ready, and
shared likewise.

What is shared carries the `horizon` (products.freshness) that whoever rendered it had
before reading, and is believed by those who know of no change from there on. So nobody
has to take anything away from there, and nothing old that comes late is believed.
"""

from collections.abc import Callable, Collection, Sequence

from django.conf import settings
from django.db import connection

from products.freshness import feed
from shop.cache import Shared, Store

# Counted up whenever a fragment is made of other columns, or written otherwise.
SCHEMA = 1
# Seconds. A restored backup, whose transactions begin at lower numbers again, does not
# believe what lies beyond them, and what it shared is gone when it gets there.
_SHARED_FOR = 300
# Bytes that the position takes in front of a fragment.
_POSITION = 8

in_process: Store[int, bytes] = Store(feed.knowledge.tags, settings.FRAGMENTS_MB * 1024 * 1024)
shared = Shared()

Render = Callable[[Collection[int]], dict[int, bytes]]


def read_fragments(pks: Sequence[int], render: Render) -> dict[int, bytes]:
    """Return these products as lists show them, by key; `render` reads what is kept nowhere."""
    if not _is_usable():
        return render(pks)
    since = feed.knowledge.tags.now
    found = {pk: kept for pk in pks if (kept := in_process.get(pk)) is not None}
    missing = [pk for pk in pks if pk not in found]
    if missing:
        made = read_shared("list", missing, render)
        for pk, body in made.items():
            in_process.put(pk, body, tags=(pk,), since=since, size=len(body))
        found |= made
    return found


def read_shared(kind: str, pks: Collection[int], render: Render) -> dict[int, bytes]:
    """Return these products, by key, from the shared cache, or rendered and put there."""
    if not _is_usable() or feed.horizon is None:
        return render(pks)
    keys = {f"product:{SCHEMA}:{kind}:{pk}": pk for pk in pks}
    found = {}
    for key, value in shared.get_many(keys).items():
        pk = keys[key]
        if feed.believes(pk, int.from_bytes(value[:_POSITION], "big")):
            found[pk] = value[_POSITION:]
    missing = [pk for pk in pks if pk not in found]
    if missing:
        position = feed.horizon.to_bytes(_POSITION, "big")
        made = render(missing)
        shared.set_many(
            {f"product:{SCHEMA}:{kind}:{pk}": position + body for pk, body in made.items()},
            _SHARED_FOR,
        )
        found |= made
    return found


def _is_usable() -> bool:
    """Whether others may see what is read here, and enough is known of what has changed."""
    return not connection.in_atomic_block and feed.knowledge.is_sure()
