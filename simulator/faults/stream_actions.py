"""What a fault does to the stream: actions as values, and what those that spoil messages make of a frame.

Seconds of the socket are wall time (``wall_s``), seconds of the market simulated time (``session_s``). What an action
does to a connection is carried out in ``simulator.stream.strikes``.
"""

from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, ClassVar, Final

import msgspec

_SENDABLE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""RFC 6455, section 7.4, and what was registered since; 1005 and 1006 stand for the absence of a frame."""

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Stage(StrEnum):
    """How far a connection has come; the moment is the one after the server has said so."""

    ACCEPTED = "accepted"  # TCP, and the request to upgrade; nothing has been said yet
    CONNECTED = "connected"
    AUTHENTICATED = "authenticated"
    SUBSCRIBED = "subscribed"


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action"):
    """A field ``action`` names it in a script; ``natural`` is when it strikes unless the rule says so."""

    natural: ClassVar[Stage] = Stage.SUBSCRIBED


class Close(_Action, frozen=True, tag="close"):
    """A close frame with a code."""

    code: int = 1000
    reason: str = ""

    def __post_init__(self) -> None:
        if self.code not in _SENDABLE_CODES:
            raise ValueError(f"{self.code} is no code that a close frame can have; `abort` ends without a frame")


class Abort(_Action, frozen=True, tag="abort"):
    """The TCP connection reset, without a close frame."""


class AbortInFrame(_Action, frozen=True, tag="abort_in_frame"):
    """The header of a frame and a share of its payload, then the TCP connection reset."""

    after: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5


class RefuseTcp(_Action, frozen=True, tag="refuse_tcp"):
    """Nobody listens for a while; connections that stand stay."""

    wall_s: Seconds


class HttpStatus(_Action, frozen=True, tag="http_status"):
    """Another answer than 101 to the upgrade."""

    natural: ClassVar[Stage] = Stage.ACCEPTED
    code: int

    def __post_init__(self) -> None:
        if HTTPStatus(self.code) is HTTPStatus.SWITCHING_PROTOCOLS:
            raise ValueError("101 is no fault")


class Silence(_Action, frozen=True, tag="silence"):
    """No word from now on, for ever; pings are still answered once the connection is a WebSocket."""


class Stall(_Action, frozen=True, tag="stall"):
    """No data for a while, or for ever; what was held back comes when it ends. Pings are answered."""

    wall_s: Seconds | None = None
    session_s: Seconds | None = None


class AuthFailed(_Action, frozen=True, tag="auth_failed"):
    """The key refused, whatever it is."""

    natural: ClassVar[Stage] = Stage.CONNECTED
    message: str = "authentication failed"


class AuthTimeout(_Action, frozen=True, tag="auth_timeout"):
    """The vendor's word for silence after connecting, at once."""

    natural: ClassVar[Stage] = Stage.CONNECTED


class MaxConnections(_Action, frozen=True, tag="max_connections"):
    """The vendor's word for one connection too many, then close 1008."""


class SlowConsumer(_Action, frozen=True, tag="slow_consumer"):
    """Kicked as one that reads too slowly: with a status message, or just dropped."""

    tells: bool = True


class DropAcks(_Action, frozen=True, tag="drop_acks"):
    """Pairs that are neither acknowledged nor subscribed: those given, or all."""

    natural: ClassVar[Stage] = Stage.AUTHENTICATED
    of: list[str] | None = None


class NotAuthorized(_Action, frozen=True, tag="not_authorized"):
    """Pairs that are refused as not in the plan: a whole topic (``Q``) or a pair (``Q.SPY``)."""

    natural: ClassVar[Stage] = Stage.AUTHENTICATED
    of: list[str]


class ResendBar(_Action, frozen=True, tag="resend_bar"):
    """A minute bar of a while ago once more, with other values: 100 more shares and a higher high."""

    ticker: str
    minutes_ago: Count = 15


