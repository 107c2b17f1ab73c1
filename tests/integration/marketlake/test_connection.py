"""One connection over a real socket: what is kept of it, and how it ends, for each thing that a server can do to it."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import certifi
import pytest
from certificates import self_signed
from scripted_exchange import (
    AUTHENTICATED,
    CONNECTED,
    KEY,
    TOO_MANY,
    Script,
    Talk,
    acks,
    scripted_exchange,
    status,
    trade,
)

from marketlake.connection import Address, Connection, Ending, Outcome
from marketlake.feeds import Subscription
from marketlake.settings import StreamRetry
from marketlake.tickers import AssetClass
from marketlake.transport import import_client

QUICK = StreamRetry(connect_timeout_s=2, handshake_timeout_s=1, acknowledgement_timeout_s=1)
PATIENT = StreamRetry()
WANTED = [Subscription.parse(text) for text in ("T.SPY", "Q.SPY", "AM.SPY")]
GOOD_AUTH = ["connecting", "connected", "authenticated"]


@dataclass
class Journal:
    """Remembers, in one order."""

    entries: list[bytes | tuple[str, dict[str, object]]] = field(default_factory=list)

    def frame(self, data: bytes) -> None:
        self.entries.append(data)

    def event(self, name: str, **facts: object) -> None:
        self.entries.append((name, facts))

    @property
    def frames(self) -> list[str]:
        return [entry.decode() for entry in self.entries if isinstance(entry, bytes)]

    @property
    def names(self) -> list[str]:
        return [entry[0] for entry in self.entries if not isinstance(entry, bytes)]

    def facts(self, name: str) -> list[dict[str, object]]:
        return [entry[1] for entry in self.entries if not isinstance(entry, bytes) and entry[0] == name]


type Meanwhile = Callable[[Connection, Journal], Awaitable[object]]


def connect(
    script: Script,
    *,
    limits: StreamRetry = QUICK,
    url: str = "",
    client: str = "polygon",
    meanwhile: Meanwhile | None = None,
    tls: ssl.SSLContext | None = None,
) -> tuple[Ending, Journal]:
    """What one connection to an exchange with this script comes to."""

    async def run() -> tuple[Ending, Journal]:
        journal = Journal()
        async with scripted_exchange(script, tls=tls) as exchange:
            library = import_client(client)  # type: ignore[arg-type]
            connection = Connection(
                library,
                Address.parse(url or exchange.url),
                AssetClass.STOCKS,
                key=KEY,
                wanted=WANTED,
                limits=limits,
                journal=journal,
                number=1,
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(connection.run())
                if meanwhile is not None:
                    await meanwhile(connection, journal)
            return running.result(), journal

    return asyncio.run(run())


@pytest.mark.parametrize("client", ["polygon", "massive"])
def test_what_comes_is_kept_as_it_came_with_what_happened_in_between(client: str) -> None:
    frames = [trade(1), '[{"ev":"A"},\n {"ev":"x","ünknown":null}]', "no JSON at all", "[]", trade(2)]

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        for frame in frames:
            await talk.say(frame)
        await talk.socket.close(1000, "good night")

    ending, journal = connect(script, limits=PATIENT, client=client)

    assert Ending(Outcome.RETURNED, "1000, good night") == ending
    assert [CONNECTED, AUTHENTICATED] == journal.frames[:2]
    assert frames == journal.frames[3:]
    assert [*GOOD_AUTH, "subscribed", "disconnected"] == journal.names
    assert {"connection": 1, "accepted": ["AM.SPY", "Q.SPY", "T.SPY"], "refused": []} in journal.facts("subscribed")
    assert {"connection": 1, "outcome": "returned", "detail": "1000, good night"} in journal.facts("disconnected")


def test_the_feed_is_asked_for_by_its_path_and_behind_the_addresss_own() -> None:
    async def run() -> list[str]:
        async with scripted_exchange(HTTPStatus.NOT_FOUND) as exchange:
            for url in (exchange.url, f"{exchange.url}/replay"):
                connection = Connection(
                    import_client("auto"),
                    Address.parse(url),
                    AssetClass.STOCKS,
                    key=KEY,
                    wanted=WANTED,
                    limits=QUICK,
                    journal=Journal(),
                    number=1,
                )
                await connection.run()
            return exchange.paths

    assert ["/stocks", "/replay/stocks"] == asyncio.run(run())


def test_a_message_in_several_frames_and_one_beyond_a_megabyte_are_kept_whole() -> None:
    large = "[" + ",".join(trade(number)[1:-1] for number in range(20_000)) + "]"

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.socket.send([trade(1)[:20], trade(1)[20:50], trade(1)[50:]])
        await talk.say(large)
        await talk.say(b'\xff\xfe[{"ev":"T"}]')
        await talk.socket.close()

    def raw(journal: Journal) -> list[bytes]:
        return [entry for entry in journal.entries if isinstance(entry, bytes)]

    ending, journal = connect(script, limits=PATIENT)

    assert Outcome.RETURNED is ending.outcome
    assert len(large) > 2**20
    assert [trade(1).encode(), large.encode(), b'\xff\xfe[{"ev":"T"}]'] == raw(journal)[3:]


def closing(code: int) -> Script:
    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(1))
        await talk.socket.close(code, "because")

    return script


async def _abort(talk: Talk) -> None:
    await talk.subscribe()
    await talk.say(trade(1))
    talk.abort()


async def _abort_within_frame(talk: Talk) -> None:
    await talk.subscribe()
    await talk.say(trade(1))
    talk.abort_within_frame()
    await talk.until_gone()


async def _slow_consumer(talk: Talk) -> None:
    await talk.subscribe()
    await talk.say(trade(1))
    await talk.say(status("slow_consumer", "too slow"))
    talk.abort()


@pytest.mark.parametrize(
    ("script", "outcome", "detail"),
    [
        pytest.param(closing(1000), Outcome.RETURNED, "1000, because", id="1000"),
        pytest.param(closing(1001), Outcome.RETURNED, "1001, because", id="1001"),
        pytest.param(closing(1008), Outcome.CLOSED, "1008, because", id="1008"),
        pytest.param(closing(1011), Outcome.CLOSED, "1011, because", id="1011"),
        pytest.param(closing(1012), Outcome.CLOSED, "1012, because", id="1012"),
        pytest.param(_abort, Outcome.CLOSED, "1006", id="line cut"),
        pytest.param(_abort_within_frame, Outcome.CLOSED, "1006", id="line cut within a frame"),
        pytest.param(_slow_consumer, Outcome.CLOSED, "1006, slow_consumer: too slow", id="slow consumer"),
    ],
)
def test_endings_after_data_are_told_apart_and_keep_the_data(script: Script, outcome: Outcome, detail: str) -> None:
    ending, journal = connect(script, limits=PATIENT)

    assert Ending(outcome, detail) == ending
    assert trade(1) in journal.frames
    assert [*GOOD_AUTH, "subscribed", "disconnected"] == journal.names


async def _silent(talk: Talk) -> None:
    await talk.until_gone()


async def _silent_after_greeting(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.until_gone()


async def _silent_after_key(talk: Talk) -> None:
    await talk.authenticate()
    await talk.until_gone()


async def _gone_before_subscribe(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.hear()
    await talk.say(AUTHENTICATED)
    talk.abort()


async def _bad_key(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.hear()
    await talk.say(status("auth_failed", "authentication failed"))
    talk.abort()


async def _too_slow_with_the_key(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.say(status("auth_timeout", "No authentication request received."))
    await talk.socket.close(1008)


async def _full_before_acks(talk: Talk) -> None:
    await talk.authenticate()
    await talk.say(TOO_MANY)
    await talk.socket.close(1008)


async def _full_after_acks(talk: Talk) -> None:
    await talk.subscribe()
    await talk.say(TOO_MANY)
    await talk.socket.close(1008)


@pytest.mark.parametrize(
    ("script", "outcome", "detail", "names"),
    [
        pytest.param(_silent, Outcome.TIME_LIMIT, "no greeting within 1 s", [], id="silence after accept"),
        pytest.param(
            _silent_after_greeting,
            Outcome.TIME_LIMIT,
            "no answer to the key within 1 s",
            ["connected"],
            id="silence after connected",
        ),
        pytest.param(
            _silent_after_key,
            Outcome.TIME_LIMIT,
            "no acknowledgement of AM.SPY, Q.SPY, T.SPY within 1 s",
            ["connected", "authenticated", "subscribed"],
            id="silence after auth",
        ),
        pytest.param(
            _gone_before_subscribe, Outcome.CLOSED, "1006", ["connected", "authenticated"], id="gone before subscribe"
        ),
        pytest.param(_bad_key, Outcome.AUTH_FAILED, "authentication failed", ["connected"], id="bad key"),
        pytest.param(
            _too_slow_with_the_key,
            Outcome.CLOSED,
            "1008, auth_timeout: No authentication request received.",
            ["connected"],
            id="auth timeout",
        ),
        pytest.param(
            _full_before_acks,
            Outcome.MAX_CONNECTIONS,
            "Maximum number of",
            ["connected", "authenticated"],
            id="full before acks",
        ),
        pytest.param(
            _full_after_acks,
            Outcome.MAX_CONNECTIONS,
            "Maximum number of",
            ["connected", "authenticated", "subscribed"],
            id="full after acks",
        ),
        pytest.param(
            HTTPStatus.SERVICE_UNAVAILABLE, Outcome.UNREACHABLE, "HTTP 503 at the upgrade", [], id="503 at upgrade"
        ),
        pytest.param(HTTPStatus.UNAUTHORIZED, Outcome.UNREACHABLE, "HTTP 401 at the upgrade", [], id="401 at upgrade"),
    ],
)
def test_endings_before_data_are_told_apart(script: Script, outcome: Outcome, detail: str, names: list[str]) -> None:
    ending, journal = connect(script)

    assert outcome is ending.outcome
    assert ending.detail.startswith(detail)
    assert ["connecting", *names, "disconnected"] == journal.names


def test_a_refused_connection_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ending, journal = connect(_silent, url=f"ws://127.0.0.1:{port}", limits=PATIENT)

    assert Ending(Outcome.UNREACHABLE, f"Connect call failed ('127.0.0.1', {port})") == ending
    assert ["connecting", "disconnected"] == journal.names


def test_a_port_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ending, _ = connect(_silent, url=f"ws://127.0.0.1:{listener.getsockname()[1]}")

    assert Ending(Outcome.TIME_LIMIT, "no WebSocket within 2 s") == ending


def test_an_eviction_is_told_from_not_being_let_in() -> None:
    gate = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await gate.wait()
        await talk.say(TOO_MANY)
        await talk.until_gone()

    async def wait_until_steady(connection: Connection, _journal: Journal) -> None:
        while connection.steady_s <= QUICK.acknowledgement_timeout_s:
            await asyncio.sleep(0.01)
        gate.set()

    ending, _ = connect(script, meanwhile=wait_until_steady)

    assert Outcome.EVICTED is ending.outcome


def test_what_the_plan_does_not_have_is_refused_and_the_rest_is_recorded() -> None:
    async def script(talk: Talk) -> None:
        await talk.subscribe(refused=["Q.SPY"])
        await talk.say(trade(1))
        await talk.socket.close()

    ending, journal = connect(script, limits=PATIENT)

    assert Outcome.RETURNED is ending.outcome
    assert trade(1) in journal.frames
    assert [{"connection": 1, "accepted": ["AM.SPY", "T.SPY"], "refused": ["Q.SPY"]}] == journal.facts("subscribed")
    assert [{"subscription": "Q.SPY", "message": "not authorized"}] == journal.facts("refused")


def test_an_acknowledgement_that_does_not_come_ends_the_connection() -> None:
    async def script(talk: Talk) -> None:
        await talk.subscribe(lost=["Q.SPY"])
        await talk.until_gone()

    ending, journal = connect(script)

    assert Ending(Outcome.TIME_LIMIT, "no acknowledgement of Q.SPY within 1 s") == ending
    assert [{"connection": 1, "accepted": ["AM.SPY", "T.SPY"], "refused": []}] == journal.facts("subscribed")


def test_acknowledgements_may_come_one_by_one_and_with_data() -> None:
    mixed = acks(["T.SPY"])[:-1] + "," + trade(1)[1:]

    async def script(talk: Talk) -> None:
        await talk.authenticate()
        await talk.hear()
        await talk.say(acks(["AM.SPY"]))
        await talk.say(mixed)
        await talk.say(acks(["Q.SPY"]))
        await talk.say(trade(2))
        await talk.socket.close()

    _, journal = connect(script, limits=PATIENT)

    order = [entry if isinstance(entry, bytes) else entry[0] for entry in journal.entries]
    assert order.index(mixed.encode()) < order.index("subscribed") < order.index(trade(2).encode())
    assert 1 == order.count("subscribed")


def test_subscriptions_change_on_the_living_connection() -> None:
    wanted = [Subscription.parse(text) for text in ("A.SPY", "AM.SPY", "T.SPY")]
    heard: list[dict[str, str]] = []

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        for _ in range(2):
            heard.append(await talk.hear())
            word = "subscribed to: " if heard[-1]["action"] == "subscribe" else "unsubscribed to: "
            await talk.say(acks(heard[-1]["params"].split(","), word))
        await talk.socket.close()

    async def change(connection: Connection, _journal: Journal) -> None:
        while not connection.is_subscribed:
            await asyncio.sleep(0.01)
        connection.want(wanted)

    _, journal = connect(script, limits=PATIENT, meanwhile=change)

    assert [("unsubscribe", "Q.SPY"), ("subscribe", "A.SPY")] == [(item["action"], item["params"]) for item in heard]
    assert [["AM.SPY", "Q.SPY", "T.SPY"], ["A.SPY"]] == [item["accepted"] for item in journal.facts("subscribed")]


def test_wanted_before_the_handshake_is_over_is_subscribed_to_at_once() -> None:
    pairs: list[str] = []
    gate = asyncio.Event()

    async def script(talk: Talk) -> None:
        await gate.wait()
        pairs.extend(await talk.subscribe())
        await talk.socket.close()

    async def change(connection: Connection, journal: Journal) -> None:
        while "connecting" not in journal.names:
            await asyncio.sleep(0)
        connection.want([Subscription.parse("A.SPY")])
        gate.set()

    connect(script, limits=PATIENT, meanwhile=change)

    assert ["A.SPY"] == pairs


def test_a_certificate_that_does_not_hold_is_told_at_once(tmp_path: Path) -> None:
    began_s = time.monotonic()

    ending, journal = connect(_silent, limits=PATIENT, tls=self_signed(tmp_path).server)

    assert Outcome.UNREACHABLE is ending.outcome
    assert "certificate verify failed" in ending.detail
    assert ["connecting", "disconnected"] == journal.names
    assert time.monotonic() - began_s < PATIENT.connect_timeout_s / 2


@pytest.mark.parametrize("client", ["polygon", "massive"])
def test_a_feed_comes_over_tls(client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path)
    monkeypatch.setattr(certifi, "where", lambda: str(certificate.path))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))  # the newer client heeds it

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(1))
        await talk.socket.close(1000, "good night")

    ending, journal = connect(script, limits=PATIENT, client=client, tls=certificate.server)

    assert Ending(Outcome.RETURNED, "1000, good night") == ending
    assert trade(1) == journal.frames[-1]


def test_a_stop_does_not_wait_for_a_line_that_nobody_takes() -> None:
    """A listener whose queue is full answers no further connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        place = listener.getsockname()
        queued = [socket.socket() for _ in range(4)]
        for line in queued:
            line.setblocking(False)
            line.connect_ex(place)
        began_s = time.monotonic()

        async def stop(connection: Connection, _journal: Journal) -> None:
            await asyncio.sleep(0.2)
            connection.end(Outcome.STOPPED, "enough")

        ending, _ = connect(_silent, url=f"ws://127.0.0.1:{place[1]}", limits=PATIENT, meanwhile=stop)
        for line in queued:
            line.close()

    assert Ending(Outcome.STOPPED, "enough") == ending
    assert time.monotonic() - began_s < PATIENT.connect_timeout_s / 2


