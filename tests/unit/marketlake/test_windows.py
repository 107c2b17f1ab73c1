"""Rows fall into windows by their event time; what comes late is told apart, whatever the batches."""

from collections import Counter
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_records import Event, Recording, recording_of

from marketlake.errors import UsageError
from marketlake.frames import decode
from marketlake.live import lateness_of
from marketlake.settings import Settings
from marketlake.spool import Record
from marketlake.tickers import AssetClass
from marketlake.windows import Grid, Lateness, Part, Piece, Windowing

FRIDAY = date(2024, 12, 20)
NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
GRID = Grid(FRIDAY)
USUAL = lateness_of(Settings())
TIGHT = dict.fromkeys(USUAL, Lateness(30 * SECOND, 20 * MINUTE))


def at(clock: str, day: date = FRIDAY) -> int:
    """Milliseconds since the epoch of a New York time."""
    hour, minute, *seconds = clock.split(":")
    second = float(seconds[0]) if seconds else 0.0
    local = datetime(day.year, day.month, day.day, int(hour), int(minute), tzinfo=NEW_YORK)
    return round((local.timestamp() + second) * 1_000)


def value(clock: str | int, number: float = 18.36) -> Event:
    return {"ev": "V", "T": "I:VIX", "val": number, "t": at(clock) if isinstance(clock, str) else clock}


def bar(clock: str, close: float = 585.5, ticker: str = "SPY") -> Event:
    prices = {"o": 585.0, "h": 600.0, "l": 500.0, "c": close, "v": 100, "vw": 585.2}
    return {"ev": "AM", "sym": ticker, **prices, "s": at(clock), "e": at(clock) + 60_000}


def fold(windowing: Windowing, records: list[Record], batch: int | None = None) -> list[Piece]:
    """Everything that comes out, asked for after every batch."""
    pieces: list[Piece] = []
    step = batch or max(len(records), 1)
    for begin in range(0, len(records), step):
        after = records[begin - 1].position if begin else None
        for chunk in decode(records[begin : begin + step], windowing.feed, after):
            windowing.take(chunk)
            pieces += windowing.ripe().pieces
    return [*pieces, *windowing.rest().pieces]


def named(pieces: list[Piece]) -> list[tuple[str, str, int]]:
    return [(piece.part.value, GRID.name(piece.number), piece.rows.num_rows) for piece in pieces]


def values_of(pieces: list[Piece]) -> list[tuple[str, int, list[dict[str, Any]]]]:
    return sorted((piece.part.value, piece.number, piece.rows.to_pylist()) for piece in pieces)


@pytest.mark.parametrize(
    ("session", "clock"),
    [
        pytest.param(FRIDAY, "09:30", id="winter"),
        pytest.param(date(2024, 7, 19), "09:30", id="summer"),
        pytest.param(date(2024, 3, 8), "16:00", id="before clocks go forward"),
        pytest.param(date(2024, 3, 11), "09:30", id="after clocks went forward"),
        pytest.param(date(2024, 11, 1), "15:45", id="before clocks go back"),
        pytest.param(date(2024, 11, 4), "09:30", id="after clocks went back"),
        pytest.param(date(2024, 11, 29), "13:00", id="after the close of a half day"),
        pytest.param(FRIDAY, "04:00", id="pre-market"),
        pytest.param(FRIDAY, "19:45", id="post-market, already the next day in UTC"),
        pytest.param(FRIDAY, "03:15", id="early VIX"),
        pytest.param(FRIDAY, "23:45", id="the last of the day"),
    ],
)
def test_a_window_is_named_for_its_new_york_start(session: date, clock: str) -> None:
    windowing = Windowing(AssetClass.INDICES, Grid(session), USUAL)
    inside = [value(at(clock, session)), value(at(clock, session) + 15 * 60_000 - 1)]
    (piece,) = fold(windowing, recording_of([inside]).records)

    assert clock.replace(":", "") == windowing.grid.name(piece.number)
    assert piece.rows.num_rows == 2


