"""Ten minutes of three feeds, recorded at any speed, end as the files that a backfill makes of the same minutes.

The slice is a lake's own rows, served as a world: behind its last minute the exchange has nothing to say, so that a
recorder at 1000x, which hears late that it is over, has heard what one at 1x has heard.
"""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random
from urllib.parse import urlencode

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from live_feeds import streaming, told
from simulation import Done, Simulation, marketlake, simulated

from marketlake.checks import Verdict
from marketlake.composing import compose
from marketlake.live import LiveSession, lateness_of
from marketlake.segments import Segments, live_partitions
from marketlake.settings import Settings
from marketlake.silence import silence_limits_ns
from marketlake.spool import Kind, Spool, local_folder
from marketlake.spool_writing import SpoolWriter
from marketlake.store import LocalStore
from marketlake.tables import TABLES, Partition, Table
from marketlake.tickers import AssetClass
from marketlake.windows import Grid

SESSION = date(2025, 8, 29)
BEFORE, FIRST, END, AFTER = (f"{SESSION}T{time}" for time in ("09:29:50", "09:30:00", "09:40:00", "20:05:00"))
START_NS = 1_756_474_200_000_000_000
LENGTH_NS = 600_000_000_000
SLICED = ("stock_bars", "stock_trades", "index_bars", "option_bars", "option_trades", "option_quotes")
ONCE = ("option_contracts", "news", "treasury_yields", "dividends", "splits")
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps([*SLICED, *ONCE]),
    "MARKETLAKE__SELECTION__LIMIT": "2",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
DAY = ("--start", str(SESSION))


@dataclass(frozen=True)
class Way:
    """One way of doing the same: how fast, and everything that must not show."""

    speed: float
    feeds: tuple[str, ...]
    window_minutes: int
    zone: str
    hash_seed: str
    is_fresh: bool  # an interpreter of its own for each command: its hashes follow the seed
    until: str = "09:40:05"
    drops: Mapping[str, str] = field(default_factory=dict)  # when each feed's connection is lost

    def rules(self) -> list[dict[str, object]]:
        """The drops as the simulator takes them."""
        return [
            {"stream": {"market": feed}, "when": {"at": f"{SESSION}T{clock}"}, "do": {"action": "abort"}}
            for feed, clock in self.drops.items()
        ]


FAST = Way(1_000, ("stocks", "options", "indices"), 15, "Asia/Tokyo", "4", is_fresh=False)
OTHERS = [
    Way(100, ("indices", "options", "stocks"), 1, "UTC", "1", is_fresh=True),
    Way(10, ("options", "stocks", "indices"), 5, "America/Sao_Paulo", "2", is_fresh=True),
    Way(1, ("stocks", "indices", "options"), 5, "Etc/GMT-14", "3", is_fresh=True),
]
# As a desk sees it: the market's pace, every feed lost once. What comes after is history's.
LIVE = Way(
    1,
    ("indices", "stocks", "options"),
    1,
    "America/New_York",
    "5",
    is_fresh=True,
    until="09:34:50",
    drops={"stocks": "09:31:20", "options": "09:32:35", "indices": "09:33:10"},
)


def command(*arguments: str, env: dict[str, str], is_fresh: bool = False) -> Done:
    if not is_fresh:
        done = marketlake(*arguments, env=env)
    else:
        ended = subprocess.run(
            [sys.executable, "-m", "flows", *arguments], env=env, capture_output=True, text=True, check=False
        )
        done = Done(ended.returncode, ended.stdout, ended.stderr)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def slice_of_a_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with ten minutes of a synthetic session, and the day's other facts."""
    folder = tmp_path_factory.mktemp("slice")
    lake = folder / "lake"
    with simulated("synthetic", folder, "--session", str(SESSION)) as market:
        env = market.environment(lake, **SETTINGS, XDG_STATE_HOME=str(folder / "state"))
        command("discover", "--session", str(SESSION), env=env)
        command("backfill", *DAY, env=env)
    for name in SLICED:
        time_column = TABLES[name].time_column
        assert time_column is not None
        for path in (lake / TABLES[name].path).rglob("*.parquet"):
            rows = pq.read_table(path, partitioning=None)
            times_ns = rows[time_column].cast(pa.int64()).to_numpy()
            inside = (times_ns >= START_NS) & (times_ns < START_NS + LENGTH_NS)
            if "span" in rows.column_names:
                inside |= pc.equal(rows["span"], "day").to_numpy()
            assert inside.sum() > 1, name
            pq.write_table(rows.filter(pa.array(inside)), path)
    shutil.rmtree(lake / "ledger")
    shutil.rmtree(lake / "capture")
    return lake


