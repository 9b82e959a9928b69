"""Telling the processes that there is news.

The event table is the truth, and whoever follows it asks it a few times a
second. A wake only makes them ask at once: it names the subject and says
nothing else, and may be lost. Followers of the same process are told directly,
those of others through the channel layer, where that reaches further than one
process.
"""

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from channels.layers import get_channel_layer
from django.conf import settings

logger = logging.getLogger(__name__)

GROUP = "events"
# Seconds that nothing is sent after a failure, so that a channel layer that is
# gone costs nothing and is complained of seldom.
_PAUSE = 10.0

_listeners: set[Callable[[str], None]] = set()
# What waits for the channel layer; when it is full, polling does the rest.
_outgoing: queue.Queue[str] = queue.Queue(maxsize=1000)
_sender: threading.Thread | None = None
_lock = threading.Lock()
# A forked child has none of its parent's threads, so nobody to wake.
os.register_at_fork(after_in_child=_listeners.clear)


def listen(listener: Callable[[str], None]) -> None:
    """Have `listener` called, in whatever thread, with each subject that has news."""
    _listeners.add(listener)


def stop_listening(listener: Callable[[str], None]) -> None:
    """Undo `listen`."""
    _listeners.discard(listener)


def wake(subject: str) -> None:
    """Tell of news; call it after the commit. Takes microseconds and never fails."""
    for listener in list(_listeners):
        listener(subject)
    if settings.REDIS_URL:
        try:
            _outgoing.put_nowait(subject)
        except queue.Full:
            return
        if _sender is None or not _sender.is_alive():
            _start()


def _start() -> None:
    # Not before it is needed, and anew in a forked child.
    global _sender
    with _lock:
        if _sender is None or not _sender.is_alive():
            _sender = threading.Thread(target=_send_all, name="wake", daemon=True)
            _sender.start()


def _send_all() -> None:
    """Pass subjects on to the channel layer, in an event loop of this thread's own."""
    loop = asyncio.new_event_loop()
    quiet_until = 0.0
    while True:
        subject = _outgoing.get()
        if time.monotonic() < quiet_until:
            continue
        layer = get_channel_layer()
        if layer is None:
            continue
        message = {"type": "events.news", "subject": subject}
        try:
            loop.run_until_complete(asyncio.wait_for(layer.group_send(GROUP, message), 2))
        except Exception:
            quiet_until = time.monotonic() + _PAUSE
            logger.warning("channel layer out of reach, polling goes on", exc_info=True)
