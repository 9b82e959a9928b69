"""What ready answers hold at most: filled, and asked for a million different things.

Run as `python -m benchmarks.ready_memory KEYS`; prints one line of JSON. In front of
it stands an application that answers at once, with a body like a list's.
"""

import asyncio
import json
import os
import sys
from typing import Any

import django
import psutil

_BODY = (
    b'{"results":[' + b",".join(b'{"id":"%d","name":"something"}' % n for n in range(20)) + b"]}"
)


def main(keys: int) -> dict[str, float]:
    """Ask for so many different addresses; return megabytes held before, when full, and after."""
    from django.conf import settings

    from shop import ready
    from shop.ready import Answer, ReadyAnswers, kept

    settings.RATE_LIMITS = False
    answers = kept()
    answers.knowledge.tags.sure_until = float("inf")

    async def view(scope: Any, receive: Any, send: Any) -> None:
        key = (scope["path"], ready.canonical(scope["query_string"]) or "")
        number = int(key[1].partition("=")[2])
        # Each has a body of its own, as lists have.
        found = Answer(key, _BODY + str(number).encode(), b"%d" % number)
        tags = ["members", *range(number % 5000, number % 5000 + 20)]
        since = answers.knowledge.tags.now
        answers.store.put(key, found, tags=tags, since=since, size=len(found.body))
        scope["shop"].update(answer=found, route="api/v2/products")
        headers = [(b"content-type", b"application/json"), (b"vary", b"Accept-Language, Cookie")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})

    layer = ReadyAnswers(view, lambda path: True)

    async def nothing(_: Any = None) -> Any:
        pass

    async def ask(first: int, last: int) -> None:
        for number in range(first, last):
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/api/v2/products",
                "query_string": b"min_price=%d" % number,
                "headers": [(b"host", b"localhost"), (b"accept-encoding", b"gzip")],
                "scheme": "http",
            }
            if layer.find(scope) is None:
                await layer(scope, nothing, nothing)

    process = psutil.Process(os.getpid())
    told = {"before": process.memory_info().rss / 1e6}
    number = 0
    while answers.store.evicted == 0 and answers.store.most:
        asyncio.run(ask(number, number + 1000))
        number += 1000
    told |= {"full": process.memory_info().rss / 1e6, "answers": len(answers.store)}
    asyncio.run(ask(number, keys))
    told |= {"after": process.memory_info().rss / 1e6, "store": answers.store.size / 1e6}
    return told


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    django.setup()
    print(json.dumps(main(int(sys.argv[1]))))
