"""Windows: New York wall time, calendar windows, and pages that hold whole windows whatever their size."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.bar_pages import page_of_bars
from simulator.windows import Timespan, Windows, aggregate
from simulator.world import BAR_SCHEMA

NEW_YORK = ZoneInfo("America/New_York")
INSTANTS = st.integers(1_000_000_000_000, 2_000_000_000_000)
WINDOWS = st.builds(Windows, st.sampled_from(list(Timespan)), st.integers(1, 40))


def start_of(windows: Windows, t_ms: int) -> int:
    return int(windows.starts(np.array([t_ms]))[0])


def new_york(t_ms: int) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms)).astimezone(NEW_YORK)


@given(WINDOWS, INSTANTS)
@example(Windows(Timespan.HOUR, 4), 1_394_348_400_000)  # 03:00, the hour after the clocks went forward
@example(Windows(Timespan.HOUR, 3), 1_383_458_400_000)  # 01:00, for the second time of that night
def test_a_window_holds_its_instant_and_the_next_one_begins_where_it_ends(windows, t_ms) -> None:
    start = start_of(windows, t_ms)
    after = windows.next_start(start)

    assert start <= t_ms < after
    assert start == start_of(windows, start)
    assert start == start_of(windows, after - 1)
    assert after == start_of(windows, after)


@pytest.mark.parametrize(
    ("timespan", "multiplier", "starts_at"),
    [
        (Timespan.SECOND, 1, "2024-12-20T14:37:42"),
        (Timespan.MINUTE, 5, "2024-12-20T14:35:00"),
        (Timespan.HOUR, 1, "2024-12-20T14:00:00"),
        (Timespan.HOUR, 4, "2024-12-20T12:00:00"),
        (Timespan.DAY, 1, "2024-12-20T00:00:00"),
        (Timespan.WEEK, 1, "2024-12-15T00:00:00"),
        (Timespan.MONTH, 1, "2024-12-01T00:00:00"),
        (Timespan.QUARTER, 1, "2024-10-01T00:00:00"),
        (Timespan.YEAR, 1, "2024-01-01T00:00:00"),
    ],
)
def test_windows_are_new_yorks_calendar_and_clock(timespan, multiplier, starts_at) -> None:
    t_ms = int(datetime(2024, 12, 20, 14, 37, 42, 500_000, NEW_YORK).timestamp() * 1000)

    assert starts_at == f"{new_york(start_of(Windows(timespan, multiplier), t_ms)):%Y-%m-%dT%H:%M:%S}"


@pytest.mark.parametrize(("day", "hours"), [(10, 23), (11, 24)])
def test_a_day_is_23_hours_long_when_the_clocks_go_forward(day, hours) -> None:
    midnight = int(datetime(2024, 3, day, tzinfo=NEW_YORK).timestamp() * 1000)

    assert hours * 3_600_000 == Windows(Timespan.DAY, 1).next_start(midnight) - midnight


def table_of(times: list[int]) -> pa.Table:
    rows = [
        {"t": t, "o": i + 1.0, "h": i + 2.0, "l": i * 0.5, "c": i + 1.5, "v": i * 1.5, "vw": i + 1.25, "n": i}
        for i, t in enumerate(times)
    ]
    return pa.Table.from_pylist(rows, schema=BAR_SCHEMA)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=80),
    st.sampled_from([Windows(Timespan.MINUTE, n) for n in (1, 5, 7)] + [Windows(Timespan.HOUR, n) for n in (1, 5)]),
    st.integers(1, 100),
    st.booleans(),
)
def test_pages_of_any_size_hold_every_window_once_and_whole(minutes, windows, limit, descending) -> None:
    """Including bars that stand twice at one time, which must not be torn apart."""
    first = int(datetime(2024, 3, 8, 9, tzinfo=NEW_YORK).timestamp() * 1000)
    table = table_of(sorted(first + minute * 60_000 for minute in minutes))
    times = table["t"].to_numpy()

    def fetch(start: int, end: int) -> pa.Table:
        low, high = np.searchsorted(times, start, "left"), np.searchsorted(times, end, "right")
        return table.slice(int(low), max(int(high - low), 0))

    start, end = first, first + 3000 * 60_000
    pages, bars = [], []
    while True:
        page = page_of_bars(fetch, windows, start, end, limit, descending=descending)
        bars.append(aggregate(page.base, page.starts, 0).to_pylist())
        pages.append(page)
        assert len(pages) <= table.num_rows  # each page gets on
        if page.resume_ms is None:
            break
        start, end = (start, page.resume_ms) if descending else (page.resume_ms, end)

    assert all(page.base.num_rows for page in pages)
    starts = windows.starts(times)
    for page in pages:
        assert page.base.num_rows <= limit or len(set(page.starts)) == 1
    ordered = bars[::-1] if descending else bars
    assert sorted(set(starts)) == [bar["t"] for page in ordered for bar in page]
    assert table.num_rows == sum(page.base.num_rows for page in pages)


def test_a_window_without_volume_has_no_vwap_and_an_unknown_vwap_stays_unknown() -> None:
    base = table_of([0, 60_000, 3_600_000]).to_pylist()
    unknown = pa.Table.from_pylist([base[0] | {"vw": None}, base[1], base[2] | {"vw": None}], schema=BAR_SCHEMA)
    hours = aggregate(unknown, np.array([0, 0, 3_600_000]), 0).to_pylist()

    # The first bar has no volume, so that its vwap weighs nothing.
    assert 2.25 == hours[0]["vw"]
    assert hours[1]["vw"] is None


def test_an_index_keeps_its_missing_volume() -> None:
    base = [row | {"v": None, "vw": None, "n": None} for row in table_of([0, 60_000]).to_pylist()]
    (hour,) = aggregate(pa.Table.from_pylist(base, schema=BAR_SCHEMA), np.array([0, 0]), 0).to_pylist()

    assert (None, None, None) == (hour["v"], hour["vw"], hour["n"])
    assert (1.0, 3.0, 0.0, 2.5) == (hour["o"], hour["h"], hour["l"], hour["c"])
