"""The days of the market: volatility index, market moves, and open and close of every share on every session.

The path is one pure function of the seed over the calendar's whole span (a few thousand sessions, some tens of
milliseconds), so any date is known without asking for another first, and close, next open and next close always fit
together. It is drawn forwards: nothing up to a session depends on what comes after it. Minutes are in minutes.py and
indices.py.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from simulator.synthetic.calendar import TradingCalendar
from simulator.synthetic.draws import stream
from simulator.synthetic.reference import Share

FloatArray = NDArray[np.float64]

VIX_FLOOR = 12.0
VIX_CEILING = 35.0
SESSIONS_A_YEAR = 252.0

# The index moves between its bounds as a logistic of a latent level; -1.28 is about 17.
LATENT_MEAN = -1.28
LATENT_PULL = 0.04  # a session: half of a shock is gone after about 17 sessions
LATENT_PER_RETURN = -26.0  # about one VIX point up for each percent that the market falls
LATENT_NOISE_NIGHT = 0.05
LATENT_NOISE_DAY = 0.08

REALIZED_TO_IMPLIED = 0.8  # moves are smaller on average than the index says
NIGHT_VARIANCE = 0.35  # share of a session's variance that happens before the open
TREND_PULL = 0.004  # a session, back to the share's trend line


def vix_level(latent: FloatArray) -> FloatArray:
    """The volatility index in points for latent levels."""
    return VIX_FLOOR + (VIX_CEILING - VIX_FLOOR) / (1.0 + np.exp(-latent))


@dataclass(frozen=True, slots=True)
class MarketPath:
    """The common factor, one entry a session of the calendar."""

    latent_open: FloatArray
    latent_close: FloatArray
    volatility: FloatArray  # standard deviation of the market's log return over the session and the night before it
    night: FloatArray  # standard normal factor of the night before
    day: FloatArray


@dataclass(frozen=True, slots=True)
class SharePath:
    """A share's open and close in dollars, whole cents, one entry a session of the calendar."""

    open: FloatArray
    close: FloatArray
    volatility: FloatArray
    dividend: FloatArray  # dollars that left the price before the open of this session


@lru_cache(maxsize=8)
def market_path(seed: int, calendar: TradingCalendar) -> MarketPath:
    """The market's moves and the volatility index's levels on every session."""
    size = len(calendar.sessions)
    draws = stream(seed, "market").standard_normal((size, 4))
    latent_open, latent_close, volatility = np.empty(size), np.empty(size), np.empty(size)
    level = LATENT_MEAN
    for i, (night, day, own_night, own_day) in enumerate(draws.tolist()):
        vix = VIX_FLOOR + (VIX_CEILING - VIX_FLOOR) / (1.0 + exp(-level))
        sigma = REALIZED_TO_IMPLIED * vix / 100.0 / sqrt(SESSIONS_A_YEAR)
        move = sigma * sqrt(NIGHT_VARIANCE) * night
        level += LATENT_PULL / 3 * (LATENT_MEAN - level) + LATENT_PER_RETURN * move + LATENT_NOISE_NIGHT * own_night
        latent_open[i] = level
        move = sigma * sqrt(1.0 - NIGHT_VARIANCE) * day
        level += LATENT_PULL * 2 / 3 * (LATENT_MEAN - level) + LATENT_PER_RETURN * move + LATENT_NOISE_DAY * own_day
        latent_close[i] = level
        volatility[i] = sigma
    return MarketPath(latent_open, latent_close, volatility, draws[:, 0].copy(), draws[:, 1].copy())


def share_path(
    seed: int, share: Share, market: MarketPath, years: FloatArray, cash_by_session: dict[int, float]
) -> SharePath:
    """A share's opens and closes: the market's factor and its own, pulled to its trend, less the dividends.

    ``years`` is the time of each session since the first; ``cash_by_session`` maps a session's index to the dollars
    of the dividend that goes ex on it.
    """
    size = len(market.night)
    own = stream(seed, "share", share.ticker).standard_normal((size, 2))
    apart = sqrt(1.0 - share.correlation**2)
    sigma = market.volatility * share.volatility
    night = sigma * sqrt(NIGHT_VARIANCE) * (share.correlation * market.night + apart * own[:, 0])
    day = sigma * sqrt(1.0 - NIGHT_VARIANCE) * (share.correlation * market.day + apart * own[:, 1])
    trend = log(share.level) + share.growth * years
    opens, closes, dividend = np.empty(size), np.empty(size), np.zeros(size)
    price = share.level
    for i, (night_move, day_move, target) in enumerate(zip(night.tolist(), day.tolist(), trend.tolist(), strict=True)):
        pull = share.growth / SESSIONS_A_YEAR + TREND_PULL * (target - log(price))
        dividend[i] = cash_by_session.get(i, 0.0)
        opens[i] = round(price * exp(night_move + NIGHT_VARIANCE * pull) - dividend[i], 2)
        price = closes[i] = round(opens[i] * exp(day_move + (1.0 - NIGHT_VARIANCE) * pull), 2)
    return SharePath(opens, closes, sigma, dividend)


def years_since_first(calendar: TradingCalendar) -> FloatArray:
    """Time of each session since the calendar's first, in years of 365.25 days."""
    first = calendar.sessions[0].day
    return np.array([(session.day - first).days / 365.25 for session in calendar.sessions])
