"""The states of an order and the moves between them, as data.

The API, the admin and the docs read this table; nothing else decides.
"""

from django.db import models
from django.utils.translation import pgettext_lazy


class Status(models.TextChoices):
    """Where an order stands."""

    PENDING = "pending", pgettext_lazy("order", "pending")
    PAID = "paid", pgettext_lazy("order", "paid")
    PROCESSING = "processing", pgettext_lazy("order", "processing")
    SHIPPED = "shipped", pgettext_lazy("order", "shipped")
    DELIVERED = "delivered", pgettext_lazy("order", "delivered")
    COMPLETED = "completed", pgettext_lazy("order", "completed")
    CANCELLED = "cancelled", pgettext_lazy("order", "cancelled")


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
