"""A stream becomes segments, and segments a partition: the same bytes in whatever order rows come, and after a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from stream_records import Event, Recording, recording_of

import expectations
from marketlake.checks import Verdict
from marketlake.composing import Composed, compose, readmit, reconcile, streamed_coverage
from marketlake.content_hash import content_hash
from marketlake.errors import CheckFailed, RecordMismatch
from marketlake.feeds import Subscription
from marketlake.frames import decode
from marketlake.lake import QUARANTINE, Lake
from marketlake.ledger import How, Operational, Proof
from marketlake.live import lateness_of
from marketlake.reach import Received
from marketlake.segments import (
    Sealed,
    Segments,
    live_folder,
    live_partitions,
    read_quarantine,
    remove_segments,
    segment_paths,
)
from marketlake.settings import Settings
from marketlake.spool import MAGIC, Spool, local_folder, pack_record
from marketlake.store import LocalStore
from marketlake.table_files import to_parquet
from marketlake.tables import TABLES, Partition, Table
from marketlake.tickers import AssetClass
from marketlake.windows import Grid, Lateness, Windowing

FRIDAY = date(2024, 12, 20)
GRID = Grid(FRIDAY)
USUAL = lateness_of(Settings())
NEW_YORK = ZoneInfo("America/New_York")
STOCKS, OPTIONS, INDICES = AssetClass.STOCKS, AssetClass.OPTIONS, AssetClass.INDICES
SPY_TRADES = Partition("stock_trades", "SPY", "2024-12-20")
SPY_BARS = Partition("stock_bars", "SPY", "2024-12-20")
VIX = Partition("index_values", "I:VIX", "2024-12-20")
TEN = round(datetime(2024, 12, 20, 10, tzinfo=NEW_YORK).timestamp() * 1_000)
CALL, PUT = "O:SPY241220C00585000", "O:SPY241220P00585000"


def everything_passes(_: Table, rows: pa.Table) -> Verdict:
    return Verdict.first_rule_wins((), rows.num_rows)


def no_negative_price(_: Table, rows: pa.Table) -> Verdict:
    places = np.flatnonzero(rows["price"].to_numpy() < 0)
    return Verdict.first_rule_wins([("price_above_zero", places)], rows.num_rows)


def trade(ms: int, number: int = 1, price: float = 585.0, ticker: str = "SPY") -> Event:
    return {"ev": "T", "sym": ticker, "x": 4, "i": str(number), "q": number, "p": price, "s": 10, "t": ms}


def bar(start: int, close: float = 585.5) -> Event:
    return {
        "ev": "AM",
        "sym": "SPY",
        "o": 585.0,
        "h": 600.0,
        "l": 500.0,
        "c": close,
        "v": 9,
        "s": start,
        "e": start + 60_000,
    }


def value(ms: int, number: float = 18.36) -> Event:
    return {"ev": "V", "T": "I:VIX", "val": number, "t": ms}


def seal_all(
    recording: Recording,
    root: Path,
    feed: AssetClass = STOCKS,
    check: Callable[[Table, pa.Table], Verdict] = everything_passes,
    lateness: dict[str, Lateness] | None = None,
) -> list[Sealed]:
    windowing = Windowing(feed, GRID, lateness or USUAL)
    segments = Segments(LocalStore(root), feed, GRID)
    sealed = []
    for chunk in decode(recording.records, feed):
        windowing.take(chunk)
        for ripe in (windowing.ripe(),):
            sealed += [segments.seal(piece, check, recording.read_after) for piece in ripe.pieces]
            for rejects in ripe.rejects:
                segments.reject(rejects)
    ripe = windowing.rest()
    for rejects in ripe.rejects:
        segments.reject(rejects)
    return [*sealed, *(segments.seal(piece, check, recording.read_after) for piece in ripe.pieces)]


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def three_windows() -> Recording:
    return recording_of([[trade(TEN + 60_000 * n, n), bar(TEN + 60_000 * (n - 1))] for n in range(1, 40)])


def test_a_piece_becomes_a_file_for_each_partition(tmp_path: Path) -> None:
    frames = [[trade(TEN + n, n, ticker=("SPY", "QQQ")[n % 2])] for n in range(10)]
    (sealed,) = seal_all(recording_of(frames), tmp_path)

    assert (
        [
            "live/stocks/trades/symbol=QQQ/session=2024-12-20/window=1000.parquet",
            "live/stocks/trades/symbol=SPY/session=2024-12-20/window=1000.parquet",
        ]
        == sorted(files(tmp_path))
        == sorted(sealed.paths)
    )
    assert (10, 10, 0) == (sealed.received, sealed.stored, sealed.refused)
    assert [SPY_TRADES, Partition("stock_trades", "QQQ", "2024-12-20")] == live_partitions(
        LocalStore(tmp_path), FRIDAY
    )[::-1]


def test_contracts_of_an_underlying_share_a_file(tmp_path: Path) -> None:
    frames = [[trade(TEN + n, n, ticker=(PUT, CALL)[n % 2])] for n in range(4)]
    seal_all(recording_of(frames), tmp_path, OPTIONS)
    partition = Partition("option_trades", "SPY", "2024-12-20")
    rows = compose(LocalStore(tmp_path), partition).rows

    assert [CALL, CALL, PUT, PUT] == rows["ticker"].to_pylist()
    assert [f"{live_folder(partition)}/window=1000.parquet"] == segment_paths(LocalStore(tmp_path), partition)


def test_refused_rows_stand_beside_with_rule_text_and_place(tmp_path: Path) -> None:
    recording = recording_of([[trade(TEN, 1), trade(TEN + 1, 2, price=-1.0)], [trade(TEN + 2, 3)]])
    (sealed,) = seal_all(recording, tmp_path, check=no_negative_price)
    store = LocalStore(tmp_path)
    (row,) = read_quarantine(store, SPY_TRADES).to_pylist()

    assert (3, 2, 1) == (sealed.received, sealed.stored, sealed.refused)
    assert {"ticker": "SPY", "exchange": 4, "trf_id": None, "id": "2", "rule": "price_above_zero"} == {
        key: row[key] for key in ("ticker", "exchange", "trf_id", "id", "rule")
    }
    assert '{"ev":"T","sym":"SPY","x":4,"i":"2","q":2,"p":-1.0,"s":10,"t":' + f"{TEN + 1}}}" == row["raw"]
    offset = recording.records[0].position.offset
    page = f"capture/stream/stocks/session=2024-12-20/000001.spool.zst#{offset:012}"
    assert (page, 1) == (row["page"], row["position"])
    assert ["1", "3"] == compose(store, SPY_TRADES).rows["id"].to_pylist()


def test_what_cannot_be_read_is_kept_with_its_partition_or_its_feed(tmp_path: Path) -> None:
    recording = recording_of([[trade(TEN)], [trade(TEN) | {"p": None}, {"ev": "NEW"}]])
    recording.message(b"oops")
    seal_all(recording, tmp_path)
    store = LocalStore(tmp_path)
    (row,) = read_quarantine(store, SPY_TRADES).to_pylist()
    unowned = store.list("live/quarantine/stocks/session=2024-12-20")
    lost = pa.concat_tables([pq.read_table(pa.BufferReader(store.read(path))) for path in unowned]).to_pylist()

    assert ("missing_field", None) == (row["rule"], row["ticker"])
    assert [("unknown_event", '{"ev":"NEW"}', 1), ("not_an_array", "oops", 0)] == [
        (item["rule"], item["raw"], item["position"]) for item in lost
    ]


def test_a_ticker_that_is_none_has_no_partition_and_is_not_lost(tmp_path: Path) -> None:
    (sealed,) = seal_all(
        recording_of([[trade(TEN, 1), trade(TEN, 2, ticker="../../x"), trade(TEN, 3, ticker="I:VIX")]]),
        tmp_path,
        check=expectations.check,
    )
    found = files(tmp_path)

    assert (3, 1, 2) == (sealed.received, sealed.stored, sealed.refused)
    assert [
        "live/quarantine/stocks/session=2024-12-20/stock_trades-window=1000.parquet",
        "live/stocks/trades/symbol=SPY/session=2024-12-20/window=1000.parquet",
    ] == sorted(found)


def test_a_rule_about_the_whole_stops_the_window(tmp_path: Path) -> None:
    def nothing_passes(_: Table, rows: pa.Table) -> Verdict:
        return Verdict.first_rule_wins((), rows.num_rows, ("schema_as_declared",))

    with pytest.raises(CheckFailed, match="stock_trades 2024-12-20 window=1000"):
        seal_all(recording_of([[trade(TEN)]]), tmp_path, check=nothing_passes)
    assert files(tmp_path) == {}


def test_a_spool_that_lost_a_refused_row_is_an_error(tmp_path: Path) -> None:
    windowing = Windowing(STOCKS, GRID, USUAL)
    (chunk,) = decode(recording_of([[trade(TEN, price=-1.0)]]).records, STOCKS)
    windowing.take(chunk)
    (piece,) = windowing.rest().pieces

    with pytest.raises(RecordMismatch, match="does not hold this record"):
        Segments(LocalStore(tmp_path), STOCKS, GRID).seal(piece, no_negative_price, Recording().read_after)


def test_done_again_nothing_changes(tmp_path: Path) -> None:
    seal_all(three_windows(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    seal_all(three_windows(), tmp_path)

    assert len(before) == 6
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}


KILLED = """
import sys
from datetime import date
from pathlib import Path
import numpy as np
from marketlake.checks import Verdict
from marketlake.frames import decode
from marketlake.live import lateness_of
from marketlake.segments import Segments
from marketlake.settings import Settings
from marketlake.spool import Spool
from marketlake.store import LocalStore
from marketlake.tickers import AssetClass
from marketlake.windows import Grid, Windowing
lake, spool_root = map(Path, sys.argv[1:])
spool = Spool(spool_root, AssetClass.STOCKS, date(2024, 12, 20))
grid = Grid(date(2024, 12, 20))
windowing = Windowing(AssetClass.STOCKS, grid, lateness_of(Settings()))
segments = Segments(LocalStore(lake), AssetClass.STOCKS, grid)
refuse = lambda table, rows: Verdict.first_rule_wins([("odd", np.arange(0, rows.num_rows, 7))], rows.num_rows)
def write(ripe):
    for piece in ripe.pieces:
        segments.seal(piece, refuse, spool.read)
        print(piece.number, flush=True)
