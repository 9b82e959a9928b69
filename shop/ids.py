"""Identifiers that can't be guessed and sort by time."""

import os
import time
from datetime import datetime
from uuid import UUID


def uuid7() -> UUID:
    """Return a UUIDv7: Unix milliseconds, 12 bits of a fraction of one, 62 random bits.

    Layout after RFC 9562, section 5.7; the fraction (a quarter of a
    microsecond) by method 3 of section 6.2, so that what one process makes in
    a row sorts in that row.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    value = (
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (rest * 4096 // 1_000_000) << 64
        | 0b10 << 62
        | int.from_bytes(os.urandom(8), "big") >> 2
    )
    return UUID(int=value)


def uuid7_floor(moment: datetime) -> UUID:
    """Return the least of all ids that can have been made at `moment` or after it."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
