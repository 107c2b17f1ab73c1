"""Quotes and trade reports of shares: what the feed's rows look like, faults of the real feed included."""

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from simulator.synthetic import SyntheticWorld
from simulator.world import BaseSpan

DAY = date(2025, 8, 29)


@pytest.fixture(scope="module")
def quotes(world: SyntheticWorld, at: Callable[..., int]) -> pd.DataFrame:
    rows: pd.DataFrame = world.quotes("SPY", at(DAY) * 10**6, at(DAY, "23:59") * 10**6).to_pandas()
    return rows


@pytest.fixture(scope="module")
def trades(world: SyntheticWorld, at: Callable[..., int]) -> pd.DataFrame:
    rows: pd.DataFrame = world.trades("SPY", at(DAY) * 10**6, at(DAY, "23:59") * 10**6).to_pandas()
    return rows


def test_trades_that_make_prices_print_at_or_inside_the_quote_mostly(
    quotes: pd.DataFrame, trades: pd.DataFrame
) -> None:
    silent = {2, 10, 13, 15, 16, 22, 29, 32, 37, 52}
    made = trades[[codes is None or not silent & set(codes) for codes in trades.conditions]]
    before = np.searchsorted(quotes.sip_timestamp, made.sip_timestamp, side="left") - 1
    bid, ask = quotes.bid_price.to_numpy()[before], quotes.ask_price.to_numpy()[before]
    inside = (bid <= made.price) & (made.price <= ask)

    assert len(made) > 10_000
    assert 0.9965 < inside.mean() < 1.0


def test_reports_of_average_prices_lie_among_the_prices_of_their_minute(
    world: SyntheticWorld, at: Callable[..., int], trades: pd.DataFrame
) -> None:
    bars = world.bars("SPY", BaseSpan.MINUTE, at(DAY), at(DAY, "23:59")).to_pandas().set_index("t")
    average = trades[[codes is not None and 2 in codes for codes in trades.conditions]]
    bar = bars.loc[average.sip_timestamp // 60_000_000_000 * 60_000]
    price = average.price.to_numpy()
    off = (price < bar.l - 0.005) | (price > bar.h + 0.005)

    assert len(average) > 390
    assert off.mean() < 0.01
    assert (price * 100 % 1 > 0.001).mean() > 0.5  # below the cent, as averages are


def test_crossed_locked_and_one_sided_quotes_are_rare_facts(quotes: pd.DataFrame) -> None:
    two_sided = (quotes.bid_price > 0) & (quotes.ask_price > 0)
    crossed = two_sided & (quotes.bid_price > quotes.ask_price)
    locked = two_sided & (quotes.bid_price == quotes.ask_price)

    assert 0 < crossed.mean() < 0.005
    assert 0 < locked.mean() < 0.02
    assert 0 < (~two_sided).sum() < 200
    for side in ("bid", "ask"):
        missing = quotes[f"{side}_price"] == 0
        assert (quotes[f"{side}_size"][missing] == 0).all()
        assert (quotes[f"{side}_exchange"][missing] == 0).all()
        assert (quotes[f"{side}_size"][~missing] > 0).all()


@pytest.mark.parametrize("table", ["quotes", "trades"])
def test_sequence_numbers_rise_with_holes_in_sip_order(table: str, request: pytest.FixtureRequest) -> None:
    rows: pd.DataFrame = request.getfixturevalue(table)
    steps = rows.sequence_number.diff().iloc[1:]

    assert rows.sip_timestamp.is_monotonic_increasing
    assert steps.min() == 1
    assert steps.max() > 3
    assert (rows.sip_timestamp > rows.participant_timestamp).all()


def test_quote_sizes_change_from_round_lots_to_shares_in_november_2025(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    def sizes(day: date) -> set[float]:
        rows = world.quotes("SPY", at(day, "11:00") * 10**6, at(day, "11:30") * 10**6)
        return set(rows["bid_size"].to_pylist())

    assert any(size % 100 for size in sizes(date(2025, 10, 31)))
    assert not any(size % 100 for size in sizes(date(2025, 11, 3)))


def test_off_exchange_reports_name_their_facility_and_can_be_late(trades: pd.DataFrame) -> None:
    off = trades.exchange == 4

    assert 0.15 < off.mean() < 0.5
    assert trades.trf_id[off].notna().all()
    assert trades.trf_timestamp[off].notna().all()
    assert trades.trf_id[~off].isna().all()
    late_s = (trades.sip_timestamp - trades.participant_timestamp) / 1e9
    assert (late_s > 60).sum() > 5
    assert late_s.median() < 0.01


def test_trade_ids_are_unique_for_a_venue_and_the_tape_is_that_of_the_listing(
    world: SyntheticWorld, at: Callable[..., int], trades: pd.DataFrame
) -> None:
    other = world.trades("AAPL", at(DAY, "10:00") * 10**6, at(DAY, "10:05") * 10**6)

    assert not trades.duplicated(["exchange", "trf_id", "id"]).any()
    assert set(trades.tape) == {2}
    assert set(other["tape"].to_pylist()) == {3}


def test_official_prints_and_auctions_are_there(trades: pd.DataFrame, at: Callable[..., int]) -> None:
    def having(code: int) -> pd.DataFrame:
        return trades[[codes is not None and code in codes for codes in trades.conditions]]

    for code, auction, wall in ((16, 25, "09:30"), (15, 8, "16:00")):
        official, cross = having(code), having(auction)
        listing = official[official.exchange == 11]
        assert len(cross) == 1
        assert listing.price.tolist() == cross.price.tolist()
        assert listing["size"].tolist() == cross["size"].tolist()
        assert (official.sip_timestamp // 10**6 - at(DAY, wall)).between(0, 10_000).all()
    extended = (trades.sip_timestamp < at(DAY, "09:30") * 10**6) | (trades.sip_timestamp >= at(DAY, "16:01") * 10**6)
    assert len(having(12)) > 0.9 * extended.sum() > 100


def test_some_sessions_have_a_corrected_row_and_its_correction(world: SyntheticWorld, at: Callable[..., int]) -> None:
    corrections = []
    for number in range(1, 13):
        day = date(2025, 7, number)
        rows = world.trades("SPY", at(day, "16:00") * 10**6, at(day, "16:01") * 10**6)
        corrections += [code for code in rows["correction"].to_pylist() if code is not None]

    assert sorted(set(corrections)) == [1, 12]
    assert corrections.count(1) == corrections.count(12) < 8
