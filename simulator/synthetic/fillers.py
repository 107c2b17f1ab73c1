"""The fillers of a session's frames: the trades between those that make a minute's open, high, low and close.

Their sizes add up to the frame's filler volume and their prices to its average, to the last unit, by one average-price
report a minute that takes what the others leave. None lies outside the frame but for kinds that make no price.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.synthetic.calendar import MINUTE_MS
from simulator.synthetic.conditions import MAKES_EDGES, Kind
from simulator.synthetic.minutes import CENT, VOLUME_UNIT, Frames, IntArray
from simulator.synthetic.path import FloatArray
from simulator.synthetic.prints import ShareTrades
from simulator.synthetic.reference import OFF_EXCHANGE

MINUTE_NS = MINUTE_MS * 1_000_000

FILLED_PART = 0.85  # of the fillers' volume, before the balancing trade takes the rest
LARGEST_SCALE = 1.5  # of a drawn size, so that a quiet minute's volume does not turn odd lots into blocks
ODD_LOT = 100 * VOLUME_UNIT
ODD_LOT_PART = 0.62
SWEEP_PART = 0.35
OFF_EXCHANGE_PART = 0.3
OFF_MARKET = 2e-3  # relative distance of kinds that print away from the market

_RARE_RATES = {
    Kind.DERIVATIVELY_PRICED: 0.0008,
    Kind.PRIOR_REFERENCE: 0.0003,
    Kind.OUT_OF_SEQUENCE: 0.002,
    Kind.SELLER: 0.0002,
    Kind.CONTINGENT: 0.0002,
    Kind.LATE_FORM_T: 0.0005,
}
_EXTENDED_LATE = 0.02
_OFF_MARKET_KINDS = (Kind.SELLER, Kind.CONTINGENT, Kind.LATE_FORM_T)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the fillers stand: an entry a filler, minutes in order, the balancing trade first in each."""

    frames: Frames
    minute: IntArray
    used: IntArray  # minutes that have fillers
    starts: IntArray  # where each of these begins
    balancing: NDArray[np.bool_]

    def sums[T: (np.int64, np.float64)](self, values: NDArray[T]) -> NDArray[T]:
        """Totals over the fillers of each used minute."""
        return np.asarray(np.add.reduceat(values, self.starts))

    def spread[T: (np.int64, np.float64)](self, values: NDArray[T]) -> NDArray[T]:
        """An entry a used minute, given to each of its fillers."""
        return np.repeat(values, self.frames.fillers[self.used])


def offset_ns(moment: FloatArray) -> IntArray:
    """Nanoseconds into a minute for moments between 0 and 1."""
    return np.asarray(np.minimum((moment * MINUTE_NS).astype(np.int64), MINUTE_NS - 1))


def filler_trades(draws: np.random.Generator, frames: Frames, first: FloatArray, last: FloatArray) -> ShareTrades:
    """The fillers of all minutes; ``first`` and ``last`` are when a minute's open and close trade happen (0 to 1)."""
    minute = np.repeat(np.arange(len(frames.fillers)), frames.fillers)
    used = np.flatnonzero(frames.fillers)
    starts = np.concatenate(([0], np.cumsum(frames.fillers[used])))[:-1].astype(np.int64)
    balancing = np.zeros(len(minute), np.bool_)
    balancing[starts] = True
    places = _Places(frames, minute, used, starts, balancing)

    size = _sizes(draws, places)
    kind = _kinds(draws, places, size)
    # A trade that makes open or close prices lies between those that do; the others lie anywhere in the minute.
    inside = MAKES_EDGES[kind]
    at = draws.random(len(minute))
    moment = np.where(inside, first[minute] + at * (last - first)[minute], at)
    along = np.clip((moment - first[minute]) / np.maximum(last - first, 1e-9)[minute], 0.0, 1.0)
    price = _prices_on_the_way(places, along) + draws.choice((-1, 0, 0, 1), len(minute)) * CENT
    price = _fit_to_average(places, size, price)
    off_market = np.isin(kind, _OFF_MARKET_KINDS)
    away = price * (1.0 + draws.normal(0.0, OFF_MARKET, len(price)))
    price = np.where(off_market, np.rint(away / CENT) * CENT, price).astype(np.int64)
    price = _balance(places, size, price)

    # One nanosecond apart at least, so that rounding cannot put a filler before the open or after the close.
    offset = offset_ns(moment)
    offset = np.where(inside, np.clip(offset, offset_ns(first)[minute] + 1, offset_ns(last)[minute] - 1), offset)
    reported = balancing | off_market | (draws.random(len(minute)) < OFF_EXCHANGE_PART)
    return ShareTrades(
        time_ns=frames.start_ms[minute] * 1_000_000 + offset,
        price=price,
        size=size,
        kind=kind,
        exchange=np.where(reported, OFF_EXCHANGE, 0),
        correction=np.zeros(len(minute), np.int64),
    )


