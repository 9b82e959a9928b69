"""CPU use, asked from any thread."""

from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from monitoring import system

Times = namedtuple("Times", "user system idle iowait guest")


@pytest.fixture
def host(monkeypatch):
    """A host whose clocks are set by hand."""
    at = {"now": 100.0, "times": Times(0, 0, 0, 0, 0)}
    monkeypatch.setattr(psutil, "cpu_times", lambda: at["times"])
    monkeypatch.setattr(system.time, "monotonic", lambda: at["now"])

    def go(seconds, times):
        at["now"] += seconds
        at["times"] = times

    return go


def test_each_thread_sees_what_was_used_since_the_last_look(host):
    use = system.CpuUse()
    host(10, Times(6, 2, 10, 2, 4))
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(use.percent).result() == 40
        host(10, Times(16, 2, 20, 2, 4))
        assert other.submit(use.percent).result() == 50


def test_looks_in_quick_succession_agree(host):
    use = system.CpuUse()
    host(10, Times(5, 0, 5, 0, 0))
    assert use.percent() == 50
    host(0.1, Times(15, 0, 5, 0, 0))
    assert use.percent() == 50
    host(1, Times(15, 0, 5, 0, 0))
    assert use.percent() == 100


def test_clocks_that_stand_still_or_go_back_are_no_use(host):
    use = system.CpuUse()
    assert use.percent() == 0
    host(10, Times(0, 0, -5, 0, 0))
    assert use.percent() == 0
