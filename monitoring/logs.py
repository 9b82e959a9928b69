"""Logs: one JSON object a line."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

from shop.context import correlation_id

# What every LogRecord has; anything else was passed as `extra`.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET = ("password", "token", "secret", "authorization", "cookie", "session")


class JSONFormatter(logging.Formatter):
    """timestamp, level, logger, message, correlation_id, and the fields of the matter."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "correlation_id": correlation_id.get() or None,
            "user_id": None,
            "duration_ms": None,
        }
        for name, value in vars(record).items():
            if name in _STANDARD:
                continue
            if any(word in name.lower() for word in _SECRET):
                value = "[removed]"
            line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