for chunk in decode(spool.read(), AssetClass.STOCKS):
    windowing.take(chunk)
    write(windowing.ripe())
write(windowing.rest())
"""


def test_a_killed_window_done_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """A process that is killed for real, over a spool on disk."""
    folder = local_folder(tmp_path / "spool", STOCKS, FRIDAY)
    folder.mkdir(parents=True)
    chance = Random(3)
    recording = recording_of([[trade(TEN + 1_000 * n, n), bar(TEN + 60_000 * (n // 60))] for n in range(5_000)])
    records = [pack_record(record.received_ns, record.kind, record.payload) for record in recording.records]
    (folder / "000001.spool").write_bytes(MAGIC + b"".join(records[:2_000]))
    (folder / "000002.spool").write_bytes(MAGIC + b"".join(records[2_000:]))
    (tmp_path / "work.py").write_text(textwrap.dedent(KILLED))
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    command = [sys.executable, str(tmp_path / "work.py")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run(
        [*command, str(undisturbed), str(tmp_path / "spool")], check=True, capture_output=True, env=environment
    )
    for _ in range(2):
        process = subprocess.Popen(
            [*command, str(disturbed), str(tmp_path / "spool")], stdout=subprocess.PIPE, env=environment
        )
        assert process.stdout is not None
        for _ in range(chance.randint(1, 6)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    subprocess.run(
        [*command, str(disturbed), str(tmp_path / "spool")], check=True, capture_output=True, env=environment
    )

    assert len(files(undisturbed)) > 10
    assert files(undisturbed) == {name: data for name, data in files(disturbed).items() if ".writing-" not in name}
    whole = compose(LocalStore(disturbed), SPY_TRADES)
    assert whole.rows.num_rows + whole.quarantined.num_rows == 5_000
    assert Spool(tmp_path / "spool", STOCKS, FRIDAY).numbers() == [1, 2]


def test_readers_read_segments_like_any_folder(tmp_path: Path) -> None:
    late = [[trade(TEN + 60_000, 99, 586.0)]]
    recording = recording_of([[trade(TEN + 60_000 * n, n)] for n in range(1, 40)] + late)
    seal_all(recording, tmp_path, lateness=dict.fromkeys(USUAL, Lateness(0, 3_600_000_000_000)))
    folder = tmp_path / "live/stocks/trades"
    glob = f"{folder}/**/*.parquet"
    expected = sorted([*range(1, 40), 99])
    reads: dict[str, Iterable[Any]] = {
        "pandas": pd.read_parquet(folder)["sequence_number"].tolist(),
        "pyarrow": ds.dataset(folder, partitioning="hive").to_table()["sequence_number"].to_pylist(),
        "duckdb": [row[0] for row in duckdb.sql(f"SELECT sequence_number FROM '{glob}'").fetchall()],
        "polars": pl.read_parquet(glob, hive_partitioning=True)["sequence_number"].to_list(),
    }

    assert any(path.name.startswith("late=") for path in folder.rglob("*.parquet"))
    assert dict.fromkeys(reads, expected) == {name: sorted(found) for name, found in reads.items()}
    assert {"symbol", "session"} < set(ds.dataset(folder, partitioning="hive").schema.names)


def test_the_last_revision_stays_however_late_it_came(tmp_path: Path) -> None:
    frames = [
        [bar(TEN), bar(TEN, 586.0)],
        [bar(TEN + 60_000 * n) for n in range(1, 45)],
        [bar(TEN, 587.0)],
        [bar(TEN, 588.0)],
    ]
    lateness = dict.fromkeys(USUAL, Lateness(0, 3_600_000_000_000))
    sealed = seal_all(recording_of(frames), tmp_path, lateness=lateness)
    composed = compose(LocalStore(tmp_path), SPY_BARS)

    assert 588.0 == composed.rows["close"][0].as_py()
    assert 45 == composed.rows.num_rows
    assert 48 == sum(item.received for item in sealed)
    assert 48 == composed.rows.num_rows + composed.superseded + sum(item.superseded for item in sealed)


def arrivals(chance: Random) -> tuple[list[list[Event]], dict[str, int]]:
    """An hour of trades, in an order of arrival that leaves each in its class, and each key's revisions in theirs."""
    lateness_ms = {"on time": (0, 20_000), "late": (16 * 60_000, 19 * 60_000), "too late": (21 * 60_000, 30 * 60_000)}
    world = Random(7)
    arrivals_ms: list[tuple[float, Event]] = []
    counts = Counter[str]()
    for number in range(240):
        time = TEN + 15_000 * number
        # The pulse of the stream, on time to the millisecond, carries the watermark.
        arrivals_ms += [(time, trade(time, 10_000 + number)), (time + 0.5, trade(time, 20_000 + number))]
    for number in range(1, 120):
        # Windows of a quarter of an hour: a delay of 16 to 19 minutes always misses one's own.
        time = TEN + 15_000 * number
        kind = world.choice(["on time", "late", "too late"]) if number < 110 else "on time"
        revisions = world.choice([1, 1, 2, 3])
        shortest, longest = lateness_ms[kind]
        delays = sorted(chance.uniform(shortest, longest) for _ in range(revisions))
        for revision, delay in enumerate(delays):
            counts[kind] += 1
            arrivals_ms.append((time + delay, trade(time, number, 585.0 + revision)))
    ordered = [event for _, event in sorted(arrivals_ms, key=lambda item: item[0])]
    frames = []
    while ordered:
        size = chance.randint(1, 9)
        frames.append(ordered[:size])
        ordered = ordered[size:]
    return frames, counts


