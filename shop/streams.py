"""Streamed answers: the generators behind them and the threads that run them."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import cast

from django.db import connections
from django.http import HttpResponseBase, StreamingHttpResponse

logger = logging.getLogger(__name__)


class Pump:
    """Runs one generator in one thread, from its first chunk to its end.

    The thread waits until the event loop has passed each chunk on, so a slow
    client holds back the generator and nothing piles up here.
    """

    def __init__(
        self, stream: StreamingHttpResponse, patience: float, ended: Callable[[], None]
    ) -> None:
        """`patience` is in seconds; `ended` is called on the event loop."""
        self._stream = stream
        self._patience = patience
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._taken = threading.Semaphore(0)
        self._stopped = False

    def stop(self) -> None:
        """Let the thread end after the chunk that it is at."""
        self._stopped = True
        self._taken.release()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield what the generator yields, raise what it raises."""
        while (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
            self._taken.release()

    def run(self) -> None:
        """Run in the thread."""
        last: Exception | None = None
        try:
            for chunk in cast(Iterator[bytes], self._stream):
                if self._stopped:
                    break
                if chunk:
                    self._put(chunk)
                    # The bound is for an event loop that ended without a word.
                    if not self._taken.acquire(timeout=self._patience) or self._stopped:
                        break
        except Exception as error:
            last = error
        except BaseException as error:
            last = RuntimeError(f"{type(error).__name__} in a stream")
            last.__cause__ = error
        finally:
            # Here where its database connection is, which nobody else would use.
            close(self._stream)
            connections.close_all()
            try:
                self._loop.call_soon_threadsafe(self._ended)
                self._put(last)
            except RuntimeError:
                pass

    def _put(self, item: bytes | Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._items.put_nowait, item)


async def read_async(stream: StreamingHttpResponse) -> AsyncGenerator[bytes, None]:
    """Yield what an asynchronous stream yields, and close what it wraps."""
    try:
        async for chunk in stream:
            yield chunk
    finally:
        # Django's wrapper, when it is closed, leaves what it wraps open.
        close = getattr(stream.__dict__["_iterator"], "aclose", None)
        if close is not None:
            await close()


def close(response: HttpResponseBase) -> None:
    """Close the response and send request_finished."""
    try:
        response.close()
    except Exception:
        # Only the signal's receivers can have raised.
        logger.exception("a receiver of request_finished failed")


def is_file(stream: StreamingHttpResponse) -> bool:
    """Whether it is read from a file, block by block, and not made as it goes."""
    return getattr(stream, "file_to_stream", None) is not None
