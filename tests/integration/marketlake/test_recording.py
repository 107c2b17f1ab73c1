"""The recorder as a process: stopped, killed, doubled, led by its files, and without anything heavy in it."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import recorder_process
from scripted_exchange import (
    AUTHENTICATED,
    CONNECTED,
    KEY,
    ScriptedExchange,
    Talk,
    acks,
    scripted_exchange,
    status,
    trade,
)
from scripted_vendor import ok, scripted_vendor

from marketlake.feeds import Subscription
from marketlake.recorder_files import read_report, read_wanted, write_wanted
from marketlake.recording import hours_of_news_ns
from marketlake.sealing import remove_sealed, seal
from marketlake.spool import Kind, Position, Record, Spool, Tail
from marketlake.store import open_store
from marketlake.tickers import AssetClass

FEED, SESSION = AssetClass.STOCKS, date(2025, 8, 29)
WANTED = "T.SPY,Q.SPY"


@dataclass
class Place:
    """Where a recorder works, and how it is started."""

    root: Path
    url: str

    @property
    def spool(self) -> Spool:
        return Spool(self.root / "spool", FEED, SESSION, open_store(str(self.root / "lake")))

    def records(self) -> list[Record]:
        return list(self.spool.read())

    def trades(self) -> list[int]:
        found = [json.loads(item.payload)[0] for item in self.records() if item.kind is Kind.FRAME]
        return [event["q"] for event in found if event["ev"] == "T"]

    def events(self, *names: str) -> list[dict[str, Any]]:
        found = [json.loads(item.payload) for item in self.records() if item.kind is Kind.EVENT]
        return [event for event in found if not names or event["event"] in names]

    def synced(self) -> Position:
        report = read_report(self.spool.folder)
        return Position(report.synced_file, report.synced_offset) if report is not None else Position(0, 0)

    @asynccontextmanager
    async def recorder(self, wanted: str = WANTED, **settings: str) -> AsyncIterator[Process]:
        """A running recorder; it is killed if it still runs at the end."""
        environ = {
            **os.environ,
            "POLYGON_API_KEY": KEY,
            "MARKETLAKE_WS_URL": self.url,
            "MARKETLAKE_LAKE": str(self.root / "lake"),
            "MARKETLAKE__STREAM__SPOOL": str(self.root / "spool"),
            "MARKETLAKE__RETRY__STREAM__FIRST_WAIT_S": "0.05",
            **settings,
        }
        arguments = [sys.executable, recorder_process.__file__, FEED, SESSION.isoformat(), wanted]
        process = await asyncio.create_subprocess_exec(*arguments, env=environ, cwd=self.root, stdout=PIPE, stderr=PIPE)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


async def stopped(process: Process) -> tuple[int | None, str]:
    """The exit code of a recorder that is asked to stop, and what it wrote."""
    process.send_signal(signal.SIGTERM)
    return await ended(process)


async def ended(process: Process) -> tuple[int | None, str]:
    out, problem = await process.communicate()
    return process.returncode, (out + problem).decode()


async def _trades(talk: Talk) -> None:
    """Trades without end, a hundred a frame apart in time by what the socket takes."""
    await talk.subscribe()
    number = 0
    while True:
        number += 1
        await talk.say(trade(number))
        if number % 20 == 0:
            await asyncio.sleep(0.005)


async def _hold(talk: Talk) -> None:
    await talk.until_gone()


async def _one(talk: Talk) -> None:
    await talk.subscribe()
    await talk.say(trade(1))
    await talk.until_gone()


def play(root: Path, body: Callable[[Place, ScriptedExchange], Awaitable[object]], *scripts: Any) -> Place:
    """Run the body with an exchange, and give the place that it worked in."""

    async def run() -> Place:
        async with scripted_exchange(*scripts) as exchange:
            place = Place(root, exchange.url)
            await body(place, exchange)
            return place

    return asyncio.run(run())


def test_sigterm_ends_it_with_everything_durable_and_nothing_heavy_imported(tmp_path: Path) -> None:
    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        async with place.recorder() as process:
            await until(lambda: len(place.trades()) > 100)
            code, text = await stopped(process)

        assert (0, "heavy imports: []") == (code, text.partition("\n")[0])

    place = play(tmp_path, body, _trades)

    last = place.records()[-1]
    assert {"event": "stopped", "reason": "SIGTERM"} == json.loads(last.payload)
    assert Tail.NOTHING is place.spool.remainder(last.position).tail
    started = place.events("started")[0]
    assert ("stocks", "2025-08-29", ["Q.SPY", "T.SPY"], "advanced") == tuple(
        started[name] for name in ("feed", "session", "wanted", "plan")
    )
    assert ["stopped"] == [event["outcome"] for event in place.events("disconnected")]


def test_a_kill_loses_nothing_that_was_synced_and_the_next_one_goes_on_in_a_new_file(tmp_path: Path) -> None:
    synced: list[Position] = []

    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        for run in range(3):
            async with place.recorder("" if run else WANTED) as process:
                await until(lambda run=run: place.spool.numbers()[-1:] == [run + 1] and len(place.trades()) > 50)
                await until(lambda run=run: place.synced() > Position(run + 1, 1_000))
                process.kill()
                await process.communicate()
                synced.append(place.synced())

    place = play(tmp_path, body, _trades)

    ends = {item.position for item in place.records()}
    assert [1, 2, 3] == place.spool.numbers() == [position.file for position in synced]
    assert set(synced) <= ends
    for number in place.spool.numbers():
        remainder = place.spool.remainder(Position(number, 0))
        assert remainder.tail in {Tail.NOTHING, Tail.TORN}
    runs = [[json.loads(item.payload)[0]["q"] for item in place.records() if is_trade(item, file)] for file in (1, 2)]
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in runs)


def is_trade(record: Record, file: int) -> bool:
    return record.position.file == file and record.kind is Kind.FRAME and b'"ev":"T"' in record.payload


def test_a_number_that_was_sealed_is_not_used_again(tmp_path: Path) -> None:
    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        for number in (1, 2):
            async with place.recorder() as process:
                await until(lambda number=number: len(place.trades()) == number)
                await stopped(process)
            proof = seal(tmp_path / "spool", FEED, SESSION, number, open_store(str(tmp_path / "lake")))
            remove_sealed(tmp_path / "spool", FEED, SESSION, [proof])

    place = play(tmp_path, body, _one)

    assert [1, 2] == place.spool.numbers()
    assert [] == list(place.spool.folder.glob("*.spool"))
    assert [1, 1] == place.trades()


def test_a_key_that_is_refused_once_before_it_was_ever_taken_is_tried_again(tmp_path: Path) -> None:
    async def refuse(talk: Talk) -> None:
        await talk.say(CONNECTED)
        await talk.hear()
        await talk.say(status("auth_failed", "authentication failed"))
        talk.abort()

    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        async with place.recorder() as process:
            await until(place.trades)
            assert 0 == (await stopped(process))[0]

    place = play(tmp_path, body, refuse, _one)

    assert ["auth_failed", "stopped"] == [event["outcome"] for event in place.events("disconnected")]


def test_two_recorders_of_one_feed_do_not_fight_and_the_dead_leave_the_feed(tmp_path: Path) -> None:
    async def body(place: Place, exchange: ScriptedExchange) -> None:
        async with place.recorder() as first:
            await until(place.trades)
            async with place.recorder() as second:
                code, text = await ended(second)
                assert code == 1
                assert re.search(r"LeaseHeld: .*the recorder of stocks 2025-08-29 \(process \d+", text)
            assert 1 == exchange.connections
            first.kill()
            await first.communicate()
        async with place.recorder() as third:
            await until(lambda: len(place.trades()) == 2)
            code, _ = await stopped(third)
            assert 0 == code

    place = play(tmp_path, body, _one)

    assert [1, 2] == place.spool.numbers()


def test_what_is_wanted_is_changed_by_replacing_a_file(tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.subscribe()
        while True:
            message = await talk.hear()
            if message["action"] == "subscribe":
                await talk.say(acks(message["params"].split(",")))

    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        async with place.recorder() as process:
            await until(lambda: place.events("subscribed"))
            (place.spool.folder / "wanted.json").write_text("no JSON")
            write_wanted(place.spool.folder, [Subscription.parse("AM.SPY"), Subscription.parse("T.SPY")])
            await until(lambda: len(place.events("subscribed")) == 2)
            await stopped(process)

    place = play(tmp_path, body, script)

    (changed,) = place.events("changed")
    assert (["AM.SPY"], ["Q.SPY"]) == (changed["added"], changed["dropped"])


def test_the_key_is_nowhere_at_debug(tmp_path: Path) -> None:
    async def bad(talk: Talk) -> None:
        await talk.say(CONNECTED)
        key = (await talk.hear())["params"]
        await talk.say(AUTHENTICATED)
        await talk.hear()
        assert KEY == key
        await talk.socket.close(1011, "gone")

    texts: list[str] = []

    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        async with place.recorder(MARKETLAKE__LOGGING__LEVEL="DEBUG") as process:
            await until(place.trades)
            texts.append((await stopped(process))[1])

    place = play(tmp_path, body, bad, _one)

    assert '"action": "auth"' in texts[0]
    assert KEY not in texts[0]
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
    assert 2 == len(place.events("connecting"))


def test_a_full_disk_ends_it_with_what_to_do(tmp_path: Path) -> None:
    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        async with place.recorder() as process:
            await until(place.trades)
            # The kernel's own limit on the length of a file stands for a disk without room.
            limiting = await asyncio.create_subprocess_exec("prlimit", f"--pid={process.pid}", "--fsize=65536")
            await limiting.wait()
            code, text = await ended(process)

        assert 1 == code
        assert re.search(r"LakeError: .*000001\.spool: File too large", text)

    place = play(tmp_path, body, _trades)

    assert list(range(1, len(place.trades()) + 1)) == place.trades()


def test_a_date_without_a_session_is_told(tmp_path: Path) -> None:
    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        environ = {**os.environ, "POLYGON_API_KEY": KEY, "MARKETLAKE_WS_URL": place.url}
        arguments = [sys.executable, recorder_process.__file__, FEED, "2025-08-30", WANTED]
        process = await asyncio.create_subprocess_exec(*arguments, env=environ, cwd=tmp_path, stdout=PIPE, stderr=PIPE)
        code, text = await ended(process)

        assert 1 == code
        assert "UsageError: 2025-08-30 is no trading session: the nearest are 2025-08-29 and 2025-09-02" in text
        assert [] == [*tmp_path.rglob("*.spool")]

    play(tmp_path, body, _one)


def test_nothing_wanted_is_told(tmp_path: Path) -> None:
    async def body(place: Place, _exchange: ScriptedExchange) -> None:
        async with place.recorder("") as process:
            code, text = await ended(process)

        assert 1 == code
        assert "UsageError: nobody has said what to record of stocks" in text

    play(tmp_path, body, _one)


@pytest.mark.parametrize("at", ["2025-08-29T10:00:20-04:00", "2025-08-29T16:30:00-04:00"], ids=["open", "closed"])
def test_silence_is_counted_by_the_clock_of_a_vendor_who_replays(at: str, tmp_path: Path) -> None:
    ten_oclock_ms = 1_756_476_000_000

    async def script(talk: Talk) -> None:
        await talk.subscribe()
        await talk.say(trade(1, ten_oclock_ms))
        await talk.until_gone()

    async def body(place: Place, exchange: ScriptedExchange) -> None:
        with scripted_vendor([ok({"market": "open", "serverTime": at})] * 50) as vendor:
            settings = {"MARKETLAKE__STREAM__CLOCK": "vendor", "MARKETLAKE_REST_URL": vendor.url}
            async with place.recorder("T.SPY", **settings) as process:
                await until(lambda: len(vendor.requests) >= 4)
                if "10:00" in at:
                    await exchange.wait_for(2)
                await stopped(process)

    place = play(tmp_path, body, script)

    silences = [(event["silent_s"], event["limit_s"]) for event in place.events("silent")]
    assert (20.0, 10.0) in silences if "10:00" in at else silences == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param((1, 2), (1, 2), id="told"),
        pytest.param(None, (1_756_474_200_000_000_000, 1_756_497_600_000_000_000), id="asked of the calendar"),
    ],
)
def test_when_news_is_expected_is_told_by_whoever_wants_it_or_asked_of_the_calendar(
    told: tuple[int, int] | None, expected: tuple[int, int], tmp_path: Path
) -> None:
    wanted = frozenset({Subscription.parse("AM.SPY")})
    write_wanted(tmp_path, wanted, told)

    assert expected == asyncio.run(hours_of_news_ns(tmp_path, AssetClass.STOCKS, date(2025, 8, 29), wanted))
    assert wanted == read_wanted(tmp_path, AssetClass.STOCKS)
