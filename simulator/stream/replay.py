"""Moves what is published to the connections as the shared clock runs.

Time is gone through slice by slice: what the clock has left behind is sent, frame by frame in the order of time, and
the clock may then run on a little. When a reader does not follow, nothing more is sent and the clock stands still at
that limit, unless the stream is strict; so no speed loses a message. Everything here runs on the event loop but for
the reading of the world.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from simulator.clock import SimulatedClock
from simulator.faults.script import FaultScript
from simulator.newyork import NS_PER_S, moment
from simulator.plans import AssetClass
from simulator.stream.connection import Connection
from simulator.stream.lineup import SLICE_NS, line_up, slice_before, slice_end
from simulator.stream.sources import Published, Sources
from simulator.stream.strikes import Strikes
from simulator.stream.switches import StreamSwitches
from simulator.stream.topics import Subscription, Topic
from simulator.world_thread import WorldThread

_FIRST_STRETCH_NS: Final = 10 * NS_PER_S
_SHORTEST_STRETCH_NS: Final = NS_PER_S
_LONGEST_STRETCH_NS: Final = 1800 * NS_PER_S
_FEW: Final = 4_000
_FEW_OF_EACH: Final = 16
"""Messages of one reading, in all and for each source, below which the next stretch of time is twice as long."""
_MANY: Final = 8
"""So many times more, and the next stretch is half as long."""
_WALL_LEAD_S: Final = 0.25
"""How far the clock may be ahead of the stream, in wall time; the loop comes round more often than that."""
_LONGEST_WAIT_S: Final = 0.05
_SHORTEST_WAIT_S: Final = 0.001
_FRAMES_A_TURN: Final = 64
"""Frames after which others get their turn: pings, handshakes, the control address."""
_LONGEST_STEP_NS: Final = 8 * 24 * 3600 * NS_PER_S

_Source = tuple[Topic, str, int]
"""A topic and ticker as a plan with some delay gets them."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a connection held when its messages were asked for."""

    connection: Connection
    held: tuple[Subscription, ...]
    market: AssetClass
    delay_ns: int


@dataclass(slots=True)
class _Goal:
    """A step: go to an instant, or to the end of the next slice that has a message."""

    until_ns: int
    is_next_message: bool
    done: asyncio.Event