def outcome_of(seed: int, root: Path) -> tuple[str, bytes, list[tuple[str, str]], Counter[str], Composed]:
    frames, counts = arrivals(Random(seed))
    sealed = seal_all(recording_of(frames), root)
    store = LocalStore(root)
    composed = compose(store, SPY_TRADES)
    refused = sorted((row["rule"], row["raw"]) for row in composed.quarantined.to_pylist())
    came = Counter[str]()
    for item in sealed:
        came[item.part] += item.received
        assert item.received == item.stored + item.refused + item.duplicates + item.superseded
    assert came["window"] == counts["on time"] + 480
    assert (came["late"], came["too_late"]) == (counts["late"], counts["too late"])
    return content_hash(composed.rows), to_parquet(composed.rows), refused, came, composed


def compare_arrival_orders(orders: int, root: Path) -> None:
    first = outcome_of(0, root / "0")
    for seed in range(1, orders):
        other = outcome_of(seed, root / str(seed))

        assert first[:3] == other[:3], f"arrival order {seed}"


def test_the_order_of_arrival_changes_nothing(tmp_path: Path) -> None:
    compare_arrival_orders(10, tmp_path)


@pytest.mark.soak
def test_no_order_of_arrival_changes_anything(tmp_path: Path) -> None:
    compare_arrival_orders(200, tmp_path)


