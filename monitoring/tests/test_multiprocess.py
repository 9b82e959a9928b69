"""Counts of several processes, living and dead."""

import os
import signal
import subprocess
import sys

import pytest
from prometheus_client import generate_latest

from monitoring import multiprocess

COUNTER = "shop_orders_completed_total"
# A process of the shop that counts, says so, and waits to be told to end.
PROCESS = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django; django.setup()
from monitoring import metrics
for _ in range(int(sys.argv[1])):
    metrics.ORDER_COMPLETED.inc()
    metrics.count_request("GET", "/x", 200, 0.003)
metrics.WEBSOCKETS.inc(2)
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, settings):
    settings.METRICS_DIR = tmp_path
    return tmp_path


@pytest.fixture
def start(folder):
    running = []

    def go(number):
        environment = {**os.environ, "METRICS_DIR": str(folder), "DATA_DIR": str(folder / "data")}
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(number)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == "counted\n"
        return process

    yield go
    for process in running:
        process.kill()
        process.communicate()


def end(process, how):
    if how == "quietly":
        process.communicate("")
    else:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_the_sum_of_two_processes_survives_both(start, folder):
    one, two = start(3), start(4)
    assert multiprocess.values()[COUNTER, ()] == 7
    assert multiprocess.values()["shop_websocket_connections", ()] == 4
    end(one, "quietly")
    end(two, "killed")
    assert multiprocess.values()[COUNTER, ()] == 7
    assert multiprocess.compact() > 0
    values = multiprocess.values()
    assert values[COUNTER, ()] == 7
    # Sockets end with their process.
    assert ("shop_websocket_connections", ()) not in values
    count = [
        v for (name, _), v in values.items() if name.endswith("http_request_duration_seconds_count")
    ]
    assert count == [7]
    assert sorted(path.name for path in folder.glob("*.db")) == ["counter_0.db", "histogram_0.db"]
    third = start(5)
    assert multiprocess.values()[COUNTER, ()] == 12
    assert multiprocess.compact() == 0
    end(third, "killed")
    multiprocess.compact()
    assert multiprocess.values()[COUNTER, ()] == 12
    assert b"shop_orders_completed_total 12.0" in generate_latest(multiprocess.registry())


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_compaction_that_is_killed_loses_and_doubles_nothing(start, folder, monkeypatch, at):
    end(start(3), "killed")
    multiprocess.compact()
    end(start(4), "killed")
    rename = os.replace

    def killed(new, archive):
        if at == "after":
            rename(new, archive)
        raise KeyboardInterrupt

    monkeypatch.setattr(multiprocess.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        multiprocess.compact()
    monkeypatch.undo()
    monkeypatch.setattr(multiprocess.settings, "METRICS_DIR", folder, raising=False)
    multiprocess.compact()
    assert multiprocess.values()[COUNTER, ()] == 7
    assert not (folder / "compaction.json").exists()
