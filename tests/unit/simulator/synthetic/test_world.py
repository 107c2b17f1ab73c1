"""The world as the server sees it: bounds, tickers, arguments."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.synthetic import SyntheticWorld
from simulator.world import BAR_SCHEMA, BaseSpan, World

DAY = date(2025, 8, 29)
MINUTES = st.integers(min_value=-600, max_value=3000)


def test_it_is_a_world(world: SyntheticWorld) -> None:
    served: World = world

    assert served.name == "synthetic"
    assert served.underlying == "SPY"
    assert list(served.sessions) == [DAY]


@settings(max_examples=60, deadline=None)
@given(
    first=MINUTES,
    last=MINUTES,
    ticker=st.sampled_from(["SPY", "I:VIX", "O:SPY250919C00605000"]),
    shift=st.integers(-1, 1),
)
def test_any_range_is_the_closed_cut_of_a_larger_one(
    world: SyntheticWorld, at: Callable[..., int], first: int, last: int, ticker: str, shift: int
) -> None:
    start, end = at(DAY) + first * 60_000 + shift, at(DAY) + last * 60_000
    whole = world.bars(ticker, BaseSpan.MINUTE, at(DAY) - 86_400_000 * 3, at(DAY) + 86_400_000 * 6).to_pylist()

    cut = world.bars(ticker, BaseSpan.MINUTE, start, end)

    assert cut.schema == BAR_SCHEMA
    assert cut.to_pylist() == [row for row in whole if start <= row["t"] <= end]


@pytest.mark.parametrize("table", ["trades", "quotes"])
def test_trades_and_quotes_include_both_bounds(world: SyntheticWorld, at: Callable[..., int], table: str) -> None:
    ask = getattr(world, table)
    times = ask("SPY", at(DAY, "10:00") * 10**6, at(DAY, "10:01") * 10**6)["sip_timestamp"].to_pylist()

    assert ask("SPY", times[3], times[9])["sip_timestamp"].to_pylist() == times[3:10]
    assert ask("SPY", times[9], times[3]).num_rows == 0


@pytest.mark.parametrize(
    "ticker",
    [
        "XYZ",
        "spy",
        "",
        "I:RUT",
        "O:SPY250919C00605001",
        "O:SPY250920C00605000",
        "O:SPY250919X00605000",
        "O:XYZ250919C00605000",
    ],
)
def test_an_unknown_ticker_is_not_known_and_has_no_rows(
    world: SyntheticWorld, at: Callable[..., int], ticker: str
) -> None:
    first, last = at(DAY), at(DAY) + 86_399_999

    assert not world.knows(ticker)
    assert not any(len(world.bars(ticker, span, first, last)) for span in BaseSpan)
    assert not len(world.trades(ticker, first * 10**6, last * 10**6))
    assert not len(world.quotes(ticker, first * 10**6, last * 10**6))
    assert not len(world.contracts(ticker, DAY, expired=False, expiry_from=None, expiry_to=None))
    assert not len(world.dividends(ticker))
    assert not len(world.splits(ticker))


@pytest.mark.parametrize("ticker", ["SPY", "AAPL", "I:VIX", "O:SPY250919C00605000", "O:SPY250919P00605000"])
def test_shares_indices_and_listed_contracts_are_known(world: SyntheticWorld, ticker: str) -> None:
    assert world.knows(ticker)


def test_a_contract_has_no_rows_before_its_listing_or_after_its_expiry(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    ticker = "O:SPY250827C00600000"  # a Wednesday's, listed two weeks ahead
    first, last = at(date(2025, 7, 1)), at(date(2025, 9, 30))
    days = world.bars(ticker, BaseSpan.DAY, first, last)["t"].to_pylist()

    assert at(date(2025, 8, 13)) <= days[0]
    assert days[-1] == at(date(2025, 8, 27))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"underlying": "XYZ"}, "XYZ"),
        ({"last_session": date(2025, 1, 9)}, "2025-01-09"),
        ({"last_session": date(2031, 1, 2)}, "2031-01-02"),
        ({"trades_per_minute": 0.0}, "trades_per_minute"),
    ],
)
def test_impossible_arguments_are_refused_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SyntheticWorld(**arguments)


def test_there_are_rows_from_2015_to_2027_on_the_calendars_own_days(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    # Sessions a year as the exchange counted them: 252, 252, 251, 251, 252, 253, 252, 251, 250, 252, 250.
    counts = [
        len(world.bars("I:VIX", BaseSpan.DAY, at(date(year, 1, 1)), at(date(year, 12, 31)) + 86_399_999))
        for year in (2015, 2018, 2020, 2024, 2025, 2027)
    ]

    assert counts == [252, 251, 253, 252, 250, 251]
