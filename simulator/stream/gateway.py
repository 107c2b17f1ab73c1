"""The stream's door: listens, lets connections in, knows who is there. The control address asks here.

How a conversation goes is in ``dialogue``, what is sent when in ``replay``.
"""

import asyncio
import contextlib
import http
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Final

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from simulator.faults.stream_actions import ResendBar, Stage
from simulator.newyork import NS_PER_MS, NS_PER_S
from simulator.plans import AssetClass
from simulator.simulation import Simulation
from simulator.stream.connection import Connection, Line
from simulator.stream.dialogue import Dialogues
from simulator.stream.replay import Replay
from simulator.stream.sources import Sources
from simulator.stream.strikes import Strikes
from simulator.stream.topics import Subscription, Topic
from simulator.world_thread import WorldThread

_MARKETS: Final = {f"/{market}": market for market in AssetClass}
_WRITE_LIMIT: Final = (1 << 20, 1 << 18)
"""Bytes that wait in this process when a reader counts as slow, and when it no longer does."""
_SEND_BUFFER: Final = 1 << 18
"""Of the system, so that a slow reader is noticed before megabytes are on their way."""
_CLOSE_TIMEOUT_S: Final = 2.0
_KEPT_ENDED: Final = 1000


class ConnectionReport(msgspec.Struct, frozen=True):
    """A connection as the control address lists it."""

    number: int
    market: AssetClass
    plan: str | None
    stage: Stage
    subscriptions: list[str]
    contracts: int
    events: int
    messages: int
    bytes: int
    buffered_bytes: int
    held_clock_s: float
    is_silent: bool
    is_stalled: bool
    faults: list[str]
    ended_by: str | None


class StreamReport(msgspec.Struct, frozen=True):
    """The stream as a whole; counts since the start or the last reset."""

    connections: list[ConnectionReport]
    ended: list[ConnectionReport]
    opened: dict[str, int]
    most_connections: dict[str, int]
    most_contracts: int


