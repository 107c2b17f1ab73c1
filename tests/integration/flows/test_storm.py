"""A storm of faults over a short session: after healing it is as if nothing had happened; what is lost is labelled."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from live_feeds import Streams, streaming, told
from simulation import Simulation, marketlake, simulated
from storms import BEGIN_S, FEEDS, LENGTH_S, NEW_YORK, SESSION, TABLES, TICKERS, Storm, storm_of, write_world

from marketlake.coverage import Stretch, difference, expected_of, seconds_by_label
from marketlake.feeds import Subscription, table_of
from marketlake.lake import Lake
from marketlake.ledger import How, Record
from marketlake.recorder_files import read_report
from marketlake.spool import Kind, Spool, local_folder, local_numbers
from marketlake.store import LocalStore
from marketlake.tables import TABLES as DECLARED
from marketlake.tables import Partition
from marketlake.tickers import AssetClass, underlying_of_option

SEEDS, MORE_SEEDS = range(10), range(10, 200)
SPEED = 120
BEFORE, UNTIL, EVENING = f"{SESSION}T09:29:55", "09:38:20", f"{SESSION}T20:05:00"
QUICK = {
    "MARKETLAKE__RETRY__STREAM__CONNECT_TIMEOUT_S": "0.5",
    "MARKETLAKE__RETRY__STREAM__HANDSHAKE_TIMEOUT_S": "0.4",
    "MARKETLAKE__RETRY__STREAM__ACKNOWLEDGEMENT_TIMEOUT_S": "0.4",
    "MARKETLAKE__RETRY__STREAM__FIRST_WAIT_S": "0.02",
    "MARKETLAKE__RETRY__STREAM__LONGEST_WAIT_S": "0.5",
    "MARKETLAKE__STREAM__STOCKS_SILENCE_S": "10",
    "MARKETLAKE__STREAM__INDICES_SILENCE_S": "10",
    "MARKETLAKE__STREAM__OPTIONS_SILENCE_S": "10",
    "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": "second,minute",
    "MARKETLAKE__SOURCES__SPANS__INDEX_BARS": "minute",
    "MARKETLAKE__SOURCES__SPANS__OPTION_BARS": "minute",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
VALUES = Partition("index_values", "I:VIX", str(SESSION))
MARGIN_S = 12  # around a fault, in session time: some frames at 120x
WANTED = ("--tables", TABLES, "--tickers", TICKERS, "--start", str(SESSION))

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("exchange")
    with simulated(write_world(folder / "world"), folder) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def batch(exchange: Simulation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that a backfill makes."""
    folder = tmp_path_factory.mktemp("batch")
    env = exchange.environment(folder / "lake", **QUICK, XDG_STATE_HOME=str(folder / "state"))
    done = marketlake("backfill", *WANTED, env=env)
    assert done.returncode == 0, done.stderr
    return raw(folder / "lake")


def weathered(storm: Storm, exchange: Simulation, folder: Path) -> tuple[int, int]:
    """Record the session through a storm and heal it: how many faults struck, and how often was connected again."""
    minutes = "15" if storm.seed in SEEDS else str(Random(storm.seed).choice([1, 5, 15]))
    own = QUICK | {"MARKETLAKE__STREAM__WINDOW_MINUTES": minutes, "XDG_STATE_HOME": str(folder / "state")}
    env = exchange.environment(folder / "lake", **own)
    told(exchange, "/clock", {"pause": True, "set": BEFORE})
    told(exchange, "/reset", {})
    exchange.misbehave(*storm.rules)
    with streaming(exchange, FEEDS, folder, session=SESSION, until=UNTIL, env=env) as streams:
        streams.wait_until_subscribed()
        told(exchange, "/clock", {"speed": SPEED})
        for second, what, feed in storm.kills:
            wait_until(exchange, BEGIN_S + second)
            kill(what, feed, streams)
        streams.ended(120)
    reconnects = sum(report.reconnects for report in map(read_report, spools(folder)) if report is not None)
    struck = exchange.struck()
    exchange.misbehave()
    told(exchange, "/clock", {"pause": True, "set": EVENING})
    healed = marketlake("heal", *WANTED, "--json", env=env | {"MARKETLAKE__STREAM__SPOOL": str(folder / "spool")})
    assert healed.returncode == 0, healed.stderr
    return struck, reconnects


