"""A vendor that sends exactly the bytes that a test wrote, over a real socket, and remembers what it was asked."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """Bytes as they go out; then the connection is kept, closed, or left open without another byte."""

    raw: bytes
    then: str = "keep"  # keep, close, hang


def http(
    body: bytes | str, status: int = 200, *, length: int | None = None, then: str = "keep", **headers: str
) -> Reply:
    """A whole answer; underscores in header names become dashes. ``length`` may lie about the body."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(data) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Reply("\r\n".join(lines).encode() + b"\r\n\r\n" + data, then)


def ok(document: Any, **headers: str) -> Reply:
    """A JSON answer of 200."""
    return http(json.dumps(document), Content_Type="application/json", **headers)


def packed(document: Any, *, cut: int = 0, trailer: bytes = b"") -> Reply:
    """A JSON answer in gzip whose stream may end ``cut`` bytes too early, although its length is right."""
    data = gzip.compress(json.dumps(document).encode())
    return http(data[: len(data) - cut] + trailer, Content_Encoding="gzip")


def chunked(document: Any, *, ends: bool = True) -> Reply:
    """A JSON answer in two chunks; without its end the connection is dropped after them."""
    data = json.dumps(document).encode()
    half = len(data) // 2
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (data[:half], data[half:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Reply(head + chunks + (b"0\r\n\r\n" if ends else b""), "keep" if ends else "close")


SILENCE = Reply(b"", "hang")
DROPPED = Reply(b"", "close")


@dataclass
class ScriptedVendor:
    """Answers the n-th request with the n-th reply; a request beyond the script is answered with 599.

    Requests for a path that has an answer of its own get that, and are neither counted nor remembered.
    """

    replies: list[Reply]
    own: Mapping[str, Reply] = field(default_factory=dict)  # by path
    url: str = ""
    requests: list[str] = field(default_factory=list)  # path and query of each
    heads: list[str] = field(default_factory=list)  # request line and headers of each
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: list[socket.socket] = field(default_factory=list)

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the listener was closed: the test is over
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as stream:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    head += line
                reply = self._reply_to(head.decode())
                connection.sendall(reply.raw)
                if reply.then == "close":
                    connection.shutdown(socket.SHUT_RDWR)
                    connection.close()
                    return
                if reply.then == "hang":
                    stream.read()  # until the other side gives up
                    return

    def _reply_to(self, head: str) -> Reply:
        target = head.split(" ", 2)[1]
        if target in self.own:
            return self.own[target]
        with self._lock:
            number = len(self.requests)
            self.requests.append(target)
            self.heads.append(head)
        return self.replies[number] if number < len(self.replies) else http("beyond the script", 599)


@contextmanager
def scripted_vendor(replies: Sequence[Reply], own: Mapping[str, Reply] | None = None) -> Iterator[ScriptedVendor]:
    """A scripted vendor on a free port of the loopback, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        vendor = ScriptedVendor(list(replies), own or {}, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = threading.Thread(target=vendor._serve, args=(listener,), daemon=True)
        server.start()
        try:
            yield vendor
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in vendor._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
    server.join(10)
