"""What a running session missed, asked for over REST: when it is due, what is kept, and what is asked for again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scripted_vendor import Reply, http, ok, scripted_vendor
from seam import Time, seam

from expectations import check
from marketlake.asks import bars_ask
from marketlake.desk import Desk
from marketlake.feeds import Subscription
from marketlake.filling import Filling
from marketlake.lake import Lake
from marketlake.reach import Received, Stretch
from marketlake.segments import Segments, filled_paths, remove_segments, segment_paths
from marketlake.sessions import to_ns
from marketlake.settings import Settings
from marketlake.store import LocalStore
from marketlake.tables import TABLES, Partition, Span
from marketlake.tickers import AssetClass
from marketlake.windows import Grid

SESSION = date(2025, 8, 29)
OPEN_MS = 1_756_474_200_000  # 09:30 in New York
BARS, TRADES = Subscription.parse("AM.SPY"), Subscription.parse("T.SPY")
PARTITION = Partition.of_session(TABLES["stock_bars"], "SPY", SESSION)
AWAY = http("", 503)
NOT_IN_THE_PLAN = http('{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}', 403)


def at(clock: str) -> int:
    return to_ns(datetime.fromisoformat(f"{SESSION}T{clock}-04:00"))


HOURS = {BARS: Stretch(at("09:30"), at("16:00")), TRADES: Stretch(at("09:30"), at("16:00"))}


def bars(*minutes: int, low: float = 640.0) -> Reply:
    results = [
        {"t": OPEN_MS + minute * 60_000, "o": 645.0, "h": 650.0, "l": low, "c": 645.0, "v": 100, "n": 2, "vw": 645.0}
        for minute in minutes
    ]
    return ok({"ticker": "SPY", "adjusted": False, "status": "OK", "resultsCount": len(results), "results": results})


def trades(*seconds: int) -> Reply:
    results = [
        {"sip_timestamp": at("09:30") + second * 10**9, "price": 645.0, "size": 1, "exchange": 11, "id": str(second),
         "sequence_number": second, "participant_timestamp": at("09:30") + second * 10**9, "tape": 2}
        for second in seconds
    ]  # fmt: skip
    return ok({"status": "OK", "results": results})


@dataclass
class Session:
    """A session of the shares' feed that runs, and what came of it so far."""

    filling: Filling
    desk: Desk
    lake: Lake
    requests: list[str]

    def due(self, received: dict[Subscription, list[tuple[str, str]]]) -> list[tuple[str, int]]:
        """Titles and numbers of gaps."""
        return [(missed.title, len(missed.gaps)) for missed in self._missed(received)]

    def fill(self, received: dict[Subscription, list[tuple[str, str]]]) -> list[tuple[int, int, int]]:
        """Rows, refused rows, and gaps for later."""
        found = [self.filling.fill(missed) for missed in self._missed(received)]
        return [(item.rows, item.refused, item.later) for item in found]

    def _missed(self, received: dict[Subscription, list[tuple[str, str]]]) -> Iterator:  # type: ignore[type-arg]
        whole = {
            subscription: [Received(at(start), at(end), 1, 1) for start, end in stretches]
            for subscription, stretches in received.items()
        }
        return self.filling.due(HOURS, whole)

    def filled(self) -> dict[str, pa.Table]:
        """By the file's name."""
        paths = filled_paths(self.lake.store, PARTITION)
        return {Path(path).name: pq.read_table(Path(self.lake.store.root) / path, partitioning=None) for path in paths}


@contextmanager
def running(folder: Path, replies: Sequence[Reply], today: date = SESSION) -> Iterator[Session]:
    with scripted_vendor(replies) as vendor:
        time, store = Time(datetime.fromisoformat(f"{today}T11:05:00-04:00")), LocalStore(folder / "lake")
        lake = Lake(store)
        desk = Desk(seam(vendor.url, folder / "lake", time=time), lake, check, Settings(), time.utc, "a test")
        yield Session(Filling(Segments(store, AssetClass.STOCKS, Grid(SESSION)), desk), desk, lake, vendor.requests)


