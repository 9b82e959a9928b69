"""An ASGI application that answers everything with the bytes in the file RAW_ANSWER.

What a server can do at most; benchmarks.reading compares the shop with it.
"""

import json
import os
from pathlib import Path
from typing import Any

_told = json.loads(Path(os.environ["RAW_ANSWER"]).read_text())
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _told["headers"]]
_BODY = _told["body"].encode()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})
