"""A receiver of webhooks on this machine: it keeps what it gets, and answers as it is told."""

import contextlib
import json
import socket
import threading
import time


class Receiver:
    """A socket that answers each request with the next of `answers`, the last again and again.

    An answer is bytes, or a function that has the connection to itself.
    """

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/hook"
        self.answers = [answer(204)]
        self.got = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                link, _ = self.server.accept()
            except OSError:
                return
            with link, contextlib.suppress(OSError):
                self.take(link)

    def take(self, link):
        stream = link.makefile("rb")
        if not stream.readline():
            return
        headers = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        body = stream.read(int(headers["content-length"]))
        self.got.append((headers, body))
        says = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(says):
            says(link)
        else:
            link.sendall(says)

    def close(self):
        # Closing alone does not wake who waits for a connection.
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(10)

    @property
    def sequences(self):
        return [(e["subject"], int(e["sequence"])) for e in (json.loads(b) for _, b in self.got)]


def answer(status, *headers):
    """Return a whole answer without a body."""
    lines = [f"HTTP/1.1 {status} x", "Content-Length: 0", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


def hang(link):
    """Say nothing, for as long as the other side stays."""
    link.recv(1)


def drip(link):
    """Say a little, again and again, and never come to an end."""
    link.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        link.sendall(b"X")
        time.sleep(0.05)


def flood(link):
    """Say far too much."""
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    for _ in range(1000):
        link.sendall(b"x" * 1_000_000)
