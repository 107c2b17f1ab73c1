"""An hour of recorded trades and quotes, sent as a stream would send it, comes out as it went in."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from stream_records import Recording

import expectations
from marketlake.composing import compose, reconcile
from marketlake.frames import decode
from marketlake.live import lateness_of
from marketlake.segments import Segments
from marketlake.sessions import share_hours
from marketlake.settings import Settings
from marketlake.store import LocalStore
from marketlake.tables import TABLES, Partition, Table
from marketlake.tickers import AssetClass
from marketlake.windows import Grid, Windowing

SESSION = date(2013, 10, 7)
HOUR_NS = 3_600_000_000_000
KEYS = {
    "T": {
        "price": "p", "size": "s", "exchange": "x", "conditions": "c", "id": "i", "sequence_number": "q", "tape": "z",
    },
    "Q": {
        "bid_price": "bp", "bid_size": "bs", "bid_exchange": "bx", "ask_price": "ap", "ask_size": "as",
        "ask_exchange": "ax", "sequence_number": "q",
    },
}  # fmt: skip


def recorded(path: Path, table: Table) -> pa.Table:
    """The source's rows of the hour as REST gives them: its columns, the others null."""
    found = pq.read_table(path)
    start_ns = share_hours(SESSION).start_ns
    is_within = pc.and_(
        pc.greater_equal(found["sip_timestamp"], start_ns), pc.less(found["sip_timestamp"], start_ns + HOUR_NS)
    )
    rows = found.filter(is_within)
    have = set(rows.column_names)
    arrays = [
        rows[field.name].cast(field.type) if field.name in have else pa.nulls(rows.num_rows, field.type)
        for field in table.schema
    ]
    return pa.Table.from_arrays(arrays, schema=table.schema)


def events_of(rows: pa.Table, kind: str) -> list[dict[str, Any]]:
    columns = {"t": (rows["sip_timestamp"].cast(pa.int64()).to_numpy() // 1_000_000).tolist()}
    columns |= {key: rows[name].to_pylist() for name, key in KEYS[kind].items()}
    return [
        {"ev": kind, "sym": "SPY"}
        | {key: value for key, value in zip(columns, event, strict=True) if value is not None}
        for event in zip(*columns.values(), strict=True)
    ]


def test_an_hour_of_trades_and_quotes_comes_out_as_it_went_in(worlds: Path, tmp_path: Path) -> None:
    world = worlds / "spy-2013-10"
    sources = {
        "T": recorded(world / "trades.parquet", TABLES["stock_trades"]),
        "Q": recorded(world / "quotes.parquet", TABLES["stock_quotes"]),
    }
    events = sorted(
        (event for kind, rows in sources.items() for event in events_of(rows, kind)), key=lambda event: event["t"]
    )
    chance, recording, begin = np.random.default_rng(11), Recording(), 0
    while begin < len(events):
        size = int(chance.integers(1, 50))
        recording.message(json.dumps(events[begin : begin + size]).encode())
        begin += size
    grid = Grid(SESSION)
    windowing = Windowing(AssetClass.STOCKS, grid, lateness_of(Settings()))
    segments = Segments(LocalStore(tmp_path), AssetClass.STOCKS, grid)
    sealed = []
    for chunk in decode(recording.records, AssetClass.STOCKS):
        windowing.take(chunk)
        sealed += [segments.seal(piece, expectations.check, recording.read_after) for piece in windowing.ripe().pieces]
    sealed += [segments.seal(piece, expectations.check, recording.read_after) for piece in windowing.rest().pieces]
    assert sum(rows.num_rows for rows in sources.values()) == sum(item.received for item in sealed) > 50_000
    for name, kind in (("stock_trades", "T"), ("stock_quotes", "Q")):
        composed = compose(LocalStore(tmp_path), Partition(name, "SPY", SESSION.isoformat()))
        found = reconcile(TABLES[name], composed.rows, sources[kind])

        assert (0, 0) == (composed.quarantined.num_rows, found.lacking_without_key)
        assert (sources[kind].num_rows, 0) == (composed.rows.num_rows, found.lacking.num_rows)
        assert {} == found.revised
        whole_ms = sources[kind]["sip_timestamp"].cast(pa.int64()).to_numpy() // 1_000_000 * 1_000_000
        assert sorted(whole_ms.tolist()) == sorted(composed.rows["sip_timestamp"].cast(pa.int64()).to_pylist())
