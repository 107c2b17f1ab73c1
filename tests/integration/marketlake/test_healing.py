"""What becomes of a session's spool: nothing that was asked for goes without a label, whoever is killed in between."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seam import Time, seam
from simulation import Simulation, simulated

from expectations import check
from marketlake.backfill import run_batch
from marketlake.coverage import expected_of, seconds_by_label
from marketlake.desk import Desk
from marketlake.errors import HealFellShort, LeaseHeld, NotEntitled
from marketlake.healing import (
    Streamed,
    batch_of,
    finish_stream,
    heal_partition,
    leave_spool,
    publish_streamed,
    replay,
    stream_lease,
    unhealed_feeds,
)
from marketlake.lake import Lake
from marketlake.ledger import How
from marketlake.live import LiveSession, SealedWindow, Window
from marketlake.plan import Batch, Want
from marketlake.settings import Settings
from marketlake.spool import Kind, local_folder, local_numbers
from marketlake.spool_writing import SpoolWriter
from marketlake.store import LocalStore
from marketlake.tables import Partition
from marketlake.tickers import AssetClass

FEED, SESSION = AssetClass.INDICES, date(2025, 8, 29)
VALUES = Partition("index_values", "I:VIX", str(SESSION))
TEN_MS = 1_756_476_000_000  # 10:00 in New York
MS = 1_000_000
EVENING_NS = (TEN_MS + 10 * 3_600_000) * MS
HALT = range(120, 240)
HOURS_S = 405 * 60  # 09:30 to 16:15, as in Cboe's VIX methodology


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    settings = Settings()
    settings = settings.model_copy(
        update={"stream": settings.stream.model_copy(update={"spool": str(tmp_path / "spool")})}
    )
    nobody = seam("http://127.0.0.1:9", tmp_path / "lake")
    return Desk(nobody, Lake(LocalStore(tmp_path / "lake")), check, settings, Time().utc, "a test")


def write_spool(desk: Desk, *records: dict[str, Any] | list[dict[str, Any]], feed: AssetClass = FEED) -> None:
    """A finished file: what is a list came from the vendor, the rest is what the recorder noted."""
    folder = local_folder(Path(desk.settings.stream.spool), feed, SESSION)
    writer = SpoolWriter(folder, after=0, sync_s=0.01, most_pending_bytes=2**20)
    for number, record in enumerate(records):
        kind = Kind.FRAME if isinstance(record, list) else Kind.EVENT
        assert writer.append(EVENING_NS + number, kind, json.dumps(record).encode())
    writer.close()


def started(*wanted: str) -> dict[str, Any]:
    return {"event": "started", "feed": FEED, "session": str(SESSION), "wanted": wanted}


def subscribed(accepted: list[str], refused: list[str]) -> dict[str, Any]:
    return {"event": "subscribed", "connection": 1, "accepted": accepted, "refused": refused}


def values(*seconds: int) -> Iterator[list[dict[str, Any]]]:
    for second in seconds:
        yield [{"ev": "V", "val": 15 + second / 64, "T": "I:VIX", "t": TEN_MS + second * 1_000}]


def finished(desk: Desk, feed: AssetClass = FEED) -> Streamed:
    def seal(live: LiveSession, window: Window) -> SealedWindow:
        return live.seal(window, desk.check)

    return finish_stream(feed, SESSION, desk, seal)


def labels(desk: Desk) -> dict[How | None, int]:
    record = desk.lake.record(VALUES, verify=True)
    assert record is not None
    return dict(seconds_by_label(expected_of(VALUES.spec, "I:VIX", SESSION), record.coverage))


@pytest.mark.parametrize(
    ("came", "rows"),
    [
        pytest.param([{"event": "connecting", "connection": 1}], 0, id="nobody was there"),
        pytest.param([subscribed(["V.I:VIX"], [])], 0, id="nothing came"),
        pytest.param([subscribed(["V.I:VIX"], []), *values(1)], 1, id="one value, which proves nothing"),
    ],
)
def test_what_was_asked_for_and_not_proved_is_labelled_unavailable(desk: Desk, came: list[Any], rows: int) -> None:
    write_spool(desk, started("V.I:VIX"), *came)

    streamed = finished(desk)
    outcomes = [publish_streamed(partition, streamed, desk) for partition in streamed.partitions]

    assert (VALUES,) == streamed.partitions
    assert [rows] == [outcome.stored for outcome in outcomes]
    assert {How.UNAVAILABLE: HOURS_S} == labels(desk)


def test_what_was_added_while_it_ran_is_labelled_too(desk: Desk) -> None:
    changed = {"event": "changed", "connection": 1, "added": ["V.I:SPX"], "dropped": []}
    write_spool(desk, started("V.I:VIX"), subscribed(["V.I:VIX"], []), changed)

    assert ["I:SPX", "I:VIX"] == [partition.owner for partition in finished(desk).partitions]


def test_what_the_plan_does_not_have_is_nothing_that_is_missing(desk: Desk) -> None:
    write_spool(desk, started("AM.I:VIX", "V.I:VIX"), subscribed(["V.I:VIX"], ["AM.I:VIX"]), *values(*range(9)))

    assert (VALUES,) == finished(desk).partitions


def test_a_session_is_unhealed_until_all_of_it_is_published(desk: Desk) -> None:
    write_spool(desk, started("V.I:VIX"))
    folder = local_folder(Path(desk.settings.stream.spool), FEED, SESSION)

    for _ in range(2):  # as if the first were killed behind it
        streamed = finished(desk)
        assert [FEED] == unhealed_feeds(desk, SESSION)
    publish_streamed(VALUES, streamed, desk)
    assert [FEED] == unhealed_feeds(desk, SESSION)
    write_spool(desk, started("V.I:VIX"))
    leave_spool(streamed, desk)

    assert [2] == local_numbers(folder), "what was begun meanwhile is not healed"
    streamed = finished(desk)
    leave_spool(streamed, desk)
    assert [] == unhealed_feeds(desk, SESSION)
    assert 2 == len(streamed.proof)


def test_an_undisturbed_session_is_streamed_but_for_what_nothing_behind_it_proves(desk: Desk) -> None:
    """From 09:25 on, a value every 15 s until 16:14:59: whether one was sent in the last second nothing tells."""
    clock = {"event": "clock", "connection": 1, "session_ns": (TEN_MS - 35 * 60_000) * MS}
    came = values(*range(-1_786, 22_500, 15))
    write_spool(desk, started("V.I:VIX"), subscribed(["V.I:VIX"], []), clock, *came, {"event": "stopped"})

    outcome = publish_streamed(VALUES, finished(desk), desk)

    found = labels(desk)
    assert found.keys() == {How.STREAMED, How.UNAVAILABLE}
    assert found[How.UNAVAILABLE] <= 16
    record = desk.lake.record(VALUES)
    assert record is not None
    assert [0] == [item.rows for item in record.coverage if item.how is How.UNAVAILABLE][:1]
    assert outcome.stored == sum(item.rows for item in record.coverage)


def test_no_row_that_is_stored_lies_in_time_that_is_labelled_unavailable(desk: Desk) -> None:
    lost = {"event": "frames_lost", "connection": 1, "frames": 1, "bytes": 9}
    came = [
        record for second in range(0, 600, 15) for record in ([lost] if second % 4 == 3 else []) + [*values(second)]
    ]
    write_spool(desk, started("V.I:VIX"), subscribed(["V.I:VIX"], []), *came)

    publish_streamed(VALUES, finished(desk), desk)

    record = desk.lake.record(VALUES, verify=True)
    assert record is not None
    assert {0} == {item.rows for item in record.coverage if item.how is How.UNAVAILABLE}
    assert 40 == sum(item.rows for item in record.coverage if item.how is How.STREAMED)
    assert {How.STREAMED, How.UNAVAILABLE} == labels(desk).keys()


def test_a_window_tells_what_was_dropped_in_it_and_what_is_to_heal(desk: Desk) -> None:
    """Values every 15 s; nobody was there from 10:20:00 to 10:25:00, and the recorder was killed at 10:40:00."""
    again = [{"event": "connecting", "connection": 2}, subscribed(["V.I:VIX"], [])]
    killed = [started("V.I:VIX"), subscribed(["V.I:VIX"], [])]
    quarters = [values(*range(start, end, 15)) for start, end in ((-1_800, 1_200), (1_500, 2_400), (2_400, 3_000))]
    write_spool(
        desk, started("V.I:VIX"), subscribed(["V.I:VIX"], []), *quarters[0],
        {"event": "disconnected", "connection": 1, "outcome": "closed"}, *again, *quarters[1], *killed, *quarters[2],
        {"event": "disconnected", "connection": 1, "outcome": "stopped"}, {"event": "stopped"},
    )  # fmt: skip
    live = LiveSession.of(FEED, SESSION, desk.settings, desk.lake.store)

    sealed = {window.title: window for window in [*live.advance(), *live.close()]}
    found = {title[8:13]: (window.drops, window.missing_ns["index_values"] / 1e9) for title, window in sealed.items()}

    assert {"10:00": 0, "10:15": 1, "10:30": 1, "10:45": 0} == {
        title: drops for title, (drops, _) in found.items() if title >= "10:00"
    }
    assert 0 == found["10:00"][1]
    assert 300 <= found["10:15"][1] <= 360, "five minutes, and the edges that nothing proves"
    assert 0 < found["10:30"][1] <= 60


def write_halted_world(folder: Path, without: Collection[int] = HALT) -> Path:
    """Ten minutes of SPY with a quote each second, and a trade each second but for some."""
    folder.mkdir()
    (folder / "world.json").write_text(json.dumps({"underlying": "SPY", "sessions": [str(SESSION)]}))
    stamps = [(second, (TEN_MS + second * 1_000) * 1_000_000) for second in range(600)]
    trades = [
        {"ticker": "SPY", "sip_timestamp": at, "participant_timestamp": at, "price": 500.25, "size": 1.0,
         "exchange": 11, "id": f"t{second}", "sequence_number": second, "tape": 2}
        for second, at in stamps if second not in without
    ]  # fmt: skip
    quotes = [
        {"ticker": "SPY", "sip_timestamp": at, "bid_price": 500.0, "bid_size": 5.0, "bid_exchange": 11,
         "ask_price": 500.5, "ask_size": 1.0, "ask_exchange": 11, "sequence_number": second}
        for second, at in stamps
    ]  # fmt: skip
    for name, rows in (("trades", trades), ("quotes", quotes)):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


TRADES = Partition("stock_trades", "SPY", str(SESSION))
TRADE = {"ev": "T", "sym": "SPY", "x": 11, "z": 2, "p": 500.25, "s": 1}


def traded(*seconds: int) -> Iterator[list[dict[str, Any]]]:
    for second in seconds:
        yield [TRADE | {"t": TEN_MS + second * 1_000, "q": second, "i": f"t{second}"}]


def an_hour_later(desk: Desk, exchange: Simulation) -> Desk:
    """The same lake, and an exchange that serves it."""
    time = Time(desk.now() + timedelta(hours=1))
    vendor = seam(exchange.rest, Path(desk.lake.store.root), key=exchange.key, time=time)
    return replace(desk, vendor=vendor, now=time.utc)


def heal_trades(
    desk: Desk, folder: Path, *rules: Mapping[str, object], without: Collection[int], accept_short: bool = False
) -> Desk:
    """Heal the shares' trades against a world, at an exchange that may misbehave."""
    folder.mkdir()
    with simulated(write_halted_world(folder / "world", without), folder) as exchange:
        exchange.misbehave(*rules)
        desk = an_hour_later(desk, exchange)
        streamed = finished(desk, AssetClass.STOCKS)
        heal_partition(batch_of(TRADES, streamed, desk, refresh=False), streamed, desk, accept_short=accept_short)
    return desk