def test_a_stop_is_prompt_and_says_goodbye() -> None:
    left: list[int | None] = []

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.until_gone()
        left.append(talk.socket.close_code)

    async def stop(connection: Connection, journal: Journal) -> None:
        while "subscribed" not in journal.names:
            await asyncio.sleep(0.01)
        connection.end(Outcome.STOPPED, "SIGTERM")

    ending, _ = connect(script, limits=PATIENT, meanwhile=stop)

    assert Ending(Outcome.STOPPED, "SIGTERM") == ending
    assert [1000] == left


@pytest.mark.parametrize("phase", ["connecting", "connected", "authenticated", "subscribed"])
def test_a_stop_is_heeded_in_every_phase(phase: str) -> None:
    async def script(talk: Talk) -> None:
        if phase == "connecting":
            await talk.until_gone()
        await talk.say(CONNECTED)
        if phase == "connected":
            await talk.until_gone()
        await talk.hear()
        await talk.say(AUTHENTICATED)
        if phase == "authenticated":
            await talk.until_gone()
        pairs = (await talk.hear())["params"].split(",")
        await talk.say(acks(pairs))
        talk.freeze()
        await talk.socket.wait_closed()

    async def stop(connection: Connection, journal: Journal) -> None:
        while phase not in journal.names:
            await asyncio.sleep(0.01)
        connection.end(Outcome.STOPPED, "SIGTERM")

    ending, _ = connect(script, limits=PATIENT, meanwhile=stop)

    assert Outcome.STOPPED is ending.outcome


def test_a_journal_that_fails_ends_the_connection_and_is_told() -> None:
    class Broken(Journal):
        def frame(self, data: bytes) -> None:
            if b'"ev":"T"' in data:
                message = "disk"
                raise MemoryError(message)
            super().frame(data)

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(1))
        await talk.until_gone()

    async def run() -> None:
        async with scripted_exchange(script) as exchange:
            connection = Connection(
                import_client("auto"),
                Address.parse(exchange.url),
                AssetClass.STOCKS,
                key=KEY,
                wanted=WANTED,
                limits=PATIENT,
                journal=journal,
                number=1,
            )
            await connection.run()

    journal = Broken()
    with pytest.raises(MemoryError, match="disk"):
        asyncio.run(run())

    assert ["processor"] == [item["outcome"] for item in journal.facts("disconnected")]