class Replay:
    """One for the process. ``connections`` are those that stand, in the order in which they came."""

    def __init__(
        self,
        *,
        clock: SimulatedClock,
        sources: Sources,
        worker: WorldThread,
        faults: FaultScript,
        strikes: Strikes,
        switches: StreamSwitches,
        wall_ns: Callable[[], int],
    ) -> None:
        self.connections: list[Connection] = []
        self._clock = clock
        self._sources = sources
        self._worker = worker
        self._faults = faults
        self._strikes = strikes
        self._switches = switches
        self._wall_ns = wall_ns
        self._frontier_ns = clock.now_ns()
        self._read_until_ns = 0
        self._stretch_ns = _FIRST_STRETCH_NS
        self._read: dict[_Source, Published] = {}
        self._goal: _Goal | None = None
        self._seeks = 0
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Goes on for ever."""
        while True:
            wait_s = await self._catch_up()
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                continue
            self._woken.clear()

    def wake(self) -> None:
        """Something has changed: the clock, a rule, what someone holds."""
        self._woken.set()

    def seek(self, to_ns: int) -> None:
        """Jumps, forwards or backwards; what lies between is not sent."""
        self._clock.move_to(to_ns)
        self._frontier_ns, self._read_until_ns = to_ns, 0
        self._seeks += 1
        for connection in self.connections:
            connection.lineup, connection.served_until_ns = None, None
        if self._listeners():
            self._hold_the_clock()
        self._finish_goal()
        self.wake()

    def admit(self) -> None:
        """Someone is about to subscribe; where nobody had, the stream has stood where the clock then was."""
        if not self._listeners() and self._goal is None:
            self._idle(None)
            self._seeks += 1  # whoever is being sent something goes on from where it now stands
            self._hold_the_clock()

    async def step(self, seconds: float | None) -> None:
        """Goes on by so much, or to the next message, and returns when all up to there is sent."""
        now_ns = self._clock.now_ns()
        ahead_ns = _LONGEST_STEP_NS if seconds is None else int(seconds * NS_PER_S)
        goal = _Goal(now_ns + ahead_ns, seconds is None, asyncio.Event())
        self._finish_goal()
        self._goal = goal
        self.wake()
        await goal.done.wait()

    def _hold_the_clock(self) -> None:
        """Let it run no further than a little ahead of what was sent, also while the world is still being read."""
        lead_ns = slice_end(int(self._clock.speed * _WALL_LEAD_S * NS_PER_S)) + SLICE_NS
        self._clock.allow_until(self._frontier_ns + lead_ns)

    def _finish_goal(self) -> None:
        if self._goal is not None:
            self._goal.done.set()
            self._goal = None

    def _listeners(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.is_listening]

    async def _catch_up(self) -> float | None:
        """Sends what is due; gives the wall seconds until more may be, None when only a change can bring it."""
        goal, seeks = self._goal, self._seeks
        if not self._listeners():
            self._idle(goal)
        else:
            until_ns = slice_before(self._clock.now_ns() if goal is None else goal.until_ns)
            while self._frontier_ns < until_ns and self._seeks == seeks and self._goal is goal:
                await self._prepare()
                if self._seeks != seeks or not self._listeners():
                    break
                if await self._go_on(until_ns) and goal is not None and goal.is_next_message:
                    goal.until_ns = until_ns = self._frontier_ns
            if self._seeks != seeks or not self._listeners():
                return 0.0
            self._hold_the_clock()
        if goal is not None and self._goal is goal:
            self._clock.move_to(max(goal.until_ns, self._clock.now_ns()))
            self._finish_goal()
        return self._pause_s()

    def _idle(self, goal: _Goal | None) -> None:
        """Nobody listens: time goes on unheard, but for faults that strike at a time."""
        if goal is not None and goal.is_next_message:
            goal.until_ns = self._clock.now_ns()
        now_ns = self._clock.now_ns() if goal is None else goal.until_ns
        self._clock.allow_until(None)
        seeks = self._seeks
        while self._seeks == seeks and (at_ns := self._faults.next_instant_ns(self._frontier_ns)) is not None:
            if at_ns > now_ns:
                break
            self._frontier_ns = at_ns
            self._strikes.at_instant(at_ns, self.connections)
        if self._seeks == seeks:
            self._frontier_ns = now_ns

    def _pause_s(self) -> float | None:
        if not self._clock.speed:
            return None
        due = [c.lineup.next_ns for c in self._listeners() if c.lineup is not None and c.lineup.next_ns is not None]
        ahead_s = (min(due, default=self._frontier_ns + NS_PER_S) - self._clock.now_ns()) / NS_PER_S / self._clock.speed
        return min(max(ahead_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

    async def _prepare(self) -> None:
        """Sees to it that every listener has a lineup from here on."""
        if self._frontier_ns >= self._read_until_ns:
            self._read_until_ns = slice_end(self._frontier_ns + self._stretch_ns)
            self._read = {}
            for connection in self.connections:
                connection.is_changed = True
        seeks = self._seeks
        while wanted := [c for c in self._listeners() if c.is_changed or c.lineup is None]:
            asked = [self._asks_for(connection) for connection in wanted]
            start_ns = min(one.connection.served_until_ns or self._frontier_ns for one in asked)
            found = await self._worker.run(partial(self._read_parts, asked, start_ns))
            if self._seeks != seeks:
                return
            for one, parts in zip(asked, found, strict=True):
                after_ns = (one.connection.served_until_ns or self._frontier_ns) - one.delay_ns
                fresh = [part.between(after_ns, self._read_until_ns - one.delay_ns) for part in parts]
                one.connection.lineup = line_up(fresh, one.delay_ns)

    def _asks_for(self, connection: Connection) -> _Wanted:
        connection.is_changed = False
        if connection.served_until_ns is None:
            connection.served_until_ns = self._frontier_ns
        return _Wanted(connection, tuple(sorted(connection.held)), connection.market, connection.delay_ns)

    def _read_parts(self, asked: Sequence[_Wanted], start_ns: int) -> list[list[Published]]:
        """The messages of each source that is wanted and not read yet; runs on the world's thread."""
        listed = [sorted(self._sources_of(one, start_ns)) for one in asked]
        fresh = 0
        for source in sorted({source for sources in listed for source in sources} - self._read.keys()):
            topic, ticker, delay_ns = source
            part = self._sources.read(topic, ticker, start_ns - delay_ns, self._read_until_ns - delay_ns)
            self._read[source] = part
            fresh += len(part.messages)
        few = _FEW + _FEW_OF_EACH * len(self._read)
        if fresh < few:
            self._stretch_ns = min(2 * self._stretch_ns, _LONGEST_STRETCH_NS)
        elif fresh > _MANY * few:
            self._stretch_ns = max(self._stretch_ns // 2, _SHORTEST_STRETCH_NS)
        return [[self._read[source] for source in sources] for sources in listed]

    def _sources_of(self, wanted: _Wanted, start_ns: int) -> Iterable[_Source]:
        day = moment(start_ns - wanted.delay_ns).date()
        return {
            (subscription.topic, ticker, wanted.delay_ns)
            for subscription in wanted.held
            for ticker in self._sources.tickers(wanted.market, subscription, day)
        }

    async def _go_on(self, until_ns: int) -> bool:
        """Goes to the next instant at which something happens, at most so far; whether a message was sent."""
        seeks = self._seeks
        listeners = [connection for connection in self._listeners() if connection.lineup is not None]
        strike_ns = self._faults.next_instant_ns(self._frontier_ns)
        stalls = [c.stalls_until_ns for c in self.connections if c.stalls_until_ns is not None]
        ends = [c.lineup.next_ns for c in listeners if c.lineup is not None and c.lineup.next_ns is not None]
        due_ns = min([until_ns, self._read_until_ns, *ends, *stalls, *([] if strike_ns is None else [strike_ns])])
        due_ns = max(due_ns, self._frontier_ns)
        has_sent = False
        for connection in listeners:
            has_sent |= await self._send_slice(connection, due_ns)
            if self._seeks != seeks:
                return has_sent
        self._frontier_ns = due_ns
        for connection in [
            c for c in self.connections if c.stalls_until_ns is not None and c.stalls_until_ns <= due_ns
        ]:
            connection.go_on()
            self._strikes.after_messages(connection, due_ns)
        if strike_ns == due_ns:
            self._strikes.at_instant(due_ns, self.connections)
        return has_sent

    async def _send_slice(self, connection: Connection, due_ns: int) -> bool:
        """Sends a connection's frames that are due."""
        lineup, seeks, has_sent = connection.lineup, self._seeks, False
        # It may be given up or sought away from while its reader is waited for.
        while lineup is not None and connection.lineup is lineup and connection.is_listening:
            if lineup.next_ns is None or lineup.next_ns > due_ns:
                break
            connection.deliver(*lineup.take())
            has_sent = True
            self._strikes.after_messages(connection, due_ns)
            if lineup.place % _FRAMES_A_TURN == 0:
                await asyncio.sleep(0)
            await self._mind_the_reader(connection)
            if self._seeks != seeks:
                return has_sent
        if connection.lineup is lineup and due_ns == slice_before(due_ns):
            connection.served_until_ns = due_ns
        return has_sent

    async def _mind_the_reader(self, connection: Connection) -> None:
        """Waits for a reader that does not follow; a strict stream kicks it."""
        if self._switches.strict:
            if connection.line.buffered > self._switches.buffer_bytes:
                self._strikes.kick_slow(connection)
            return
        begun_ns, seeks = self._wall_ns(), self._seeks
        while not connection.line.has_room.is_set() and connection.is_listening and self._seeks == seeks:
            try:
                async with asyncio.timeout(_LONGEST_WAIT_S):
                    await connection.line.has_room.wait()
            except TimeoutError:
                if self._switches.strict:
                    break
            finally:
                connection.held_clock_ns += self._wall_ns() - begun_ns
                begun_ns = self._wall_ns()
