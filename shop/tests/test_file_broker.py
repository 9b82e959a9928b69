"""The broker of files: nobody sees half a file, and what can't be read stops nobody."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from queue import Empty

import pytest
from kombu import Connection, Exchange, Queue

from shop.file_broker import Transport

QUEUE = Queue("jobs.default", Exchange("jobs.default"), routing_key="jobs.default")
# Sends a message, and dies in the middle of the next.
WRITER = """
import os, signal, sys
from pathlib import Path
from kombu import Connection
from shop.tests.test_file_broker import QUEUE, options, send

def write_half(path, content):
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

with Connection("filesystem://localhost", transport="shop.file_broker:Transport",
                transport_options=options(sys.argv[1])) as client:
    send(client, "whole")
    Path.write_bytes = write_half
    send(client, "half")
"""


def options(folder):
    messages = os.path.join(folder, "messages")
    control = os.path.join(folder, "control")
    return {"data_folder_in": messages, "data_folder_out": messages, "control_folder": control}


@pytest.fixture
def connect(tmp_path):
    """Connect as another process would: nothing is remembered of what others have declared."""
    clients = []

    def go():
        class Other(Transport):
            global_state = type(Transport.global_state)()

        client = Connection("filesystem://", transport=Other, transport_options=options(tmp_path))
        clients.append(client)
        return client

    yield go
    for client in clients:
        client.release()


def send(client, *bodies):
    with client.Producer() as producer:
        for body in bodies:
            producer.publish(body, routing_key=QUEUE.name, exchange=QUEUE.exchange, declare=[QUEUE])


def take(client):
    """Return the bodies of all messages."""
    found = []
    queue = QUEUE(client.default_channel)
    queue.declare()
    while (message := queue.get(no_ack=True)) is not None:
        found.append(message.payload)
    return found


def test_messages_come_once_and_in_order(connect, tmp_path):
    send(connect(), "one", "two", "three")
    client = connect()
    assert take(client) == ["one", "two", "three"]
    assert take(client) == []
    assert not any((tmp_path / "messages").iterdir())


def test_a_message_torn_anywhere_is_passed_over(connect, tmp_path):
    client = connect()
    send(client, "whole")
    (file,) = (tmp_path / "messages").iterdir()
    text = file.read_bytes()
    for length in range(len(text)):
        (tmp_path / "messages" / f"0_{length:04}.jobs.default.msg").write_bytes(text[:length])
    assert take(client) == ["whole"]
    assert not any((tmp_path / "messages").iterdir())


@pytest.mark.parametrize(
    "text", [b"5", b"[]", b"{}", b'{"properties": {}}', b"\xff\xfe", b"null", b'{"properties": 1}']
)
def test_what_is_no_message_is_passed_over(connect, tmp_path, text):
    client = connect()
    send(client, "whole")
    (tmp_path / "messages" / "0_odd.jobs.default.msg").write_bytes(text)
    assert take(client) == ["whole"]


@pytest.mark.parametrize("text", [b"", b'[["jobs.d', b"5", b"null", b"\xff", b"[1]"])
def test_a_torn_table_is_made_anew(connect, tmp_path, text):
    send(connect(), "one")
    (tmp_path / "control" / "jobs.default.exchange").write_bytes(text)
    client = connect()
    assert take(client) == ["one"]
    send(connect(), "two")
    assert take(client) == ["two"]


def test_a_folder_that_was_cleared_away_is_made_anew(connect, tmp_path):
    client = connect()
    send(client, "one")
    shutil.rmtree(tmp_path / "messages")
    assert take(client) == []
    send(client, "two")
    assert take(client) == ["two"]


def test_many_bind_at_once_and_none_is_lost(connect, tmp_path):
    exchange = Exchange("many", type="fanout")
    queues = [Queue(f"many{number}", exchange) for number in range(12)]
    bound = [queue(connect().default_channel) for queue in queues]
    threads = [threading.Thread(target=queue.declare) for queue in bound]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = connect().default_channel.get_table("many")
    assert sorted(row.queue for row in table) == sorted(queue.name for queue in queues)


def test_a_queue_that_goes_leaves_the_others_bound(connect):
    exchange = Exchange("many", type="fanout")
    channel = connect().default_channel
    for name in ("stays", "goes"):
        Queue(name, exchange)(channel).declare()
    Queue("goes", exchange)(channel).delete()
    assert [row.queue for row in channel.get_table("many")] == ["stays"]


def test_of_several_readers_each_message_goes_to_one(connect):
    send(connect(), *range(60))
    channels, found = [connect().default_channel for _ in range(4)], []

    def read(channel):
        for _ in range(60):
            try:
                found.append(channel._get(QUEUE.name)["body"])
            except Empty:
                return

    threads = [threading.Thread(target=read, args=(channel,)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 60


def test_a_writer_that_is_killed_leaves_no_half_message(connect, tmp_path, caplog):
    client = connect()
    writer = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], check=False)
    assert writer.returncode == -signal.SIGKILL
    assert any(path.name.endswith(".part") for path in (tmp_path / "messages").iterdir())
    assert take(client) == ["whole"]
    assert "can't be read" not in caplog.text


@pytest.mark.parametrize("folder", ["messages", "control"])
@pytest.mark.parametrize("ending", ["part", "taken"])
def test_what_the_dead_have_left_is_removed_in_time(connect, tmp_path, folder, ending):
    (tmp_path / folder).mkdir()
    old, new = (tmp_path / folder / f"{name}.jobs.default.msg.{ending}" for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, time.time() - 3600))
    assert take(connect()) == []
    assert new.exists()
    assert not old.exists()