def healed_shares(desk: Desk, folder: Path) -> dict[str, Mapping[How | None, int]]:
    """The seconds of each label, by table, behind healing against that world."""
    with simulated(write_halted_world(folder / "world"), folder) as exchange:
        desk = replace(desk, vendor=seam(exchange.rest, folder / "lake", key=exchange.key))
        streamed = finished(desk, AssetClass.STOCKS)
        for partition in streamed.partitions:
            heal_partition(batch_of(partition, streamed, desk, refresh=False), streamed, desk)
    return {
        partition.table: seconds_by_label(expected_of(partition.spec, "SPY", SESSION), record.coverage)
        for partition in streamed.partitions
        if (record := desk.lake.record(partition, verify=True)) is not None
    }


def test_what_was_asked_for_and_never_came_is_had_from_history(desk: Desk, tmp_path: Path) -> None:
    write_spool(desk, started("T.SPY"), {"event": "connecting", "connection": 1}, feed=AssetClass.STOCKS)

    assert {"stock_trades": {How.HEALED: 390 * 60}} == healed_shares(desk, tmp_path)


@pytest.mark.parametrize(
    ("since_s", "until_s", "halted_s"),
    [pytest.param(120, 240, 120, id="nothing was traded"), pytest.param(100, 240, 0, id="history has a trade")],
)
def test_a_halt_is_told_where_history_has_no_trade_either(
    since_s: int, until_s: int, halted_s: int, desk: Desk, tmp_path: Path
) -> None:
    halt = {"since_ns": (TEN_MS + since_s * 1_000) * MS, "until_ns": (TEN_MS + until_s * 1_000) * MS, "connection": 1}
    trade = {"ev": "T", "sym": "SPY", "x": 11, "z": 2, "p": 500.25, "s": 1}
    quote = {"ev": "Q", "sym": "SPY", "bx": 11, "bp": 500.0, "bs": 5, "ax": 11, "ap": 500.5, "as": 1, "z": 2}
    frames = [
        [quote | {"t": TEN_MS + second * 1_000, "q": second}]
        + ([] if second in HALT else [trade | {"t": TEN_MS + second * 1_000, "q": second, "i": f"t{second}"}])
        for second in range(600)
    ]
    confirmed = subscribed(["Q.SPY", "T.SPY"], [])
    end = [{"event": "halted", **halt}, {"event": "resumed", **halt}]
    write_spool(desk, started("Q.SPY", "T.SPY"), confirmed, *frames, *end, feed=AssetClass.STOCKS)

    counts = healed_shares(desk, tmp_path)

    assert {"stock_quotes", "stock_trades"} == counts.keys()
    assert halted_s == counts["stock_trades"].get(How.HALTED, 0)
    assert How.HALTED not in counts["stock_quotes"]
    assert all(sum(of.values()) == 390 * 60 and None not in of for of in counts.values())
    assert [] == desk.lake.store.list("live")