def minutes_of(rows: pa.Table) -> list[int]:
    return [(value - OPEN_MS * 10**6) // (60 * 10**9) for value in rows["start"].cast(pa.int64()).to_pylist()]


def test_a_gap_is_due_when_the_stream_has_gone_on_for_a_minute_behind_it(tmp_path: Path) -> None:
    with running(tmp_path, []) as session:
        assert [] == session.due({BARS: []}), "nothing came yet: whether something will come is open"
        assert [] == session.due({BARS: [("11:00", "11:00:59")]})
        assert [("stock_bars 09:30 to 11:00, 1 gaps", 1)] == session.due({BARS: [("11:00", "11:01")]})
        assert [] == session.due({BARS: [("09:30", "11:01")]}), "what is still to come is no gap"
        assert [("stock_bars 09:30 to 10:40, 2 gaps", 2), ("stock_trades 09:30 to 10:00, 1 gaps", 1)] == session.due(
            {BARS: [("10:00", "10:30"), ("10:40", "11:01")], TRADES: [("10:00", "11:02")]}
        )


def test_what_history_has_of_a_gap_is_kept_and_asked_for_once(tmp_path: Path) -> None:
    received = {BARS: [("09:32", "09:34"), ("09:36", "09:40")]}
    with running(tmp_path, [bars(*range(10))]) as session:
        assert [(4, 0, 0)] == session.fill(received)
        assert [] == session.due(received)
        assert [0, 1, 4, 5] == minutes_of(session.filled()["filled=0930.parquet"])
        assert [] == segment_paths(session.lake.store, PARTITION), "nothing is composed of it"
        remove_segments(session.lake.store, PARTITION)
        assert {} == session.filled()


def test_a_further_gap_of_the_same_quarter_of_an_hour_joins_it(tmp_path: Path) -> None:
    with running(tmp_path, [bars(0, 1, 2), bars(0, 1, 2, 3, 4, 5)]) as session:
        assert [(2, 0, 0)] == session.fill({BARS: [("09:32", "09:34")]})
        assert [(2, 0, 0)] == session.fill({BARS: [("09:32", "09:34"), ("09:36", "09:40")]})
        assert [0, 1, 4, 5] == minutes_of(session.filled()["filled=0930.parquet"])


def test_trades_are_asked_for_by_the_gap(tmp_path: Path) -> None:
    with running(tmp_path, [trades(0, 30, 59)]) as session:
        assert [(3, 0, 0)] == session.fill({TRADES: [("09:31", "09:40")]})
        (target,) = session.requests

    assert f"timestamp.gte={at('09:30')}&timestamp.lt={at('09:31')}&" in target


def test_a_row_that_a_rule_refuses_is_not_kept(tmp_path: Path) -> None:
    with running(tmp_path, [bars(0, 1, low=-1.0)]) as session:
        assert [(0, 2, 0)] == session.fill({BARS: [("09:32", "09:40")]})
        assert {} == session.filled()


def test_a_vendor_that_is_away_is_asked_again_a_minute_later(tmp_path: Path) -> None:
    with running(tmp_path, [AWAY] * 5 + [bars(0, 1)]) as session:
        assert [(0, 0, 1)] == session.fill({BARS: [("09:32", "09:40")]})
        assert [] == session.due({BARS: [("09:32", "09:40:59")]})
        assert [(2, 0, 0)] == session.fill({BARS: [("09:32", "09:41")]})


def test_what_the_plan_does_not_give_is_not_asked_for_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path, [NOT_IN_THE_PLAN]) as session:
        assert [(0, 0, 1)] == session.fill({BARS: [("09:32", "09:40")]})
        assert [] == session.due({BARS: [("09:32", "10:40")]})

    assert "what was missed of AM.SPY is left to the healing" in caplog.text


@pytest.mark.parametrize("today", [SESSION, date(2025, 9, 5)], ids=["by its own clock", "in a replay, a week later"])
def test_what_was_said_while_the_session_ran_is_no_answer_for_all_of_it(today: date, tmp_path: Path) -> None:
    ask = bars_ask(TABLES["stock_bars"], "SPY", "SPY", Span.MINUTE, SESSION, SESSION, 50_000)
    with running(tmp_path, [bars(0, 1), bars(0, 1, 2)], today) as session:
        assert [(2, 0, 0)] == session.fill({BARS: [("09:32", "09:40")]})
        (page,) = session.desk.vendor.pages(ask)

    assert page.fetched
    assert b'"resultsCount": 3' in page.body
