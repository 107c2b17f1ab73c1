"""Carries out what the script's stream rules do to connections. When they strike is asked of the script."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from simulator.clock import SimulatedClock
from simulator.faults.script import FaultScript, Strike
from simulator.faults.stream_actions import (
    Abort,
    AbortInFrame,
    AuthFailed,
    AuthTimeout,
    Burden,
    ClockJump,
    Close,
    DropAcks,
    Ending,
    HttpStatus,
    MaxConnections,
    NotAuthorized,
    RefuseTcp,
    ResendBar,
    Silence,
    SlowConsumer,
    Stage,
    Stall,
)
from simulator.newyork import NS_PER_S
from simulator.stream.connection import Connection
from simulator.stream.switches import SlowReader, StreamSwitches

POLICY_VIOLATION: Final = 1008
_TOO_MANY: Final = (
    "Maximum number of websocket connections exceeded. You have reached the connection limit for your account."
)
_TOO_SLOW: Final = "Client is not reading fast enough."
NO_KEY_CAME: Final = "No authentication request received."
_NOTHING_TO_CUT: Final = b'[{"ev":"status","status":"success","message":""}]'


class Strikes:
    """``jump`` seeks the replay, ``refuse`` closes the door for wall seconds, ``bar_again`` sends a changed bar."""

    def __init__(
        self,
        *,
        clock: SimulatedClock,
        faults: FaultScript,
        switches: StreamSwitches,
        jump: Callable[[int], None],
        refuse: Callable[[float], Coroutine[None, None, None]],
        bar_again: Callable[[Connection, ResendBar, int], Coroutine[None, None, None]],
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._switches = switches
        self._jump = jump
        self._refuse = refuse
        self._bar_again = bar_again
        self._tasks: set[asyncio.Task[None]] = set()

    def at_stage(self, connection: Connection, stage: Stage) -> None:
        """The connection has come so far."""
        connection.stage = stage
        now_ns = self._clock.now_ns()
        for strike in self._faults.at_stage(stage, connection.target, now_ns):
            self._carry_out(strike, [connection], now_ns)

    def after_messages(self, connection: Connection, now_ns: int) -> None:
        """The connection has perhaps been sent data messages since this was asked before."""
        if not self._faults.counts_messages():
            connection.counted = connection.messages
        while connection.counted < connection.messages:
            connection.counted += 1
            for strike in self._faults.after_messages(connection.counted, connection.target, now_ns):
                self._carry_out(strike, [connection], now_ns)

    def at_instant(self, at_ns: int, connections: Sequence[Connection]) -> None:
        """The simulated time has come to an instant that a rule names."""
        standing = [connection for connection in connections if not connection.is_ending]
        for strike, targets in self._faults.at_instant(at_ns, [connection.target for connection in standing]):
            self._carry_out(strike, [connection for connection in standing if connection.target in targets], at_ns)

    def evict(self, connection: Connection) -> None:
        """One connection too many; one that has fallen silent says not even that."""
        if connection.is_silent:
            connection.end("max_connections", connection.line.reset)
            return
        connection.say(("max_connections", _TOO_MANY))
        self.close(connection, "max_connections", POLICY_VIOLATION)

    def kick_slow(self, connection: Connection) -> None:
        """A reader that does not follow a strict stream."""
        self._kick(connection, "slow_consumer", tells=self._switches.slow_reader is SlowReader.STATUS)

    def close(self, connection: Connection, why: str, code: int, reason: str = "") -> None:
        """Ends a connection with a close frame."""
        connection.end(why, lambda: self._spawn(connection.line.close(code, reason)))

    def _carry_out(self, strike: Strike, struck: Sequence[Connection], now_ns: int) -> None:
        for connection in struck:
            connection.struck.append(strike.label)
        for action in strike.actions:
            if isinstance(action, RefuseTcp):
                self._spawn(self._refuse(action.wall_s))
            elif isinstance(action, ClockJump):
                self._jump(now_ns + int(action.session_s * NS_PER_S))
            else:
                for connection in struck:
                    self._act_on(connection, action, strike.label, now_ns)

    def _act_on(self, connection: Connection, action: ResendBar | Ending | Burden, label: str, now_ns: int) -> None:
        if isinstance(action, ResendBar):
            self._spawn(self._send_again(connection, action, now_ns))
        elif isinstance(action, Ending):
            self._end(connection, action, label)
        else:
            self._burden(connection, action, now_ns)

    def _end(self, connection: Connection, action: Ending, label: str) -> None:
        line = connection.line
        match action:
            case Close(code=code, reason=reason):
                self.close(connection, label, code, reason)
            case Abort():
                connection.end(label, line.reset)
            case AbortInFrame(after=share):
                connection.end(label, lambda: line.reset_in_frame(_next_frame(connection), share))
            case AuthTimeout():
                connection.say(("auth_timeout", NO_KEY_CAME))
                connection.end(label, line.hang_up)
            case MaxConnections():
                self.evict(connection)
            case SlowConsumer(tells=tells):
                self._kick(connection, label, tells=tells)

    def _burden(self, connection: Connection, action: Burden, now_ns: int) -> None:
        match action:
            case HttpStatus(code=code):
                connection.http_status = code
            case Silence():
                connection.is_silent = True
            case Stall():
                self._stall(connection, action, now_ns)
            case AuthFailed(message=message):
                connection.refuses_keys_with = message
            case DropAcks() | NotAuthorized():
                connection.ack_faults.append(action)
            case _:
                connection.spoil(action)

    def _kick(self, connection: Connection, why: str, *, tells: bool) -> None:
        if tells:
            connection.say(("slow_consumer", _TOO_SLOW))
            self.close(connection, why, POLICY_VIOLATION)
        else:
            connection.end(why, connection.line.reset)

    def _stall(self, connection: Connection, stall: Stall, now_ns: int) -> None:
        if stall.wall_s is None and stall.session_s is None:
            connection.is_silent = True
            return
        connection.is_stalled = True
        if stall.session_s is not None:
            connection.stalls_until_ns = now_ns + int(stall.session_s * NS_PER_S)
        else:
            connection.line.loop.call_later(stall.wall_s or 0.0, self._go_on, connection)

    async def _send_again(self, connection: Connection, action: ResendBar, now_ns: int) -> None:
        await self._bar_again(connection, action, now_ns)
        self.after_messages(connection, now_ns)

    def _go_on(self, connection: Connection) -> None:
        connection.go_on()
        self.after_messages(connection, self._clock.now_ns())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _next_frame(connection: Connection) -> bytes:
    """What the connection would have got next."""
    lineup = connection.lineup
    return _NOTHING_TO_CUT if lineup is None or lineup.next_ns is None else lineup.take()[0]
