"""The replay against readers that come, go and fall behind, and the clock that it holds."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any, cast

import numpy as np

from simulator.clock import SimulatedClock
from simulator.faults.script import FaultScript, parse_rules
from simulator.plans import AssetClass
from simulator.stream.connection import Connection
from simulator.stream.replay import Replay
from simulator.stream.sources import Published
from simulator.stream.strikes import Strikes
from simulator.stream.switches import StreamSwitches
from simulator.stream.topics import Subscription, Topic

S = 1_000_000_000
OPEN_NS = 1_756_474_200 * S
EVERY_NS = 10_000_000
SPY = Subscription(Topic.TRADES, "SPY")


class Sources:
    """A trade every 10 ms."""

    def tickers(self, _market: AssetClass, subscription: Subscription, _day: date) -> list[str]:
        return [subscription.ticker]

    def read(self, _topic: Topic, _ticker: str, after_ns: int, until_ns: int) -> Published:
        at_ns = np.arange(max(after_ns, 0) // EVERY_NS + 1, until_ns // EVERY_NS + 1) * EVERY_NS
        return Published(at_ns, [b"%d" % at for at in at_ns.tolist()])


class Worker:
    """Reads after so many wall seconds."""

    def __init__(self, takes_s: float) -> None:
        self._takes_s = takes_s

    async def run[T](self, question: Callable[[], T]) -> T:
        await asyncio.sleep(self._takes_s)
        return question()


class Line:
    """What a connection writes to."""

    is_open = True
    buffered = 0

    def __init__(self) -> None:
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.frames: list[bytes] = []

    def write_text(self, frame: bytes) -> None:
        self.frames.append(frame)


def replayed(body: Callable[[Replay, SimulatedClock], Awaitable[None]], takes_s: float = 0.0) -> None:
    """Run the body beside a replay at 1000x."""

    async def run() -> None:
        clock = SimulatedClock(OPEN_NS, 1_000, time.monotonic_ns)
        faults, switches, anything = FaultScript(), StreamSwitches(), cast("Any", None)
        strikes = Strikes(
            clock=clock, faults=faults, switches=switches, jump=anything, refuse=anything, bar_again=anything
        )
        sources, worker = cast("Any", Sources()), cast("Any", Worker(takes_s))
        replay = Replay(
            clock=clock, sources=sources, worker=worker, faults=faults, strikes=strikes, switches=switches,
            wall_ns=time.monotonic_ns,
        )  # fmt: skip
        running = asyncio.create_task(replay.run())
        try:
            async with asyncio.timeout(20):
                await body(replay, clock)
        finally:
            running.cancel()

    asyncio.run(run())


def joined(replay: Replay) -> tuple[Connection, Line]:
    line = Line()
    connection = Connection(1, AssetClass.STOCKS, cast("Any", line))
    replay.connections.append(connection)
    take_up(replay, connection)
    return connection, line


def take_up(replay: Replay, connection: Connection) -> None:
    replay.admit()
    connection.take_up([SPY])
    replay.wake()


def test_who_gives_up_all_while_it_is_waited_for_and_subscribes_again_gets_what_comes_then() -> None:
    async def body(replay: Replay, clock: SimulatedClock) -> None:
        connection, line = joined(replay)
        while not line.frames:
            await asyncio.sleep(0.01)
        line.has_room.clear()
        await asyncio.sleep(0.1)
        connection.give_up({str(SPY)})
        line.has_room.set()
        await asyncio.sleep(0.1)
        before, again_ns = len(line.frames), clock.now_ns()

        take_up(replay, connection)

        while len(line.frames) == before:
            await asyncio.sleep(0.01)
        assert json.loads(line.frames[before])[0] > again_ns

    replayed(body)


def test_the_clock_does_not_run_away_while_the_world_is_read() -> None:
    async def body(replay: Replay, clock: SimulatedClock) -> None:
        _, line = joined(replay)
        seen_ns = []
        while not line.frames:
            seen_ns.append(clock.now_ns())
            await asyncio.sleep(0.01)

        assert seen_ns == sorted(seen_ns)
        assert clock.now_ns() >= seen_ns[-1], "nor back"
        first_ns = json.loads(line.frames[0])[0]
        assert seen_ns[-1] - first_ns < 300 * S, "a quarter of a wall second at 1000x, where reading takes half of one"

    replayed(body, takes_s=0.5)


def test_a_limit_behind_the_clock_stops_it_where_it_is() -> None:
    wall_ns = [0]
    clock = SimulatedClock(OPEN_NS, 1_000, lambda: wall_ns[0])
    wall_ns[0] = 2 * S

    clock.allow_until(OPEN_NS + 250 * S)

    assert OPEN_NS + 2_000 * S == clock.now_ns()
    wall_ns[0] = 3 * S
    assert OPEN_NS + 2_000 * S == clock.now_ns()


def test_a_frame_that_one_fault_made_unreadable_is_left_to_it() -> None:
    async def body() -> None:
        line = Line()
        connection = Connection(1, AssetClass.STOCKS, cast("Any", line))
        (rule,) = parse_rules({"stream": {}, "do": [{"action": "malformed"}, {"action": "unknown_keys"}]}, "a rule")
        for action in rule.actions():
            connection.spoil(cast("Any", action))
        for number in range(2):
            connection.deliver(b'[{"ev":"T","sym":"SPY","t":%d}]' % number, 1)
        assert [b'[{"ev":"T","sym', b'[{"ev":"T","sym":"SPY","t":1}]'] == line.frames

    asyncio.run(body())
