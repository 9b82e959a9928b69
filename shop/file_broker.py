"""Celery's broker made of files, whose writers and readers may die at any moment.

Kombu's own writes a file in place. Who reads it too early, or after its writer was
killed, finds half of it, and ends; and half a table of bindings ends each process
that starts from then on. Here a file is whole from the moment it has its name, and
what can't be read is passed over: a message is only a hint (shop.jobs.queue).
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import filesystem
from kombu.transport.filesystem import LOCK_EX, exchange_queue_t, lock  # type: ignore[attr-defined]
from kombu.utils.json import dumps, loads

logger = logging.getLogger(__name__)

# Endings of files that are being written, and that are being read.
_PART, _TAKEN = ".part", ".taken"
# Seconds after which whoever wrote or read such a file is dead.
_STALE = 600.0

Table = list[exchange_queue_t]


class Channel(filesystem.Channel):
    """Kombu's, with files that are never seen by halves."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for folder in (Path(self.data_folder_in), self.control_folder):
            folder.mkdir(parents=True, exist_ok=True)
            _clear(folder)

    def _put(  # type: ignore[override]
        self, queue: str, payload: Any, **_: Any
    ) -> None:
        name = f"{time.time_ns()}_{uuid4()}.{queue}.msg"
        _write(Path(self.data_folder_out, name), payload)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for name in self._names(queue):
            taken = Path(self.data_folder_in, name + _TAKEN)
            try:
                # Of several readers one gets it.
                Path(self.data_folder_in, name).rename(taken)
                text = taken.read_bytes()
                taken.unlink()
            except FileNotFoundError:
                continue
            try:
                payload = loads(text.decode())
                self.Message(payload, channel=self)
            except (AttributeError, LookupError, TypeError, ValueError):
                logger.warning("a message that can't be read is dropped", extra={"file": name})
                continue
            return payload
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._names(queue))

    def _names(self, queue: str) -> list[str]:
        """Return the names of the queue's messages, the oldest first."""
        try:
            names = os.listdir(self.data_folder_in)
        except FileNotFoundError:
            # Somebody has cleared it away; the next message makes it anew.
            return []
        return sorted(name for name in names if name.partition(".")[2] == f"{queue}.msg")

    def get_table(self, exchange: str) -> Any:
        """Return the exchange's bindings; none if the table can't be read, until one is made."""
        try:
            return list(super().get_table(exchange))
        except (TypeError, ValueError):
            logger.warning("a table of bindings can't be read", extra={"exchange": exchange})
            return []

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None
    ) -> None:
        binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda table: table if binding in table else [binding, *table])

    def _delete(
        self, queue: str, exchange: str, routing_key: str, pattern: str, *_: Any, **__: Any
    ) -> None:
        self._purge(queue)
        binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda table: [other for other in table if other != binding])

    def _change_table(self, exchange: str, change: Callable[[Table], Table]) -> None:
        file = self._exchange_file(exchange)  # type: ignore[attr-defined]
        file.parent.mkdir(parents=True, exist_ok=True)
        with (file.parent / "lock").open("w") as guard:
            # Whoever holds it and dies lets go of it.
            lock(guard, LOCK_EX)
            before = self.get_table(exchange)
            after = change(before)
            if after != before:
                _write(file, after)


class Transport(filesystem.Transport):
    """What CELERY_BROKER_TRANSPORT names."""

    Channel = Channel


def _write(path: Path, content: Any) -> None:
    part = path.with_name(f"{path.name}.{uuid4()}{_PART}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(dumps(content).encode())
    part.replace(path)


def _clear(folder: Path) -> None:
    """Remove what the dead have left."""
    before = time.time() - _STALE
    for path in folder.iterdir():
        if path.name.endswith((_PART, _TAKEN)):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