def _sizes(draws: np.random.Generator, places: _Places) -> IntArray:
    frames, count = places.frames, len(places.minute)
    odd = draws.random(count) < ODD_LOT_PART
    wish = np.where(odd, draws.integers(1, 100, count), 100 * draws.geometric(0.55, count))
    wish = np.where(places.balancing, 0, wish).astype(np.float64)
    room = FILLED_PART * (frames.filler_volume[places.used] // VOLUME_UNIT)
    scale = np.minimum(room / np.maximum(places.sums(wish), 1.0), LARGEST_SCALE)
    shares = np.maximum(np.floor(wish * places.spread(scale)), 1.0).astype(np.int64)
    shares = np.where(shares >= 100, shares // 100 * 100, shares)
    # A minute without a price has odd lots alone, equal but for the balancing one's remainder.
    equal = frames.filler_volume // VOLUME_UNIT // np.maximum(frames.fillers, 1)
    size = np.where(frames.priced[places.minute] == 0, equal[places.minute], shares) * VOLUME_UNIT
    size[places.balancing] = 0
    size[places.balancing] = frames.filler_volume[places.used] - places.sums(size)
    return size


def _kinds(draws: np.random.Generator, places: _Places, size: IntArray) -> IntArray:
    count = len(places.minute)
    regular = places.frames.regular[places.minute]
    odd = size < ODD_LOT
    sweep = draws.random(count) < SWEEP_PART
    kind = np.select(
        [~regular & odd, ~regular, odd & sweep, odd, sweep],
        [Kind.EXTENDED_ODD_LOT, Kind.EXTENDED, Kind.ODD_LOT_SWEEP, Kind.ODD_LOT, Kind.SWEEP],
        Kind.PLAIN,
    )
    rare = np.searchsorted(np.cumsum(list(_RARE_RATES.values())), draws.random(count), side="right")
    rare_kind = np.array([*_RARE_RATES, Kind.PLAIN])[rare]
    kind = np.where((rare < len(_RARE_RATES)) & regular & ~odd, rare_kind, kind)
    late = ~regular & ~odd & (draws.random(count) < _EXTENDED_LATE)
    kind = np.where(late, Kind.EXTENDED_OUT_OF_SEQUENCE, kind)
    average = np.where(regular, Kind.AVERAGE_PRICE, Kind.EXTENDED_AVERAGE)
    return np.where(places.balancing & (places.frames.priced[places.minute] > 0), average, kind).astype(np.int64)


def _prices_on_the_way(places: _Places, along: FloatArray) -> FloatArray:
    """Prices on the frames' straight lines at moments between open (0) and close (1)."""
    frames, way, minute = places.frames, places.frames.corners(), places.minute
    t1, t2, p1, p2 = way.first_at[minute], way.second_at[minute], way.first[minute], way.second[minute]
    p0, p3 = frames.open[minute], frames.close[minute]
    to_first = p0 + (p1 - p0) * along / t1
    to_second = p1 + (p2 - p1) * (along - t1) / np.maximum(t2 - t1, 1e-9)
    to_close = p2 + (p3 - p2) * (along - t2) / (1.0 - t2)
    return np.select([along < t1, along < t2], [to_first, to_second], to_close)


def _value_left(frames: Frames) -> IntArray:
    """What the fillers of each minute are worth together: the bar's value less that of the frame's own trades."""
    return np.asarray(frames.vwap * frames.volume - frames.own_value)


def _fit_to_average(places: _Places, size: IntArray, price: FloatArray) -> FloatArray:
    """Prices in whole cents inside the frame, moved together so that the balancing trade is left near the average."""
    frames, minute = places.frames, places.minute
    target = (_value_left(frames) / np.maximum(frames.filler_volume, 1))[places.used]
    weight = np.where(places.balancing, 0, size)
    total = np.maximum(places.sums(weight), 1)
    low, high = frames.low[minute], frames.high[minute]
    # Twice, because the frame's bounds cut off a part of the first move.
    for _ in range(2):
        mean = places.sums(weight * price) / total
        price = np.clip(price + places.spread(target - mean), low, high)
    return np.asarray(np.clip(np.rint(price / CENT) * CENT, low, high))


def _balance(places: _Places, size: IntArray, price: IntArray) -> IntArray:
    """The prices with the balancing trade's, which leaves nothing of the bar's value but rounding below its average."""
    frames = places.frames
    no_bar = frames.priced == 0
    price = np.where(no_bar[places.minute], frames.open[places.minute], price)
    left = _value_left(frames)[places.used] - places.sums(np.where(places.balancing, 0, size * price))
    balanced = np.rint(left / size[places.balancing]).astype(np.int64)
    price[places.balancing] = np.where(no_bar[places.used], frames.open[places.used], balanced)
    return price
