"""A real sender, with the shop's webhooks, that is killed on demand.

`python -m shop.tests.webhook_process [POINT NUMBER]`: the process kills itself, as
`kill -9` would, at the given point of the post with that number, counted from one:

- before: nothing has left;
- answered: the receiver has it, and no row tells of the attempt;
- attempted: the row is there, and the offset does not know.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import django

POINTS = ("before", "answered", "attempted")


def dying(number: int, original: Callable[..., Any], *, first: bool) -> Callable[..., Any]:
    """Return `original` such that its call with this number is the process's last."""
    left = number

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and first:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def main(point: str, number: int) -> None:
    """Send until SIGTERM, or until that post."""
    django.setup()
    from shop import outgoing
    from shop.events import sinks
    from shop.events.sender import Sender
    from shop.webhooks.models import Attempt

    sinks._sinks.clear()
    if point == "attempted":
        # Each row is one statement, committed when it returns.
        Attempt.save = dying(number, Attempt.save, first=False)  # type: ignore[method-assign]
    elif point:
        outgoing.post = dying(number, outgoing.post, first=point == "before")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    sender = Sender()
    sender.start()
    stop.wait()
    sender.stop(30)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    point, number = sys.argv[1:] or ("", "0")
    main(point, int(number))
