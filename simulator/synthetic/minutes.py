"""The minutes of a share's session: the price at every minute's edge and the frame of every minute bar.

A frame is a bar before its trades exist: the few trades that give it open, high, low and close, and how many others
with how much volume at which average stand between them. The bar that is served is read off the frame, and trades.py
fills the frame with trades that make exactly this bar, so neither needs the other.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.synthetic.calendar import MINUTE_MS, Session
from simulator.synthetic.draws import stream
from simulator.synthetic.path import NIGHT_VARIANCE, FloatArray, SharePath
from simulator.synthetic.reference import Share

IntArray = NDArray[np.int64]

MAX_MINUTES = 960  # 04:00 to 20:00
VOLUME_UNIT = (
    64  # sizes are whole 64ths of a share: exact as float64 and in six decimals, so sums do not depend on order
)
PRICE_UNIT = 10_000  # prices inside a frame are whole hundredths of a cent
CENT = PRICE_UNIT // 100

PRE_MARKET_VARIANCE = 0.12  # of the session's, spread over 04:00-09:30, on top of the way to the open
POST_MARKET_VARIANCE = 0.03
OPENING_AUCTION_MINUTES = 6.0  # volume of an auction, in midday minutes of trading
CLOSING_AUCTION_MINUTES = 15.0
SHARES_A_TRADE = 140.0
FRACTIONAL_MINUTES = 0.03
MIN_FILLER_SHARES = 20  # a filler trade on average, so that the balancing trade of trades.py always has volume left


@dataclass(frozen=True, slots=True)
class Corners:
    """Where the straight lines bend on which the price runs from open (time 0) to close (1): at the two extremes."""

    first_at: FloatArray
    second_at: FloatArray
    first: FloatArray
    second: FloatArray


@dataclass(frozen=True, slots=True)
class Frames:
    """One entry a minute from 04:00; prices in PRICE_UNIT, volumes in VOLUME_UNIT.

    ``priced`` is how many of open, high, low and close are trades of their own: 4, 2 (open and close), 1 (all the same
    trade) or 0, when the minute has volume at most and no bar.
    """

    start_ms: IntArray
    regular: NDArray[np.bool_]
    open: IntArray
    high: IntArray
    low: IntArray
    close: IntArray
    priced: IntArray
    sizes: IntArray  # (minutes, 4): open, high, low, close trade
    high_at: FloatArray  # when, between the open trade (0) and the close trade (1)
    low_at: FloatArray
    fillers: IntArray
    filler_volume: IntArray
    vwap: IntArray

    @property
    def trades(self) -> IntArray:
        """Trades that count to volume."""
        return self.priced + self.fillers

    @property
    def volume(self) -> IntArray:
        """Volume in VOLUME_UNIT."""
        return np.asarray(self.sizes.sum(axis=1) + self.filler_volume)

    @property
    def own_value(self) -> IntArray:
        """What the frame's own trades are worth, in PRICE_UNIT times VOLUME_UNIT."""
        prices = np.stack((self.open, self.high, self.low, self.close), axis=1)
        return np.asarray((self.sizes * prices).sum(axis=1))

    def corners(self) -> Corners:
        """The bends of the price's way from open to close."""
        four = self.priced == 4
        high_first = self.high_at <= self.low_at
        third = (self.close - self.open) / 3.0
        return Corners(
            first_at=np.where(four, np.minimum(self.high_at, self.low_at), 1 / 3),
            second_at=np.where(four, np.maximum(self.high_at, self.low_at), 2 / 3),
            first=np.where(four, np.where(high_first, self.high, self.low), self.open + third),
            second=np.where(four, np.where(high_first, self.low, self.high), self.close - third),
        )


def market_minute_noise(seed: int, session: Session) -> FloatArray:
    """The standard normals that all shares and the volatility index have in common, one a minute from 04:00."""
    return stream(seed, "market-minutes", session.day.isoformat()).standard_normal(MAX_MINUTES)


def bridge(start: float, end: float, noise: FloatArray, sigma: FloatArray) -> FloatArray:
    """Edges of a walk from start to end, one more than the steps; each step has its own standard deviation."""
    walk = np.concatenate(([0.0], np.cumsum(noise * sigma)))
    passed = np.concatenate(([0.0], np.cumsum(sigma**2)))
    return np.asarray(start + walk + passed / passed[-1] * (end - start - walk[-1]))


def day_shape(minutes: int, opening: float, closing: float) -> FloatArray:
    """A U over a regular session: 1 in the middle, higher by the given amounts at both ends."""
    at = np.arange(minutes)
    return np.asarray(1.0 + opening * np.exp(-at / 18.0) + closing * np.exp((at - minutes + 1) / 15.0))


def edge_prices(seed: int, share: Share, path: SharePath, session: Session) -> FloatArray:
    """The share's price in dollars at the edges of all minutes from 04:00 to the post-market's end."""
    i = session.index
    market = market_minute_noise(seed, session)
    own = stream(seed, "share-minutes", share.ticker, session.day.isoformat()).standard_normal(MAX_MINUTES)
    noise = share.correlation * market + np.sqrt(1.0 - share.correlation**2) * own
    opening, closing = session.open_minute, session.close_minute
    sigma = path.volatility[i]

    last_close = (path.close[i - 1] if i else share.level) - path.dividend[i]
    first, start = np.log(path.open[i]), np.log(last_close)
    # Half of the night's move is news before 04:00, the rest happens in the pre-market.
    quiet = np.full(opening, sigma * np.sqrt(PRE_MARKET_VARIANCE / opening))
    before = bridge(start + 0.5 * (first - start), first, noise[:opening], quiet)

    shape = day_shape(closing - opening, 4.0, 1.5)
    busy = sigma * np.sqrt((1.0 - NIGHT_VARIANCE) * shape / shape.sum())
    regular = bridge(first, np.log(path.close[i]), noise[opening:closing], busy)

    post = noise[closing : session.minutes] * sigma * np.sqrt(POST_MARKET_VARIANCE / (session.minutes - closing))
    after = regular[-1] + np.cumsum(post)
    return np.asarray(np.exp(np.concatenate((before[:-1], regular, after))))


