"""The recorder against a real socket and a real disk: what ends up in the spool, whatever the exchange does."""

import asyncio
import itertools
import json
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any

import pytest
from scripted_exchange import (
    AUTHENTICATED,
    CONNECTED,
    KEY,
    TOO_MANY,
    Script,
    ScriptedExchange,
    Talk,
    scripted_exchange,
    status,
    trade,
)

from marketlake.connection import Address, Connection, Journal
from marketlake.errors import KeyRefused, LakeError, NotEntitled, TooManyConnections
from marketlake.feeds import Subscription, Topic
from marketlake.pulse import Pulse
from marketlake.recorder import Recorder, Report
from marketlake.settings import StreamRetry
from marketlake.silence import SilenceWatch
from marketlake.spool import Kind, Record, Spool, local_folder
from marketlake.spool_writing import SpoolWriter
from marketlake.tickers import AssetClass
from marketlake.transport import import_client

FEED, SESSION = AssetClass.STOCKS, date(2025, 8, 29)
LIMITS = StreamRetry(
    connect_timeout_s=2,
    handshake_timeout_s=0.5,
    acknowledgement_timeout_s=0.5,
    first_wait_s=0.01,
    longest_wait_s=0.5,
    attempts=3,
)
WANTED = frozenset(Subscription.parse(text) for text in ("T.SPY", "Q.SPY", "AM.SPY"))


@dataclass
class Clock:
    """A session's time: that of the news, and while there is none the one that a test sets."""

    at_ns: int | None = None
    looks: int = 0

    async def now_ns(self, last_event_ns: int | None) -> int | None:
        self.looks += 1
        return last_event_ns if last_event_ns is not None else self.at_ns


@dataclass
class Errands:
    """Keeps the reports, and hands over what a test wants."""

    reports: list[Report] = field(default_factory=list)
    wanted: frozenset[Subscription] | None = None

    def __call__(self, report: Report) -> frozenset[Subscription] | None:
        self.reports.append(report)
        wanted, self.wanted = self.wanted, None
        return wanted


@dataclass
class Bench:
    """A recorder under test, with what it works with."""

    root: Path
    recorder: Recorder
    clock: Clock
    errands: Errands
    exchange: ScriptedExchange

    async def until(self, condition: Callable[[list[Record]], bool]) -> None:
        """Until what is in the spool is as the test wants it."""
        while not condition(records(self.root)):
            await asyncio.sleep(0.02)


def records(root: Path) -> list[Record]:
    return list(Spool(root, FEED, SESSION).read())


def frames(root: Path) -> list[str]:
    return [record.payload.decode() for record in records(root) if record.kind is Kind.FRAME]


def events(root: Path, *names: str) -> list[dict[str, Any]]:
    found = [json.loads(record.payload) for record in records(root) if record.kind is Kind.EVENT]
    return [event for event in found if not names or event["event"] in names]


type Meanwhile = Callable[[Bench], Awaitable[object]]


async def _record(
    root: Path,
    scripts: tuple[Script, ...],
    meanwhile: Meanwhile,
    limits_ns: dict[Topic, int],
    most_pending_bytes: int,
    most_file_bytes: int,
    ends_ns: int | None,
) -> Bench:
    async with scripted_exchange(*scripts) as exchange:
        spool = SpoolWriter(
            local_folder(root, FEED, SESSION), after=0, sync_s=0.01, most_pending_bytes=most_pending_bytes
        )
        clock, errands = Clock(), Errands()

        def connect(wanted: frozenset[Subscription], journal: Journal, number: int) -> Connection:
            address = Address.parse(exchange.url)
            library = import_client("auto")
            return Connection(
                library, address, FEED, key=KEY, wanted=wanted, limits=LIMITS, journal=journal, number=number
            )

        async def hours(_wanted: frozenset[Subscription]) -> tuple[int, int]:
            return 0, 2**62

        recorder = Recorder(
            {"feed": FEED, "session": SESSION.isoformat(), "plan": "advanced", "host": "here", "pid": os.getpid()},
            WANTED,
            spool=spool,
            connect=connect,
            limits=LIMITS,
            watch=SilenceWatch(limits_ns),
            hours_of=hours,
            session_clock=clock,
            errand=errands,
            pulse=Pulse(),
            tells_lag=True,
            most_file_bytes=most_file_bytes,
            now_ns=iter(range(1, 10**9)).__next__,
            rng=Random(1),
            ends_ns=ends_ns,
        )
        bench = Bench(root, recorder, clock, errands, exchange)
        running = asyncio.create_task(recorder.run())
        helping = asyncio.create_task(_help(bench, meanwhile))
        try:
            await asyncio.wait({running, helping}, return_when=asyncio.FIRST_COMPLETED)
            if helping.done():
                helping.result()
                recorder.stop("test")
            await running
        finally:
            helping.cancel()
            spool.close()
        return bench


