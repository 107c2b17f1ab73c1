"""Implied volatility and Greeks, against textbook values, a reference price written here, and its differences."""

import pickle
from dataclasses import fields
from math import erf, exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.pricing import PRICED, REASONS, Greeks, price_rows
from marketlake.tables import Reason

NUMBERS = [field.name for field in fields(Greeks) if field.name != "reason"]


def normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def reference_price(spot: float, strike: float, years: float, rate: float, sigma: float, call: bool) -> float:
    """Black-Scholes without dividends, as in any textbook."""
    d1 = (log(spot / strike) + (rate + sigma**2 / 2) * years) / (sigma * sqrt(years))
    d2 = d1 - sigma * sqrt(years)
    if call:
        return spot * normal(d1) - strike * exp(-rate * years) * normal(d2)
    return strike * exp(-rate * years) * normal(-d2) - spot * normal(-d1)


def price_one(
    price: float,
    spot: float = 42.0,
    strike: float = 40.0,
    years: float = 0.5,
    rate: float = 0.1,
    dividends: float = 0.0,
    call: bool = True,
    stale: bool = False,
    collected: bool = True,
) -> Greeks:
    return price_rows(
        option_price=np.array([price]),
        underlying_price=np.array([spot]),
        strike=np.array([strike]),
        years=np.array([years]),
        rate=np.array([rate]),
        dividends_present_value=np.array([dividends]),
        is_call=np.array([call]),
        is_stale=np.array([stale]),
        is_collected=np.array([collected]),
    )


def reason_of(greeks: Greeks) -> str | None:
    reason: str | None = greeks.reason_column()[0].as_py()
    return reason


@pytest.mark.parametrize(("price", "call"), [(4.76, True), (0.81, False)])
def test_inverts_the_textbook_prices(price: float, call: bool) -> None:
    """Hull, Options, Futures, and Other Derivatives, 7th edition, example 13.6: S=42, K=40, r=10 %, 6 months, 20 %.

    Prices are printed to the cent, and a cent is 0.0011 of volatility here (vega 0.088 per point).
    """
    assert price_one(price, call=call).implied_volatility == pytest.approx([0.20], abs=0.0006)


def test_takes_the_present_value_of_dividends_off_the_share() -> None:
    """Hull, 7th edition, example 13.8: S=40, K=40, r=9 %, 6 months, 30 %, dividends worth 0.9741: the call is 3.67."""
    greeks = price_one(3.67, spot=40.0, strike=40.0, rate=0.09, dividends=0.9741)

    assert greeks.implied_volatility == pytest.approx([0.30], abs=0.0005)


def test_greeks_have_the_textbook_values_in_the_units_that_their_names_say() -> None:
    """Hull, 7th edition, examples 17.1 to 17.7: S=49, K=50, r=5 %, 20 weeks, 20 %; the call is worth 2.40.

    The book: delta 0.522, gamma 0.066, vega 12.1 per 1.00 of volatility, theta -4.31 a year, rho 8.91 per 1.00.
    """
    price = reference_price(49, 50, 0.3846, 0.05, 0.20, call=True)
    greeks = price_one(price, spot=49.0, strike=50.0, years=0.3846, rate=0.05)

    assert price == pytest.approx(2.40, abs=0.005)
    assert greeks.delta == pytest.approx([0.522], abs=0.0005)
    assert greeks.gamma == pytest.approx([0.066], abs=0.0005)
    assert greeks.vega_per_point == pytest.approx([12.1 / 100], abs=0.0005)
    assert greeks.theta_per_day == pytest.approx([-4.31 / 365], abs=0.005 / 365)
    assert greeks.rho_per_point == pytest.approx([8.91 / 100], abs=0.005 / 100)


markets = st.fixed_dictionaries(
    {
        "spot": st.floats(50, 6000),
        "moneyness": st.floats(-1.5, 1.5),  # of the standard deviation, so that the price tells the volatility
        "years": st.floats(1 / 365 / 24, 2.0),
        "rate": st.floats(-0.01, 0.1),
        "sigma": st.floats(0.05, 1.5),
    }
)


