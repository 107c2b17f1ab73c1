"""A vendor's stream for benchmarks: everything is rendered beforehand, so that the sender costs almost nothing.

It runs in the process that measures, one connection at a time, and speaks just enough for the official client and for
ours: greeting, key, subscription, then frames as fast as they are read or at a steady pace.
"""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

FIRST_MS = 1_756_474_200_000
SUBSCRIPTIONS = ("T.SPY", "Q.SPY", "A.SPY", "AM.SPY")
_PATIENCE_S = 60.0


def messages_of(count: int) -> list[bytes]:
    """Frames of 1 to 24 events, together so many: of 100, 25 trades, 65 quotes, 8 second and 2 minute bars."""
    draw = np.random.default_rng(7)
    kinds = draw.choice(4, count, p=[0.25, 0.65, 0.08, 0.02]).tolist()
    cents = (58_500 + draw.integers(-200, 200, count)).tolist()
    sizes = draw.integers(1, 900, count).tolist()
    events = []
    for number, (kind, cent, size) in enumerate(zip(kinds, cents, sizes, strict=True)):
        at, price = FIRST_MS + number // 20, cent / 100
        if kind == 0:
            event: dict[str, object] = {
                "ev": "T", "sym": "SPY", "x": 4, "i": str(number), "z": 2, "p": price, "s": size, "c": [14, 41],
                "t": at, "q": number + 1,
            }  # fmt: skip
        elif kind == 1:
            event = {
                "ev": "Q", "sym": "SPY", "bx": 11, "bp": price, "bs": 3, "ax": 12, "ap": (cent + 1) / 100, "as": 5,
                "c": 1, "t": at, "q": number + 1, "z": 2,
            }  # fmt: skip
        else:
            width = 1_000 if kind == 2 else 60_000
            event = {
                "ev": "A" if kind == 2 else "AM", "sym": "SPY", "v": size, "av": 1_000_000 + number, "op": 584.1,
                "vw": price, "o": price, "c": price, "h": (cent + 7) / 100, "l": (cent - 7) / 100, "a": 585.01, "z": 90,
                "s": at, "e": at + width,
            }  # fmt: skip
        events.append(event)
    found, begin = [], 0
    while begin < count:
        size = int(draw.integers(1, 25))
        found.append(json.dumps(events[begin : begin + size], separators=(",", ":")).encode())
        begin += size
    return found


class Line:
    """One client, subscribed and waiting."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._protocol = ServerProtocol()
        self._spoken: list[dict[str, str]] = []
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_PATIENCE_S)

    def greet(self) -> None:
        """Let the client in, whatever its key is, and acknowledge what it asks for."""
        request = self._next()
        assert isinstance(request, Request)
        self._protocol.send_response(self._protocol.accept(request))
        self._say([{"ev": "status", "status": "connected", "message": "Connected Successfully"}])
        self._next()
        self._say([{"ev": "status", "status": "auth_success", "message": "authenticated"}])
        asked = self._next()
        assert isinstance(asked, Frame)
        pairs = json.loads(bytes(asked.data))["params"].split(",")
        self._say([{"ev": "status", "status": "success", "message": f"subscribed to: {pair}"} for pair in pairs])

    def send(self, rendered: bytes) -> None:
        """Send frames as fast as they are read."""
        self._socket.sendall(rendered)

    def send_paced(self, frames: Sequence[bytes], due_s: Sequence[float]) -> list[int]:
        """Send each frame at its time; when each was sent, nanoseconds since the epoch."""
        begun, stamps = time.perf_counter(), []
        for frame, at_s in zip(frames, due_s, strict=True):
            wait_s = begun + at_s - time.perf_counter()
            if wait_s > 0:
                time.sleep(wait_s)
            stamps.append(time.time_ns())
            self._socket.sendall(frame)
        return stamps

    def _say(self, events: list[dict[str, str]]) -> None:
        self._protocol.send_text(json.dumps(events).encode())
        self._flush()

    def _next(self) -> Request | Frame:
        while not (events := self._protocol.events_received()):
            self._protocol.receive_data(self._socket.recv(65_536))
        self._flush()
        event = events[0]
        assert isinstance(event, Request | Frame)
        return event

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._socket.sendall(data)


class Feed:
    """Where clients come."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE_S)
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def client(self) -> Iterator[Line]:
        """The next client, subscribed; the connection ends with the block."""
        connection, _ = self._listener.accept()
        with connection:
            line = Line(connection)
            line.greet()
            yield line

    def close(self) -> None:
        self._listener.close()


def rendered(messages: Sequence[bytes]) -> list[bytes]:
    """Messages as the bytes of WebSocket text frames."""
    return [Frame(Opcode.TEXT, message).serialize(mask=False) for message in messages]
