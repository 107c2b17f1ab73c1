"""Which contracts are listed: the exchange's rules for expiries, bands around past prices for strikes."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.synthetic import SyntheticWorld
from simulator.synthetic.calendar import new_york_calendar
from simulator.synthetic.chain import Chain, Contract, listing_sessions, parse_option
from simulator.synthetic.reference import SHARES, StrikeBand

CALENDAR = new_york_calendar()
DAY = date(2025, 8, 29)


def alive(world: SyntheticWorld, as_of: date, underlying: str = "SPY") -> list[dict[str, Any]]:
    contracts = world.contracts(underlying, as_of, expired=False, expiry_from=None, expiry_to=None)
    rows: list[dict[str, Any]] = contracts.to_pylist()
    return rows


def expiries(rows: list[dict[str, Any]]) -> list[str]:
    return sorted({row["expiration_date"] for row in rows})


def closes(first: int, last: int | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A made-up price path over the calendar's sessions."""
    draws = np.random.default_rng(5)
    path = 400.0 * np.exp(np.cumsum(draws.normal(0.0, 0.01, len(CALENDAR.sessions))))
    return path[first:last]


@settings(max_examples=40, deadline=None)
@given(
    right=st.booleans(),
    root=st.sampled_from(["SPY", "A", "AAPL", "SPY1", "GOOGL2"]),
    expiry=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    strike=st.integers(1, 99_999_999),
)
def test_a_symbol_is_read_back_as_it_was_written(right: bool, root: str, expiry: date, strike: int) -> None:
    contract = Contract(root, expiry, right, strike)

    assert parse_option(contract.ticker) == contract


def test_a_symbol_is_written_as_the_vendor_does() -> None:
    assert Contract("SPY", date(2024, 12, 20), True, 585_000).ticker == "O:SPY241220C00585000"


@pytest.mark.parametrize(
    "symbol",
    ["SPY", "O:SPY", "O:SPY241220C0058500", "O:SPY241320C00585000", "O:SPY241220X00585000", "O:24122C000585000"],
)
def test_what_is_no_option_symbol_is_none(symbol: str) -> None:
    assert parse_option(symbol) is None


def test_every_trading_day_of_the_next_two_weeks_is_an_expiry(world: SyntheticWorld) -> None:
    # Labor Day 2025-09-01 is closed; its Monday expiry moves to Tuesday.
    near = [day for day in expiries(alive(world, DAY)) if day <= "2025-09-12"]

    assert near == [
        *("2025-08-29", "2025-09-02", "2025-09-03", "2025-09-04", "2025-09-05"),
        *("2025-09-08", "2025-09-09", "2025-09-10", "2025-09-11", "2025-09-12"),
    ]


def test_further_out_there_are_fridays_then_monthlies_then_quarterlies(world: SyntheticWorld) -> None:
    later = expiries(alive(world, DAY))[10:]
    days = [date.fromisoformat(day) for day in later]

    # Juneteenth falls on the third Friday of June 2026 and is kept on the third Friday of June 2027.
    assert {"2025-10-17", "2025-12-19", "2026-06-18", "2026-09-18", "2027-06-17"} <= set(later)
    assert all(day.weekday() == 4 for day in days if day.isoformat() not in {"2026-06-18", "2027-06-17"})
    assert all(day.month in {3, 6, 9, 12} for day in days if day > DAY + timedelta(days=365))
    assert days[-1] > DAY + timedelta(days=600)


def test_expiries_of_weekdays_appear_when_the_exchange_introduced_them(world: SyntheticWorld) -> None:
    def near(as_of: date) -> set[int]:
        until = (as_of + timedelta(days=9)).isoformat()
        return {date.fromisoformat(day).weekday() for day in expiries(alive(world, as_of)) if day <= until}

    assert near(date(2015, 6, 1)) == {4}
    assert near(date(2017, 6, 5)) == {2, 4}
    assert near(date(2019, 6, 3)) == {0, 2, 4}
    assert near(date(2023, 6, 5)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("holiday", "moved_to"),
    [
        (date(2019, 5, 27), date(2019, 5, 28)),  # Memorial Day, a Monday: the next session
        (date(2018, 7, 4), date(2018, 7, 3)),  # Independence Day, a Wednesday: the session before
        (date(2019, 4, 19), date(2019, 4, 18)),  # Good Friday: the session before
    ],
)
def test_an_expiry_on_a_holiday_moves(world: SyntheticWorld, holiday: date, moved_to: date) -> None:
    days = expiries(alive(world, holiday - timedelta(days=4)))

    assert holiday.isoformat() not in days
    assert moved_to.isoformat() in days


def test_a_single_stock_expires_on_fridays_alone(world: SyntheticWorld) -> None:
    days = [date.fromisoformat(day) for day in expiries(alive(world, DAY, "AAPL"))]

    assert {day.weekday() for day in days if day.isoformat() not in {"2026-06-18", "2027-06-17"}} == {4}


def test_near_the_money_strikes_are_a_dollar_apart_and_both_rights_exist(world: SyntheticWorld) -> None:
    rows = [
        row for row in alive(world, DAY) if row["expiration_date"] == "2025-09-19" and row["shares_per_contract"] == 100
    ]
    strikes = {
        right: {row["strike_price"] for row in rows if row["contract_type"] == right} for right in ("call", "put")
    }

    assert strikes["call"] == strikes["put"]
    assert {float(strike) for strike in range(580, 631)} <= strikes["call"]
    far = sorted(strike for strike in strikes["call"] if strike < 440)
    assert all(strike % 5 == 0 for strike in far)
    assert len(far) > 10


