"""What an option is worth in this market: Black-Scholes on the share less its coming dividends, with a smile.

Contracts are exercised the American way, and the only trace of it here is that none is worth less than exercising it;
the early-exercise premium beyond that is left out (cents for contracts near the money). Rates are continuously
compounded.
"""

from dataclasses import dataclass
from math import exp, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from simulator.synthetic.path import FloatArray

DAYS_A_YEAR = 365.0  # calendar time
SECONDS_A_YEAR = DAYS_A_YEAR * 86_400.0

IMPLIED_TO_INDEX = 0.9  # at the money, near expiry, against the volatility index
LONG_RUN_VOLATILITY = 0.17
REVERSION_A_YEAR = 4.0
SKEW = -0.08  # of the volatility at the money, for each standard deviation of moneyness
CURVATURE = 0.03
SMILE_EDGE = 4.0  # standard deviations beyond which the smile is flat

LEAST_TIME_VALUE = 0.005  # dollars: with less no volatility can be read off a price in cents


@dataclass(frozen=True, slots=True)
class Terms:
    """What does not change within a session for one contract."""

    is_call: bool
    strike: float  # dollars
    rate: float  # a year
    dividends: float  # dollars: present value of those that go ex before expiry
    volatility_scale: float  # of the share against the market


def implied_volatility(
    forward: FloatArray, strike: float, years: FloatArray, vix: FloatArray, scale: float
) -> FloatArray:
    """The annual volatility that this market puts on a strike."""
    near = (vix / 100.0 * IMPLIED_TO_INDEX) ** 2
    far = LONG_RUN_VOLATILITY**2
    turn = REVERSION_A_YEAR * years
    at_money = scale * np.sqrt(far + (near - far) * -np.expm1(-turn) / turn)
    away = np.clip(np.log(strike / forward) / (at_money * np.sqrt(years)), -SMILE_EDGE, SMILE_EDGE)
    return np.asarray(at_money * (1.0 + SKEW * away + CURVATURE * away**2))


def option_value(terms: Terms, share_price: FloatArray, vix: FloatArray, years: FloatArray) -> FloatArray:
    """Dollars a share of the contract; ``years`` to expiry are positive."""
    discount = np.exp(-terms.rate * years)
    forward = (share_price - terms.dividends) / discount
    sigma = implied_volatility(forward, terms.strike, years, vix, terms.volatility_scale)
    deviation = sigma * np.sqrt(years)
    d1 = np.log(forward / terms.strike) / deviation + 0.5 * deviation
    sign = 1.0 if terms.is_call else -1.0
    value = sign * discount * (forward * ndtr(sign * d1) - terms.strike * ndtr(sign * (d1 - deviation)))
    return np.asarray(np.maximum(value, np.maximum(sign * (share_price - terms.strike), 0.0)))


def sensitivities(terms: Terms, share_price: float, vix: float, years: float) -> dict[str, float]:
    """Implied volatility and Greeks by the vendor's names; none at expiry, without time value or at the exercise value.

    The volatility is annual and a fraction; delta and gamma are for one dollar of the share, theta for one day of 365,
    vega for one point of volatility, all in dollars a share.
    """
    if years <= 0:
        return {}
    at, index, time = np.array([share_price]), np.array([vix]), np.array([years])
    sign = 1.0 if terms.is_call else -1.0
    value = float(option_value(terms, at, index, time)[0])
    discount = exp(-terms.rate * years)
    spot = share_price - terms.dividends
    if value <= sign * (share_price - terms.strike):
        return {}
    if value - max(sign * (spot - terms.strike * discount), 0.0) < LEAST_TIME_VALUE:
        return {}
    sigma = float(implied_volatility(np.array([spot / discount]), terms.strike, time, index, terms.volatility_scale)[0])
    deviation = sigma * sqrt(years)
    d1 = log(spot / discount / terms.strike) / deviation + 0.5 * deviation
    density = exp(-0.5 * d1**2) / sqrt(2.0 * pi)
    exercised = float(ndtr(sign * (d1 - deviation)))
    decay = spot * density * sigma / (2.0 * sqrt(years)) + sign * terms.rate * terms.strike * discount * exercised
    return {
        "implied_volatility": sigma,
        "delta": sign * float(ndtr(sign * d1)),
        "gamma": density / (spot * deviation),
        "theta": -decay / DAYS_A_YEAR,
        "vega": spot * density * sqrt(years) / 100.0,
    }


def tick_cents(value: FloatArray, *, penny: bool) -> NDArray[np.int64]:
    """Smallest price step in cents: pennies, or nickels from three dollars on for classes outside the penny rule."""
    return np.where(penny | (value < 3.0), 1, 5).astype(np.int64)


def bid_and_ask(
    value: FloatArray, width_scale: FloatArray, *, penny: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bid and ask in cents around a value; a bid below one tick is none, given as 0."""
    tick = tick_cents(value, penny=penny)
    half = 0.5 * width_scale * (0.01 + 0.012 * np.sqrt(value) + 0.003 * value)
    # A value on the tick stays inside its own quote although it is not exact in binary.
    bid = np.floor((value - half) * 100.0 / tick + 1e-6).astype(np.int64) * tick
    ask = np.ceil((value + half) * 100.0 / tick - 1e-6).astype(np.int64) * tick
    return np.maximum(bid, 0), np.maximum(ask, bid + tick)