class Gateway:
    """One for the process; ``open`` on the event loop that serves REST too."""

    def __init__(
        self, simulation: Simulation, worker: WorldThread, wall_ns: Callable[[], int], *, has_compression: bool
    ) -> None:
        self._has_compression = has_compression
        self._simulation = simulation
        self._worker = worker
        self._sources = Sources(simulation.world, simulation.history)
        strikes = Strikes(
            clock=simulation.clock,
            faults=simulation.faults,
            switches=simulation.stream,
            jump=self.seek,
            refuse=self._refuse,
            bar_again=self._bar_again,
        )
        self._strikes = strikes
        self._replay = Replay(
            clock=simulation.clock,
            sources=self._sources,
            worker=worker,
            faults=simulation.faults,
            strikes=strikes,
            switches=simulation.stream,
            wall_ns=wall_ns,
        )
        self._dialogues = Dialogues(simulation.accounts, self._replay, strikes, simulation.stream)
        self._opened: Counter[AssetClass] = Counter()
        self._most_connections: Counter[AssetClass] = Counter()
        self._most_contracts = 0
        self._ended: deque[ConnectionReport] = deque(maxlen=_KEPT_ENDED)
        self._server: Server | None = None
        self._refusals = 0
        self._held_port: socket.socket | None = None
        self._address: tuple[str, int] = ("", 0)
        self._running: asyncio.Task[None] | None = None

    async def open(self, listener: socket.socket, when_over: Callable[[], None]) -> None:
        """Listens on a bound socket and follows the clock; ``when_over`` is called when it does so no more."""
        self._address = listener.getsockname()
        await self._listen(listener)
        self._running = asyncio.create_task(self._replay.run())
        self._running.add_done_callback(lambda _: when_over())

    async def close(self) -> None:
        """Ends every connection and stops; raises what the replay failed with, if it did."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        if self._server is not None:
            self._server.server.close()
        if self._held_port is not None:
            self._held_port.close()
        for connection in list(self._replay.connections):
            connection.line.transport.abort()

    def wake(self) -> None:
        """The clock or a rule was changed."""
        self._replay.wake()

    def seek(self, to_ns: int) -> None:
        """Jumps in simulated time; what lies between is not sent."""
        self._replay.seek(to_ns)

    async def step(self, seconds: float | None) -> None:
        """Goes on by so much, or to the next message where nothing is given, and sends all up to there."""
        await self._replay.step(seconds)

    def reset(self) -> None:
        """Counts from zero again; connections that stand keep their numbers."""
        self._opened.clear()
        self._most_connections.clear()
        self._most_contracts = 0
        self._ended.clear()

    def report(self) -> StreamReport:
        """Who is there, who was, and the most there were at once."""
        self._note_most()
        return StreamReport(
            connections=[_report(connection) for connection in self._replay.connections],
            ended=list(self._ended),
            opened={str(market): count for market, count in self._opened.items()},
            most_connections={str(market): count for market, count in self._most_connections.items()},
            most_contracts=self._most_contracts,
        )

    async def published(self, subscription: Subscription, after_ns: int, until_ns: int) -> list[msgspec.Raw]:
        """What the stream publishes of a ticker after one instant and not after the other, whoever listens.

        Raises ValueError for a wildcard.
        """
        if subscription.is_for_all:
            raise ValueError(f"{subscription} is every ticker's; name one")
        topic, ticker = subscription.topic, subscription.ticker
        found = await self._worker.run(lambda: self._sources.read(topic, ticker, after_ns, until_ns))
        return [msgspec.Raw(message) for message in found.messages]

    async def _listen(self, listener: socket.socket) -> None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._server = await serve(
            self._talk,
            sock=listener,
            process_request=self._let_in,
            create_connection=Line,
            compression="deflate" if self._has_compression else None,
            ping_interval=None,  # no ping of the vendor's was ever seen; those of clients are answered
            open_timeout=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            write_limit=_WRITE_LIMIT,
            server_header="nginx",
            logger=_logger(),
        )

    def _refuse(self, wall_s: float) -> Coroutine[None, None, None]:
        """Nobody listens from now on, a reset answers whoever knocks; awaited, until the time is over."""
        self._refusals += 1
        if self._server is not None:
            self._server.server.close()
            self._server = None
            # Bound and not listening: whoever knocks is refused, and nobody else can take the port.
            self._held_port = bound_socket(*self._address)
        return self._stay_away(wall_s)

    async def _stay_away(self, wall_s: float) -> None:
        await asyncio.sleep(wall_s)
        self._refusals -= 1
        if self._refusals == 0 and self._held_port is not None:
            listener, self._held_port = self._held_port, None
            await self._listen(listener)

    async def _let_in(self, line: ServerConnection, request: Request) -> Response | None:
        market = _MARKETS.get(request.path.partition("?")[0])
        if market is None or not isinstance(line, Line):
            return line.respond(http.HTTPStatus.NOT_FOUND, "404 page not found\n")
        self._opened[market] += 1
        connection = Connection(self._opened[market], market, line)
        line.connection = connection
        self._strikes.at_stage(connection, Stage.ACCEPTED)
        if connection.is_silent:
            await line.wait_closed()
        elif connection.http_status is not None:
            connection.ended_by = connection.struck[-1]
        elif not connection.is_ending:
            return None
        connection.is_ending = True
        self._ended.append(_report(connection))
        if connection.is_silent or connection.http_status is None:
            raise asyncio.CancelledError  # the peer is gone, and the library would go on to answer it
        return line.respond(http.HTTPStatus(connection.http_status), "")

    async def _talk(self, line: ServerConnection) -> None:
        connection = line.connection if isinstance(line, Line) else None
        if connection is None:
            return
        self._replay.connections.append(connection)
        self._note_most()
        try:
            await self._dialogues.hold(connection)
        finally:
            self._note_most()
            self._replay.connections.remove(connection)
            connection.is_ending = True
            self._ended.append(_report(connection))

    def _note_most(self) -> None:
        standing = Counter(connection.market for connection in self._replay.connections)
        for market, count in standing.items():
            self._most_connections[market] = max(self._most_connections[market], count)
        contracts = [connection.most_contracts for connection in self._replay.connections]
        self._most_contracts = max([self._most_contracts, *contracts])

    async def _bar_again(self, connection: Connection, action: ResendBar, at_ns: int) -> None:
        """Sends the minute bar of a while ago with 100 more shares and a higher high; nothing where there was none.

        ``at_ns`` is when it was asked for; whoever gets everything later gets an earlier bar.
        """
        now_ns = at_ns - connection.delay_ns
        start_ms = (now_ns // NS_PER_MS // 60_000 - action.minutes_ago) * 60_000
        after_ns = start_ms * NS_PER_MS
        found = await self._worker.run(lambda: self._sources.read(Topic.MINUTES, action.ticker, after_ns, now_ns))
        bars = [msgspec.json.decode(one, type=dict[str, object]) for one in found.messages]
        for bar in [bar for bar in bars if bar["s"] == start_ms][-1:]:
            volume, high = bar.get("v"), bar["h"]
            changed = bar | {"h": high + 0.01 if isinstance(high, float) else high}
            if isinstance(volume, int | float):
                changed["v"] = volume + 100
            if connection.hears(Subscription(Topic.MINUTES, action.ticker)):
                connection.deliver(msgspec.json.encode([changed]), 1)


def bound_socket(host: str, port: int) -> socket.socket:
    """A TCP socket on an address, which nobody listens on yet; raises OSError when the port is taken."""
    # asyncio turns off the wait of small packets only where the socket names its protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _report(connection: Connection) -> ConnectionReport:
    return ConnectionReport(
        number=connection.number,
        market=connection.market,
        plan=None if connection.account is None else connection.account.name,
        stage=connection.stage,
        subscriptions=sorted(map(str, connection.held)),
        contracts=connection.contracts,
        events=connection.events,
        messages=connection.messages,
        bytes=connection.bytes_sent,
        buffered_bytes=connection.line.buffered,
        held_clock_s=connection.held_clock_ns / NS_PER_S,
        is_silent=connection.is_silent,
        is_stalled=connection.is_stalled,
        faults=connection.struck,
        ended_by=connection.ended_by if connection.is_ending else None,
    )


def _logger() -> logging.Logger:
    """Complaints about what is done on purpose here, or by whoever knocks and goes, are no news."""
    logger = logging.getLogger("simulator.stream")
    if not logger.filters:
        logger.addFilter(lambda record: record.getMessage() != "opening handshake failed")
    return logger