def test_half_dollar_strikes_appear_in_some_expiries_shortly_before_them(world: SyntheticWorld) -> None:
    days = [session.day for session in CALENDAR.sessions if date(2025, 7, 21) <= session.day <= DAY]
    with_halves = 0
    for day in days:
        today = world.contracts("SPY", day, expired=False, expiry_from=day, expiry_to=day)
        far = world.contracts("SPY", day, expired=False, expiry_from=day + timedelta(days=9), expiry_to=None)
        with_halves += any(strike % 1 for strike in today["strike_price"].to_pylist())
        assert not any(strike % 1 for strike in far["strike_price"].to_pylist())

    assert 1 <= with_halves <= len(days) / 2


def test_rows_have_the_vendors_fields(world: SyntheticWorld) -> None:
    [row] = [row for row in alive(world, DAY) if row["ticker"] == "O:SPY250919P00605000"]

    assert row == {
        "ticker": "O:SPY250919P00605000",
        "underlying_ticker": "SPY",
        "contract_type": "put",
        "expiration_date": "2025-09-19",
        "strike_price": 605.0,
        "shares_per_contract": 100,
        "exercise_style": "american",
        "cfi": "OPASPS",
        "primary_exchange": "BATO",
        "additional_underlyings": None,
    }


def test_adjusted_contracts_have_their_own_root_and_deliver_something_else(world: SyntheticWorld) -> None:
    adjusted = [row for row in alive(world, DAY) if row["shares_per_contract"] != 100]

    assert 0 < len(adjusted) < 200
    assert all(row["ticker"].startswith("O:SPY1") and row["additional_underlyings"] for row in adjusted)
    assert all(world.knows(row["ticker"]) for row in adjusted[:5])


@settings(max_examples=15, deadline=None)
@given(
    day=st.dates(date(2015, 6, 1), date(2027, 6, 1)),
    wait=st.integers(0, 400),
    underlying=st.sampled_from(["SPY", "AAPL"]),
)
def test_a_listed_contract_stays_until_it_expires(world: SyntheticWorld, day: date, wait: int, underlying: str) -> None:
    later = day + timedelta(days=wait)
    before = {row["ticker"]: row["expiration_date"] for row in alive(world, day, underlying)}
    after = {row["ticker"] for row in alive(world, later, underlying)}

    assert {ticker for ticker, expiry in before.items() if expiry >= later.isoformat()} <= after
    assert min(before.values()) >= day.isoformat()


@settings(max_examples=15, deadline=None)
@given(day=st.dates(date(2015, 6, 1), date(2027, 6, 1)), crash=st.sampled_from([0.5, 0.9, 1.1, 2.0]))
def test_a_listing_does_not_know_prices_of_its_own_day_or_later(day: date, crash: float) -> None:
    """The same past with another future, and with no future at all, gives the same contracts."""
    known = CALENDAR.count_before(day)
    past = closes(0, known)
    futures = (past, np.concatenate((past, closes(known, None))), np.concatenate((past, closes(known, None) * crash)))

    listings = [
        Chain(7, SHARES["SPY"], CALENDAR, future)
        .contracts(day, expired=False, expiry_from=None, expiry_to=None)
        .to_pydict()
        for future in futures
    ]

    assert listings[0] == listings[1] == listings[2]
    assert len(listings[0]["ticker"]) > 500


@settings(max_examples=200, deadline=None)
@given(
    prices=st.lists(st.floats(-0.04, 0.04), min_size=1, max_size=40),
    band=st.builds(
        StrikeBand,
        step_mills=st.sampled_from([500, 1000, 5000]),
        width=st.floats(0.1, 0.3),
        tenor_days_min=st.integers(0, 10),
        tenor_days_max=st.integers(11, 60),
    ),
    strike=st.integers(100, 1600),
)
def test_a_strike_is_listed_on_the_first_session_whose_band_holds_it(
    prices: list[float], band: StrikeBand, strike: int
) -> None:
    path = 400.0 * np.exp(np.cumsum(prices))
    tenor = np.arange(len(path))[::-1].copy()
    mills = strike * 500

    def holds(close: float, days: int) -> bool:
        active = band.tenor_days_min <= days <= band.tenor_days_max
        near = close * (1.0 - band.width) <= mills / 1000.0 <= close * (1.0 + band.width)
        return active and near and mills % band.step_mills == 0

    expected = next(
        (i for i, (close, days) in enumerate(zip(path, tenor, strict=True)) if holds(close, days)), len(path)
    )

    assert listing_sessions(band, np.array([mills]), path, tenor).tolist() == [expected]


def test_expired_contracts_are_told_apart_and_bounded(world: SyntheticWorld) -> None:
    week = world.contracts("SPY", DAY, expired=True, expiry_from=date(2025, 8, 18), expiry_to=date(2025, 9, 30))
    back = world.contracts("SPY", DAY, expired=True, expiry_from=None, expiry_to=date(2023, 9, 30))

    assert set(week["expiration_date"].to_pylist()) == {
        session.day.isoformat() for session in CALENDAR.sessions if date(2025, 8, 18) <= session.day < DAY
    }
    assert min(back["expiration_date"].to_pylist()) >= "2023-08-28"


def test_contracts_come_by_ticker(world: SyntheticWorld) -> None:
    tickers = [row["ticker"] for row in alive(world, DAY)]

    assert tickers == sorted(set(tickers))