def strike_of(market: dict[str, float]) -> float:
    return market["spot"] * exp(market["moneyness"] * market["sigma"] * sqrt(market["years"]))


def both_rights(market: dict[str, float]) -> tuple[list[float], Greeks]:
    """Reference prices of call and put, and the Greeks that they give."""
    spot, years, rate, sigma = (market[name] for name in ("spot", "years", "rate", "sigma"))
    strike = strike_of(market)
    prices = [reference_price(spot, strike, years, rate, sigma, call) for call in (True, False)]
    greeks = price_rows(
        option_price=np.array(prices),
        underlying_price=np.full(2, spot),
        strike=np.full(2, strike),
        years=np.full(2, years),
        rate=np.full(2, rate),
        dividends_present_value=np.zeros(2),
        is_call=np.array([True, False]),
        is_stale=np.zeros(2, dtype=np.bool_),
        is_collected=np.ones(2, dtype=np.bool_),
    )
    return prices, greeks


@given(market=markets)
def test_price_to_volatility_and_back_loses_nothing(market: dict[str, float]) -> None:
    prices, greeks = both_rights(market)

    strike = strike_of(market)
    again = [
        reference_price(market["spot"], strike, market["years"], market["rate"], sigma, call)
        for sigma, call in zip(greeks.implied_volatility.tolist(), (True, False), strict=True)
    ]
    assert again == pytest.approx(prices, abs=1e-9 * market["spot"] / 50)


@given(market=markets)
def test_put_call_parity_holds_for_every_greek(market: dict[str, float]) -> None:
    """C - P = S - K exp(-rT): its derivatives are what call and put Greeks may differ by at equal volatility."""
    _, greeks = both_rights(market)

    strike, years, rate = strike_of(market), market["years"], market["rate"]
    discounted = strike * exp(-rate * years)
    scale = market["spot"]
    difference = {name: float(getattr(greeks, name)[0] - getattr(greeks, name)[1]) for name in NUMBERS}
    assert difference["implied_volatility"] == pytest.approx(0, abs=1e-8)
    assert difference["delta"] == pytest.approx(1, abs=1e-7)
    assert difference["gamma"] * scale == pytest.approx(0, abs=1e-4)
    assert difference["vega_per_point"] / scale == pytest.approx(0, abs=1e-8)
    assert difference["theta_per_day"] == pytest.approx(-rate * discounted / 365, abs=1e-7 * scale)
    assert difference["rho_per_point"] == pytest.approx(discounted * years / 100, abs=1e-8 * scale)


@given(market=markets)
def test_greeks_are_what_the_reference_price_moves_by(market: dict[str, float]) -> None:
    """Central differences of the price written in this file, which shares no line with the one under test."""
    _, greeks = both_rights(market)
    spot, years, rate, sigma = (market[name] for name in ("spot", "years", "rate", "sigma"))
    strike = strike_of(market)
    deviation = sigma * sqrt(years)

    for row, call in enumerate((True, False)):

        def price(
            spot: float = spot, years: float = years, rate: float = rate, sigma: float = sigma, call: bool = call
        ) -> float:
            return reference_price(spot, strike, years, rate, sigma, call)

        def slope(up: float, down: float, width: float) -> float:
            return (up - down) / width

        step = 1e-3 * spot * deviation
        delta = slope(price(spot=spot + step), price(spot=spot - step), 2 * step)
        gamma = (price(spot=spot + step) - 2 * price() + price(spot=spot - step)) / step**2
        width = 1e-3 * sigma
        vega = slope(price(sigma=sigma + width), price(sigma=sigma - width), 2 * width)
        width = 1e-3 * years
        theta = -slope(price(years=years + width), price(years=years - width), 2 * width)
        width = 1e-5 * deviation / years
        rho = slope(price(rate=rate + width), price(rate=rate - width), 2 * width)

        assert greeks.delta[row] == pytest.approx(delta, abs=1e-5)
        assert greeks.gamma[row] * spot * deviation == pytest.approx(gamma * spot * deviation, abs=1e-4)
        assert greeks.vega_per_point[row] * 100 == pytest.approx(vega, abs=1e-5 * spot * sqrt(years))
        assert greeks.theta_per_day[row] * 365 == pytest.approx(theta, abs=1e-5 * spot * (sigma / sqrt(years) + 1))
        assert greeks.rho_per_point[row] * 100 == pytest.approx(rho, abs=1e-4 * spot * years)


