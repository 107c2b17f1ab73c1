"""Stream rules: which connections they hit, at which moment, and what they do. They stand in one script with REST's."""

import msgspec

from simulator.faults.stream_actions import ClockJump, Count, HttpStatus, RefuseTcp, Spoken, Stage, StreamAction
from simulator.faults.when import When
from simulator.plans import AssetClass


class StreamMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which connections; every condition that is given must hold."""

    market: AssetClass | None = None
    connection: Count | list[Count] | None = None
    """Its number in the market, from 1 since the start or the last reset."""
    plan: str | None = None
    """The name of its key, as the ready file has it; nobody has one before authentication."""


class StreamWhen(When, frozen=True, forbid_unknown_fields=True):
    """One moment (a stage, a simulated time, a count of messages), and which of the moments that match."""

    stage: Stage | None = None
    at: str | None = None
    """Simulated time, ISO 8601; strikes the connections that stand then."""
    after_messages: Count | None = None
    """Data messages that were sent to the connection."""

    def __post_init__(self) -> None:
        if sum(moment is not None for moment in (self.stage, self.at, self.after_messages)) > 1:
            raise ValueError("a rule strikes at one moment: `stage`, `at` or `after_messages`")

    def instants(self) -> tuple[str | None, ...]:
        """The texts that must be times."""
        return *super().instants(), self.at


class StreamRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault of the stream: its ``stream`` is what tells it from a rule for REST."""

    stream: StreamMatch
    do: StreamAction | list[StreamAction]
    when: StreamWhen = StreamWhen()
    name: str = ""

    def __post_init__(self) -> None:
        for action in self.actions():
            if self.stage is Stage.ACCEPTED and isinstance(action, Spoken):
                raise ValueError("at `accepted` there is no WebSocket yet that a frame could be sent on")
            if self.stage is not Stage.ACCEPTED and isinstance(action, HttpStatus):
                raise ValueError("`http_status` answers the upgrade; its stage is `accepted`")

    def actions(self) -> list[StreamAction]:
        """The actions in the order in which they are carried out."""
        return self.do if isinstance(self.do, list) else [self.do]

    @property
    def stage(self) -> Stage | None:
        """The stage at which it strikes; None where it strikes at a time or after messages."""
        if self.when.at is not None or self.when.after_messages is not None:
            return None
        return self.when.stage or self.actions()[0].natural

    def needs_no_connection(self) -> bool:
        """Whether something of it concerns all connections at once."""
        return any(isinstance(action, RefuseTcp | ClockJump) for action in self.actions())


class Target(msgspec.Struct, frozen=True):
    """A connection as rules see it."""

    market: AssetClass
    number: int
    plan: str | None

    def is_meant_by(self, match: StreamMatch) -> bool:
        """Whether the conditions hold."""
        numbers = match.connection if isinstance(match.connection, list) else [match.connection]
        return (
            (match.market is None or match.market is self.market)
            and (match.connection is None or self.number in numbers)
            and (match.plan is None or match.plan == self.plan)
        )
