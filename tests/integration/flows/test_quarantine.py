"""Rows that a rule refuses are kept with their rule and raw text, and can be judged again."""

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simulation import Simulation, marketlake, simulated

from marketlake.backfill import pending_batches, replay, run_batch
from marketlake.checks import Check, Verdict
from marketlake.desk import Desk
from marketlake.lake import Lake
from marketlake.plan import Request
from marketlake.rest import open_vendor
from marketlake.sessions import to_ns
from marketlake.settings import load_settings
from marketlake.store import open_store
from marketlake.tables import TABLES, Partition, Table

SESSION = date(2025, 8, 29)
BARS = {"path": "/v2/aggs/ticker/SPY/range/1/minute/*"}
FAULTS = [
    {"match": BARS, "do": {"action": "set_field", "field": "o", "value": -1.5, "places": [3]}},
    {"match": BARS, "do": {"action": "set_field", "field": "c", "value": "abc", "places": [5, 6]}},
]
BACKFILL = ("backfill", "--tables", "stock_bars", "--tickers", "SPY", "--start", str(SESSION))


def test_refused_rows_are_kept_with_rule_and_raw_text(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text(json.dumps(FAULTS))
    with simulated("synthetic", tmp_path, "--session", str(SESSION), "--faults", str(script)) as vendor:
        env = vendor.environment(tmp_path / "lake", MARKETLAKE__SOURCES__SPANS__STOCK_BARS='["minute"]')
        done = marketlake(*BACKFILL, "--json", env=env)
        listed = marketlake("quarantine", "list", "--json", env=env)
        shown = marketlake("quarantine", "show", "stock_bars", "SPY", str(SESSION), "--json", env=env)
        again = marketlake("quarantine", "replay", "stock_bars", "SPY", str(SESSION), "--json", env=env)

    report = json.loads(done.stdout)
    stored = pq.read_table(tmp_path / "lake" / "raw" / "stocks" / "bars")
    assert (report["received"], report["stored"], report["refused"]) == (stored.num_rows + 3, stored.num_rows, 3)
    assert sum(item["rows"] for item in json.loads(listed.stdout)) == 3
    rows = {row["position"]: row for row in json.loads(shown.stdout)}
    assert set(rows) == {3, 5, 6}
    assert json.loads(rows[3]["raw"])["o"] == -1.5
    assert json.loads(rows[5]["raw"])["c"] == "abc"
    assert all(row["rule"] for row in rows.values())
    assert json.loads(again.stdout) == {
        "partition": f"stock_bars SPY {SESSION}",
        "accepted": 0,
        "still_refused": 3,
        "newly_refused": 0,
    }


def refuse_rows(*positions: int) -> Check:
    def check(_table: Table, rows: pa.Table) -> Verdict:
        refused = np.array([place for place in positions if place < rows.num_rows], dtype=np.int64)
        return Verdict(refused, ("too_strict",) * len(refused), ())

    return check


@pytest.fixture
def desk_at(tmp_path: Path) -> "Callable[[Simulation, str, Check], Desk]":
    def make(vendor: Simulation, name: str, check: Check) -> Desk:
        environment = {"MARKETLAKE_REST_URL": vendor.rest, "MARKETLAKE__SOURCES__SPANS__STOCK_BARS": '["minute"]'}
        settings = load_settings(tmp_path, environment)
        lake = Lake(open_store(str(tmp_path / name)))

        def now() -> datetime:
            return datetime.now(UTC)

        client = open_vendor(
            key=vendor.key, settings=settings.vendor, retry=settings.retry.rest, store=lake.store, clock=now,
            sleep=time.sleep, state_folder=tmp_path / "state",
        )  # fmt: skip
        return Desk(client, lake, check, settings, now, "a test")

    return make


def test_a_replay_gives_what_todays_rules_would_have_given_from_the_start(
    desk_at: "Callable[[Simulation, str, Check], Desk]", tmp_path: Path
) -> None:
    partition = Partition.of_session(TABLES["stock_bars"], "SPY", SESSION)
    with simulated("synthetic", tmp_path, "--session", str(SESSION)) as vendor:
        strict = desk_at(vendor, "strict", refuse_rows(0, 7, 200))
        mild = desk_at(vendor, "mild", refuse_rows(7))
        for desk in (strict, mild):
            request = Request.parse(["stock_bars"], ["SPY"], [SESSION], ["SPY"], to_ns(desk.vendor.server_time()))
            outcomes = [run_batch(batch, desk) for batch in pending_batches(request, "stock_bars", desk)]
        asked = len(vendor.requests())
        changed = replay(partition, desk_at(vendor, "strict", refuse_rows(7)))

        assert [1] == [outcome.refused for outcome in outcomes]
        assert (2, 1, 0) == (changed.accepted, changed.still_refused, changed.newly_refused)
        assert asked == len(vendor.requests()), "a replay asks the vendor for nothing"
    assert (tmp_path / "mild" / partition.path).read_bytes() == (tmp_path / "strict" / partition.path).read_bytes()
    mild_record, strict_record = mild.lake.record(partition, verify=True), strict.lake.record(partition, verify=True)
    assert mild_record is not None
    assert strict_record is not None
    assert mild_record.content_hash == strict_record.content_hash
    for name in ("rows", "refused", "how", "span", "start_ns", "end_ns"):
        assert [getattr(item, name) for item in mild_record.coverage] == [
            getattr(item, name) for item in strict_record.coverage
        ]
