"""One connection to the vendor's stream, from the first packet to one of the ways in which it can end.

The vendor's own client does the handshake, the subscribing and the pings; what it leaves open is closed here: time
limits for each step, statuses that it drops, subscriptions that it forgets, and endings that it does not tell apart. A
connection is used once. Whether there is another one is :mod:`marketlake.recorder`'s question; which subscriptions are
acknowledged, :mod:`marketlake.acknowledgements`'; what the messages mean, :mod:`marketlake.frames`'.
"""

import asyncio
import functools
import logging
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from types import ModuleType
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidHandshake, InvalidStatus

from marketlake.acknowledgements import Acknowledgements
from marketlake.feeds import Subscription
from marketlake.settings import StreamRetry
from marketlake.stream_statuses import Status, statuses_in
from marketlake.tickers import AssetClass

# A server that does not answer our goodbye is left without one; whoever stops a recorder waits for this.
_GOODBYE_S: Final = 0.3
# The client looks once a second whether its subscriptions were changed.
_BETWEEN_STEPS_S: Final = 0.05
_CLIENT_POLL_S: Final = 1.0
_AUTHENTICATED: Final = b'[{"ev":"status","status":"auth_success","message":"authenticated"}]'
_STATUS: Final = b'"status"'
# No key of the data has this letter: most messages are done with after one pass of memchr.
_RARE: Final = b"u"


class Outcome(StrEnum):
    """How a connection ended."""

    RETURNED = "returned"
    """The server said goodbye, with 1000 or 1001."""
    CLOSED = "closed"
    """The server closed with another code, or the line broke (1006)."""
    UNREACHABLE = "unreachable"
    """There was no TCP connection, or the upgrade to WebSocket was refused."""
    AUTH_FAILED = "auth_failed"
    TIME_LIMIT = "time_limit"
    """A step of the handshake, or an acknowledgement, did not come in time."""
    SILENT = "silent"
    """Nothing came for longer than the session explains."""
    PROCESSOR = "processor"
    """What came was not understood, or handling it failed."""
    MAX_CONNECTIONS = "max_connections"
    """The account has too many connections, and this one was not let in."""
    EVICTED = "evicted"
    """The same, after this one had been let in: another program uses the key."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended, and what is known about it, for people."""

    outcome: Outcome
    detail: str


class Journal(Protocol):
    """Takes what comes, in its order."""

    def frame(self, data: bytes) -> None:
        """A message, exactly as it came."""
        ...

    def event(self, name: str, **facts: object) -> None:
        """What happened to the connection."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a feed is: host, port, and what stands between them and the feed's name."""

    is_secure: bool
    host: str
    port: int
    place: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read ``wss://socket.polygon.io`` or ``ws://127.0.0.1:8765/prefix``."""
        parts = urlsplit(url)
        is_secure = parts.scheme == "wss"
        place = f"{parts.netloc}{parts.path}".rstrip("/")
        return cls(is_secure, parts.hostname or "", parts.port or (443 if is_secure else 80), place)


class _Phase(Enum):
    OPENING = auto()
    GREETING = auto()
    AUTHENTICATING = auto()
    STREAMING = auto()