def test_letting_in_what_came_too_late_is_idempotent(tmp_path: Path) -> None:
    *_, composed = outcome_of(0, tmp_path)
    table = TABLES["stock_trades"]
    once = readmit(table, composed.rows, composed.quarantined, everything_passes)
    twice = readmit(table, once.rows, once.quarantined, everything_passes)

    assert once.accepted == composed.quarantined.num_rows > 20
    assert once.quarantined.num_rows == twice.accepted == 0
    assert once.rows.equals(twice.rows)
    assert set(range(1, 120)) < set(once.rows["sequence_number"].to_pylist())
    # Of those that were not there at all, the revision that came last: the one with the highest price.
    missing = set(once.rows["id"].to_pylist()) - set(composed.rows["id"].to_pylist())
    highest = Counter[str]()
    for row in composed.quarantined.to_pylist():
        sent = json.loads(row["raw"])
        highest[sent["i"]] = max(highest[sent["i"]], sent["p"])
    prices = dict(zip(once.rows["id"].to_pylist(), once.rows["price"].to_pylist(), strict=True))
    assert {number: highest[number] for number in missing} == {number: prices[number] for number in missing}


def test_what_came_too_late_revises_what_was_there(tmp_path: Path) -> None:
    frames = [[bar(TEN + 60_000 * n)] for n in range(90)] + [[bar(TEN, 586.0)], [bar(TEN, 587.0)]]
    seal_all(recording_of(frames), tmp_path)
    composed = compose(LocalStore(tmp_path), SPY_BARS)
    found = readmit(TABLES["stock_bars"], composed.rows, composed.quarantined, everything_passes)

    assert (585.5, 587.0) == (composed.rows["close"][0].as_py(), found.rows["close"][0].as_py())
    assert (2, 90, 90) == (found.accepted, composed.rows.num_rows, found.rows.num_rows)


