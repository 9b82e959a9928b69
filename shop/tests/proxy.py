"""A TCP proxy in front of PostgreSQL, for what goes wrong in between."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Literal

from django.db import connection

from shop.tests.running import PATIENCE, free_port

# How the protocol says it, in a Query as in the CommandComplete that answers it.
_COMMIT = b"COMMIT\0"

Part = Literal["request", "answer"]


class Proxy:
    """A context manager; passes on what comes to `port`, until it is told otherwise."""

    def __init__(self) -> None:
        self.port = free_port()
        self._target = (
            connection.settings_dict["HOST"] or "127.0.0.1",
            int(connection.settings_dict["PORT"] or 5432),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._lost: Part | None = None

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._flows.set()
        self._call(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Break all connections off and refuse new ones, for a while."""
        self._call(self._cut())
        try:
            yield
        finally:
            self._call(self._listen())

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Pass nothing on for a while; connections stay as they are."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flows.set)

    def lose_commit(self, part: Part) -> None:
        """Break the connection of the next COMMIT off: before it is passed on, or its answer."""
        self._lost = part

    @property
    def has_lost_it(self) -> bool:
        """Whether the COMMIT that was to be lost has come by."""
        return self._lost is None

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
        while self._open:
            for writer in self._open:
                writer.transport.abort()
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        both = {writer, far_writer}
        self._open |= both
        await asyncio.gather(
            self._pass(reader, far_writer, "request"), self._pass(far_reader, writer, "answer")
        )
        self._open -= both

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, part: Part
    ) -> None:
        """Pass one direction on until it ends; then the other has ended as well."""
        with suppress(OSError):
            while chunk := await reader.read(65536):
                await self._flows.wait()
                if self._lost == part and _COMMIT in chunk:
                    self._lost = None
                    break
                writer.write(chunk)
                await writer.drain()
        writer.close()
