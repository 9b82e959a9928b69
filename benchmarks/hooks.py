"""Ten thousand events to one webhook on this machine: how fast, in order, and none twice."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

import orjson

from benchmarks.arena import Arena
from benchmarks.events import FILL, PATIENCE, SUBJECT_EVENTS, WAIT

_SUBSCRIBE = """
import sys
import django
django.setup()
from shop.outgoing import new_secret
from shop.webhooks.models import Webhook
Webhook.objects.create(name="measure", url=sys.argv[1], secret=new_secret())
"""

HEADER = (
    "| deliveries | senders | seconds | deliveries/s | doubled | missing | out of order |\n"
    "|--:|--:|--:|--:|--:|--:|--:|"
)


def measure(*, events: int, senders: int) -> str:
    """Deliver so many events, five a subject; returns one line of a Markdown table.

    Raises:
        ArenaError: the arena could not be set up, or it took ten minutes.
    """
    with Arena(products=100, people=1) as arena, _receiver() as (url, got):
        arena.run(["-c", _SUBSCRIBE, url])
        arena.run(["-c", FILL, str(events // SUBJECT_EVENTS), str(SUBJECT_EVENTS)])
        with arena.processes([["manage.py", "send_events"]] * senders, PRIVATE_TARGETS="yes"):
            seconds = float(arena.run(["-c", WAIT, str(PATIENCE)]))
    times = Counter(got)
    disordered, last = 0, dict[str, int]()
    for subject, sequence in got:
        disordered += sequence < last.get(subject, 0)
        last[subject] = sequence
    return (
        f"| {len(got):,} | {senders} | {seconds:.1f} | {len(got) / seconds:,.0f}"
        f" | {len(got) - len(times)} | {events - len(times)} | {disordered} |"
    )


@contextlib.contextmanager
def _receiver() -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """A server that takes everything; yields its address and the list of what it got."""
    got: list[tuple[str, int]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        event = orjson.loads(await reader.readexactly(length))
        got.append((event["subject"], int(event["sequence"])))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(take, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/", got
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
