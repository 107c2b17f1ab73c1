"""A choice that follows the price: the stream goes over to other contracts, and never holds more than the limit."""

import json
import time
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from live_feeds import told
from simulation import Simulation, marketlake, simulated, started

from marketlake.recorder_files import read_report
from marketlake.spool import local_folder
from marketlake.tickers import AssetClass

SESSION = date(2025, 8, 29)
LIMIT = 4
PATIENCE_S = 120
SETTINGS = {
    "MARKETLAKE__SOURCES__TABLES": json.dumps(["stock_bars", "option_contracts", "option_bars"]),
    "MARKETLAKE__SOURCES__STREAMS__OPTIONS": json.dumps(["minute_bars", "quotes"]),
    "MARKETLAKE__SELECTION__LIMIT": str(LIMIT),
    "MARKETLAKE__SELECTION__RECENTRE_PERCENT": "0.05",
    "MARKETLAKE__LOGGING__LEVEL": "WARNING",
}


def test_the_stream_goes_over_to_the_contracts_around_the_price_of_the_moment(tmp_path: Path) -> None:
    with simulated("synthetic", tmp_path, "--session", str(SESSION)) as exchange:
        spool = tmp_path / "spool"
        own = {"MARKETLAKE__STREAM__CLOCK": "vendor", "MARKETLAKE__STREAM__SPOOL": str(spool)}
        env = exchange.environment(tmp_path / "lake", **SETTINGS, XDG_STATE_HOME=str(tmp_path / "state")) | own
        told(exchange, "/clock", {"pause": True, "set": f"{SESSION}T09:31:30"})
        assert marketlake("discover", "--session", str(SESSION), env=env).returncode == 0
        until = ("--until", f"{SESSION}T11:30:00", "--json")
        streaming = started("stream", "--feed", "options", "--session", str(SESSION), *until, env=env, folder=tmp_path)
        folder = local_folder(spool, AssetClass.OPTIONS, SESSION)
        deadline = time.monotonic() + PATIENCE_S
        while (report := read_report(folder)) is None or not report.is_subscribed:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        told(exchange, "/clock", {"speed": 240})
        watched = set()
        while streaming.is_alive():
            report = read_report(folder)
            assert report is not None
            watched.add(frozenset(text.partition(".")[2] for text in report.wanted))
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert streaming.exitcode == 0, (tmp_path / "stderr").read_text()
        seen = stream_of(exchange)
        # On a busy machine the stream ends behind its time, and may have gone over once more.
        told(exchange, "/clock", {"pause": True})

        batch = exchange.environment(tmp_path / "batch", **SETTINGS, XDG_STATE_HOME=str(tmp_path / "state")) | own
        assert marketlake("discover", "--session", str(SESSION), env=batch).returncode == 0

    chosen, of_batch = chosen_in(tmp_path / "lake"), chosen_in(tmp_path / "batch")
    assert LIMIT == seen["most_contracts"]
    assert len([contracts for contracts in watched if len(contracts) == LIMIT]) > 1
    assert LIMIT < len(frozenset.union(*watched)) <= len(chosen)
    assert frozenset.union(*watched) <= chosen <= of_batch


def stream_of(exchange: Simulation) -> dict[str, Any]:
    with urllib.request.urlopen(f"{exchange.control}/stream", timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def chosen_in(lake: Path) -> set[str]:
    (path,) = (lake / "raw" / "options" / "contracts").rglob("*.parquet")
    rows = pq.read_table(path, partitioning=None)
    return set(rows.filter(rows["chosen"])["ticker"].to_pylist())