def test_two_do_not_heal_the_same_session(desk: Desk) -> None:
    with stream_lease(FEED, SESSION, desk):
        with pytest.raises(LeaseHeld, match="a test"), stream_lease(FEED, SESSION, desk):
            pass
        with stream_lease(AssetClass.STOCKS, SESSION, desk):
            pass
    with stream_lease(FEED, SESSION, desk):
        pass


def test_what_history_proved_is_not_replaced_by_the_stream_when_history_is_refused(desk: Desk, tmp_path: Path) -> None:
    write_spool(desk, started("T.SPY"), subscribed(["T.SPY"], []), *traded(*range(5)), feed=AssetClass.STOCKS)
    desk = heal_trades(desk, tmp_path / "first", without=())
    before = desk.lake.record(TRADES, verify=True)
    write_spool(desk, started("T.SPY"), subscribed(["T.SPY"], []), *traded(*range(9), 700), feed=AssetClass.STOCKS)
    refused = {"match": {"path": "/v3/trades/*"}, "do": {"action": "status", "code": 403}}

    with pytest.raises(NotEntitled):
        heal_trades(desk, tmp_path / "second", refused, without=())

    assert before is not None
    assert before == desk.lake.record(TRADES, verify=True)
    assert 600 == before.rows


def test_a_heal_that_fell_short_asks_history_anew_and_not_its_own_capture(desk: Desk, tmp_path: Path) -> None:
    write_spool(desk, started("T.SPY"), subscribed(["T.SPY"], []), *traded(*range(60)), feed=AssetClass.STOCKS)
    with pytest.raises(HealFellShort, match="lacks 3 of 60"):
        heal_trades(desk, tmp_path / "first", without=(7, 8, 9))

    later = Time(desk.now() + timedelta(hours=1))
    heal_trades(replace(desk, now=later.utc), tmp_path / "second", without=())

    rows = desk.lake.read(TRADES, verify=True)
    assert rows is not None
    assert 600 == rows.num_rows


