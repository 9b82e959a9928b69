"""What travels with a request or a job without being passed by hand."""

import re
from contextvars import ContextVar

from shop.ids import uuid7

# Set by the request layer and by the job runner; read by logs and events.
correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")

SANE_CORRELATION_ID = r"[A-Za-z0-9._:\-]{8,100}"
_SANE = re.compile(SANE_CORRELATION_ID + r"\Z")


def sane_correlation_id(offered: str) -> str:
    """Return `offered` if it is fit for logs and headers, else a new id."""
    return offered if _SANE.match(offered) else str(uuid7())
