"""Rows exist in the trading hours of their market and nowhere else; bars are sound."""

from collections.abc import Callable
from datetime import date, timedelta

import pyarrow.compute as pc
import pytest

from simulator import exchange_hours
from simulator.synthetic import SyntheticWorld
from simulator.synthetic.calendar import FIRST_DAY, LAST_DAY, new_york_calendar
from simulator.world import BaseSpan

FULL, HALF, CLOSED = date(2025, 8, 29), date(2024, 11, 29), date(2025, 1, 9)
# From the vendor's calendar page: the UTC hour of the New York open on both sides of each clock change.
DST = {date(2024, 3, 8): 14.5, date(2024, 3, 11): 13.5, date(2024, 11, 1): 13.5, date(2024, 11, 4): 14.5}


def stamps(world: SyntheticWorld, ticker: str, span: BaseSpan, first: int, last: int) -> list[int]:
    times: list[int] = world.bars(ticker, span, first, last)["t"].to_pylist()
    return times


@pytest.mark.parametrize(
    ("day", "close", "end"), [(FULL, "16:00", "20:00"), (HALF, "13:00", "17:00"), (date(2024, 3, 11), "16:00", "20:00")]
)
def test_shares_trade_from_four_until_four_hours_after_the_close(
    world: SyntheticWorld, at: Callable[..., int], day: date, close: str, end: str
) -> None:
    minutes = stamps(world, "SPY", BaseSpan.MINUTE, at(day), at(day) + 86_399_999)
    regular = [t for t in minutes if at(day, "09:30") <= t < at(day, close)]
    seconds = stamps(world, "SPY", BaseSpan.SECOND, at(day), at(day) + 86_399_999)
    trades = world.trades("SPY", at(day) * 10**6, at(day, "23:59") * 10**6)["sip_timestamp"].to_pylist()
    quotes = world.quotes("SPY", at(day) * 10**6, at(day, "23:59") * 10**6)["sip_timestamp"].to_pylist()

    assert regular == list(range(at(day, "09:30"), at(day, close), 60_000))
    for times_ms in (minutes, seconds, [t // 10**6 for t in trades], [t // 10**6 for t in quotes]):
        assert times_ms == sorted(times_ms)
        assert at(day, "04:00") <= times_ms[0]
        assert at(day, close) < times_ms[-1] < at(day, end)
    assert len(set(minutes)) == len(minutes)


@pytest.mark.parametrize(("day", "end", "count"), [(FULL, "16:15", 405), (HALF, "13:15", 225)])
def test_vix_has_an_early_and_a_regular_session(
    world: SyntheticWorld, at: Callable[..., int], day: date, end: str, count: int
) -> None:
    for span in (BaseSpan.SECOND, BaseSpan.MINUTE):
        times = stamps(world, "I:VIX", span, at(day), at(day) + 86_399_999)
        regular = [t for t in times if t >= at(day, "09:30")]
        early = [t for t in times if t < at(day, "09:30")]

        assert at(day, "03:15") <= early[0] < at(day, "03:16")
        assert early[-1] < at(day, "09:15")
        assert at(day, "09:30") <= regular[0] < at(day, "09:31")
        assert at(day, end) - 60_000 <= regular[-1] < at(day, end)
        if span is BaseSpan.MINUTE:
            assert 0.9 * count < len(regular) <= count


def test_index_bars_have_no_volume_average_or_count_and_a_stamp_of_chicago_midnight(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    for ticker in ("I:VIX", "I:SPX"):
        bars = world.bars(ticker, BaseSpan.MINUTE, at(FULL), at(FULL) + 86_399_999)

        assert all(bars[name].null_count == len(bars) > 300 for name in ("v", "vw", "n"))
    # 2024-12-20 is 06:00Z in Chicago's winter, 2024-07-19 is 05:00Z in its summer (the vendor's samples).
    assert stamps(world, "I:VIX", BaseSpan.DAY, at(date(2024, 12, 20)), at(date(2024, 12, 21)) - 1) == [1734674400000]
    assert stamps(world, "I:VIX", BaseSpan.DAY, at(date(2024, 7, 19)), at(date(2024, 7, 20)) - 1) == [1721365200000]
    assert stamps(world, "SPY", BaseSpan.DAY, at(date(2024, 12, 20)), at(date(2024, 12, 21)) - 1) == [1734670800000]
    assert stamps(world, "SPY", BaseSpan.DAY, at(date(2024, 7, 19)), at(date(2024, 7, 20)) - 1) == [1721361600000]


@pytest.mark.parametrize(
    ("ticker", "day", "last"),
    [
        ("O:SPY250919C00605000", FULL, "16:15"),
        ("O:SPY250829C00605000", FULL, "16:00"),  # its expiry day
        ("O:QQQ250919C00560000", FULL, "16:15"),
        ("O:AAPL250919C00200000", FULL, "16:00"),
        ("O:SPY241220C00610000", HALF, "13:15"),
    ],
)
def test_options_trade_in_their_own_hours(
    world: SyntheticWorld, at: Callable[..., int], ticker: str, day: date, last: str
) -> None:
    quotes = world.quotes(ticker, at(day) * 10**6, at(day, "23:59") * 10**6)["sip_timestamp"].to_pylist()
    trades = world.trades(ticker, at(day) * 10**6, at(day, "23:59") * 10**6)["sip_timestamp"].to_pylist()

    assert len(quotes) > 100
    for times in (quotes, trades):
        assert times == sorted(times)
        assert all(at(day, "09:30") * 10**6 <= t < at(day, last) * 10**6 for t in times)
    # Quoting goes on until the end, give or take minutes.
    assert quotes[-1] > (at(day, last) - 600_000) * 10**6


@pytest.mark.parametrize("day", [CLOSED, date(2025, 8, 30), date(2024, 3, 29), date(2024, 12, 25)])
def test_nothing_but_news_happens_while_the_exchange_is_closed(
    world: SyntheticWorld, at: Callable[..., int], day: date
) -> None:
    first, last = at(day), at(day + timedelta(days=1)) - 1
    for ticker in ("SPY", "AAPL", "I:VIX", "I:SPX", "O:SPY251219C00600000"):
        assert not any(len(world.bars(ticker, span, first, last)) for span in BaseSpan)
        assert not len(world.trades(ticker, first * 10**6, last * 10**6))
        assert not len(world.quotes(ticker, first * 10**6, last * 10**6))


def test_news_is_written_on_weekends_and_holidays_too(world: SyntheticWorld, at: Callable[..., int]) -> None:
    quiet = [date(2025, 8, 30) + timedelta(days=7 * week) for week in range(8)]

    assert sum(len(world.news(at(day), at(day + timedelta(days=1)) - 1)) for day in quiet) > 10


@pytest.mark.parametrize(("day", "utc_hour"), DST.items())
def test_the_session_follows_new_york_through_the_clock_changes(
    world: SyntheticWorld, at: Callable[..., int], day: date, utc_hour: float
) -> None:
    minutes = stamps(world, "SPY", BaseSpan.MINUTE, at(day, "09:30"), at(day, "15:59"))

    assert minutes[0] % 86_400_000 == utc_hour * 3_600_000
    assert len(minutes) == 390


@pytest.mark.parametrize("span", list(BaseSpan))
@pytest.mark.parametrize("ticker", ["SPY", "AAPL", "I:VIX", "I:SPX", "O:SPY250919P00600000"])
def test_high_and_low_enclose_open_close_and_average(
    world: SyntheticWorld, at: Callable[..., int], ticker: str, span: BaseSpan
) -> None:
    bars = world.bars(ticker, span, at(date(2025, 8, 28)), at(FULL) + 86_399_999)

    assert len(bars) >= 2
    assert pc.all(pc.and_(pc.less_equal(bars["l"], bars["o"]), pc.less_equal(bars["o"], bars["h"]))).as_py()
    assert pc.all(pc.and_(pc.less_equal(bars["l"], bars["c"]), pc.less_equal(bars["c"], bars["h"]))).as_py()
    assert pc.min(bars["l"]).as_py() > 0
    if ticker.startswith("O:") or (ticker == "SPY" and span is BaseSpan.MINUTE):
        # A second may hold reports away from its prices; a minute's average is among its prices.
        slack = 0.01
        assert pc.all(pc.less_equal(bars["vw"], pc.add(bars["h"], slack))).as_py()
        assert pc.all(pc.greater_equal(bars["vw"], pc.subtract(bars["l"], slack))).as_py()


def test_the_market_and_its_clock_know_the_same_sessions() -> None:
    calendar = new_york_calendar()
    days = [FIRST_DAY + timedelta(days=step) for step in range((LAST_DAY - FIRST_DAY).days + 1)]

    for day in days:
        session = calendar.on(day)
        hours = None if session is None else (session.open_ms * 10**6, session.close_ms * 10**6)
        assert hours == exchange_hours.regular_session(day), day