def test_a_refresh_tells_anew_what_was_empty_and_what_history_lacked(desk: Desk, tmp_path: Path) -> None:
    came = [*traded(*range(100)), {"event": "silent", "connection": 1}, *traded(*range(300, 400))]
    write_spool(desk, started("T.SPY"), subscribed(["T.SPY"], []), *came, feed=AssetClass.STOCKS)
    gap = {*range(90, 310)} - {*range(100)} - {*range(300, 400)}
    desk = heal_trades(desk, tmp_path / "first", without={*gap, 30}, accept_short=True)
    before, refused = desk.lake.read(TRADES), desk.lake.quarantined(TRADES)
    assert before is not None
    assert refused is not None
    assert ["not_in_history"] == refused["rule"].to_pylist()

    (tmp_path / "second").mkdir()
    with simulated(write_halted_world(tmp_path / "second" / "world", ()), tmp_path / "second") as exchange:
        batch = Batch("stock_trades", "SPY", (TRADES,), (Want("SPY", None, SESSION, SESSION),), refresh=True)
        run_batch(batch, an_hour_later(desk, exchange))

    rows = desk.lake.read(TRADES, verify=True)
    assert rows is not None
    assert 600 == rows.num_rows == before.num_rows + len(gap) + 1
    assert desk.lake.quarantined(TRADES) is None
    record = desk.lake.record(TRADES, verify=True)
    assert record is not None
    times_ns = rows["sip_timestamp"].cast(pa.int64()).to_numpy()
    for item in record.coverage:
        assert item.rows == ((times_ns >= item.start_ns) & (times_ns < item.end_ns)).sum()
        assert item.rows or item.how is not How.HEALED
        assert not item.rows or item.how not in {How.VERIFIED_EMPTY, How.UNAVAILABLE}


