"""A vendor's stream that does to each connection what a test wrote, over a real socket, and remembers what it heard."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

KEY = "a-canary-key-of-32-characters-00"
CONNECTED = '[{"ev":"status","status":"connected","message":"Connected Successfully"}]'
AUTHENTICATED = '[{"ev":"status","status":"auth_success","message":"authenticated"}]'
TOO_MANY = (
    '[{"ev":"status","status":"max_connections",'
    '"message":"Maximum number of websocket connections exceeded. You have reached the connection limit."}]'
)


def status(word: str, message: str) -> str:
    """One status, as the vendor frames it."""
    return json.dumps([{"ev": "status", "status": word, "message": message}], separators=(",", ":"))


def acks(pairs: Sequence[str], word: str = "subscribed to: ") -> str:
    """One acknowledgement a pair, grouped in one frame."""
    items = [{"ev": "status", "status": "success", "message": f"{word}{pair}"} for pair in pairs]
    return json.dumps(items, separators=(",", ":"))


def trade(number: int, at_ms: int = 1_756_474_200_000, ticker: str = "SPY") -> str:
    """A frame of one trade; its sequence number is the given one."""
    event = {"ev": "T", "sym": ticker, "x": 4, "i": str(number), "z": 2, "p": 585.33, "s": 25, "t": at_ms, "q": number}
    return json.dumps([event], separators=(",", ":"))


@dataclass
class Talk:
    """One connection, from the server's side."""

    socket: ServerConnection
    heard: list[dict[str, str]] = field(default_factory=list)

    async def say(self, message: str | bytes) -> None:
        """Send a text frame."""
        await self.socket.send(message, text=True)

    async def hear(self) -> dict[str, str]:
        """The client's next message."""
        message: dict[str, str] = json.loads(await self.socket.recv())
        self.heard.append(message)
        return message

    async def authenticate(self) -> None:
        """Greet, and take any key."""
        await self.say(CONNECTED)
        await self.hear()
        await self.say(AUTHENTICATED)

    async def subscribe(self, *, lost: Sequence[str] = (), refused: Sequence[str] = ()) -> list[str]:
        """Authenticate, hear what is subscribed to, and acknowledge it but for some."""
        await self.authenticate()
        pairs = (await self.hear())["params"].split(",")
        for _ in set(pairs) & set(refused):
            await self.say(status("error", "not authorized"))
        accepted = [pair for pair in pairs if pair not in {*lost, *refused}]
        if accepted:
            await self.say(acks(accepted))
        return pairs

    async def until_gone(self) -> None:
        """Hear what comes until the client leaves; pings are answered."""
        with suppress(ConnectionClosed):
            while True:
                await self.hear()

    def abort(self) -> None:
        """Cut the line."""
        self.socket.transport.abort()

    def abort_within_frame(self) -> None:
        """Send the beginning of a frame, then cut the line behind it."""
        transport: Any = self.socket.transport
        transport.write(b"\x81\x7e\x04\x00" + b'[{"ev":"T","sym":"SPY"')
        line = transport.get_extra_info("socket")
        line.shutdown(socket.SHUT_WR)

    def freeze(self) -> None:
        """Read no more, so that no ping is answered either."""
        self.socket.transport.pause_reading()


type Script = Callable[[Talk], Awaitable[object]] | HTTPStatus


@dataclass
class ScriptedExchange:
    """Plays the n-th script to the n-th connection; further connections get the last one."""

    scripts: Sequence[Script]
    url: str = ""
    talks: list[Talk] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, connections: int) -> None:
        """Until so many connections have come."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.connections >= connections)

    async def _decide(self, connection: ServerConnection, request: Request) -> Response | None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.paths.append(request.path)
        async with self.changed:
            self.connections += 1
            self.changed.notify_all()
        if isinstance(script, HTTPStatus):
            return connection.respond(script, "not now\n")
        connection.script = script  # type: ignore[attr-defined]
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        talk = Talk(connection)
        self.talks.append(talk)
        with suppress(ConnectionClosed):
            await connection.script(talk)  # type: ignore[attr-defined]


@asynccontextmanager
async def scripted_exchange(
    *scripts: Script, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedExchange]:
    """A scripted exchange on the loopback, until the end of the block."""
    exchange = ScriptedExchange(scripts)
    options: dict[str, Any] = {"ping_interval": None, "close_timeout": 0.2, "ssl": tls}
    async with serve(exchange._talk, "127.0.0.1", port, process_request=exchange._decide, **options) as server:
        exchange.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield exchange
        for talk in exchange.talks:
            talk.abort()
