"""Identifiers that can't be guessed and sort by time."""

import os
import time
from datetime import datetime
from uuid import UUID


def uuid7() -> UUID:
    """Return a UUIDv7: 48 bits of Unix milliseconds, then 74 random bits.

    Layout after RFC 9562, section 5.7.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (random >> 68 & 0xFFF) << 64
        | 0b10 << 62
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )
    return UUID(int=value)


def uuid7_floor(moment: datetime) -> UUID:
    """Return the least of all ids that can have been made at `moment` or after it."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