@pytest.mark.parametrize("minutes", [0, -15, 7, 1441])
def test_windows_that_do_not_divide_a_day_are_refused(minutes: int) -> None:
    with pytest.raises(UsageError, match="do not divide a day"):
        Grid(FRIDAY, minutes)


@pytest.mark.parametrize("day", [date(2024, 11, 3), date(2025, 1, 9)], ids=["clocks go back", "closed"])
def test_a_day_without_a_session_has_no_windows(day: date) -> None:
    with pytest.raises(UsageError, match="no trading session"):
        Grid(day)


def test_a_rejection_time_is_no_shorter_than_the_allowance() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        Lateness(2, 1)


def test_a_window_is_sealed_when_two_events_are_past_its_end_and_allowance() -> None:
    windowing = Windowing(AssetClass.INDICES, GRID, TIGHT)
    recording = recording_of([[value("10:14:59")], [value("10:15:30")]])
    (chunk,) = decode(recording.records, AssetClass.INDICES)
    windowing.take(chunk)

    assert windowing.ripe().pieces == ()

    (chunk,) = decode([recording.frame(value("10:15:31"))], AssetClass.INDICES)
    windowing.take(chunk)

    assert [("window", "1000", 1)] == named(list(windowing.ripe().pieces))
    assert windowing.ripe().pieces == ()
    assert [("window", "1015", 2)] == named(list(windowing.rest().pieces))


def test_lateness_decides_where_a_row_goes() -> None:
    frames = [
        [value("10:14:00")],
        [value("10:15:20"), value("10:15:21")],
        [value("10:14:30")],  # 50 s behind, but its window is still open
        [value("10:15:31"), value("10:15:32")],
        [value("10:14:31")],  # its window is sealed
        [value("10:40:00"), value("10:40:01")],
        [value("10:14:32")],  # 25 minutes behind
        [value("10:20:01")],  # 20 minutes behind to the second
    ]
    pieces = fold(Windowing(AssetClass.INDICES, GRID, TIGHT), recording_of(frames).records)

    assert [
        ("window", "1000", 2),
        ("late", "1015", 1),
        ("window", "1015", 4),
        ("late", "1030", 1),
        ("too_late", "1030", 1),
        ("window", "1030", 2),
    ] == named(pieces)


def test_a_bar_sent_again_within_the_quarter_of_an_hour_is_in_its_window() -> None:
    frames = [[bar("10:00")], [bar("10:14")], [bar("10:15")], [bar("10:16")], [bar("10:00", 586.0)], [bar("10:40")]]
    pieces = fold(Windowing(AssetClass.STOCKS, GRID, USUAL), recording_of([*frames, [bar("10:41")]]).records)

    assert [("window", "1000", 3), ("window", "1015", 2), ("window", "1030", 2)] == named(pieces)
    assert [585.5, 585.5, 586.0] == pieces[0].rows["close"].to_pylist()


@pytest.mark.parametrize("wrong", ["15:59:00", "23:59:59"])
def test_one_event_with_a_wrong_time_does_not_close_the_day(wrong: str) -> None:
    frames = [[value("10:00:00")], [value(wrong)], [value("10:00:15")], [value("10:00:30")]]
    windowing = Windowing(AssetClass.INDICES, GRID, TIGHT)
    pieces = fold(windowing, recording_of(frames).records, batch=1)

    assert ("window", "1000", 3) in named(pieces)


def test_rows_of_another_day_are_set_apart_and_move_nothing() -> None:
    tomorrow = at("10:00") + 86_400_000
    frames = [[value("10:00:00")], [value(tomorrow), value(tomorrow + 1)], [value(5)], [value("10:00:15")]]
    pieces = fold(Windowing(AssetClass.INDICES, GRID, TIGHT), recording_of(frames).records)

    assert Counter({Part.OUTSIDE_SESSIONS: 3, Part.WINDOW: 2}) == Counter(
        {part: sum(piece.rows.num_rows for piece in pieces if piece.part is part) for part in {p.part for p in pieces}}
    )
    assert all(piece.raw for piece in pieces if piece.part is Part.OUTSIDE_SESSIONS)