NAN = float("nan")
GOOD: dict[str, float] = {"price": 4.76}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"years": 0.0}, Reason.EXPIRED, id="at the end"),
        pytest.param({"years": -0.1, "price": NAN}, Reason.EXPIRED, id="expired comes before no price"),
        pytest.param({"price": NAN}, Reason.NO_PRICE, id="no price"),
        pytest.param({"price": 0.0}, Reason.NO_PRICE, id="a price of nothing"),
        pytest.param({"price": NAN, "spot": NAN}, Reason.NO_PRICE, id="no price comes before no underlying"),
        pytest.param({"price": NAN, "stale": True, "spot": NAN}, Reason.STALE_PRICE, id="only an old price"),
        pytest.param({"price": NAN, "collected": False}, Reason.NOT_COLLECTED, id="nobody asked"),
        pytest.param(
            {"price": NAN, "collected": False, "stale": True}, Reason.STALE_PRICE, id="an old price, and more not asked"
        ),
        pytest.param({"spot": NAN, "rate": NAN}, Reason.NO_UNDERLYING_PRICE, id="no underlying"),
        pytest.param({"dividends": 42.0}, Reason.NO_UNDERLYING_PRICE, id="all of it is dividends"),
        pytest.param({"rate": NAN}, Reason.NO_RATE, id="no rate"),
        pytest.param({"rate": 1e6}, Reason.NO_RATE, id="a rate that discounts to nothing"),
        pytest.param({"price": 3.95}, Reason.BELOW_INTRINSIC, id="42 - 40 exp(-0.05) is 3.9508"),
        pytest.param({"price": 3.9507, "call": False}, None, id="no such bound for the put"),
        pytest.param({"price": 3.96}, None, id="just above intrinsic"),
        pytest.param({"price": 42.0}, Reason.ABOVE_MAXIMUM, id="a call worth the share"),
        pytest.param({"price": 38.05, "call": False}, Reason.ABOVE_MAXIMUM, id="40 exp(-0.05) is 38.0492"),
        pytest.param({"price": 38.04, "call": False}, None, id="just below the maximum"),
        pytest.param({"strike": 0.0}, Reason.BELOW_INTRINSIC, id="a strike of nothing"),
        pytest.param({}, None, id="a good row"),
    ],
)
def test_every_row_is_priced_or_says_the_first_reason_why_not(change: dict[str, float], reason: Reason | None) -> None:
    greeks = price_one(**{**GOOD, **change})  # type: ignore[arg-type] # a table of keyword arguments

    assert reason_of(greeks) == reason
    assert [reason is None] * len(NUMBERS) == [bool(np.isfinite(getattr(greeks, name)[0])) for name in NUMBERS]


anything = st.one_of(
    st.floats(),
    st.floats(0, 1000),
    st.sampled_from([0.0, 1e-300, 1e-9, 1.0, 650.0, 1e9, 1e300, float("inf"), NAN]),
)


@given(rows=st.lists(st.tuples(*[anything] * 6, st.booleans(), st.booleans(), st.booleans()), max_size=8))
def test_never_raises_and_never_leaves_a_number_or_its_absence_unexplained(
    rows: list[tuple[float, float, float, float, float, float, bool, bool, bool]],
) -> None:
    columns = [np.array([row[column] for row in rows], dtype=np.float64) for column in range(6)]
    calls, stale, collected = (np.array([row[column] for row in rows], dtype=np.bool_) for column in (6, 7, 8))

    greeks = price_rows(
        option_price=columns[0],
        underlying_price=columns[1],
        strike=columns[2],
        years=columns[3],
        rate=columns[4],
        dividends_present_value=columns[5],
        is_call=calls,
        is_stale=stale,
        is_collected=collected,
    )

    priced = greeks.reason == PRICED
    assert ((greeks.reason >= PRICED) & (greeks.reason < len(REASONS))).all()
    for name in NUMBERS:
        assert (np.isfinite(getattr(greeks, name)) == priced).all(), name
        assert (np.isnan(getattr(greeks, name)) == ~priced).all(), name
    assert (greeks.implied_volatility[priced] > 0).all()


