"""A raw reader of the stream: no client library of the vendor's, so that a test sees each frame as it came."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 20
Event = dict[str, Any]


class RawFeed:
    """One connection; every wait has an end."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def read(self, patience_s: float = PATIENCE_S) -> list[Event]:
        """The next frame's elements."""
        events: list[Event] = json.loads(self.read_raw(patience_s))
        return events

    def read_raw(self, patience_s: float = PATIENCE_S) -> bytes:
        """The next frame as it came."""
        return self.socket.recv(patience_s, decode=False)

    def send(self, action: str, params: str) -> None:
        """One message to the server."""
        self.socket.send(json.dumps({"action": action, "params": params}))

    def log_in(self, key: str) -> list[Event]:
        """Reads the greeting, sends the key, gives the answer."""
        assert [("connected", "Connected Successfully")] == words(self.read())
        self.send("auth", key)
        return self.read()

    def subscribe(self, *pairs: str) -> list[Event]:
        """Asks for pairs and gives the frame that comes first."""
        self.send("subscribe", ",".join(pairs))
        return self.read()

    def frames_so_far(self) -> list[bytes]:
        """All frames that the server has sent by now: those in front of the answer to a ping."""
        pong, frames = self.socket.ping(), []
        deadline = time.monotonic() + PATIENCE_S
        while True:
            is_last = pong.is_set()
            try:
                frames.append(self.read_raw(0 if is_last else 0.01))
            except TimeoutError:
                if is_last:
                    return frames
                assert time.monotonic() < deadline, "no answer to a ping"

    def events_so_far(self) -> list[Event]:
        """The elements of all frames that the server has sent by now."""
        return [event for frame in self.frames_so_far() for event in json.loads(frame)]

    def end(self) -> ConnectionClosed:
        """Reads on until the connection has ended, and how it did."""
        while True:
            try:
                self.read_raw()
            except ConnectionClosed as closed:
                return closed


@contextmanager
def feed(address: str, market: str = "stocks", **options: Any) -> Iterator[RawFeed]:
    """A connection to a market, not logged in."""
    options = {"compression": None} | options
    with connect(f"{address}/{market}", max_size=None, proxy=None, close_timeout=1, **options) as socket:
        yield RawFeed(socket)


@contextmanager
def subscribed(ready: Mapping[str, Any], market: str, *pairs: str, plan: str = "advanced") -> Iterator[RawFeed]:
    """A connection that is logged in and has its acknowledgements."""
    with feed(ready["ws"], market) as raw:
        assert ["auth_success"] == [event["status"] for event in raw.log_in(ready["keys"][plan])]
        assert [f"subscribed to: {pair}" for pair in pairs] == [event["message"] for event in raw.subscribe(*pairs)]
        yield raw


def words(events: list[Event]) -> list[tuple[str, str]]:
    """Status and message of a frame that holds nothing else."""
    assert all(event["ev"] == "status" for event in events), events
    return [(event["status"], event["message"]) for event in events]
