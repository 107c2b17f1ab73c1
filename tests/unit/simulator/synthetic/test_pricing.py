"""Option values against an independent library and against what must hold between contracts."""

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from vollib.black_scholes import black_scholes
from vollib.black_scholes.greeks import analytical

from simulator.synthetic import SyntheticWorld
from simulator.synthetic.pricing import Terms, bid_and_ask, implied_volatility, option_value, sensitivities
from simulator.world import BaseSpan

SHARE = st.floats(50.0, 900.0)
MONEYNESS = st.floats(0.7, 1.3)
YEARS = st.floats(1 / 365, 2.0)
RATE = st.floats(0.0, 0.06)
VIX = st.floats(12.0, 35.0)


def value(terms: Terms, share: float, vix: float, years: float) -> float:
    return float(option_value(terms, np.array([share]), np.array([vix]), np.array([years]))[0])


@settings(max_examples=150, deadline=None)
@given(share=SHARE, moneyness=MONEYNESS, years=YEARS, rate=RATE, vix=VIX, is_call=st.booleans())
def test_value_is_black_scholes_at_the_smiles_volatility_and_never_below_exercise(
    share: float, moneyness: float, years: float, rate: float, vix: float, is_call: bool
) -> None:
    strike, dividends = share * moneyness, 0.003 * share
    terms = Terms(is_call, strike, rate, dividends, 1.0)
    forward = (share - dividends) * np.exp(rate * years)
    sigma = implied_volatility(np.array([forward]), strike, np.array([years]), np.array([vix]), 1.0)[0]

    expected = black_scholes("c" if is_call else "p", share - dividends, strike, years, rate, sigma)
    exercise = max(share - strike if is_call else strike - share, 0.0)

    assert value(terms, share, vix, years) == pytest.approx(max(expected, exercise), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(share=SHARE, moneyness=MONEYNESS, years=YEARS, rate=RATE, vix=VIX, is_call=st.booleans())
def test_greeks_are_those_of_black_scholes_at_the_volatility_told_with_them(
    share: float, moneyness: float, years: float, rate: float, vix: float, is_call: bool
) -> None:
    terms = Terms(is_call, share * moneyness, rate, 0.003 * share, 1.0)
    told = sensitivities(terms, share, vix, years)
    worth, sign = value(terms, share, vix, years), 1 if is_call else -1
    spot, flag = share - terms.dividends, "c" if is_call else "p"
    time_value = worth - max(sign * (spot - terms.strike * np.exp(-rate * years)), 0.0)
    assume(abs(time_value - 0.005) > 1e-9)

    # At the value of exercise no volatility explains the price.
    assert bool(told) == (time_value >= 0.005 and worth > sign * (share - terms.strike))
    if told:
        arguments = (flag, spot, terms.strike, years, rate, told.pop("implied_volatility"))
        assert black_scholes(*arguments) == pytest.approx(worth, abs=1e-9)
        assert told == {name: pytest.approx(getattr(analytical, name)(*arguments), abs=1e-9) for name in told}
        assert set(told) == {"delta", "gamma", "theta", "vega"}


def test_a_contract_at_its_expiry_has_no_greeks() -> None:
    assert sensitivities(Terms(True, 600.0, 0.04, 0.0, 1.0), 601.0, 17.0, 0.0) == {}


@settings(max_examples=150, deadline=None)
@given(share=SHARE, moneyness=MONEYNESS, years=YEARS, rate=RATE, vix=VIX)
def test_puts_gain_and_calls_lose_with_the_strike(
    share: float, moneyness: float, years: float, rate: float, vix: float
) -> None:
    strikes = share * moneyness * np.array([1.0, 1.001, 1.01])

    calls, puts = (
        [value(Terms(is_call, strike, rate, 0.0, 1.0), share, vix, years) for strike in strikes]
        for is_call in (True, False)
    )

    assert sorted(calls, reverse=True) == calls
    assert sorted(puts) == puts


def test_the_smile_is_higher_for_low_strikes_and_follows_the_index() -> None:
    def volatility(strike: float, vix: float) -> float:
        return float(implied_volatility(np.array([600.0]), strike, np.array([0.1]), np.array([vix]), 1.0)[0])

    assert volatility(540.0, 17.0) > volatility(600.0, 17.0) > volatility(615.0, 17.0)
    assert volatility(600.0, 30.0) > 1.4 * volatility(600.0, 15.0)
    assert 0.12 < volatility(600.0, 17.0) < 0.18


@settings(max_examples=200, deadline=None)
@given(price=st.floats(0.0, 400.0), width=st.floats(0.3, 3.0), penny=st.booleans())
def test_quotes_stand_on_ticks_around_the_value(price: float, width: float, penny: bool) -> None:
    bid, ask = (int(side[0]) for side in bid_and_ask(np.array([price]), np.array([width]), penny=penny))
    tick = 1 if penny or price < 3.0 else 5

    assert bid % tick == ask % tick == 0
    assert 0 <= bid < ask
    assert bid <= price * 100 + 1e-6
    assert ask >= price * 100 - 1e-6
    assume(price > 1.0)
    assert bid > 0


def test_quoted_mids_obey_put_call_parity_within_the_spread(world: SyntheticWorld, at: Callable[..., int]) -> None:
    """Near the money, where exercising early is worth little; rate and dividends as the world publishes them."""
    day, expiry = date(2025, 8, 29), date(2025, 9, 26)
    shares = world.bars("SPY", BaseSpan.MINUTE, at(day, "09:30"), at(day, "15:59")).to_pandas().set_index("t")["c"]
    curve = world.treasury_yields(date(2025, 8, 20), date(2025, 8, 28)).to_pylist()[-1]
    rate = np.log1p(curve["yield_1_month"] / 100)
    years = 28 / 365
    [dividend] = [
        row["cash_amount"]
        for row in world.dividends("SPY").to_pylist()
        if str(day) < row["ex_dividend_date"] <= str(expiry)
    ]
    checked = 0
    for strike in range(595, 616, 5):
        sides = {}
        for right in "CP":
            ticker = f"O:SPY250926{right}{strike * 1000:08d}"
            quotes = world.quotes(ticker, at(day, "10:00") * 10**6, at(day, "16:00") * 10**6).to_pandas()
            quotes["minute"] = quotes.sip_timestamp // 60_000_000_000 * 60_000
            sides[right] = quotes.groupby("minute").last()
        both = sides["C"].join(sides["P"], lsuffix="_call", rsuffix="_put", how="inner").join(shares, how="inner")
        forward = both.c - dividend * np.exp(-rate * 21 / 365) - strike * np.exp(-rate * years)
        difference = (both.bid_price_call + both.ask_price_call - both.bid_price_put - both.ask_price_put) / 2
        spread = both.ask_price_call - both.bid_price_call + both.ask_price_put - both.bid_price_put
        # Two quotes of one minute are not of one instant: the share moves a few cents between them and the close.
        within = (difference - forward).abs() <= spread + 0.6
        assert within.mean() > 0.97
        assert (difference - forward).mean() == pytest.approx(0.0, abs=0.1)
        checked += len(both)

    assert checked > 1000


def test_cheap_wings_have_no_bid_and_always_an_offer(world: SyntheticWorld, at: Callable[..., int]) -> None:
    day = date(2025, 8, 29)
    quotes = world.quotes("O:SPY250829P00540000", at(day) * 10**6, at(day, "23:59") * 10**6).to_pandas()
    missing = quotes.bid_price == 0

    assert missing.mean() > 0.9
    assert (quotes.bid_size[missing] == 0).all()
    assert (quotes.bid_exchange[missing] == 0).all()
    assert (quotes.ask_price > 0).all()
    assert (quotes.ask_size > 0).all()


@pytest.mark.parametrize("ticker", ["O:SPY250829C00605000", "O:SPY250919P00590000", "O:AAPL250919C00200000"])
def test_option_trades_print_at_or_inside_the_quote_before_them(
    world: SyntheticWorld, at: Callable[..., int], ticker: str
) -> None:
    day = date(2025, 8, 29)
    window = at(day) * 10**6, at(day, "23:59") * 10**6
    quotes, trades = world.quotes(ticker, *window).to_pandas(), world.trades(ticker, *window).to_pandas()
    before = np.searchsorted(quotes.sip_timestamp, trades.sip_timestamp, side="right") - 1
    bid, ask = quotes.bid_price.to_numpy()[before], quotes.ask_price.to_numpy()[before]

    assert len(trades) > 5
    assert ((bid <= trades.price) & (trades.price <= ask)).mean() > 0.95
    assert trades["size"].min() >= 1
    assert (trades.participant_timestamp < trades.sip_timestamp).all()


def test_classes_outside_the_penny_rule_quote_in_nickels_from_three_dollars_on(
    world: SyntheticWorld, at: Callable[..., int]
) -> None:
    window = at(date(2025, 8, 29)) * 10**6, at(date(2025, 8, 29), "23:59") * 10**6
    stock = world.quotes("O:AAPL250919P00200000", *window)["bid_price"].to_numpy()
    fund = world.quotes("O:SPY250919C00600000", *window)["bid_price"].to_numpy()

    assert stock.min() > 3
    assert set(np.rint(stock * 100) % 5) == {0}
    assert fund.min() > 3
    assert set(np.rint(fund * 100) % 5) == {0, 1, 2, 3, 4}


def test_trading_thins_out_away_from_the_money(world: SyntheticWorld, at: Callable[..., int]) -> None:
    day = date(2025, 8, 29)
    counts = [
        len(world.bars(f"O:SPY250829C{strike * 1000:08d}", BaseSpan.MINUTE, at(day), at(day, "23:59")))
        for strike in (605, 612, 660)
    ]

    assert counts[0] > 100
    assert counts[0] > counts[1] > counts[2]
    assert counts[2] < 5
