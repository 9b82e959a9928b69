"""Logs: one JSON object a line."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

from shop.context import correlation_id
from shop.redact import REMOVED, redact

# What every LogRecord has, and the request that Django's own loggers add; anything else
# was passed as `extra`.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "request"}
# The fields of every request's line.
_PLAIN = frozenset({"method", "route", "status", "user_id", "duration_ms"})
_SECRET = ("password", "token", "secret", "authorization", "cookie", "session")


class JSONFormatter(logging.Formatter):
    """timestamp, level, logger, message, correlation_id, and the fields of the matter."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = record.__dict__
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(_message(record)),
            "correlation_id": correlation_id.get() or None,
            "user_id": None,
            "duration_ms": None,
        }
        # A set difference: most lines have few fields of their own.
        for name in fields.keys() - _STANDARD:
            secret = name not in _PLAIN and any(word in name.lower() for word in _SECRET)
            value = fields[name]
            line[name] = REMOVED if secret else redact(value) if type(value) is str else value
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str).decode()


def _message(record: logging.LogRecord) -> str:
    """Return the message, with the route where Django names the path: a path may be a secret."""
    text = record.getMessage()
    request = record.__dict__.get("request")
    path = getattr(request, "path", "")
    if not path or path == "/":
        return text
    match = getattr(request, "resolver_match", None)
    return text.replace(path, f"/{match.route}" if match else "(unmatched)")
