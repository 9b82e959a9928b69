"""A sender with sinks that write into files, and that is killed on demand.

`python -m shop.tests.sender_process FOLDER SINK …`: each sink appends a line
"<event id> <subject> <sequence>" to FOLDER/SINK for each event that it is
given. Where FOLDER/kill-SINK holds a number, the process kills itself, as
`kill -9` would, right after having written that many lines: between sending
and noting.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import django


def appending(folder: Path, name: str) -> Any:
    """Return what a sink of this name does with an event."""
    kill = folder / f"kill-{name}"
    left = int(kill.read_text()) if kill.exists() else 0
    kill.unlink(missing_ok=True)

    def take(event: Any) -> None:
        nonlocal left
        with (folder / name).open("a") as file:
            file.write(f"{event.pk} {event.subject} {event.sequence}\n")
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return take


def main(folder: Path, names: list[str]) -> None:
    """Send until SIGTERM."""
    django.setup()
    from django.db.backends.signals import connection_created

    from shop.events import sinks
    from shop.events.sender import Sender

    queries = 0

    def count(execute: Any, *args: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(*args)

    def watch(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(count)

    connection_created.connect(watch, weak=False)

    sinks._sinks.clear()
    for name in names:
        sinks.register(sinks.Sink(name, appending(folder, name)))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    sender = Sender()
    sender.start()
    stop.wait()
    sender.stop(30)
    (folder / f"queries-{os.getpid()}").write_text(str(queries))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    main(Path(sys.argv[1]), sys.argv[2:])