def test_prices_at_their_bounds_and_ratios_beyond_any_market_are_priced_or_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """4,000 seeded rows that get past every other reason and press the solver: here it refuses, takes logarithms of
    nothing, and answers with a volatility of 0, for which the library would print an empty line."""
    rng = np.random.default_rng(20250829)
    count = 4_000
    spot, years = 10 ** rng.uniform(-3, 6, count), 10 ** rng.uniform(-9, 3, count)
    rate, is_call = rng.choice([0.0, 0.05, 1.0, -0.5, 10.0], count), rng.random(count) < 0.5
    with np.errstate(all="ignore"):
        strike = spot * np.exp(rng.choice([0.1, 1, 10, 100, 600], count) * rng.normal(size=count))
        discounted = strike * np.exp(-rate * years)
        intrinsic = np.maximum(np.where(is_call, spot - discounted, discounted - spot), 0)
        room = np.where(is_call, spot, discounted) - intrinsic
        price = intrinsic + rng.choice([0, 1e-16, 1e-9, 1e-3, 0.5, 0.9, 1 - 1e-9], count) * room + 1.1e-8
    # Two rows that a longer search found: a volatility of 0, and a price that rounds to below intrinsic.
    price[:2], spot[:2] = [116064043234.58885, 9.170155053186048e168], [15594.243177183896, 1.4842658863915117e170]
    strike[:2], years[:2] = [1339203470847.2913, 1.3925649410490218e170], [0.24456880214978835, 8.691723944266632e-06]
    rate[:2], is_call[:2] = [10.0, 0.05], [False, True]

    greeks = price_rows(
        option_price=price,
        underlying_price=spot,
        strike=strike,
        years=years,
        rate=rate,
        dividends_present_value=np.zeros(count),
        is_call=is_call,
        is_stale=np.zeros(count, dtype=np.bool_),
        is_collected=np.ones(count, dtype=np.bool_),
    )

    priced = greeks.reason == PRICED
    for name in NUMBERS:
        assert (np.isfinite(getattr(greeks, name)) == priced).all(), name
    assert [Reason.BELOW_INTRINSIC] * 2 == greeks.reason_column()[:2].to_pylist()
    assert 1_000 < priced.sum() < count - 1_000
    assert ("", "") == capsys.readouterr()


def test_a_row_has_the_same_answer_in_any_company() -> None:
    """Rows may be dealt to several processes: neither neighbours nor pickling change a number."""
    rng = np.random.default_rng(20230804)
    spot = 650 + rng.normal(0, 2, 50)
    columns = {
        "option_price": rng.uniform(0.01, 12, 50),
        "underlying_price": spot,
        "strike": np.round(spot + rng.normal(0, 6, 50)),
        "years": rng.uniform(1e-5, 0.02, 50),
        "rate": np.full(50, 0.04),
        "dividends_present_value": np.full(50, 0.3),
    }
    flags = {
        "is_call": rng.random(50) < 0.5,
        "is_stale": np.zeros(50, dtype=np.bool_),
        "is_collected": np.ones(50, dtype=np.bool_),
    }
    priced = pickle.loads(pickle.dumps(price_rows))
    together = pickle.loads(pickle.dumps(priced(**columns, **flags)))

    for row in range(50):
        part = slice(row, row + 1)
        one = priced(**{name: values[part] for name, values in (columns | flags).items()})
        for name in (*NUMBERS, "reason"):
            np.testing.assert_array_equal(getattr(together, name)[row : row + 1], getattr(one, name))
