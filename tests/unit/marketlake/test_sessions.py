"""Answers are the exchange's published calendar (NYSE holidays and early closings 2023-2026), not a computation."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake import sessions
from marketlake.errors import UsageError
from marketlake.tickers import AssetClass, OptionTicker

CLOSED = """
2023-01-02 2023-01-16 2023-02-20 2023-04-07 2023-05-29 2023-06-19 2023-07-04 2023-09-04 2023-11-23 2023-12-25
2024-01-01 2024-01-15 2024-02-19 2024-03-29 2024-05-27 2024-06-19 2024-07-04 2024-09-02 2024-11-28 2024-12-25
2025-01-01 2025-01-09 2025-01-20 2025-02-17 2025-04-18 2025-05-26 2025-06-19 2025-07-04 2025-09-01 2025-11-27 2025-12-25
2026-01-01 2026-01-19 2026-02-16 2026-04-03 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-11-26 2026-12-25
""".split()
HALF_DAYS = """
2023-07-03 2023-11-24 2024-07-03 2024-11-29 2024-12-24 2025-07-03 2025-11-28 2025-12-24 2026-11-27 2026-12-24
""".split()
YEARS = (date(2023, 1, 1), date(2026, 12, 31))
# Trading days a year, as the exchange counts them.
SESSIONS_A_YEAR = {2023: 250, 2024: 252, 2025: 250, 2026: 251}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("day", CLOSED)
def test_the_exchange_is_closed_on_its_holidays(day: str) -> None:
    assert not sessions.is_session(date.fromisoformat(day))


def test_every_weekday_that_is_no_holiday_is_a_session() -> None:
    first, last = YEARS
    weekdays = {first + timedelta(days=n) for n in range((last - first).days + 1)}
    weekdays = {day for day in weekdays if day.weekday() < 5}

    assert weekdays - {date.fromisoformat(day) for day in CLOSED} == set(sessions.sessions_between(first, last))


@pytest.mark.parametrize(("year", "count"), SESSIONS_A_YEAR.items())
def test_a_year_has_as_many_sessions_as_the_exchange_counts(year: int, count: int) -> None:
    assert count == len(sessions.sessions_between(date(year, 1, 1), date(year, 12, 31)))


def test_half_days_and_only_they_close_at_one() -> None:
    short = [day for day in sessions.sessions_between(*YEARS) if sessions.share_hours(day).minutes != 390]

    assert [date.fromisoformat(day) for day in HALF_DAYS] == short
    assert {210} == {sessions.share_hours(day).minutes for day in short}


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        pytest.param("2024-03-08", "2024-03-08T14:30", id="friday before the clocks go forward"),
        pytest.param("2024-03-11", "2024-03-11T13:30", id="monday after"),
        pytest.param("2024-11-01", "2024-11-01T13:30", id="friday before the clocks go back"),
        pytest.param("2024-11-04", "2024-11-04T14:30", id="monday after that"),
    ],
)
def test_the_open_moves_with_new_yorks_clock(day: str, opens: str) -> None:
    assert utc(opens) == sessions.share_hours(date.fromisoformat(day)).start


@pytest.mark.parametrize(
    ("asset_class", "root", "day", "minutes"),
    [
        pytest.param(AssetClass.STOCKS, "SPY", "2025-08-29", 390, id="shares"),
        pytest.param(AssetClass.OPTIONS, "SPY", "2025-08-29", 405, id="options on a broad ETF"),
        pytest.param(AssetClass.OPTIONS, "SPY1", "2025-08-29", 405, id="its adjusted contracts"),
        pytest.param(AssetClass.OPTIONS, "AAPL", "2025-08-29", 390, id="options on a share"),
        pytest.param(AssetClass.INDICES, "VIX", "2025-08-29", 405, id="an index"),
        pytest.param(AssetClass.STOCKS, "SPY", "2024-11-29", 210, id="shares, half day"),
        pytest.param(AssetClass.OPTIONS, "SPY", "2024-11-29", 225, id="options on a broad ETF, half day"),
        pytest.param(AssetClass.OPTIONS, "AAPL", "2024-11-29", 210, id="options on a share, half day"),
        pytest.param(AssetClass.INDICES, "VIX", "2024-11-29", 225, id="an index, half day"),
    ],
)
def test_hours_differ_by_what_is_traded(asset_class: AssetClass, root: str, day: str, minutes: int) -> None:
    assert minutes == sessions.regular_hours(asset_class, root, date.fromisoformat(day)).minutes


def test_minute_starts_are_the_minutes_of_the_hours() -> None:
    starts = sessions.share_hours(date(2025, 8, 29)).minute_starts_ns()

    assert 390 == len(starts)
    assert sessions.to_ns(utc("2025-08-29T13:30")) == starts[0]
    assert sessions.to_ns(utc("2025-08-29T19:59")) == starts[-1]


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2035, 1, 1), timezones=st.just(UTC)))
def test_nanoseconds_are_exact(instant: datetime) -> None:
    assert sessions.to_ns(instant) == int(instant.timestamp()) * 10**9 + instant.microsecond * 1000


@pytest.mark.parametrize(
    ("instant", "newest"),
    [
        pytest.param("2025-08-30T00:04:59", date(2025, 8, 28), id="a second before late reports are in"),
        pytest.param("2025-08-30T00:05:00", date(2025, 8, 29), id="20:05 New York"),
        pytest.param("2025-09-01T17:00:00", date(2025, 8, 29), id="Labor Day"),
        pytest.param("2024-11-29T22:05:00", date(2024, 11, 29), id="half day, 17:05 New York"),
        pytest.param("2025-01-09T23:59:00", date(2025, 1, 8), id="day of mourning"),
    ],
)
def test_a_session_is_complete_after_its_post_market(instant: str, newest: date) -> None:
    assert newest == sessions.newest_settled_session(utc(instant))


def test_a_delayed_plan_completes_a_session_later() -> None:
    delay = timedelta(minutes=15)

    assert date(2025, 8, 28) == sessions.newest_settled_session(utc("2025-08-30T00:19:59"), delay)
    assert date(2025, 8, 29) == sessions.newest_settled_session(utc("2025-08-30T00:20:00"), delay)


# New York's clock is four hours behind UTC in summer, five in winter.
@pytest.mark.parametrize(
    ("day", "delay_minutes", "start", "end"),
    [
        pytest.param("2025-08-27", 0, "2025-08-28T00:05", "2025-08-28T08:00", id="weekday"),
        pytest.param("2025-08-29", 0, "2025-08-30T00:05", "2025-09-02T08:00", id="long-weekend"),
        pytest.param("2024-11-29", 0, "2024-11-29T22:05", "2024-12-02T09:00", id="half-day"),
        pytest.param("2024-03-08", 0, "2024-03-09T01:05", "2024-03-11T08:00", id="clocks-change"),
        pytest.param("2025-08-27", 15, "2025-08-28T00:20", "2025-08-28T08:00", id="delayed"),
    ],
)
def test_a_snapshot_is_of_the_session_until_the_next_pre_market(
    day: str, delay_minutes: int, start: str, end: str
) -> None:
    hours = sessions.snapshot_hours(date.fromisoformat(day), timedelta(minutes=delay_minutes))

    assert (utc(start), utc(end)) == (hours.start, hours.end)


def test_no_two_sessions_share_a_moment_of_their_snapshots() -> None:
    year = sessions.sessions_between(date(2025, 1, 1), date(2025, 12, 31))
    hours = [sessions.snapshot_hours(day) for day in year]

    assert all(one.end < two.start for one, two in pairwise(hours))


def test_the_sessions_around_a_closed_date_are_its_neighbours() -> None:
    assert date(2025, 1, 8) == sessions.previous_session(date(2025, 1, 9))
    assert date(2025, 1, 10) == sessions.next_session(date(2025, 1, 9))
    with pytest.raises(UsageError, match="2025-01-08 and 2025-01-10"):
        sessions.require_session(date(2025, 1, 9))


def test_a_weekends_news_belongs_to_monday() -> None:
    friday, monday = sessions.news_hours(date(2025, 8, 22)), sessions.news_hours(date(2025, 8, 25))

    assert friday.end == monday.start == utc("2025-08-23T04:00")
    assert utc("2025-08-26T04:00") == monday.end


@pytest.mark.parametrize(
    ("symbol", "expires"),
    [
        pytest.param("O:SPY250829C00650000", "2025-08-29T20:00", id="against the close"),
        pytest.param("O:SPY241129C00600000", "2024-11-29T18:00", id="half day"),
        pytest.param("O:SPY250418C00500000", "2025-04-17T20:00", id="dated on Good Friday: the session before"),
        pytest.param("O:SPX210115C03200000", "2021-01-15T14:30", id="monthly SPX: the opening prints"),
        pytest.param("O:SPXW210104C03700000", "2021-01-04T21:00", id="weekly SPX: the close"),
    ],
)
def test_time_value_ends_when_the_contract_is_settled(symbol: str, expires: str) -> None:
    assert utc(expires) == sessions.expiry_instant(OptionTicker.parse(symbol))


def test_rows_belong_to_the_new_york_day_in_which_they_fall() -> None:
    """The last hour of winter after-hours trading lies on the next UTC date."""
    new_york = ZoneInfo("America/New_York")
    stamps = [datetime(2024, 12, 20, 19, 59, tzinfo=new_york), datetime(2024, 12, 20, 0, 0, tzinfo=new_york)]
    column = pa.chunked_array([pa.array([sessions.to_ns(stamp) for stamp in stamps], pa.timestamp("ns", tz="UTC"))])

    assert [date(2024, 12, 20), date(2024, 12, 20)] == sessions.session_dates_of(column).to_pylist()


@given(st.datetimes(min_value=datetime(1996, 1, 1), max_value=datetime(2035, 1, 1), timezones=st.just(UTC)))
def test_new_york_days_agree_with_the_standard_library(instant: datetime) -> None:
    column = pa.chunked_array([pa.array([sessions.to_ns(instant)], pa.timestamp("ns", tz="UTC"))])

    assert [instant.astimezone(ZoneInfo("America/New_York")).date()] == sessions.session_dates_of(column).to_pylist()


def test_dates_beyond_the_calendar_are_refused() -> None:
    with pytest.raises(UsageError, match="outside the calendar"):
        sessions.is_session(date(1990, 1, 2))
