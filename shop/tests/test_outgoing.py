"""What is posted for others stays out of our network and inside its bounds."""

import asyncio
import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from shop import outgoing


@pytest.fixture
def receiver():
    """A server that notes the headers it gets."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(dict(self.headers))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.seen = seen
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        # Spelt otherwise, and wrapped.
        "http://2130706433/",
        "http://0x7f.1/",
        "http://alice@127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[2002:a00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "ftp://example.com/",
        "http:///",
        "nonsense",
        "http://[",
    ],
)
def test_our_own_network_is_closed_unless_it_is_opened(settings, url, monkeypatch):
    settings.PRIVATE_TARGETS = False

    def opened(*args, **kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", opened)
    with pytest.raises(outgoing.Refused):
        outgoing.post(url, b"{}", {})


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_the_world_is_open(settings, address):
    settings.PRIVATE_TARGETS = False
    assert asyncio.run(outgoing.address_for("https", address, None)) == address


def named(monkeypatch, *answers):
    """Have the name hook.example answered so, each time with the next; returns who asked."""
    asked = []

    def lookup(host, port, *args, **kwargs):
        assert host == "hook.example"
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def test_one_address_inside_is_enough_to_refuse(settings, monkeypatch):
    settings.PRIVATE_TARGETS = False
    named(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(outgoing.Refused, match="inside our own network"):
        asyncio.run(outgoing.address_for("http", "hook.example", None))


def test_the_connection_goes_to_the_address_that_was_looked_at(receiver, monkeypatch):
    # Whoever answers for the name may say something else the next time.
    asked = named(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    port = receiver.server_port
    assert outgoing.post(f"http://hook.example:{port}/hook", b"{}", {})[0] == 204
    assert asked == ["hook.example"]
    (headers,) = receiver.seen
    assert {name.lower(): value for name, value in headers.items()}["host"] == (
        f"hook.example:{port}"
    )


def test_a_receiver_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(outgoing, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            link, _ = server.accept()
            with link, contextlib.suppress(OSError):
                link.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    link.sendall(b"X-More: x\r\n")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TimeoutError):
            outgoing.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {})
        thread.join()