def test_a_calm_session_is_streamed_whole(exchange: Simulation, batch: dict[str, bytes], tmp_path: Path) -> None:
    _, reconnects = weathered(Storm(0, (), ()), exchange, tmp_path)
    assert reconnects <= len(FEEDS), "behind its last minute the market is silent, once for each feed"

    found = raw(tmp_path / "lake")
    assert batch == {path: data for path, data in found.items() if path in batch}
    store = LocalStore(tmp_path / "lake")
    for texts in FEEDS.values():
        for text in texts:
            edge_s = 70 if text.startswith("AM.") else 20
            assert is_streamed(store, text, BEGIN_S + edge_s, BEGIN_S + LENGTH_S - edge_s), text
    rows = pq.read_table(tmp_path / "lake" / VALUES.path, partitioning=None)
    assert LENGTH_S == rows.num_rows
    assert not list((tmp_path / "lake" / "quarantine").rglob("*.parquet"))


@pytest.mark.parametrize("seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.soak) for seed in MORE_SEEDS)])
def test_after_a_storm_the_lake_is_what_a_backfill_makes(
    seed: int,
    exchange: Simulation,
    batch: dict[str, bytes],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    storm = storm_of(seed)
    struck, reconnects = weathered(storm, exchange, tmp_path)

    counts = f"{storm.count} faults, {struck} struck, {len(storm.kills)} kills, {reconnects} reconnects"
    record_property("found", f"storm {seed:3}: {counts}")
    assert struck + len(storm.kills)
    found = raw(tmp_path / "lake")
    (values,) = found.keys() - batch.keys()
    assert batch == {path: data for path, data in found.items() if path != values}
    assert every_second_is_labelled(Lake(LocalStore(tmp_path / "lake")))
    assert_what_is_labelled_streamed_came(exchange, tmp_path / "lake")
    assert_what_came_undisturbed_is_labelled_streamed(tmp_path / "lake")
    assert_stored_and_unavailable_are_sent(exchange, tmp_path / "lake", found[values])
    assert not list((tmp_path / "lake" / "live").rglob("*.parquet"))
    assert [[], [], []] == [local_numbers(folder) for folder in spools(tmp_path)]


def raw(lake: Path) -> dict[str, bytes]:
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted((lake / "raw").rglob("*.parquet"))}


def spools(folder: Path) -> list[Path]:
    return [local_folder(folder / "spool", feed, SESSION) for feed in AssetClass]


def wait_until(exchange: Simulation, second: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{exchange.control}/state", timeout=60) as answer:
            if json.loads(answer.read())["clock_ns"] >= second * 1_000_000_000:
                return
        time.sleep(0.02)
    raise AssertionError("the clock stands still")


def kill(what: str, feed: str, streams: Streams) -> None:
    if what == "flow":
        streams.again(feed)
        return
    report = read_report(local_folder(streams.spool, AssetClass(feed), SESSION))
    if report is not None:
        with suppress(ProcessLookupError):
            os.kill(report.pid, signal.SIGKILL)


def assert_what_is_labelled_streamed_came(exchange: Simulation, lake: Path) -> None:
    """Each event that was published in a stretch that is labelled streamed stands in the captured frames."""
    store = LocalStore(lake)
    for feed, texts in FEEDS.items():
        came = captured(store, AssetClass(feed), lake)
        for text in texts:
            subscription = Subscription.parse(text)
            record, span = record_of(Lake(store), subscription)
            streamed = [
                (item.start_ns, item.end_ns)
                for item in record.coverage
                if (item.ticker, item.span, item.how) == (subscription.ticker, span, How.STREAMED)
            ]
            for event in published(exchange, text):
                t_ns = event.get("s", event.get("t")) * 1_000_000
                if any(start <= t_ns < end for start, end in streamed):
                    assert identity(event) in came, (text, event, streamed)


def assert_what_came_undisturbed_is_labelled_streamed(lake: Path) -> None:
    """Where trades or values came second after second on one connection, that they did is known."""
    store = LocalStore(lake)
    for feed, text in ((AssetClass.STOCKS, "T.SPY"), (AssetClass.INDICES, "V.I:VIX")):
        for first_s, last_s in undisturbed(Spool(lake, feed, SESSION, store), text[0]):
            if last_s - first_s > 2 * MARGIN_S:
                assert is_streamed(store, text, first_s + MARGIN_S, last_s - MARGIN_S), (text, first_s, last_s)


def undisturbed(spool: Spool, kind: str) -> Iterator[tuple[float, float]]:
    """From when to when a topic came without a break behind a confirmed subscription, in seconds since the epoch."""
    times: list[float] = []
    is_confirmed = False
    for record in spool.read():
        came: list[float] = []
        is_broken = False
        if record.kind is Kind.EVENT:
            name = json.loads(record.payload)["event"]
            is_broken = name not in {"alive", "refused"}
            is_confirmed = name == "subscribed" or (is_confirmed and not is_broken)
        else:
            try:
                events = json.loads(record.payload)
            except ValueError:
                is_broken = True
            else:
                came = [event["t"] / 1_000 for event in events if event.get("ev") == kind]
                is_broken = any("ev" not in event or None in event.values() for event in events)
        if is_broken or (times and came and not 0 <= came[0] - times[-1] <= MARGIN_S / 3):
            if times:
                yield times[0], times[-1]
            times = []
        times += came if is_confirmed else []
    if times:
        yield times[0], times[-1]


def is_streamed(store: LocalStore, text: str, start_s: float, end_s: float) -> bool:
    subscription = Subscription.parse(text)
    record, span = record_of(Lake(store), subscription)
    known = [
        Stretch(item.start_ns, item.end_ns)
        for item in record.coverage
        if (item.ticker, item.span, item.how) == (subscription.ticker, span, How.STREAMED)
    ]
    return not difference(Stretch(round(start_s) * 10**9, round(end_s) * 10**9), known)


def published(exchange: Simulation, subscription: str) -> list[dict[str, Any]]:
    asked = urlencode({"subscription": subscription, "after": BEFORE, "until": EVENING})
    with urllib.request.urlopen(f"{exchange.control}/published?{asked}", timeout=60) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())
    return found


def captured(store: LocalStore, feed: AssetClass, lake: Path) -> set[tuple[object, ...]]:
    found = set()
    for record in Spool(lake, feed, SESSION, store).read():
        if record.kind is Kind.FRAME:
            with suppress(ValueError):
                found |= {identity(element) for element in json.loads(record.payload)}
    return found


def identity(event: dict[str, Any]) -> tuple[object, ...]:
    return tuple(event.get(name) for name in ("ev", "sym", "T", "s", "t", "q", "i", "val", "c", "p", "ap"))


def record_of(lake: Lake, subscription: Subscription) -> tuple[Record, str | None]:
    name, span = table_of(subscription)
    ticker = subscription.ticker
    owner = underlying_of_option(ticker) if ticker.startswith("O:") else ticker
    record = lake.record(Partition.of_session(DECLARED[name], owner, SESSION), verify=True)
    assert record is not None, subscription
    return record, span


def every_second_is_labelled(lake: Lake) -> bool:
    for texts in FEEDS.values():
        for subscription in map(Subscription.parse, texts):
            table, ticker = DECLARED[table_of(subscription)[0]], subscription.ticker
            record, span = record_of(lake, subscription)
            own = [item for item in record.coverage if (item.ticker, item.span) == (ticker, span)]
            counts = seconds_by_label(expected_of(table, ticker, SESSION), own)
            assert None not in counts, (subscription, counts)
            assert counts.keys() <= set(How)
    return True


def assert_stored_and_unavailable_are_sent(exchange: Simulation, lake: Path, data: bytes) -> None:
    """Of what was published of the VIX each value is stored, once, or lies in time that is labelled unavailable."""
    sent = {event["t"] * 1_000_000: event["val"] for event in published(exchange, "V.I:VIX")}
    assert LENGTH_S == len(sent)
    rows = pq.read_table(pa.BufferReader(data))
    times = rows["event_time"].cast(pa.int64()).to_pylist()
    stored = dict(zip(times, rows["value"].to_pylist(), strict=True))
    assert len(times) == len(stored)
    assert stored.items() <= sent.items()
    came = captured(LocalStore(lake), AssetClass.INDICES, lake)
    whole = {event[4] * 1_000_000 for event in came if event[0] == "V" and event[7] is not None}
    assert stored.keys() == whole, "what came is stored, but for what the storm has emptied"
    record = Lake(LocalStore(lake)).record(VALUES)
    assert record is not None
    gaps = [(item.start_ns, item.end_ns) for item in record.coverage if item.how is How.UNAVAILABLE]
    lost = [t for t in sent.keys() - stored.keys() if not any(start <= t < end for start, end in gaps)]
    assert [] == lost, f"{len(lost)} values are neither stored nor labelled; {NEW_YORK}"