def test_a_late_row_that_breaks_a_rule_stays_out_under_that_rule(tmp_path: Path) -> None:
    late = [trade(TEN, 7, price=-5.0), trade(TEN, 8)]
    frames = [[trade(TEN + 60_000 * n, 100 + n)] for n in range(60)] + [late]
    seal_all(recording_of(frames), tmp_path, check=no_negative_price)
    composed = compose(LocalStore(tmp_path), SPY_TRADES)
    found = readmit(TABLES["stock_trades"], composed.rows, composed.quarantined, no_negative_price)

    assert (1, ["price_above_zero"]) == (found.accepted, found.quarantined["rule"].to_pylist())
    assert found.quarantined.schema == QUARANTINE["stock_trades"]
    assert found.rows.num_rows == composed.rows.num_rows + 1


def test_composed_values_are_published_and_what_is_in_them_may_go(tmp_path: Path) -> None:
    seal_all(recording_of([[value(TEN + 15_000 * n)] for n in range(200)]), tmp_path, INDICES, expectations.check)
    store = LocalStore(tmp_path)
    composed = compose(store, VIX)
    stretch = Received(TEN * 1_000_000, (TEN + 150_000) * 1_000_000, 2, 3)
    subscription = Subscription.parse("V.I:VIX")
    proof = tuple(
        Proof(f"capture/stream/indices/session=2024-12-20/{number:06}.spool.zst", "0" * 64) for number in range(1, 5)
    )
    coverage = streamed_coverage(
        VIX.spec, composed.rows, {subscription: (stretch,), Subscription.parse("AM.I:VIX"): (stretch,)}, proof
    )
    lake = Lake(store)

    assert not composed.is_in(lake.record(VIX))

    record = lake.publish(
        VIX, composed.rows, coverage=coverage, quarantined=composed.quarantined, flags={},
        inputs=composed.inputs, operational=Operational("run", "2024-12-20T22:00:00+00:00"),
    )  # fmt: skip
    (item,) = record.coverage
    store.delete(segment_paths(store, VIX)[0])  # a kill in the middle of removing

    assert (10, How.STREAMED, None) == (item.rows, item.how, item.span)
    assert proof[1:3] == item.proof, "the files that the stretch was read from, and no others"
    assert compose(store, VIX).is_in(lake.record(VIX))

    remove_segments(store, VIX)

    assert live_partitions(store, FRIDAY) == []
    assert lake.read(VIX) is not None
    assert compose(store, VIX).rows.num_rows == 0