class ClockJump(_Action, frozen=True, tag="clock_jump"):
    """The simulated time jumps; what lies between is not sent."""

    session_s: float


class _FrameAction(_Action, frozen=True):
    """Changes the next ``frames`` data frames of a connection; ``apply`` gives what is sent in a frame's place."""

    frames: Count = 1

    @property
    def span(self) -> int:
        """Data frames from the first that it concerns to the last."""
        return self.frames


class Malformed(_FrameAction, frozen=True, tag="malformed"):
    """A text that ends in the middle and is no JSON."""

    def apply(self, frame: bytes) -> list[bytes]:
        """The first half."""
        return [frame[: len(frame) // 2]]


class WithoutEv(_FrameAction, frozen=True, tag="without_ev"):
    """One more element, which has no ``ev``."""

    def apply(self, frame: bytes) -> list[bytes]:
        """The frame with the element in front."""
        return [b'[{"sym":"SPY","p":1.0},' + frame[1:]]


class UnknownEv(_FrameAction, frozen=True, tag="unknown_ev"):
    """One more element, of a kind that nobody knows."""

    def apply(self, frame: bytes) -> list[bytes]:
        """The frame with the element in front."""
        return [b'[{"ev":"XX","sym":"SPY","x":1},' + frame[1:]]


class UnknownKeys(_FrameAction, frozen=True, tag="unknown_keys"):
    """Each element with a key that nobody knows."""

    def apply(self, frame: bytes) -> list[bytes]:
        """The frame with the keys."""
        return [msgspec.json.encode([one | {"zz": {"new": [1]}} for one in _elements(frame)])]


class NullFields(_FrameAction, frozen=True, tag="null_fields"):
    """Each element with these keys null, where it has them."""

    fields: list[str] = msgspec.field(default_factory=list)

    def apply(self, frame: bytes) -> list[bytes]:
        """The frame with the nulls."""
        edited = [{n: None if n in self.fields else v for n, v in one.items()} for one in _elements(frame)]
        return [msgspec.json.encode(edited)]


class LargeFrame(_FrameAction, frozen=True, tag="large_frame"):
    """A frame of so many bytes: JSON allows spaces between elements."""

    size: int = 1_200_000

    def apply(self, frame: bytes) -> list[bytes]:
        """The frame with spaces behind its bracket."""
        return [b"[" + b" " * max(self.size - len(frame), 0) + frame[1:]]


class Duplicate(_FrameAction, frozen=True, tag="duplicate"):
    """The frame twice."""

    def apply(self, frame: bytes) -> list[bytes]:
        """The frame and the frame."""
        return [frame, frame]


class Disorder(_FrameAction, frozen=True, tag="disorder"):
    """The frame's elements in reverse."""

    def apply(self, frame: bytes) -> list[bytes]:
        """The frame turned round."""
        return [msgspec.json.encode(_elements(frame)[::-1])]


class Postpone(_FrameAction, frozen=True, tag="postpone"):
    """The frames come after the ``by`` that follow them."""

    by: Count = 1

    @property
    def span(self) -> int:
        """Those that wait and those that they wait for."""
        return self.frames + self.by


FrameEdit = Malformed | WithoutEv | UnknownEv | UnknownKeys | NullFields | LargeFrame | Duplicate | Disorder
FrameAction = FrameEdit | Postpone
Ending = Close | Abort | AbortInFrame | AuthTimeout | MaxConnections | SlowConsumer
"""What a connection does not survive."""
Burden = HttpStatus | Silence | Stall | AuthFailed | DropAcks | NotAuthorized | FrameAction
"""What it goes on under."""
Spoken = Close | AbortInFrame | AuthTimeout | MaxConnections | SlowConsumer | ResendBar
"""What takes a frame, and so a connection that is a WebSocket already."""
StreamAction = Ending | Burden | RefuseTcp | ResendBar | ClockJump


def _elements(frame: bytes) -> list[dict[str, object]]:
    return msgspec.json.decode(frame, type=list[dict[str, object]])