def _trade_rates(
    share: Share, session: Session, trades_per_minute: float, volatility: float
) -> tuple[FloatArray, FloatArray]:
    """Expected trades a minute that may make a price, and odd lots."""
    opening, closing = session.open_minute, session.close_minute
    rates = np.empty(session.minutes)
    before = np.arange(opening)
    rates[:opening] = 0.003 + 0.12 * np.exp((before - opening) / 45.0)
    rates[opening:closing] = day_shape(closing - opening, 2.2, 2.8) * (volatility / 0.009) ** 0.6
    after = np.arange(session.minutes - closing)
    rates[closing:] = 0.003 + 0.15 * np.exp(-after / 25.0)
    rates *= trades_per_minute * share.activity
    return 0.42 * rates, 0.58 * rates


def make_frames(
    seed: int, share: Share, session: Session, edges: FloatArray, *, volatility: float, trades_per_minute: float
) -> Frames:
    """The frames of all minutes of a session around the prices at the minutes' edges.

    ``volatility`` is the standard deviation of the share's log return over the session and the night before it.
    """
    draws = stream(seed, "frames", share.ticker, session.day.isoformat())
    size = session.minutes
    at = np.arange(size)
    regular = (at >= session.open_minute) & (at < session.close_minute)

    price_rate, odd_rate = _trade_rates(share, session, trades_per_minute, volatility)
    busy = np.exp(draws.normal(-0.03, 0.25, size))
    may_price = draws.poisson(price_rate * busy)
    odd_lots = draws.poisson(odd_rate * busy)
    # The underlying of a live option market trades in every regular minute.
    may_price = np.where(regular, np.maximum(may_price, 4), may_price)
    priced = np.select([may_price >= 4, may_price >= 2, may_price == 1], [4, 2, 1], 0).astype(np.int64)
    fillers = (may_price - priced + odd_lots).astype(np.int64)

    spacing = draws.integers(-1, 2, size)
    open_cents = np.rint(edges[:-1] * 100).astype(np.int64)
    close_cents = np.rint(edges[1:] * 100).astype(np.int64)
    open_cents += np.where(at == session.open_minute, 0, spacing)
    close_cents = np.where(priced == 1, open_cents, close_cents)
    reach = volatility / np.sqrt(390.0) * edges[:-1] * 100 * np.where(regular, 1.0, 0.6)
    up = np.rint(np.abs(draws.normal(0.0, 0.55, size)) * reach).astype(np.int64)
    down = np.rint(np.abs(draws.normal(0.0, 0.55, size)) * reach).astype(np.int64)
    top, bottom = np.maximum(open_cents, close_cents), np.minimum(open_cents, close_cents)
    high_cents = np.where(priced == 4, top + up, top)
    low_cents = np.where(priced == 4, bottom - down, bottom)

    sizes = 100 * np.minimum(draws.geometric(0.6, (size, 4)), 40).astype(np.int64)
    auction = SHARES_A_TRADE * trades_per_minute * share.activity * np.exp(draws.normal(0.0, 0.3, 2))
    sizes[session.open_minute, 0] = 100 * int(1 + OPENING_AUCTION_MINUTES * auction[0] / 100)
    sizes[session.close_minute - 1, 3] = 100 * int(1 + CLOSING_AUCTION_MINUTES * auction[1] / 100)
    sizes[:, 1:3][priced < 4] = 0
    sizes[:, 3][priced < 2] = 0
    sizes[:, 0][priced < 1] = 0

    mean_size = SHARES_A_TRADE * np.exp(draws.normal(0.0, 0.3, size))
    filler_shares = np.maximum(np.rint(fillers * mean_size), MIN_FILLER_SHARES * fillers).astype(np.int64)
    only_odd = (priced == 0) & (fillers > 0)
    filler_shares = np.where(only_odd, np.clip(filler_shares, fillers, 99), filler_shares)
    filler_volume = filler_shares * VOLUME_UNIT
    fraction = draws.integers(1, VOLUME_UNIT, size)
    has_fraction = (draws.random(size) < FRACTIONAL_MINUTES) & (fillers > 0) & (priced > 0)
    filler_volume += np.where(has_fraction, fraction, 0)

    frames = Frames(
        start_ms=session.pre_market_ms + at * MINUTE_MS,
        regular=regular,
        open=open_cents * CENT,
        high=high_cents * CENT,
        low=low_cents * CENT,
        close=close_cents * CENT,
        priced=priced,
        sizes=sizes * VOLUME_UNIT,
        high_at=draws.uniform(0.02, 0.98, size),
        low_at=draws.uniform(0.02, 0.98, size),
        fillers=fillers,
        filler_volume=filler_volume,
        vwap=np.zeros(size, np.int64),
    )
    return replace(frames, vwap=_vwap(frames))


def _vwap(frames: Frames) -> IntArray:
    """The average price: that of the frame's own trades and of the price's way between them."""
    way = frames.corners()
    mean = 0.5 * (
        way.first_at * (frames.open + way.first)
        + (way.second_at - way.first_at) * (way.first + way.second)
        + (1.0 - way.second_at) * (way.second + frames.close)
    )
    value = frames.own_value + mean * frames.filler_volume
    vwap = np.rint(value / np.maximum(frames.volume, 1)).astype(np.int64)
    return np.where(frames.priced == 0, frames.open, vwap)
