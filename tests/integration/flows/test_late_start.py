"""A session begun late and broken off: what was missed is in ``live/`` at once, and after the close all is whole."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from live_feeds import Streams, streaming, told
from simulation import Simulation, marketlake, simulated

from marketlake.recorder_files import read_report
from marketlake.spool import local_folder
from marketlake.tables import TABLES
from marketlake.tickers import AssetClass

SESSION = date(2025, 8, 29)
PATIENCE_S = 120
TABLES_OF_OPTIONS = ("option_bars", "option_trades", "option_quotes")
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(["stock_bars", "option_contracts", *TABLES_OF_OPTIONS]),
    "MARKETLAKE__SOURCES__STREAMS__STOCKS": json.dumps(["minute_bars"]),
    "MARKETLAKE__SOURCES__STREAMS__INDICES": json.dumps([]),
    "MARKETLAKE__SELECTION__LIMIT": "4",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}
FEEDS = (AssetClass.STOCKS, AssetClass.OPTIONS)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("exchange"), "--session", str(SESSION)) as simulation:
        yield simulation


def environment(exchange: Simulation, lake: Path) -> dict[str, str]:
    return exchange.environment(lake, **SETTINGS, XDG_STATE_HOME=str(lake.parent / "state")) | {
        "MARKETLAKE__STREAM__CLOCK": "vendor",
        "MARKETLAKE__STREAM__SPOOL": str(lake.parent / "spool"),
    }


def done(*arguments: str, env: dict[str, str]) -> str:
    ended = marketlake(*arguments, env=env)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def rows_of(lake: Path, layer: str, table: str) -> pa.Table:
    paths = sorted((lake / layer / TABLES[table].folder).rglob("*.parquet"))
    return pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths])


def until_there(what: str, streams: Streams, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        streams.assert_alive()
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.1)


def has_filled(lake: Path, start: str) -> Callable[[], bool]:
    names = {table: f"live/{TABLES[table].folder}/underlying=SPY/session={SESSION}" for table in TABLES_OF_OPTIONS}
    return lambda: all((lake / folder / f"filled={start}.parquet").exists() for folder in names.values())


def between(table: str, rows: pa.Table, start: str, end: str) -> list[dict[str, object]]:
    """Rows of some New York hours, ordered."""
    time_column = TABLES[table].time_column
    assert time_column is not None
    clock = pc.strftime(pc.cast(rows[time_column], pa.timestamp("ns", "America/New_York")), "%H:%M")
    inside = pc.and_(pc.greater_equal(clock, start), pc.less(clock, end))
    if "span" in rows.column_names:
        inside = pc.and_(inside, pc.equal(rows["span"], "minute"))
    ordered = rows.filter(inside).sort_by([(name, "ascending") for name in TABLES[table].order])
    found: list[dict[str, object]] = ordered.to_pylist()
    return found


def test_a_late_start_and_a_restart_leave_whole_sessions_for_every_contract(
    exchange: Simulation, tmp_path: Path
) -> None:
    lake, oracle = tmp_path / "lake", tmp_path / "oracle" / "lake"
    told(exchange, "/clock", {"pause": True, "set": f"{SESSION}T11:00:00"})
    env = environment(exchange, lake)
    chosen = json.loads(done("discover", "--session", str(SESSION), "--json", env=env))["chosen"]
    feeds = {"stocks": ["AM.SPY"], "options": [f"{topic}.{ticker}" for topic in ("AM", "T", "Q") for ticker in chosen]}
    with streaming(exchange, feeds, tmp_path, session=SESSION, until="16:25:00", env=env) as streams:
        streams.wait_until_subscribed()
        told(exchange, "/clock", {"speed": 60})
        until_there("the morning", streams, has_filled(lake, "0930"))
        filled = {table: rows_of(lake, "live", table) for table in TABLES_OF_OPTIONS}
        for feed, process in streams.processes.items():
            report = read_report(local_folder(streams.spool, AssetClass(feed), SESSION))
            assert report is not None
            process.kill()
            process.join(PATIENCE_S)
            os.kill(report.pid, signal.SIGKILL)
        told(exchange, "/clock", {"pause": True, "set": f"{SESSION}T14:00:00"})
        for feed in feeds:
            streams.processes[feed] = streams.start(feed)
        streams.wait_until_subscribed()
        told(exchange, "/clock", {"speed": 60})
        until_there("the noon", streams, has_filled(lake, "1100"))
        told(exchange, "/clock", {"speed": 1000})
        reports = streams.ended()
    assert reports["options"]["filled"] > 0
    told(exchange, "/clock", {"pause": True, "set": "2025-08-30T00:00:00"})
    done("heal", "--start", str(SESSION), env=env)
    for command in ("discover --session", "backfill --start"):
        done(*command.split(), str(SESSION), env=environment(exchange, oracle))

    for table in TABLES_OF_OPTIONS:
        expected = between(table, rows_of(oracle, "raw", table), "09:30", "11:00")
        assert expected == between(table, filled[table], "09:30", "11:00")
        assert set(chosen) == {row["ticker"] for row in between(table, rows_of(oracle, "raw", table), "09:30", "16:00")}
    raw = {str(path.relative_to(lake)): path.read_bytes() for path in (lake / "raw").rglob("*.parquet")}
    assert raw == {str(path.relative_to(oracle)): path.read_bytes() for path in (oracle / "raw").rglob("*.parquet")}
    assert not list((lake / "live").rglob("*.parquet"))