REST_TIME = (TEN + 60_000) * 1_000_000 + 123_456


def rest_trades(*rows: dict[str, Any]) -> pa.Table:
    usual = {"ticker": "SPY", "sip_timestamp": REST_TIME, "exchange": 4, "price": 585.0, "size": 10.0, "correction": 0}
    return pa.Table.from_pylist([usual | row for row in rows], schema=TABLES["stock_trades"].schema)


def streamed_trades(tmp_path: Path, *events: Event) -> pa.Table:
    seal_all(recording_of([[event] for event in events]), tmp_path)
    return compose(LocalStore(tmp_path), SPY_TRADES).rows


def test_rest_and_stream_agree_to_the_streams_precision(tmp_path: Path) -> None:
    ours = streamed_trades(tmp_path, *(trade(TEN + 60_000, n) | {"c": [12, 37]} for n in (1, 2)))
    found = reconcile(
        TABLES["stock_trades"],
        ours,
        rest_trades(*({"id": str(n), "sequence_number": n, "conditions": [12, 37], "tape": 2} for n in (1, 2, 3))),
    )

    assert (0, 0, {}) == (found.lacking.num_rows, found.differing, found.revised)


@pytest.mark.parametrize(
    ("revision", "column"),
    [
        ({"price": 585.01}, "price"),
        ({"sip_timestamp": REST_TIME // 1_000_000 * 1_000_000 + 1_000_000}, "sip_timestamp"),
        ({"sip_timestamp": REST_TIME // 1_000_000 * 1_000_000 - 1_000_000}, "sip_timestamp"),
        ({"conditions": [37, 12]}, "conditions"),
        ({"conditions": None}, "conditions"),
        ({"sequence_number": 9}, "sequence_number"),
    ],
)
def test_a_value_that_differs_is_a_revision(revision: dict[str, Any], column: str, tmp_path: Path) -> None:
    ours = streamed_trades(tmp_path, *(trade(TEN + 60_000, n) | {"c": [12, 37]} for n in (1, 2)))
    same = {"conditions": [12, 37]}
    rest = rest_trades({"id": "1", "sequence_number": 1} | same | revision, {"id": "2", "sequence_number": 2} | same)
    found = reconcile(TABLES["stock_trades"], ours, rest)

    assert (0, 1, {column: 1}) == (found.lacking.num_rows, found.differing, dict(found.revised))


def test_what_rest_lacks_is_told(tmp_path: Path) -> None:
    nameless = trade(TEN + 60_000, 5)
    del nameless["i"]
    ours = streamed_trades(tmp_path, *(trade(TEN + 60_000, n) for n in (1, 2)), trade(TEN, 3) | {"trfi": 201}, nameless)
    rest = rest_trades({"id": "2", "sequence_number": 2}, {"id": "3", "sequence_number": 3, "trf_id": 202})
    found = reconcile(TABLES["stock_trades"], ours, rest)

    assert [("3", 201), ("1", None)] == [(row["id"], row["trf_id"]) for row in found.lacking.to_pylist()]
    assert 1 == found.lacking_without_key


def test_rows_without_a_key_are_held_against_those_of_their_instant_and_values(tmp_path: Path) -> None:
    """Three came without their ids; history has two of them, under theirs, and later all."""
    nameless = [trade(TEN + 60_000, number) | {"p": price} for number, price in ((5, 585.5), (6, 585.5), (7, 585.25))]
    for event in nameless:
        del event["i"]
    ours = streamed_trades(tmp_path, trade(TEN + 60_000, 1), *nameless)
    assert 4 == ours.num_rows
    same = {"sip_timestamp": REST_TIME}
    rest = [{"id": "1", "sequence_number": 1} | same]
    rest += [{"id": str(n), "sequence_number": n, "price": price} | same for n, price in ((5, 585.5), (7, 585.25))]

    assert 1 == reconcile(TABLES["stock_trades"], ours, rest_trades(*rest)).lacking_without_key
    rest += [{"id": "6", "sequence_number": 6, "price": 585.5} | same]
    assert 0 == reconcile(TABLES["stock_trades"], ours, rest_trades(*rest)).lacking_without_key
