"""The states of an order and the moves between them, as data.

The API, the admin and the docs read this table; nothing else decides.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Where an order stands."""

    PENDING = "pending", _("pending")
    PAID = "paid", _("paid")
    PROCESSING = "processing", _("processing")
    SHIPPED = "shipped", _("shipped")
    DELIVERED = "delivered", _("delivered")
    COMPLETED = "completed", _("completed")
    CANCELLED = "cancelled", _("cancelled")


# The first move of each row is the one that comes next when all goes well.
MOVES: dict[Status, tuple[Status, ...]] = {
    Status.PENDING: (Status.PAID, Status.CANCELLED),
    Status.PAID: (Status.PROCESSING, Status.CANCELLED),
    Status.PROCESSING: (Status.SHIPPED, Status.CANCELLED),
    Status.SHIPPED: (Status.DELIVERED,),
    Status.DELIVERED: (Status.COMPLETED,),
    Status.COMPLETED: (),
    Status.CANCELLED: (),
}


def comes_next(status: Status) -> Status | None:
    """Return the next state on the way to completion, None at the end of it."""
    moves = MOVES[status]
    return moves[0] if moves else None


def table() -> str:
    """Return the moves as a Markdown table, for the API's description and docs/api.md."""
    rows = [
        f"| `{status.value}` | {', '.join(f'`{to.value}`' for to in moves) or '–'} |"
        for status, moves in MOVES.items()
    ]
    return "\n".join(["| from | to |", "|---|---|", *rows])
