"""The days: dividends leave the price, the index moves against the market, nothing jumps between tables."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from simulator.synthetic import SyntheticWorld
from simulator.synthetic.calendar import new_york_calendar
from simulator.synthetic.path import market_path, share_path, years_since_first
from simulator.synthetic.reference import SHARES
from simulator.world import BaseSpan

# Ex-dates of SPY as the protocol's market notes list them; on 2026-06-19 the exchange is closed.
EX_DATES = [
    *("2023-03-17", "2023-06-16", "2023-09-15", "2023-12-15", "2024-03-15", "2024-06-21", "2024-09-20", "2024-12-20"),
    *("2025-03-21", "2025-06-20", "2025-09-19", "2025-12-19", "2026-03-20", "2026-06-18", "2026-09-18", "2026-12-18"),
]


def test_dividends_have_the_known_ex_dates_and_an_order_of_dates(world: SyntheticWorld) -> None:
    rows = world.dividends("SPY").to_pylist()

    assert [row["ex_dividend_date"] for row in rows if "2023" <= row["ex_dividend_date"] < "2027"] == EX_DATES
    for row in rows:
        assert row["declaration_date"] < row["ex_dividend_date"] <= row["record_date"] < row["pay_date"]
        assert row["frequency"] == 4
        assert row["dividend_type"] == "CD"
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_record_date_follows_the_settlement_rule(world: SyntheticWorld) -> None:
    records = {row["ex_dividend_date"]: row["record_date"] for row in world.dividends("SPY").to_pylist()}

    assert records["2024-03-15"] == "2024-03-18"  # two days to settle: the next session
    assert records["2024-06-21"] == "2024-06-21"  # one day to settle since 2024-05-28


def test_the_open_of_an_ex_date_is_lower_by_the_dividend() -> None:
    calendar = new_york_calendar()
    market, years = market_path(7, calendar), years_since_first(calendar)
    ex = calendar.on(date(2025, 6, 20))
    assert ex is not None

    without = share_path(7, SHARES["SPY"], market, years, {})
    paid = share_path(7, SHARES["SPY"], market, years, {ex.index: 1.75})

    assert paid.open[ex.index] == pytest.approx(without.open[ex.index] - 1.75, abs=1e-9)
    assert paid.close[ex.index - 1] == without.close[ex.index - 1]
    assert paid.close[ex.index] == pytest.approx(without.close[ex.index] - 1.75, abs=0.05)


def test_published_dividends_are_the_ones_that_leave_the_price(world: SyntheticWorld, at: Callable[..., int]) -> None:
    """The nights before ex-dates return less than the nights just before them, by about the dividend's part."""
    drops, others, parts = [], [], []
    for row in world.dividends("SPY").to_pylist():
        ex = date.fromisoformat(row["ex_dividend_date"])
        bars = world.bars("SPY", BaseSpan.DAY, at(ex - timedelta(days=10)), at(ex)).to_pandas()
        nights = np.log(bars.o.to_numpy()[1:] / bars.c.to_numpy()[:-1])
        others += nights[:-1].tolist()
        drops.append(nights[-1])
        parts.append(row["cash_amount"] / bars.c.iloc[-2])

    # Twice the standard error of the mean over the nights before some sixty ex-dates.
    slack = 2 * np.std(others) / np.sqrt(len(drops))

    assert np.mean(others) - np.mean(drops) == pytest.approx(np.mean(parts), abs=slack)
    assert np.mean(parts) > 2 * slack


def test_vix_moves_against_the_market_and_stays_in_its_range(world: SyntheticWorld, at: Callable[..., int]) -> None:
    window = at(date(2018, 1, 2)), at(date(2023, 12, 29), "12:00")
    share = world.bars("SPY", BaseSpan.DAY, *window).to_pandas().c
    vix = world.bars("I:VIX", BaseSpan.DAY, *window).to_pandas()
    moves = np.log(share).diff().iloc[1:], np.log(vix.c).diff().iloc[1:]

    assert np.corrcoef(*moves)[0, 1] < -0.6
    assert vix.l.min() > 11.9
    assert vix.h.max() < 35.1
    assert vix.c.quantile(0.9) - vix.c.quantile(0.1) > 5
    # Mean reverting: what is high comes down within a quarter.
    assert (vix.c.shift(-60) - vix.c)[vix.c > vix.c.quantile(0.9)].mean() < -2


def test_vix_minutes_move_against_the_shares_minutes(world: SyntheticWorld, at: Callable[..., int]) -> None:
    day = date(2025, 8, 29)
    window = at(day, "09:30"), at(day, "15:59")
    share = world.bars("SPY", BaseSpan.MINUTE, *window).to_pandas().set_index("t").c
    vix = world.bars("I:VIX", BaseSpan.MINUTE, *window).to_pandas().set_index("t").c
    both = np.log(share).to_frame("share").join(np.log(vix).rename("vix"), how="inner").diff().iloc[1:]

    assert both.corr().iloc[0, 1] < -0.4


def test_the_share_stands_at_a_believable_level_with_believable_moves(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    bars = world.bars("SPY", BaseSpan.DAY, at(date(2015, 1, 2)), at(date(2027, 12, 31))).to_pandas()
    volatility = np.log(bars.c).diff().std() * np.sqrt(252)

    assert 0.10 < volatility < 0.22
    assert 150 < bars.c.iloc[0] < 270
    assert 500 < bars.c.iloc[-1] < 1100
    assert (bars.h - bars.l).div(bars.c).mean() == pytest.approx(0.011, abs=0.006)


def test_the_first_regular_minute_opens_and_the_last_closes_the_day(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    """The 09:30 minute is much the busiest of the morning, and volume has the shape of a U."""
    day = date(2025, 8, 29)
    volume = world.bars("SPY", BaseSpan.MINUTE, at(day, "09:30"), at(day, "15:59")).to_pandas().v.to_numpy()

    assert volume[:30].mean() > 1.5 * volume[150:240].mean()
    assert volume[-30:].mean() > 1.5 * volume[150:240].mean()
    assert (
        volume[150:240].mean()
        > 20 * world.bars("SPY", BaseSpan.MINUTE, at(day, "04:00"), at(day, "06:00")).to_pandas().v.mean()
    )
