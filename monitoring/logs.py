"""Logs: one JSON object a line."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

from shop.context import correlation_id

# What every LogRecord has; anything else was passed as `extra`.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
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
            "message": record.getMessage(),
            "correlation_id": correlation_id.get() or None,
            "user_id": None,
            "duration_ms": None,
        }
        # A set difference: most lines have few fields of their own.
        for name in fields.keys() - _STANDARD:
            secret = name not in _PLAIN and any(word in name.lower() for word in _SECRET)
            line[name] = "[removed]" if secret else fields[name]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
