"""UUIDv7."""

import time
from uuid import RFC_4122

from shop import ids


def test_it_is_one_and_tells_its_time(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_999_999)
    made = ids.uuid7()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == 1_700_000_000_123
    assert made.int >> 64 & 0xFFF == 4095
    assert ids.uuid7() != made


def test_it_sorts_by_time_also_within_a_millisecond(monkeypatch):
    moments = iter(range(1_700_000_000_000_000_000, 1_700_000_000_002_000_000, 500))
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [ids.uuid7() for _ in range(4000)]
    assert made == sorted(made)
