"""Half an hour at real pace, a fault a minute: recorders grow no more once they are warm, and nothing is lost."""

import json
import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import pyarrow as pa
import pytest
from live_feeds import Streams, streaming, told
from simulation import Simulation, marketlake, simulated

from marketlake.lake import Lake
from marketlake.ledger import How
from marketlake.store import LocalStore
from marketlake.tables import Partition

SESSION = date(2025, 8, 29)
BEGIN = datetime(2025, 8, 29, 10, 0)  # New York, as the simulator reads it
FEEDS = {"stocks": ["T.SPY", "A.SPY", "AM.SPY"], "indices": ["V.I:VIX", "AM.I:VIX"]}
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": '["stock_bars", "stock_trades", "index_bars"]',
    "MARKETLAKE__STREAM__WINDOW_MINUTES": "1",
    "MARKETLAKE__LOGGING__LEVEL": "ERROR",
}
# In turns, one a minute, on both feeds.
FAULTS: Sequence[Mapping[str, object]] = (
    {"action": "close"},
    {"action": "abort"},
    {"action": "abort_in_frame"},
    {"action": "stall", "session_s": 25},
    {"action": "malformed"},
    {"action": "close", "code": 1011},
    {"action": "slow_consumer"},
    {"action": "unknown_ev", "frames": 3},
    {"action": "duplicate", "frames": 5},
    {"action": "disorder", "frames": 5},
    {"action": "large_frame"},
    {"action": "postpone", "by": 3},
)
_LOOK_S = 1.0


@dataclass(frozen=True)
class Pace:
    minutes: int
    speed: float
    warm_minutes: int | None  # after which the recorders may not grow; None where it is too short for that


@pytest.mark.soak
@pytest.mark.parametrize(
    "pace", [Pace(2, 10, None), Pace(30, 1, 5)], ids=lambda pace: f"{pace.minutes} minutes at {pace.speed:g}x"
)
@pytest.mark.timeout(3_000)
def test_a_fault_a_minute_loses_nothing_and_no_recorder_grows(pace: Pace, tmp_path: Path) -> None:
    until = BEGIN + timedelta(minutes=pace.minutes)
    clock = f"{BEGIN - timedelta(seconds=10):%Y-%m-%dT%H:%M:%S}"
    with simulated("synthetic", tmp_path, "--session", str(SESSION), "--clock", clock) as exchange:
        env = exchange.environment(
            tmp_path / "lake", **SETTINGS, MARKETLAKE__STREAM__SPOOL=str(tmp_path / "spool"),
            XDG_STATE_HOME=str(tmp_path / "state"),
        )  # fmt: skip
        exchange.misbehave(*rules(pace.minutes))
        with streaming(exchange, FEEDS, tmp_path, session=SESSION, until=f"{until:%H:%M:%S}", env=env) as streams:
            streams.wait_until_subscribed()
            told(exchange, "/clock", {"speed": pace.speed})
            sizes = sampled(streams)
            reports = streams.ended()
        with urllib.request.urlopen(f"{exchange.control}/faults", timeout=60) as answer:
            struck = [rule["struck"] for rule in json.loads(answer.read())]
        told(exchange, "/clock", {"set": f"{SESSION}T20:05", "pause": True})
        healed = marketlake("heal", "--start", str(SESSION), "--json", env=env)
        fresh = exchange.environment(tmp_path / "fresh", **SETTINGS, XDG_STATE_HOME=str(tmp_path / "state"))
        fetched = marketlake("backfill", "--start", str(SESSION), "--json", env=fresh)
        sent = published(exchange, clock)

    for feed, report in reports.items():
        print(feed, report, sizes[feed].told(pace))  # noqa: T201 - the result of a soak is for people
    assert (0, 0) == (healed.returncode, fetched.returncode), healed.stderr + fetched.stderr
    assert all(struck), struck
    assert {(0, 0, 0)} == {(item["failed"], item["restarts"], item["frames_lost"]) for item in reports.values()}
    assert all(report["drops"] for report in reports.values())
    over_rest = {path: data for path, data in raw(tmp_path / "lake").items() if "/values/" not in path}
    assert raw(tmp_path / "fresh") == over_rest
    assert [] == lost(tmp_path / "lake", sent)
    if pace.warm_minutes is not None:
        for feed, size in sizes.items():
            assert size.growth(pace.warm_minutes) <= 0.05, feed


def rules(minutes: int) -> list[Mapping[str, object]]:
    """A fault in the middle of each minute."""
    times = (BEGIN + timedelta(minutes=minute, seconds=20) for minute in range(minutes))
    return [
        {"stream": {}, "when": {"at": f"{at:%Y-%m-%dT%H:%M:%S}"}, "do": fault}
        for at, fault in zip(times, islice(cycle(FAULTS), minutes), strict=True)
    ]


@dataclass(frozen=True)
class Sizes:
    """Resident kilobytes of a recorder, each with the seconds since the first sample."""

    samples: Sequence[tuple[float, int]]

    def growth(self, warm_minutes: int) -> float:
        """How much larger than at the end of its warm-up it was ever after, as a share."""
        warm = [size for at_s, size in self.samples if (warm_minutes - 1) * 60 <= at_s < warm_minutes * 60]
        after = [size for at_s, size in self.samples if at_s >= warm_minutes * 60]
        return max(after) / median(warm) - 1

    def told(self, pace: Pace) -> str:
        """The sizes for a person."""
        growth = "" if pace.warm_minutes is None else f", {self.growth(pace.warm_minutes):+.1%} since it was warm"
        return f"{self.samples[0][1]} to {self.samples[-1][1]} kB{growth}"


def sampled(streams: Streams) -> dict[str, Sizes]:
    """The sizes of the recorders while their flows run."""
    begun, found = time.monotonic(), defaultdict(list)
    while any(process.is_alive() for process in streams.processes.values()):
        for feed in streams.processes:
            if size := streams.recorder_kilobytes(feed):
                found[feed].append((time.monotonic() - begun, size))
        time.sleep(_LOOK_S)
    return {feed: Sizes(samples) for feed, samples in found.items()}


def published(exchange: Simulation, clock: str) -> list[tuple[int, float]]:
    asked = urlencode({"subscription": "V.I:VIX", "after": clock, "until": f"{SESSION}T16:00"})
    with urllib.request.urlopen(f"{exchange.control}/published?{asked}", timeout=60) as answer:
        return [(event["t"] * 1_000_000, event["val"]) for event in json.loads(answer.read())]


def lost(folder: Path, sent: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Values that are neither stored nor labelled unavailable."""
    partition = Partition("index_values", "I:VIX", str(SESSION))
    lake = Lake(LocalStore(folder))
    record, rows = lake.record(partition, verify=True), lake.read(partition)
    assert record is not None
    assert rows is not None
    stored = set(zip(rows["event_time"].cast(pa.int64()).to_pylist(), rows["value"].to_pylist(), strict=True))
    missing = [(item.start_ns, item.end_ns) for item in record.coverage if item.how is How.UNAVAILABLE]
    assert stored <= set(sent)
    return [
        (time_ns, value)
        for time_ns, value in sent
        if (time_ns, value) not in stored and not any(start <= time_ns < end for start, end in missing)
    ]


def raw(lake: Path) -> dict[str, bytes]:
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted((lake / "raw").rglob("*.parquet"))}