async def _help(bench: Bench, meanwhile: Meanwhile) -> None:
    await meanwhile(bench)


def record(
    root: Path,
    *scripts: Script,
    meanwhile: Meanwhile,
    limits_ns: dict[Topic, int] | None = None,
    most_pending_bytes: int = 2**26,
    most_file_bytes: int = 2**28,
    ends_ns: int | None = None,
) -> Bench:
    """Record from an exchange with these scripts until the test has seen enough, or the recorder gives up."""
    never = dict.fromkeys(Topic, 2**61)
    limits_ns = limits_ns or never
    return asyncio.run(_record(root, scripts, meanwhile, limits_ns, most_pending_bytes, most_file_bytes, ends_ns))


def until_frame(frame: str) -> Meanwhile:
    """Wait until a frame is in the spool."""
    return lambda bench: bench.until(lambda _: frame in frames(bench.root))


async def forever(_bench: Bench) -> None:
    await asyncio.Event().wait()


def stay(number: int) -> Script:
    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(number))
        await talk.until_gone()

    return script


def close_with(code: int, number: int) -> Script:
    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(number))
        await talk.socket.close(code)

    return script


async def _silent(talk: Talk) -> None:
    await talk.until_gone()


async def _silent_after_greeting(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.until_gone()


async def _gone_before_subscribe(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.hear()
    await talk.say(AUTHENTICATED)
    talk.abort()


async def _partial_acks(talk: Talk) -> None:
    await talk.subscribe(lost=["Q.SPY"])
    await talk.until_gone()


async def _half_a_frame(talk: Talk) -> None:
    await talk.subscribe()
    await talk.say(trade(6))
    talk.abort_within_frame()
    await talk.until_gone()


async def _bad_key(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.hear()
    await talk.say(status("auth_failed", "authentication failed"))
    talk.abort()


async def _no_stream_in_plan(talk: Talk) -> None:
    await talk.say(CONNECTED)
    await talk.hear()
    await talk.say(status("auth_failed", "Your plan doesn't include websocket access. Visit …/pricing to upgrade."))
    talk.abort()


async def _full(talk: Talk) -> None:
    await talk.subscribe()
    await talk.say(TOO_MANY)
    await talk.socket.close(1008)


def test_one_server_that_fails_in_every_way_in_a_row_is_recorded_to_the_end(tmp_path: Path) -> None:
    scripts = (
        HTTPStatus.SERVICE_UNAVAILABLE,
        close_with(1000, 1),
        close_with(1001, 2),
        close_with(1011, 3),
        _silent,
        _silent_after_greeting,
        _gone_before_subscribe,
        _partial_acks,
        _bad_key,
        _full,
        _half_a_frame,
        stay(7),
    )

    bench = record(tmp_path, *scripts, meanwhile=until_frame(trade(7)))

    outcomes = [event["outcome"] for event in events(tmp_path, "disconnected")]
    assert [
        "unreachable",
        "returned",
        "returned",
        "closed",
        "time_limit",
        "time_limit",
        "closed",
        "time_limit",
        "auth_failed",
        "max_connections",
        "closed",
        "stopped",
    ] == outcomes
    assert [trade(number) for number in (1, 2, 3, 6, 7)] == [item for item in frames(tmp_path) if '"T"' in item]
    assert list(range(1, 13)) == [event["connection"] for event in events(tmp_path, "connecting")]
    assert ["started", "stopped"] == [events(tmp_path)[place]["event"] for place in (0, -1)]
    subscribed = {
        pair for talk in bench.exchange.talks[-2:] for item in talk.heard[1:] for pair in item["params"].split(",")
    }
    assert {"T.SPY", "Q.SPY", "AM.SPY"} == subscribed


def test_events_stand_where_they_happened(tmp_path: Path) -> None:
    record(tmp_path, close_with(1006 - 5, 1), stay(2), meanwhile=until_frame(trade(2)))

    order = [
        json.loads(item.payload)["event"] if item.kind is Kind.EVENT else item.payload.decode()
        for item in records(tmp_path)
    ]
    whole = ["connecting", "connected", "authenticated", "subscribed"]
    told = [item for item in order if not item.startswith("[") or item in {trade(1), trade(2)}]
    assert ["started", *whole, trade(1), "disconnected", *whole, trade(2), "disconnected", "stopped"] == told


def test_a_plan_without_a_stream_ends_the_recorder_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotEntitled):
        record(tmp_path, _no_stream_in_plan, meanwhile=forever)

    assert 1 == len(events(tmp_path, "connecting"))
    assert "stopped" == events(tmp_path)[-1]["event"]


@pytest.mark.parametrize(("script", "error"), [(_bad_key, KeyRefused), (_full, TooManyConnections)])
@pytest.mark.parametrize("before", [[], [close_with(1000, 1)]])
def test_being_turned_away_again_and_again_ends_the_recorder(
    before: list[Script], script: Script, error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error):
        record(tmp_path, *before, script, meanwhile=forever)

    assert len(before) + LIMITS.attempts == len(events(tmp_path, "connecting"))


def test_a_recorder_that_nobody_stops_ends_behind_its_session_and_not_for_one_wrong_time(tmp_path: Path) -> None:
    end_ms, went_on = 1_756_474_500_000, list[bool]()

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(1, end_ms + 3_600_000))
        await talk.until_gone()

    async def the_day_goes_on(bench: Bench) -> None:
        bench.clock.at_ns = (end_ms - 60_000) * 1_000_000
        await bench.until(lambda _: trade(1, end_ms + 3_600_000) in frames(bench.root))
        looks = bench.clock.looks
        await bench.until(lambda _: bench.clock.looks > looks + 3)
        assert not events(bench.root, "stopped")
        went_on.append(True)
        bench.clock.at_ns = end_ms * 1_000_000
        await forever(bench)

    record(tmp_path, script, meanwhile=the_day_goes_on, ends_ns=end_ms * 1_000_000)

    assert went_on
    assert ["the session is over"] == [event["reason"] for event in events(tmp_path, "stopped")]


def test_a_refused_subscription_is_told_once_and_not_asked_for_again(tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.subscribe(refused=["Q.SPY"])
        await talk.say(trade(len(events(tmp_path, "connecting"))))
        await talk.socket.close()

    bench = record(tmp_path, script, script, stay(9), meanwhile=until_frame(trade(9)))

    asked = [sorted(talk.heard[1]["params"].split(",")) for talk in bench.exchange.talks]
    assert [["AM.SPY", "Q.SPY", "T.SPY"], ["AM.SPY", "T.SPY"], ["AM.SPY", "T.SPY"]] == asked
    assert ["Q.SPY"] == [event["subscription"] for event in events(tmp_path, "refused")]


def test_a_plan_that_has_nothing_of_what_is_wanted_ends_the_recorder(tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.subscribe(refused=["Q.SPY", "T.SPY", "AM.SPY"])
        await talk.until_gone()

    with pytest.raises(NotEntitled, match="not authorized"):
        record(tmp_path, script, meanwhile=forever)


def test_a_subscription_that_is_never_acknowledged_is_given_up_for_the_others(tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        pairs = await talk.subscribe(lost=["Q.SPY"])
        if "Q.SPY" not in pairs:
            await talk.say(trade(1))
        await talk.until_gone()

    record(tmp_path, script, meanwhile=until_frame(trade(1)))

    assert 1 + LIMITS.attempts == len(events(tmp_path, "connecting"))
    assert [("Q.SPY", "not acknowledged by 3 connections")] == [
        (event["subscription"], event["message"]) for event in events(tmp_path, "refused")
    ]


def test_what_is_wanted_while_no_connection_stands_is_noted(tmp_path: Path) -> None:
    """What was added must be known to whoever labels the session, also if none of it ever comes."""

    async def script(talk: Talk) -> None:
        await talk.until_gone()

    async def change(bench: Bench) -> None:
        await bench.until(lambda _: bool(events(bench.root, "connecting")))
        bench.errands.wanted = frozenset({Subscription.parse("A.SPY"), Subscription.parse("T.SPY")})
        await bench.until(lambda _: bool(events(bench.root, "changed")))

    record(tmp_path, script, meanwhile=change)

    (changed,) = events(tmp_path, "changed")
    assert (["A.SPY"], ["AM.SPY", "Q.SPY"]) == (changed["added"], changed["dropped"])


def test_wanted_subscriptions_change_while_it_records(tmp_path: Path) -> None:
    pairs = frozenset({Subscription.parse("A.SPY"), Subscription.parse("T.SPY")})

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        while True:
            message = await talk.hear()
            if message["action"] == "subscribe":
                await talk.say('[{"ev":"status","status":"success","message":"subscribed to: A.SPY"}]')

    async def change(bench: Bench) -> None:
        await bench.until(lambda _: bool(events(bench.root, "subscribed")))
        bench.errands.wanted = pairs
        await bench.until(lambda _: len(events(bench.root, "subscribed")) == 2)
        bench.exchange.talks[-1].abort()
        await bench.exchange.wait_for(2)
        await bench.until(lambda _: len(events(bench.root, "authenticated")) == 2)

    bench = record(tmp_path, script, meanwhile=change)

    (changed,) = events(tmp_path, "changed")
    assert (["A.SPY"], ["AM.SPY", "Q.SPY"]) == (changed["added"], changed["dropped"])
    assert {"A.SPY", "T.SPY"} == set(bench.exchange.talks[-1].heard[1]["params"].split(","))


def test_frames_that_a_slow_disk_cannot_take_are_counted_where_they_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    sync = os.fdatasync

    def slow_sync(descriptor: int) -> None:
        gate.wait(60)
        sync(descriptor)

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        for number in range(2_000):
            await talk.say(trade(number))
        await asyncio.to_thread(gate.wait)
        for number in itertools.count(2_000):
            await talk.say(trade(number))
            await asyncio.sleep(0.005)

    async def slow_down(bench: Bench) -> None:
        while bench.recorder.report().frames < 2_003:
            await asyncio.sleep(0.02)
        gate.set()
        await bench.until(lambda _: '"q":2' in frames(bench.root)[-1])

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    bench = record(tmp_path, script, meanwhile=slow_down, most_pending_bytes=50_000)

    told = [json.loads(item.payload) for item in records(tmp_path)]
    place = next(number for number, item in enumerate(told) if "event" in item and item["event"] == "frames_lost")
    kept = [item[0]["q"] for item in told[:place] if isinstance(item, list) and item[0]["ev"] == "T"]
    lost, first_after = told[place], told[place + 1][0]["q"]
    assert list(range(len(kept))) == kept
    assert 0 < len(kept) < first_after
    assert first_after - len(kept) == lost["frames"] == bench.recorder.report().frames_lost
    assert sum(len(trade(number)) for number in range(len(kept), first_after)) == lost["bytes"]


def test_a_disk_that_fails_ends_the_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        while True:
            await talk.say(trade(1))
            await asyncio.sleep(0.01)

    async def break_disk(bench: Bench) -> None:
        await bench.until(lambda _: trade(1) in frames(bench.root))
        monkeypatch.setattr(os, "fdatasync", fail)
        await forever(bench)

    with pytest.raises(LakeError, match="No space left on device; make room"):
        record(tmp_path, script, meanwhile=break_disk)


def test_a_long_session_goes_on_in_further_files(tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.subscribe()
        for number in range(3_000):
            await talk.say(trade(number))
            if number % 25 == 0:
                await asyncio.sleep(0.02)
        await talk.until_gone()

    record(tmp_path, script, meanwhile=until_frame(trade(2_999)), most_file_bytes=60_000)

    numbers = Spool(tmp_path, FEED, SESSION).numbers()
    first = {item.position.file: item for item in reversed(records(tmp_path))}
    kept = [json.loads(item)[0]["q"] for item in frames(tmp_path) if '"T"' in item]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert len(numbers) > 2
    assert ["started", *["continued"] * (len(numbers) - 1)] == [
        json.loads(first[item].payload)["event"] for item in numbers
    ]
    assert list(range(3_000)) == kept


def test_silence_beyond_the_limit_connects_again(tmp_path: Path) -> None:
    limits_ns = dict.fromkeys(Topic, 10 * 10**9)

    async def fall_silent(bench: Bench) -> None:
        await bench.until(lambda _: trade(1) in frames(bench.root))
        bench.clock.at_ns = 1_756_474_200_000_000_000
        while not events(bench.root, "silent"):
            bench.clock.at_ns += 4 * 10**9
            await asyncio.sleep(0.1)
        await bench.until(lambda _: trade(2) in frames(bench.root))

    record(tmp_path, stay(1), stay(2), meanwhile=fall_silent, limits_ns=limits_ns)

    (silent,) = events(tmp_path, "silent")
    assert 10 == silent["limit_s"] < silent["silent_s"]
    assert ["AM", "Q", "T"] == silent["topics"]
    assert ["silent", "stopped"] == [event["outcome"] for event in events(tmp_path, "disconnected")]


def test_a_topic_that_stalls_alone_is_named(tmp_path: Path) -> None:
    limits_ns = dict.fromkeys(Topic, 2**61) | {Topic.QUOTES: 10 * 10**9}

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        for at_s in range(1, 10_000):
            await talk.say(trade(at_s, at_s * 1_000))
            await asyncio.sleep(0.02)

    record(
        tmp_path,
        script,
        stay(2),
        meanwhile=lambda bench: bench.until(lambda _: bool(events(tmp_path, "silent"))),
        limits_ns=limits_ns,
    )

    assert [["Q"]] == [event["topics"] for event in events(tmp_path, "silent")]


def test_the_sessions_time_is_noted_behind_a_confirmation(tmp_path: Path) -> None:
    """Not one of before it, and no event's: only what was sent behind it has to come."""

    async def wait(bench: Bench) -> None:
        await bench.until(lambda _: trade(1) in frames(tmp_path))
        bench.clock.at_ns = 1_756_474_700_000_000_000
        await bench.until(lambda _: bool(events(tmp_path, "clock")))
        bench.recorder.stop("seen")
        await bench.until(lambda _: bool(events(tmp_path, "stopped")))

    record(tmp_path, stay(1), meanwhile=wait)

    noted = [event["event"] for event in events(tmp_path, "subscribed", "clock")]
    assert ["subscribed", "clock"] == noted
    assert [(1, 1_756_474_700_000_000_000)] == [
        (event["connection"], event["session_ns"]) for event in events(tmp_path, "clock")
    ]


def test_a_connection_on_which_nothing_came_yet_is_given_its_time(tmp_path: Path) -> None:
    limits_ns = dict.fromkeys(Topic, 10 * 10**9)
    looked = asyncio.Event()

    async def say_nothing(talk: Talk) -> None:
        await looked.wait()  # so that the handshake is all that the next look finds
        await talk.subscribe()
        await talk.until_gone()

    async def looks(bench: Bench, number: int) -> None:
        seen = bench.clock.looks
        while bench.clock.looks < seen + number:
            await asyncio.sleep(0.005)

    async def look_on(bench: Bench) -> None:
        await bench.until(lambda _: bool(events(bench.root, "disconnected")))
        bench.clock.at_ns = 1_756_474_700_000_000_000  # 500 s after the trade
        await looks(bench, 1)
        looked.set()
        await bench.until(lambda _: len(events(bench.root, "subscribed")) == 2)
        await looks(bench, 4)

    record(tmp_path, close_with(1011, 1), say_nothing, meanwhile=look_on, limits_ns=limits_ns)

    assert [] == events(tmp_path, "silent")


def test_quotes_without_trades_are_a_halt_and_not_a_stall(tmp_path: Path) -> None:
    limits_ns = dict.fromkeys(Topic, 10 * 10**9)
    gate = asyncio.Event()

    def quote(at_s: int) -> str:
        return f'[{{"ev":"Q","sym":"SPY","bp":1.0,"ap":1.1,"bs":1,"as":1,"bx":1,"ax":1,"t":{at_s * 1000},"q":1}}]'

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(1, 1_000))
        for at_s in range(2, 40):
            await talk.say(quote(at_s))
            await asyncio.sleep(0.05)
        await gate.wait()
        for at_s in range(40, 60):
            await talk.say(trade(at_s, at_s * 1000))
            await talk.say(quote(at_s))
            await asyncio.sleep(0.05)
        await talk.until_gone()

    async def wait(bench: Bench) -> None:
        await bench.until(lambda _: bool(events(bench.root, "halted")))
        gate.set()
        await bench.until(lambda _: bool(events(bench.root, "resumed")))

    record(tmp_path, script, meanwhile=wait, limits_ns=limits_ns)

    halted, resumed = events(tmp_path, "halted", "resumed")
    assert halted["since_ns"] == resumed["since_ns"]
    assert [] == events(tmp_path, "silent")


def test_the_report_tells_how_it_goes(tmp_path: Path) -> None:
    async def wait(bench: Bench) -> None:
        while (
            not bench.errands.reports or bench.errands.reports[-1].events < 5 or bench.errands.reports[-1].bytes_pending
        ):
            await asyncio.sleep(0.02)

    bench = record(tmp_path, close_with(1011, 1), stay(2), meanwhile=wait)

    assert {"closed": 1, "stopped": 1} == bench.errands.reports[-1].outcomes, "the last one is from behind the end"
    report = next(item for item in reversed(bench.errands.reports) if item.is_subscribed)
    assert (FEED, os.getpid(), 2, 1) == (report.feed, report.pid, report.connection, report.reconnects)
    assert {"closed": 1} == report.outcomes
    assert ["AM.SPY", "Q.SPY", "T.SPY"] == report.wanted
    assert sum(map(len, frames(tmp_path))) == report.bytes
    assert len(frames(tmp_path)) == report.frames
    assert 1_756_474_200_000_000_000 == report.last_event_ns
    assert (1, True) == (report.synced_file, report.is_subscribed)
