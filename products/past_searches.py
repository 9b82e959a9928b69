"""What people have searched for and found, so that it can be suggested to others.

A search is noted in memory and written with others, by a thread, every few
seconds; no request waits for it, and what a process that dies had not written
is lost, which does no harm.

Nobody's own words are kept: only texts made of words that the catalogue has,
or of short numbers beside them, and nothing of who searched or when each did.
And a text is suggested only after it was searched for at `LEAST_MOMENTS`
moments a minute or more apart.
"""

import logging
import re
import threading
import time
from collections import Counter
from datetime import timedelta
from functools import lru_cache

from django.db import close_old_connections, connection, transaction
from django.db.models import F
from django.utils import timezone

from products import hangul, vocabulary
from products.search_models import HEAD, PastSearch, squeezed
from shop.prepared import Prepared

logger = logging.getLogger(__name__)

LEAST_MOMENTS = 3
# Seconds between two writings of a process, and between two moments.
EVERY = 5.0
APART = timedelta(minutes=1)
# Texts that wait in memory, and rows that a night's tidying leaves.
_WAITING = 1000
KEPT = 20_000
_FORGOTTEN = timedelta(days=90)
# Characters; words; figures in one number and in all.
_LONGEST, _MOST_WORDS, _FIGURES = 60, 6, 4

_waiting: Counter[str] = Counter()
_lock = threading.Lock()
_writer: threading.Thread | None = None


def note_search(text: str, times: int = 1) -> None:
    """Note that `text` was searched for and found. Takes microseconds and never fails."""
    global _writer
    kept = keepable(text)
    if not kept:
        return
    with _lock:
        if kept in _waiting or len(_waiting) < _WAITING:
            _waiting[kept] += times
        if _writer is None or not _writer.is_alive():
            _writer = _begin_writing()


def forget() -> None:
    """Forget what waits to be written."""
    with _lock:
        _waiting.clear()


def keepable(text: str) -> str:
    """Return `text` folded, or nothing if it is not to be kept whatever its words are."""
    if "@" in text or len(text) > _LONGEST:
        return ""
    folded = hangul.fold(text)
    words = folded.split()
    figures = re.sub(r"\D", "", folded)
    if len(words) > _MOST_WORDS or len(figures) > _FIGURES or not _words(folded):
        return ""
    return folded


def _words(text: str) -> list[str]:
    return [word for word in text.split() if not word.isdigit()]


def _begin_writing() -> threading.Thread:
    # By the first search, not on import: a server may fork in between.
    thread = threading.Thread(target=_write_on, name="past-searches", daemon=True)
    thread.start()
    return thread


def _write_on() -> None:
    """Write what waits until nothing does; the next search begins another thread."""
    global _writer
    while True:
        time.sleep(EVERY)
        with _lock:
            if not _waiting:
                _writer = None
                return
        try:
            close_old_connections()
            write_waiting()
        except Exception:
            logger.warning("past searches were not written", exc_info=True)
        finally:
            connection.close()


def write_waiting() -> int:
    """Write what was noted in this process; return how many texts."""
    with _lock:
        noted = dict(_waiting)
        _waiting.clear()
    known = vocabulary.known({word for text in noted for word in _words(text)})
    # In one order, as the locks below, so that no two processes wait for one another in a ring.
    kept = sorted(text for text in noted if known.issuperset(_words(text)))
    if not kept:
        return 0
    now = timezone.now()
    with transaction.atomic():
        PastSearch.objects.bulk_create(
            [
                PastSearch(
                    text=text,
                    head=squeezed(hangul.decompose(text))[:HEAD],
                    initials_head=squeezed(hangul.initials(text))[:HEAD],
                    last_at=now - 2 * APART,
                )
                for text in kept
            ],
            ignore_conflicts=True,
        )
        rows = PastSearch.objects.filter(text__in=kept)
        list(rows.order_by("pk").select_for_update().values_list("pk", flat=True))
        for times in {noted[text] for text in kept}:
            same = [text for text in kept if noted[text] == times]
            rows.filter(text__in=same).update(times=F("times") + times)
        rows.filter(last_at__lte=now - APART).update(moments=F("moments") + 1, last_at=now)
    return len(kept)


def begin_with(typed: str, limit: int, *, by_initials: bool = False) -> list[str]:
    """Return what others have searched for that begins with these keys, most often first.

    `typed` is run together. One query.
    """
    pattern = typed + ("*" if connection.vendor == "sqlite" else "%")
    return [text for (text,) in _begin_with(by_initials).fetch(pattern, limit=limit)]


@lru_cache(maxsize=2)
def _begin_with(by_initials: bool) -> Prepared:
    rows = PastSearch.objects.filter(moments__gte=LEAST_MOMENTS).filter(
        **{"initials_head__glob" if by_initials else "head__glob": ""}
    )
    return Prepared(rows.order_by("-moments", "-times", "text").values_list("text"))


def prune() -> int:
    """Remove what nobody has searched for in long or the catalogue has no more; return how many.

    And all but the most frequent, where there are more than are kept.
    """
    gone, _ = PastSearch.objects.filter(last_at__lt=timezone.now() - _FORGOTTEN).delete()
    by_use = PastSearch.objects.order_by("-moments", "-times", "-last_at").values_list("pk", "text")
    stale = [pk for pk, _text in by_use[KEPT : 2 * KEPT]]
    kept = list(by_use[:KEPT])
    for start in range(0, len(kept), _WAITING):
        batch = kept[start : start + _WAITING]
        known = vocabulary.known({word for _pk, text in batch for word in _words(text)})
        stale += [pk for pk, text in batch if not known.issuperset(_words(text))]
    for start in range(0, len(stale), _WAITING):
        PastSearch.objects.filter(pk__in=stale[start : start + _WAITING]).delete()
    return gone + len(stale)