class Connection:
    """One connection of a feed; ``number`` counts those of a process from 1."""

    def __init__(
        self,
        library: ModuleType,
        address: Address,
        feed: AssetClass,
        *,
        key: str,
        wanted: Collection[Subscription],
        limits: StreamRetry,
        journal: Journal,
        number: int,
    ) -> None:
        self._library = library
        self._address = address
        self._feed = feed
        self._key = key
        self._limits = limits
        self._journal = journal
        self.number = number
        self._phase = _Phase.OPENING
        self._asked = Acknowledgements(wanted)
        self._client: Any = None  # the library ships no types
        self._socket: _Socket | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ending] = self._loop.create_future()
        self._deadline: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None
        self._complaint = ""  # the last status that was no good news: the server's reason to close
        self._acknowledged_at: float | None = None
        self.was_cut_for_acknowledgements = False
        """Whether it ended because something was not answered."""

    @property
    def is_subscribed(self) -> bool:
        """Whether all that was asked for has been answered."""
        return self._acknowledged_at is not None

    @property
    def steady_s(self) -> float:
        """Seconds since the acknowledgements were complete; 0 before."""
        return self._loop.time() - self._acknowledged_at if self._acknowledged_at is not None else 0.0

    @property
    def asked(self) -> Acknowledgements:
        """What was asked for, and what the server said to it."""
        return self._asked

    async def run(self) -> Ending:
        """Connect, authenticate, subscribe, and take what comes, until the connection ends.

        Raises:
            BaseException: whatever handling a message raised; the journal has been told.
        """
        self._journal.event("connecting", connection=self.number)
        ending = await self._talk()
        self._journal.event("disconnected", connection=self.number, outcome=ending.outcome, detail=ending.detail)
        if self._failure is not None:
            raise self._failure
        return ending

    def end(self, outcome: Outcome, detail: str) -> None:
        """Let the connection end; the first reason is the one that counts."""
        if not self._ended.done():
            self._ended.set_result(Ending(outcome, detail))

    def want(self, wanted: Collection[Subscription]) -> None:
        """Change what is subscribed to, on a connection that lives or is still being opened."""
        added, dropped = self._asked.change(wanted)
        if not added and not dropped:
            return
        if self._client is not None:
            self._asked.keep(item for item in added if str(item) in self._client.subs)
            self._go_over(self._client)
        if added and self._phase is _Phase.STREAMING:
            self._acknowledged_at = None
            self._arm(self._limits.acknowledgement_timeout_s + 2 * _CLIENT_POLL_S, self._give_up_acknowledgements)
            if self._asked.is_answered:
                self._conclude_acknowledgements()

    def _go_over(self, client: Any) -> None:
        """Let the client subscribe to what is wanted, and to no more than that at any moment.

        It would subscribe before it unsubscribes: what is not wanted goes first, and the rest when that is done.
        """
        if client is not self._client or self._ended.done():
            return
        wanted = {str(item) for item in self._asked.wanted}
        is_first_step = bool(client.subs - wanted) and bool(wanted - client.subs)
        # Its subscribe() and unsubscribe() compare topics by prefix: A.* would take AM.SPY away.
        client.scheduled_subs = wanted & client.subs if is_first_step else wanted
        client.schedule_resub = True
        if is_first_step:
            self._loop.call_later(_BETWEEN_STEPS_S, self._go_over, client)

    async def _talk(self) -> Ending:
        limit_s = self._limits.connect_timeout_s
        opening = asyncio.create_task(_open_line(self._loop, self._address, limit_s))
        try:
            either: set[asyncio.Future[Any]] = {opening, self._ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return self._ended.result()
            line = opening.result()
        except TimeoutError as error:
            return Ending(Outcome.TIME_LIMIT, f"{error} within {limit_s:g} s")
        except OSError as error:
            return Ending(Outcome.UNREACHABLE, error.strerror or str(error))
        finally:
            opening.cancel()
        self._client = self._library.WebSocketClient(
            api_key=self._key,
            feed=self._address.place,
            market=self._feed.value,
            raw=True,
            subscriptions=[str(item) for item in self._asked.wanted],
            max_reconnects=0,
            secure=self._address.is_secure,
        )
        self._arm_step(limit_s, "no WebSocket")
        talking = asyncio.create_task(
            self._client.connect(
                _ignore,
                close_timeout=_GOODBYE_S,
                create_connection=functools.partial(_Socket, owner=self),
                sock=line,
                max_size=None,
                max_queue=None,  # whatever was read is taken at once
                open_timeout=None,
                logger=_told_to(self),
            )
        )
        try:
            await asyncio.wait({talking, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                await self._drain()
            return self._ended.result() if self._ended.done() else self._ending_of(talking)
        finally:
            await self._hang_up(talking, line)

    async def _drain(self) -> None:
        """Take what came before the end and was not taken yet, as when the client meets the end while it sends."""
        if self._socket is not None:
            with suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._socket.recv_rest()

    def _ending_of(self, talking: "asyncio.Task[None]") -> Ending:
        error = talking.exception()
        protocol = self._socket.protocol if self._socket is not None else None
        code = protocol.close_code if protocol is not None else None
        reason = protocol.close_reason if protocol is not None else None
        detail = ", ".join(str(part) for part in (code, reason, self._complaint) if part)
        if error is None:
            return Ending(Outcome.RETURNED, detail)
        if isinstance(error, ConnectionClosedError):
            return Ending(Outcome.CLOSED, detail)
        self._failure = error
        return Ending(Outcome.PROCESSOR, repr(error))

    async def _hang_up(self, talking: "asyncio.Task[None]", line: socket.socket) -> None:
        self._disarm()
        talking.cancel()
        await asyncio.wait({talking})
        if not talking.cancelled():
            talking.exception()  # it was looked at already, or came too late to matter
        if self._socket is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._socket.close()
            self._socket.transport.abort()
            await self._socket.wait_closed()
        line.close()

    def _opened(self, connection: "_Socket") -> None:
        self._socket = connection
        self._phase = _Phase.GREETING
        self._arm_step(self._limits.handshake_timeout_s, "no greeting")

    def _take(self, message: bytes) -> bytes | None:
        """Keep a message, and give the client what it must see of it; once the key is accepted, that is nothing."""
        self._journal.frame(message)
        if self._phase is _Phase.STREAMING and (_RARE not in message or _STATUS not in message):
            return None
        before = self._phase
        for status in statuses_in(message):
            self._heed(status)
        if self._phase is before or self._ended.done():
            return None
        return message if self._phase is _Phase.AUTHENTICATING else _AUTHENTICATED

    def _heed(self, status: Status) -> None:
        match status.status:
            case "connected" if self._phase is _Phase.GREETING:
                self._phase = _Phase.AUTHENTICATING
                self._journal.event("connected", connection=self.number)
                self._arm_step(self._limits.handshake_timeout_s, "no answer to the key")
            case "auth_success" if self._phase is _Phase.AUTHENTICATING:
                self._phase = _Phase.STREAMING
                self._journal.event("authenticated", connection=self.number)
                self._arm(self._limits.acknowledgement_timeout_s, self._give_up_acknowledgements)
            case "auth_failed":
                self.end(Outcome.AUTH_FAILED, status.message)
            case "max_connections":
                was_in = self.steady_s > self._limits.acknowledgement_timeout_s
                self.end(Outcome.EVICTED if was_in else Outcome.MAX_CONNECTIONS, status.message)
            case "success" | "error" if self._phase is _Phase.STREAMING and self._asked.take(status):
                if self._asked.is_answered and not self.is_subscribed:
                    self._conclude_acknowledgements()
            case "connected" | "auth_success" | "success":
                pass
            case _:
                self._complaint = f"{status.status}: {status.message}"

    def _give_up_acknowledgements(self) -> None:
        self._conclude_acknowledgements()
        if self._asked.lost:
            names = ", ".join(_texts(self._asked.lost))
            limit_s = self._limits.acknowledgement_timeout_s
            self.was_cut_for_acknowledgements = True
            self.end(Outcome.TIME_LIMIT, f"no acknowledgement of {names} within {limit_s:g} s")

    def _conclude_acknowledgements(self) -> None:
        self._disarm()
        accepted, refused = self._asked.conclude()
        self._journal.event(
            "subscribed", connection=self.number, accepted=_texts(accepted), refused=_texts(list(refused))
        )
        for subscription, message in sorted(refused.items()):
            self._journal.event("refused", subscription=str(subscription), message=message)
        self._acknowledged_at = self._loop.time()

    def _arm_step(self, limit_s: float, what: str) -> None:
        self._arm(limit_s, functools.partial(self.end, Outcome.TIME_LIMIT, f"{what} within {limit_s:g} s"))

    def _arm(self, limit_s: float, late: Callable[[], None]) -> None:
        self._disarm()
        self._deadline = self._loop.call_later(limit_s, late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Socket(ClientConnection):
    """The client's WebSocket: what it receives goes to the connection's journal as bytes, and past the client.

    The client decodes each message and waits for it under a new timer, which costs more than keeping it.
    """

    def __init__(self, protocol: ClientProtocol, *, owner: Connection, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._owner = owner

    async def handshake(self, *arguments: Any, **options: Any) -> None:
        """Upgrade to WebSocket; the client's library would try a refused upgrade again for ever, and say nothing."""
        try:
            await super().handshake(*arguments, **options)
        except (InvalidHandshake, EOFError, OSError) as error:
            status = f"HTTP {error.response.status_code}" if isinstance(error, InvalidStatus) else str(error)
            self._owner.end(Outcome.UNREACHABLE, f"{status} at the upgrade")
            raise
        self._owner._opened(self)  # noqa: SLF001 - one thing in two classes, because the library wants a subclass

    async def recv(self, decode: bool | None = None) -> bytes:  # type: ignore[override] # noqa: ARG002
        """The next message that the client must see; cancelling loses nothing."""
        while True:
            message = await super().recv(decode=False)
            seen = self._owner._take(message)  # noqa: SLF001
            if seen is not None:
                return seen

    async def recv_rest(self) -> None:
        """Let the connection take all that is left."""
        while True:
            self._owner._take(await super().recv(decode=False))  # noqa: SLF001


async def _ignore(_message: bytes) -> None:
    """What the client would call with each message: none reaches it."""


class _Setbacks(logging.Handler):
    """Ends a connection whose line was lost before the upgrade, as when a certificate does not hold.

    The client's library takes that for something that passes, says so in its log alone, and tries a closed line again.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Heed what the library tells at INFO, and nothing else does: that it could not connect, and why."""
        if record.levelno == logging.INFO:
            self._connection.end(Outcome.UNREACHABLE, record.getMessage())


def _told_to(connection: Connection) -> logging.Logger:
    usual = logging.getLogger("websockets.client")
    told = logging.Logger(usual.name, min(logging.INFO, usual.getEffectiveLevel()))
    told.parent = usual
    told.addHandler(_Setbacks(connection))
    return told


async def _open_line(loop: asyncio.AbstractEventLoop, address: Address, limit_s: float) -> socket.socket:
    """A TCP connection; the client's library would try a refused one again for ever, and say nothing.

    Raises:
        TimeoutError: no address of the host has answered; each had its part of the limit.
        OSError: none takes a connection.
    """
    try:
        async with asyncio.timeout(limit_s):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        message = f"no address of {address.host}"
        raise TimeoutError(message) from error
    failure = OSError("the host has no address")
    for family, kind, protocol, _, place in found:
        line = socket.socket(family, kind, protocol)
        line.setblocking(False)
        try:
            async with asyncio.timeout(limit_s / len(found)):
                await loop.sock_connect(line, place)
        except TimeoutError:
            line.close()
            failure = TimeoutError(f"no connection to {place[0]}")
        except OSError as error:
            line.close()
            failure = error
        except asyncio.CancelledError:
            line.close()
            raise
        else:
            return line
    raise failure


def _texts(subscriptions: Collection[Subscription]) -> list[str]:
    return sorted(str(item) for item in subscriptions)
