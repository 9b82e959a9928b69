"""Views that show from outside what the hop does with them.

They speak through files in the folder that HOP_MARKS names, so that the same
views serve tests in this process and tests against a real server.
"""

import asyncio
import io
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from uuid import uuid4

from django.core.files.uploadedfile import UploadedFile
from django.db import connection
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import get_script_prefix, path

PATIENCE = 60.0
BLOCK = b"x" * 65536
variable: ContextVar[str] = ContextVar("hop_variable", default="unset")


def mark(name: str, text: str = "") -> None:
    """Leave a mark for the test. It is there at once and whole."""
    folder = Path(os.environ["HOP_MARKS"])
    draft = folder / f".{name}.{threading.get_ident()}"
    draft.write_text(text)
    draft.rename(folder / name)


def wait_for(name: str) -> str:
    """Wait for a mark and return its text."""
    file = Path(os.environ["HOP_MARKS"]) / name
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        if time.monotonic() > deadline:
            raise AssertionError(f"nobody left the mark {name}")
        time.sleep(0.005)
    return file.read_text()


def echo(request: HttpRequest) -> HttpResponse:
    """What arrived."""
    body = request.body
    return JsonResponse(
        {
            "method": request.method,
            "body": body.decode() if len(body) < 1000 else len(body),
            "query": request.GET.dict(),
            "path_info": request.path_info,
            "prefix": get_script_prefix(),
            "cookies": request.COOKIES,
            "client": request.META.get("REMOTE_ADDR"),
        }
    )


def upload(request: HttpRequest) -> HttpResponse:
    """A file in a form."""
    file = request.FILES["f"]
    assert isinstance(file, UploadedFile)
    return JsonResponse({"f": [type(file).__name__, file.size, len(file.read())]})


def cookies(request: HttpRequest) -> HttpResponse:
    """Two cookies."""
    response = HttpResponse("ok")
    response.set_cookie("one", "1", httponly=True)
    response.set_cookie("two", "2")
    return response


def hold(request: HttpRequest) -> HttpResponse:
    """Takes as long as the test likes. The body is read only then."""
    name = request.GET.get("name", "hold")
    mark(f"{name}-began", threading.current_thread().name)
    wait_for(f"{name}-go")
    mark(f"{name}-ended")
    return HttpResponse(f"held {len(request.body)}")


def hold_then_stream(request: HttpRequest) -> StreamingHttpResponse:
    """A stream that is late."""
    response = stream(request)
    hold(request)
    return response


def variables(request: HttpRequest) -> HttpResponse:
    """Says what it found in a context variable, and sets another value."""
    found = variable.get()
    variable.set(request.GET["set"])
    if "name" in request.GET:
        hold(request)
    return HttpResponse(f"{found} {variable.get()}")


def _open() -> Path:
    name = f"open-{uuid4()}"
    mark(name)
    return Path(os.environ["HOP_MARKS"]) / name


class Watched:
    """An iterator like a view's generator, which tells when it is closed, and where."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.open = _open()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.chunks)

    def close(self) -> None:
        mark("closed", threading.current_thread().name)
        self.open.unlink()


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """`count` chunks; fails at, or waits for the test at, the chunk that is told."""
    count = int(request.GET.get("count", 3))
    fail_at = int(request.GET.get("fail_at", -1))
    hold_at = int(request.GET.get("hold_at", -1))
    chunk = BLOCK if "big" in request.GET else b"chunk"

    def chunks() -> Iterator[bytes]:
        for number in range(count):
            if number == fail_at:
                raise OSError("the view's own trouble")
            if number == hold_at:
                mark("stream-held")
                wait_for("stream-go")
            mark("produced", str(number + 1))
            yield chunk
        mark("ended", variable.get())

    variable.set("of the stream")
    response = StreamingHttpResponse(Watched(chunks()))
    if "sized" in request.GET:
        response["Content-Length"] = str(count * len(chunk))
    return response


def stream_body(request: HttpRequest) -> StreamingHttpResponse:
    """Reads the request's body while the answer is on its way."""

    def chunks() -> Iterator[bytes]:
        while block := request.read(1000):
            yield block

    return StreamingHttpResponse(chunks())


def stream_exit(request: HttpRequest) -> StreamingHttpResponse:
    """Tries to end the process from inside a stream."""

    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise SystemExit(3)

    return StreamingHttpResponse(chunks())


def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    """An asynchronous stream: `count` chunks, then, if told, silence without an end."""
    count = int(request.GET.get("count", 3))

    async def chunks() -> AsyncIterator[bytes]:
        is_open = _open()
        try:
            for _ in range(count):
                yield b"chunk"
            if "silent" in request.GET:
                mark("silent")
                await asyncio.Event().wait()
        finally:
            mark("closed")
            is_open.unlink()

    return StreamingHttpResponse(chunks())


def file(request: HttpRequest) -> FileResponse:
    """The file that HOP_FILE names."""
    return FileResponse(open(os.environ["HOP_FILE"], "rb"))


class Unreadable(io.RawIOBase):
    """A file on a disk that fails after some blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks

    def read(self, size: int = -1) -> bytes:
        self.blocks -= 1
        if self.blocks < 0:
            raise OSError("the disk's trouble")
        return b"block"


def file_fails(request: HttpRequest) -> FileResponse:
    """A file that can't be read to its end."""
    return FileResponse(Unreadable(int(request.GET["blocks"])))


def not_modified(request: HttpRequest) -> StreamingHttpResponse:
    """What WhiteNoise answers when the browser has the file already."""
    return StreamingHttpResponse(Watched(iter([b"never sent"])), status=304)


def leave(request: HttpRequest) -> HttpResponse:
    """Tries to end the process."""
    raise SystemExit(3)


def interrupt(request: HttpRequest) -> HttpResponse:
    """Does as Ctrl-C does."""
    raise KeyboardInterrupt


def fault(request: HttpRequest) -> HttpResponse:
    """An error of ours."""
    raise ValueError("trouble")


def bad_cookie(request: HttpRequest) -> HttpResponse:
    """An answer that can't be put into bytes."""
    response = HttpResponse("ok")
    response.set_cookie("name", "이름")
    return response


def database(request: HttpRequest) -> HttpResponse:
    """Which connection this thread has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse(str(id(connection.connection)))


def database_stream(request: HttpRequest) -> StreamingHttpResponse:
    """A stream with a query in it."""

    def chunks() -> Iterator[bytes]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            mark("stream-connection", threading.current_thread().name)
            yield b"row"

    return StreamingHttpResponse(chunks())


urlpatterns = [
    path("echo", echo),
    path("upload", upload),
    path("cookies", cookies),
    path("hold", hold),
    path("hold-then-stream", hold_then_stream),
    path("variables", variables),
    path("stream", stream),
    path("stream-body", stream_body),
    path("stream-exit", stream_exit),
    path("stream-async", stream_async),
    path("file", file),
    path("file-fails", file_fails),
    path("not-modified", not_modified),
    path("leave", leave),
    path("interrupt", interrupt),
    path("fault", fault),
    path("bad-cookie", bad_cookie),
    path("database", database),
    path("database-stream", database_stream),
]
