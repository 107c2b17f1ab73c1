"""The calculated indices: I:VIX against the market, I:SPX alongside it, as values published through the day.

Hours of I:VIX: 03:15-09:15 and 09:30-16:15 New York (13:15 on a half day), a value about every 15 seconds of which the
publisher withholds some. I:SPX: 09:30-16:00 (13:00), a value a second. Daily bars cover the regular hours alone.
"""

from dataclasses import dataclass

import numpy as np

from simulator.newyork import HOUR_MS
from simulator.synthetic.calendar import MINUTE_MS, Session
from simulator.synthetic.draws import stream
from simulator.synthetic.minutes import IntArray, bridge, day_shape, market_minute_noise
from simulator.synthetic.path import LATENT_NOISE_DAY, LATENT_PER_RETURN, FloatArray, MarketPath, vix_level

AFTER_CLOSE_MINUTES = 15  # the options that make the index trade this much longer than shares
EARLY_START_MS = 3 * HOUR_MS + 15 * MINUTE_MS
EARLY_MINUTES = 360
PUBLISH_EVERY_MS = 15_000
WITHHELD = 0.03
MARKET_TO_OWN = 0.85  # correlation of the index's minutes with the market's, less than zero

SPX_PER_SHARE = 10.02


@dataclass(frozen=True, slots=True)
class IndexValues:
    """Published values in time order; times in nanoseconds."""

    time_ns: IntArray
    value: FloatArray


def vix_edges(seed: int, market: MarketPath, session: Session) -> FloatArray:
    """The index's level in points at the edges of all minutes from 09:30 to its close."""
    i = session.index
    minutes = session.close_minute - session.open_minute + AFTER_CLOSE_MINUTES
    noise = market_minute_noise(seed, session)[session.open_minute : session.open_minute + minutes]
    own = stream(seed, "vix-minutes", session.day.isoformat()).standard_normal(minutes)
    shape = np.sqrt(day_shape(minutes, 4.0, 1.5))
    day = np.hypot(LATENT_PER_RETURN * market.volatility[i] * 0.8, LATENT_NOISE_DAY)
    sigma = day * shape / np.sqrt((shape**2).sum())
    mixed = -MARKET_TO_OWN * noise + np.sqrt(1.0 - MARKET_TO_OWN**2) * own
    return vix_level(bridge(market.latent_open[i], market.latent_close[i], mixed, sigma))


def vix_values(seed: int, market: MarketPath, session: Session) -> IndexValues:
    """The published values of I:VIX, early session and regular session."""
    draws = stream(seed, "vix-values", session.day.isoformat())
    i = session.index
    last = market.latent_close[i - 1] if i else market.latent_open[i]
    early_sigma = np.full(EARLY_MINUTES, 0.1 / np.sqrt(EARLY_MINUTES))
    early = vix_level(bridge(last, market.latent_open[i], draws.standard_normal(EARLY_MINUTES), early_sigma))
    regular = vix_edges(seed, market, session)
    parts = [
        _published(draws, early, session.midnight_ms + EARLY_START_MS),
        _published(draws, regular, session.open_ms),
    ]
    return IndexValues(
        time_ns=np.concatenate([part.time_ns for part in parts]), value=np.concatenate([part.value for part in parts])
    )


def _published(draws: np.random.Generator, edges: FloatArray, start_ms: int) -> IndexValues:
    span_ms = (len(edges) - 1) * MINUTE_MS
    slots = np.arange(0, span_ms, PUBLISH_EVERY_MS)
    offset = slots + draws.integers(500, PUBLISH_EVERY_MS // 2, len(slots))
    kept = draws.random(len(slots)) >= WITHHELD
    # A filter that holds back keeps doing so for a few minutes, which then have no bar.
    for begin in draws.integers(0, len(slots), draws.poisson(0.7)):
        kept[begin : begin + draws.integers(4, 16)] = False
    kept[[0, -1]] = True
    offset = offset[kept]
    level = np.interp(offset / MINUTE_MS, np.arange(len(edges)), edges) * np.exp(draws.normal(0.0, 5e-4, len(offset)))
    return IndexValues(time_ns=(start_ms + offset) * 1_000_000, value=np.round(level, 2))


def spx_values(seed: int, edges: FloatArray, session: Session) -> IndexValues:
    """The published values of I:SPX around the prices of the market's share at the edges of its minutes from 04:00."""
    draws = stream(seed, "spx-values", session.day.isoformat())
    offset = np.arange(0, session.close_ms - session.open_ms, 1000)
    regular = edges[session.open_minute : session.close_minute + 1]
    level = np.interp(offset / MINUTE_MS, np.arange(len(regular)), regular) * SPX_PER_SHARE
    noise = draws.normal(0.0, 1.2e-5, len(offset))
    return IndexValues(time_ns=(session.open_ms + offset) * 1_000_000, value=np.round(level * np.exp(noise), 2))
