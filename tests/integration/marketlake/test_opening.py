"""The opening price of a running session: who is asked, in which order, and how long each is waited for."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from scripted_vendor import Reply, ok, scripted_vendor
from seam import Time, seam

from expectations import check
from marketlake.desk import Desk
from marketlake.errors import OpeningMissing
from marketlake.lake import Lake
from marketlake.opening import wait_for_opening
from marketlake.selection import Opening, OpeningSource
from marketlake.settings import Settings
from marketlake.spool import Kind, local_folder
from marketlake.spool_writing import SpoolWriter
from marketlake.store import LocalStore
from marketlake.tickers import AssetClass, Underlying

SESSION = date(2025, 8, 29)
OPEN_MS = 1_756_474_200_000  # 09:30 in New York
SPY = Underlying.parse("SPY")


def bars(*minutes: tuple[int, float]) -> Reply:
    """The vendor's minute bars, each by its minute behind the open and its first price."""
    results = [
        {"t": OPEN_MS + minute * 60_000, "o": price, "h": 650.0, "l": 640.0, "c": 645.0, "v": 100, "n": 2, "vw": 645.0}
        for minute, price in minutes
    ]
    return ok({"ticker": "SPY", "adjusted": False, "status": "OK", "resultsCount": len(results), "results": results})


@contextmanager
def waiting(folder: Path, replies: Sequence[Reply], now: datetime) -> Iterator[tuple[Desk, Time]]:
    with scripted_vendor(replies) as vendor:
        time = Time(now)
        stream = Settings().stream.model_copy(update={"spool": str(folder / "spool")})
        settings = Settings().model_copy(update={"stream": stream})
        asked = seam(vendor.url, folder / "lake", time=time)
        yield Desk(asked, Lake(LocalStore(folder / "lake")), check, settings, time.utc, "a test"), time


def opening(desk: Desk, time: Time) -> Opening:
    return wait_for_opening(SPY, SESSION, desk, session_now=time.utc, sleep=time.sleep)


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"{SESSION}T{clock}-04:00").astimezone(UTC)


def record(folder: Path, *events: dict[str, object]) -> None:
    writer = SpoolWriter(local_folder(folder / "spool", AssetClass.STOCKS, SESSION), after=0, sync_s=0.01,
                         most_pending_bytes=2**20)  # fmt: skip
    assert writer.append(1, Kind.FRAME, json.dumps(events).encode())
    writer.close()


def test_the_bar_of_half_past_nine_is_asked_for_once_it_has_ended(tmp_path: Path) -> None:
    with waiting(tmp_path, [bars((-30, 640.0)), bars((-30, 640.0), (0, 645.05))], at("09:20:00")) as (desk, time):
        found = opening(desk, time)

    assert Opening(Decimal("645.05"), OpeningSource.OPENING_BAR) == found
    assert at("09:31:00") <= time.now < at("09:31:10")


def test_the_stream_is_asked_when_patience_is_over(tmp_path: Path) -> None:
    record(tmp_path, {"ev": "AM", "sym": "SPY", "s": OPEN_MS, "op": 645.1})
    with waiting(tmp_path, [bars()] * 100, at("09:20:00")) as (desk, time):
        found = opening(desk, time)

    assert Opening(Decimal("645.1"), OpeningSource.STREAM_OPEN) == found
    assert at("09:31:30") <= time.now < at("09:31:40")


def test_a_later_bar_stands_in_when_the_stream_does_not_know_either(tmp_path: Path) -> None:
    with waiting(tmp_path, [bars((1, 645.2))] * 100, at("09:32:00")) as (desk, time):
        found = opening(desk, time)

    assert Opening(Decimal("645.2"), OpeningSource.FIRST_BAR) == found


def test_a_halt_at_the_open_is_waited_for_and_a_session_without_trading_is_told(tmp_path: Path) -> None:
    with waiting(tmp_path, [bars()] * 200, at("16:00:30")) as (desk, time):
        with pytest.raises(OpeningMissing, match="run discover"):
            opening(desk, time)

        assert at("16:01:00") <= time.now < at("16:01:10")


def test_a_vendor_that_is_away_for_a_while_is_asked_again(tmp_path: Path) -> None:
    away = Reply(b"HTTP/1.1 503 Status\r\nContent-Length: 0\r\n\r\n")
    with waiting(tmp_path, [away, away, away, bars((0, 645.05))], at("09:31:00")) as (desk, time):
        assert Opening(Decimal("645.05"), OpeningSource.OPENING_BAR) == opening(desk, time)
