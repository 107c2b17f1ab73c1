"""One WebSocket connection as the server keeps it: its socket, its subscriptions, what it was sent, how it stalls.

What is said in the handshake is in ``dialogue``, when data are sent in ``replay``, which fault strikes in ``strikes``.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from simulator.faults.stream_actions import DropAcks, FrameAction, NotAuthorized, Postpone, Stage
from simulator.faults.stream_rules import Target
from simulator.plans import Account, AssetClass, asset_of
from simulator.stream.lineup import Lineup
from simulator.stream.topics import Subscription, contracts_in

_RESET_AT_ONCE: Final = struct.pack("ii", 1, 0)  # linger on, for no time: closing then sends RST
_TEXT_FRAME: Final = 0x81
_LENGTH_IN_8_BYTES: Final = 127
_TIME_TO_ARRIVE_S: Final = 0.05
"""Between half a frame and the reset: a reset overtakes what the peer's system has not read yet."""


class Line(ServerConnection):
    """The socket, with what flow control and faults below WebSocket level need of it."""

    connection: "Connection | None" = None
    has_room: asyncio.Event

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is room at first."""
        self.has_room = asyncio.Event()
        self.has_room.set()
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """The peer reads too slowly: more than the write limit waits."""
        super().pause_writing()
        self.has_room.clear()

    def resume_writing(self) -> None:
        """What waited has gone out."""
        super().resume_writing()
        self.has_room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for a peer that is gone."""
        super().connection_lost(exc)
        self.has_room.set()

    @property
    def is_open(self) -> bool:
        """Whether a message can still be sent."""
        return self.protocol.state is State.OPEN

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process; the systems on both ends hold more."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    def write_text(self, text: bytes) -> None:
        """Sends a text message without waiting for room."""
        self.protocol.send_text(text)
        self.send_data()

    def hang_up(self) -> None:
        """Ends the TCP connection after what was written, without a close frame."""
        self.transport.close()

    def reset(self) -> None:
        """Ends the TCP connection at once."""
        raw: socket.socket | None = self.transport.get_extra_info("socket")
        if raw is not None and not self.transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        self.transport.abort()

    def reset_in_frame(self, text: bytes, share: float) -> None:
        """Sends the header of a frame and a share of its payload, then resets."""
        header = struct.pack("!BBQ", _TEXT_FRAME, _LENGTH_IN_8_BYTES, len(text))
        self.transport.write(header + text[: int(len(text) * share)])
        self.loop.call_later(_TIME_TO_ARRIVE_S, self.reset)


@dataclass(slots=True)
class _Edit:
    """A fault that spoils the next data frames."""

    action: FrameAction
    frames_left: int
    postponed: list[bytes] = field(default_factory=list)

    def change(self, frame: bytes) -> list[bytes]:
        """What is sent in a frame's place."""
        if not self.frames_left:
            return [frame]
        self.frames_left -= 1
        if not isinstance(self.action, Postpone):
            try:
                return self.action.apply(frame)
            except msgspec.DecodeError:
                return [frame]  # another fault has made it unreadable already
        if self.frames_left >= self.action.by:
            self.postponed.append(frame)
            return []
        return [frame] if self.frames_left else [frame, *self.postponed]


@dataclass(slots=True, eq=False)
class Connection:
    """A client's connection. ``number`` counts those of its market."""

    number: int
    market: AssetClass
    line: Line
    stage: Stage = Stage.ACCEPTED
    account: Account | None = None
    held: set[Subscription] = field(default_factory=set)
    lineup: Lineup | None = None  # None until its messages from the present instant on are read
    is_changed: bool = False  # what it holds is not what its lineup was made for
    served_until_ns: int | None = None  # simulated; the slices up to here are sent
    is_ending: bool = False
    is_silent: bool = False
    stalls_until_ns: int | None = None  # simulated; a stall of wall time is ended by a timer
    is_stalled: bool = False
    http_status: int | None = None  # of a fault, in place of the upgrade
    refuses_keys_with: str | None = None
    ack_faults: list[DropAcks | NotAuthorized] = field(default_factory=list)
    edits: list[_Edit] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    ended_by: str = "client"
    most_contracts: int = 0
    events: int = 0
    messages: int = 0
    counted: int = 0  # those that rules have been asked about
    bytes_sent: int = 0
    held_clock_ns: int = 0  # wall time
    waiting: list[tuple[bytes, int]] = field(default_factory=list)

    @property
    def target(self) -> Target:
        """The connection as rules see it."""
        return Target(self.market, self.number, None if self.account is None else self.account.name)

    @property
    def is_listening(self) -> bool:
        """Whether it is owed data."""
        return bool(self.held) and not self.is_ending and self.line.is_open

    @property
    def contracts(self) -> int:
        """Contracts whose quotes it has, which the cap counts."""
        return contracts_in(self.held)

    @property
    def delay_ns(self) -> int:
        """How much later its plan gets what is published."""
        return 0 if self.account is None else self.account.terms(self.market).delay_ns

    def hears(self, subscription: Subscription) -> bool:
        """Whether it is sent what a subscription stands for."""
        wildcard = Subscription(subscription.topic, "*")
        own = asset_of(subscription.ticker) is self.market
        return self.is_listening and own and not self.held.isdisjoint({subscription, wildcard})

    def say(self, *statuses: tuple[str, str]) -> None:
        """Sends status messages, pairs of status and message, in one frame."""
        if statuses and self.line.is_open and not self.is_ending and not self.is_silent:
            content = [{"ev": "status", "status": status, "message": message} for status, message in statuses]
            self.line.write_text(msgspec.json.encode(content))

    def deliver(self, frame: bytes, events: int) -> None:
        """Sends a data frame, as the faults in force leave it; a stalled connection gets it later."""
        if self.is_silent:
            return
        if self.is_stalled:
            self.waiting.append((frame, events))
            return
        frames = [frame]
        for edit in self.edits:
            frames = [changed for one in frames for changed in edit.change(one)]
        self.edits = [edit for edit in self.edits if edit.frames_left]
        for one in frames:
            if self.line.is_open:
                self.line.write_text(one)
                self.messages += 1
                self.bytes_sent += len(one)
        self.events += events

    def go_on(self) -> None:
        """Ends a stall: what was held back is sent."""
        self.is_stalled, self.stalls_until_ns = False, None
        waiting, self.waiting = self.waiting, []
        for frame, events in waiting:
            if not self.is_ending:
                self.deliver(frame, events)

    def take_up(self, subscriptions: Iterable[Subscription]) -> None:
        """Subscribes."""
        self.held.update(subscriptions)
        self.is_changed = True
        self.most_contracts = max(self.most_contracts, self.contracts)

    def give_up(self, pairs: set[str]) -> None:
        """Unsubscribes; whoever subscribes again after having nothing gets what is published from then on."""
        self.held = {one for one in self.held if str(one) not in pairs}
        self.is_changed = True
        if not self.held:
            self.lineup, self.served_until_ns = None, None

    def spoil(self, action: FrameAction) -> None:
        """Arms a fault for the next data frames."""
        self.edits.append(_Edit(action, action.span))

    def end(self, why: str, how: Callable[[], object]) -> None:
        """Ends it, once; nothing is sent to it from then on."""
        if not self.is_ending:
            self.is_ending, self.ended_by = True, why
            how()