def test_where_history_does_not_reach_nothing_is_proclaimed_to_be_empty(desk: Desk, tmp_path: Path) -> None:
    write_spool(desk, started("AM.I:VIX"), subscribed(["AM.I:VIX"], []))
    bars = Partition("index_bars", "I:VIX", str(SESSION))
    with simulated(write_halted_world(tmp_path / "world"), tmp_path) as exchange:
        desk = replace(desk, vendor=seam(exchange.rest, tmp_path / "lake", key=exchange.key))
        streamed = finished(desk)
        heal_partition(batch_of(bars, streamed, desk, refresh=False), streamed, desk)

    record = desk.lake.record(bars, verify=True)
    assert record is not None
    minutes = [item for item in record.coverage if item.span == "minute"]
    assert {How.UNAVAILABLE: HOURS_S} == dict(seconds_by_label(expected_of(bars.spec, "I:VIX", SESSION), minutes))


def test_what_was_never_recorded_is_labelled_unavailable_from_the_first_recorded_session_on(desk: Desk) -> None:
    assert [] == unhealed_feeds(desk, SESSION), "nobody has ever recorded it"
    earlier = Partition("index_values", "I:VIX", "2025-08-28")
    publish_streamed(earlier, Streamed(FEED, earlier.session, {}, (), (earlier,), ()), desk)

    assert [FEED] == unhealed_feeds(desk, SESSION)
    streamed = finished(desk)
    publish_streamed(VALUES, streamed, desk)

    assert (VALUES,) == streamed.partitions
    assert {How.UNAVAILABLE: HOURS_S} == labels(desk)
    assert [] == unhealed_feeds(desk, SESSION)


def late_values(desk: Desk) -> None:
    """A feed that sends, an hour later, a value that it had left out."""
    write_spool(desk, started("V.I:VIX"), subscribed(["V.I:VIX"], []), *values(*range(0, 4_000, 15), 7))


def test_what_a_person_let_in_is_not_put_out_again_by_the_next_heal(desk: Desk) -> None:
    late_values(desk)
    publish_streamed(VALUES, finished(desk), desk)
    assert 1 == replay(VALUES, desk).accepted
    let_in = desk.lake.read(VALUES, verify=True)

    publish_streamed(VALUES, finished(desk), desk)

    again = desk.lake.read(VALUES, verify=True)
    assert let_in is not None
    assert let_in.num_rows == len(range(0, 4_000, 15)) + 1
    assert let_in.equals(again)
    assert [] == desk.lake.store.list("live")


def test_what_other_settings_made_of_the_same_frames_does_not_stay(desk: Desk) -> None:
    late_values(desk)
    finished(desk)
    assert [path for path in desk.lake.store.list("live") if "too_late" in path]
    patient = desk.settings.stream.model_copy(
        update={"rejection_s": {**desk.settings.stream.rejection_s, "index_values": 7_200}}
    )

    desk = replace(desk, settings=desk.settings.model_copy(update={"stream": patient}))
    publish_streamed(VALUES, finished(desk), desk)

    rows = desk.lake.read(VALUES, verify=True)
    assert rows is not None
    assert len(range(0, 4_000, 15)) + 1 == rows.num_rows
    assert desk.lake.quarantined(VALUES) is None