@pytest.fixture(scope="module")
def exchange(slice_of_a_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("exchange")
    with simulated(slice_of_a_lake, folder, "--session", str(SESSION)) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def batch(exchange: Simulation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that a backfill makes."""
    folder = tmp_path_factory.mktemp("batch")
    env = exchange.environment(folder / "lake", **SETTINGS, XDG_STATE_HOME=str(folder / "state"))
    for arguments in (("discover", "--session", str(SESSION)), ("backfill", *DAY)):
        command(*arguments, env=env)
    command("consolidate", "--session", str(SESSION), env=env)
    return files(folder / "lake")


@pytest.fixture(scope="module")
def fast(exchange: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a session that was recorded at 1000x and healed."""
    folder = tmp_path_factory.mktemp("fast")
    record_and_heal(FAST, exchange, folder)
    return folder


def record_and_heal(way: Way, exchange: Simulation, folder: Path) -> dict[str, dict[str, int]]:
    """What the flows of the feeds reported."""
    env = exchange.environment(
        folder / "lake",
        **SETTINGS,
        TZ=way.zone,
        PYTHONHASHSEED=way.hash_seed,
        XDG_STATE_HOME=str(folder / "state"),
        MARKETLAKE__STREAM__WINDOW_MINUTES=str(way.window_minutes),
        MARKETLAKE__STREAM__SPOOL=str(folder / "spool"),
    )
    told(exchange, "/clock", {"pause": True, "set": AFTER})
    chosen = json.loads(command("discover", "--session", str(SESSION), "--json", env=env).stdout)["chosen"]
    subscriptions = {
        "stocks": ["T.SPY", "A.SPY", "AM.SPY"],
        "options": [f"{topic}.{ticker}" for topic in ("T", "Q", "AM") for ticker in chosen],
        "indices": ["V.I:VIX", "AM.I:VIX"],
    }
    told(exchange, "/clock", {"set": BEFORE})
    exchange.misbehave(*way.rules())
    feeds = {feed: subscriptions[feed] for feed in way.feeds}
    with streaming(exchange, feeds, folder, session=SESSION, until=way.until, env=env) as streams:
        reports = streams.run(way.speed, patience_s=1_200)
    told(exchange, "/clock", {"pause": True, "set": AFTER})
    assert [0, 0, 0] == [report["refused"] + report["frames_lost"] + report["failed"] for report in reports.values()]
    command("heal", *DAY, env=env, is_fresh=way.is_fresh)
    command("consolidate", "--session", str(SESSION), env=env, is_fresh=way.is_fresh)
    return reports


def files(lake: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(lake)): path.read_bytes()
        for layer in ("raw", "consolidated")
        for path in sorted((lake / layer).rglob("*.parquet"))
    }


def without_values(found: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in found.items() if "/indices/values/" not in path}


def test_recorded_at_1000x_it_is_what_a_backfill_makes(
    batch: dict[str, bytes], fast: Path, exchange: Simulation
) -> None:
    asked = urlencode({"subscription": "V.I:VIX", "after": BEFORE, "until": AFTER})
    with urllib.request.urlopen(f"{exchange.control}/published?{asked}", timeout=60) as answer:
        published = json.loads(answer.read())

    found = files(fast / "lake")

    assert {"raw", "consolidated"} == {path.split("/")[0] for path in found}
    assert len(SLICED) + len(ONCE) + 2 == len(batch)
    assert batch == without_values(found)
    (values,) = found.keys() - batch.keys()
    rows = pq.read_table(pa.BufferReader(found[values]))
    assert [(event["t"] * 1_000_000, event["val"]) for event in published] == list(
        zip(rows["event_time"].cast(pa.int64()).to_pylist(), rows["value"].to_pylist(), strict=True)
    )
    assert not list((fast / "lake" / "live").rglob("*.parquet"))


@pytest.mark.soak
@pytest.mark.parametrize("way", OTHERS, ids=lambda way: f"{way.speed:g}x")
@pytest.mark.timeout(3_000)
def test_speed_order_of_feeds_windows_time_zone_and_hashes_do_not_show(
    batch: dict[str, bytes], fast: Path, exchange: Simulation, way: Way, tmp_path: Path
) -> None:
    record_and_heal(way, exchange, tmp_path)

    found = files(tmp_path / "lake")

    assert batch == without_values(found)
    assert files(fast / "lake") == found


@pytest.mark.live
@pytest.mark.timeout(900)
def test_five_minutes_at_the_pace_of_the_market(
    batch: dict[str, bytes], exchange: Simulation, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began_s = time.monotonic()
    reports = record_and_heal(LIVE, exchange, tmp_path)

    assert time.monotonic() - began_s > 300
    for feed, report in reports.items():
        facts = ("windows", "frames", "stored", "drops", "filled")
        record_property("found", f"{feed:>8} at 1x: {', '.join(f'{report[name]:,} {name}' for name in facts)}")
    assert dict.fromkeys(LIVE.feeds, 1) == {feed: report["drops"] for feed, report in reports.items()}
    assert batch == without_values(files(tmp_path / "lake"))


def pass_all(_table: Table, _rows: pa.Table) -> Verdict:
    return Verdict(np.array([], dtype=np.int64), (), ())


def segmented(feed: AssetClass, spool: Spool, store: LocalStore) -> dict[Partition, pa.Table]:
    """What the segments of a spool add up to."""
    settings = Settings()
    limits_ns = silence_limits_ns(feed, settings.stream)
    live = LiveSession(spool, Segments(store, feed, Grid(SESSION, 5)), lateness_of(settings), limits_ns)
    for window in live.close():
        live.seal(window, pass_all)
    return {partition: compose(store, partition).rows for partition in live_partitions(store, SESSION)}


@pytest.mark.parametrize("feed", list(AssetClass))
@pytest.mark.parametrize("events_a_frame", [1, 7, 400])
def test_how_events_are_framed_does_not_show(fast: Path, feed: AssetClass, events_a_frame: int, tmp_path: Path) -> None:
    captured = Spool(fast / "spool", feed, SESSION, LocalStore(fast / "lake"))
    chance = Random(events_a_frame)
    frames = msgspec.json.Decoder(list[msgspec.Raw])
    writer = SpoolWriter(local_folder(tmp_path, feed, SESSION), after=0, sync_s=60, most_pending_bytes=2**30)
    waiting: list[bytes] = []

    def send(events: Sequence[bytes]) -> None:
        writer.append(0, Kind.FRAME, b"[%b]" % b",".join(events))

    for record in captured.read():
        if record.kind is Kind.EVENT:
            writer.append(0, Kind.EVENT, record.payload)
            continue
        waiting += [bytes(raw) for raw in frames.decode(record.payload)]
        while len(waiting) >= events_a_frame:
            size = chance.randint(1, events_a_frame)
            send(waiting[:size])
            del waiting[:size]
    if waiting:
        send(waiting)
    writer.close()

    as_sent = segmented(feed, captured, LocalStore(tmp_path / "sent"))
    framed_anew = segmented(feed, Spool(tmp_path, feed, SESSION), LocalStore(tmp_path / "anew"))

    assert {*as_sent} == {*framed_anew} != set()
    for partition, rows in as_sent.items():
        assert rows.num_rows
        assert rows.equals(framed_anew[partition]), partition