def test_what_cannot_be_read_goes_with_the_window_that_was_open() -> None:
    recording = recording_of([[value("10:00:00")], [value("10:20:00"), value("10:20:01")]])
    recording.message(b"{")
    recording.frame(value("10:31:00"), value("10:31:01"))
    windowing = Windowing(AssetClass.INDICES, GRID, TIGHT)
    (chunk,) = decode(recording.records, AssetClass.INDICES)
    windowing.take(chunk)
    (rejects,) = windowing.ripe().rejects

    assert ("1015", "{") == (GRID.name(rejects.number), rejects.events[0].raw)
    assert windowing.rest().rejects == ()


def test_the_lag_is_from_publication_to_receipt() -> None:
    recording = Recording()
    recording.frame(bar("10:00"), received_ns=at("10:01:02") * 1_000_000)
    (piece,) = fold(Windowing(AssetClass.STOCKS, GRID, USUAL), recording.records)

    assert [2 * SECOND] == piece.lag_ns.tolist()


def test_rows_are_found_again_where_they_were_sent() -> None:
    frames = [[value("10:00:00", n), value("10:20:00", n + 0.5)] for n in range(1, 5_000)]
    recording = recording_of(frames)
    for piece in fold(Windowing(AssetClass.INDICES, GRID, USUAL), recording.records, batch=700):
        for row in range(0, piece.rows.num_rows, 97):
            (origin,) = piece.origins(np.array([row]))
            sent = next(record for record in recording.read_after(origin.after) if record.position == origin.position)
            (event,) = [item for chunk in decode([sent], AssetClass.INDICES) for item in chunk.rows]

            assert event.rows.slice(origin.element, 1).to_pylist() == piece.rows.slice(row, 1).to_pylist()


# Seconds after 10:00 of a hundred events: mostly in order, some far behind or ahead.
OFFSETS = st.lists(st.integers(0, 4_000) | st.integers(0, 60).map(lambda n: n * 60), max_size=40)


@given(OFFSETS, st.integers(1, 7), st.randoms(use_true_random=False))
def test_batching_changes_nothing(offsets: list[int], batch: int, chance: Any) -> None:
    events = [value(at("10:00") + 1_000 * offset, 1.0 + place) for place, offset in enumerate(offsets)]
    one_by_one = recording_of([[event] for event in events])
    bunches: list[list[Event]] = []
    while events:
        size = chance.randint(1, 6)
        bunches, events = [*bunches, events[:size]], events[size:]
    together = recording_of(bunches)

    assert values_of(fold(Windowing(AssetClass.INDICES, GRID, TIGHT), one_by_one.records, batch)) == values_of(
        fold(Windowing(AssetClass.INDICES, GRID, TIGHT), together.records)
    )


@given(OFFSETS)
def test_every_row_goes_where_the_rules_say(offsets: list[int]) -> None:
    """Against the rules read event by event."""
    expected: Counter[tuple[str, int]] = Counter()
    so_far: list[int] = []
    for offset in offsets:
        so_far = sorted([*so_far, offset])[-2:]
        watermark = so_far[0] if len(so_far) == 2 else -36_000
        window, sealed = offset // 900, max((watermark - 30) // 900, -40)
        if window >= sealed:
            expected["window", window + 40] += 1
        else:
            expected["late" if watermark - offset <= 1_200 else "too_late", sealed + 40] += 1
    events = [[value(at("10:00") + 1_000 * offset, 1.0 + place)] for place, offset in enumerate(offsets)]
    pieces = fold(Windowing(AssetClass.INDICES, GRID, TIGHT), recording_of(events).records)

    assert expected == Counter({(piece.part.value, piece.number): piece.rows.num_rows for piece in pieces})
