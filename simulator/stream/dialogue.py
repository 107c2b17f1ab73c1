"""What the vendor says to a client: the greeting, the answer to a key, the acknowledgements.

Messages are taken in the order in which they come, however early: a client may send its key and all its subscriptions
before it has read a word. Which data follow is decided in ``replay``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from websockets.exceptions import ConnectionClosed

from simulator.faults.stream_actions import DropAcks, NotAuthorized, Stage
from simulator.plans import Account
from simulator.stream.connection import Connection
from simulator.stream.replay import Replay
from simulator.stream.strikes import NO_KEY_CAME, Strikes
from simulator.stream.switches import Evicted, StreamSwitches
from simulator.stream.topics import is_known, judge, pairs_of

_NO_STREAM: Final = "Your plan doesn't include websocket access. Visit https://polygon.io/pricing to upgrade."


class ClientMessage(msgspec.Struct):
    """What a client sends."""

    action: str
    params: str = ""


class Dialogues:
    """The server's side of every conversation."""

    def __init__(
        self, accounts: Mapping[str, Account], replay: Replay, strikes: Strikes, switches: StreamSwitches
    ) -> None:
        self._accounts = accounts
        self._replay = replay
        self._strikes = strikes
        self._switches = switches

    async def hold(self, connection: Connection) -> None:
        """Speaks with a client until it or the server ends the connection."""
        connection.say(("connected", "Connected Successfully"))
        self._strikes.at_stage(connection, Stage.CONNECTED)
        try:
            early = await self._authenticate(connection)
            for message in early:
                self._obey(connection, message)
            while True:
                self._obey(connection, _parse(await connection.line.recv()))
        except ConnectionClosed:
            return
        finally:
            self._replay.wake()  # it may have waited for this reader

    async def _authenticate(self, connection: Connection) -> list[ClientMessage]:
        """Waits for a key that is good; gives what came before it."""
        early: list[ClientMessage] = []
        try:
            async with asyncio.timeout(self._switches.auth_timeout_s):
                while connection.account is None:
                    message = _parse(await connection.line.recv())
                    if message.action == "auth":
                        self._check_key(connection, message.params)
                    else:
                        early.append(message)
        except TimeoutError:
            if not connection.is_silent:
                connection.say(("auth_timeout", NO_KEY_CAME))
                connection.end("auth_timeout", connection.line.hang_up)
            await connection.line.wait_closed()
        return early

    def _check_key(self, connection: Connection, key: str) -> None:
        if connection.is_silent or connection.is_ending:
            return
        account = self._accounts.get(key)
        refusal = connection.refuses_keys_with
        if refusal is None and account is None:
            refusal = "authentication failed"
        if refusal is None and account is not None and not account.terms(connection.market).has_stream:
            refusal = _NO_STREAM
        if refusal is not None:
            connection.say(("auth_failed", refusal))
            connection.end("auth_failed", connection.line.hang_up)
            return
        connection.account = account
        connection.say(("auth_success", "authenticated"))
        self._evict_older(connection)
        self._strikes.at_stage(connection, Stage.AUTHENTICATED)

    def _obey(self, connection: Connection, message: ClientMessage) -> None:
        if connection.is_silent or connection.is_ending:
            return
        match message.action:
            case "subscribe":
                self._subscribe(connection, pairs_of(message.params))
            case "unsubscribe":
                self._unsubscribe(connection, pairs_of(message.params))
            case "auth":
                connection.say(("auth_success", "authenticated"))
            case _:
                connection.say(("error", "unknown action"))

    def _subscribe(self, connection: Connection, pairs: Sequence[str]) -> None:
        if connection.account is None:
            return
        heard, denied = _under_faults(connection, pairs)
        verdict = judge(heard, connection.market, connection.account, list(connection.held))
        connection.say(*[("error", refusal) for refusal in (*denied, *verdict.refused)])
        connection.say(*[("success", f"subscribed to: {pair}") for pair in verdict.acknowledged])
        self._replay.admit()
        connection.take_up(verdict.subscribed)
        if verdict.acknowledged and connection.stage is not Stage.SUBSCRIBED:
            self._strikes.at_stage(connection, Stage.SUBSCRIBED)
        # Behind the first answer, as the vendor was seen to do it: a connection that asks for nothing is not judged.
        if self._switches.evicted is Evicted.NEWER and self._others(connection) and not connection.is_ending:
            self._strikes.evict(connection)
        self._replay.wake()

    def _unsubscribe(self, connection: Connection, pairs: Sequence[str]) -> None:
        connection.give_up(set(pairs))
        known = [pair for pair in pairs if is_known(pair, connection.market)]
        connection.say(*[("success", f"unsubscribed to: {pair}") for pair in known])

    def _others(self, connection: Connection) -> list[Connection]:
        """The connections that stand in the way of this one, oldest first: none while there is room for it."""
        same = [
            other
            for other in self._replay.connections
            if other is not connection
            and other.account is connection.account
            and other.market is connection.market
            and not other.is_ending
        ]
        return same[: max(len(same) + 1 - self._switches.connections_per_key, 0)]

    def _evict_older(self, connection: Connection) -> None:
        if self._switches.evicted is Evicted.OLDER:
            for other in self._others(connection):
                self._strikes.evict(other)


def _parse(text: str | bytes) -> ClientMessage:
    """A client's message; what is none is an action that nobody knows."""
    try:
        return msgspec.json.decode(text, type=ClientMessage)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ClientMessage("")


def _under_faults(connection: Connection, pairs: Sequence[str]) -> tuple[list[str], list[str]]:
    """The pairs that are heard, and a refusal for each that a fault denies."""
    heard, denied = list(pairs), []
    for fault in connection.ack_faults:
        if isinstance(fault, DropAcks):
            heard = [] if fault.of is None else [pair for pair in heard if pair not in fault.of]
        elif isinstance(fault, NotAuthorized):
            meant = [pair for pair in heard if pair in fault.of or pair.partition(".")[0] in fault.of]
            denied += ["not authorized"] * len(meant)
            heard = [pair for pair in heard if pair not in meant]
    return heard, denied
