"""Bars from prints: what a window of trades or index values comes to.

Which trade counts for what is told by flags that the caller gives (conditions.py knows the rules for shares).
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.synthetic.minutes import PRICE_UNIT, VOLUME_UNIT, IntArray
from simulator.synthetic.prints import Prints
from simulator.world import BAR_SCHEMA

NS_A_MS = 1_000_000


def bars_of_prints(prints: Prints, width_ms: int) -> pa.Table:
    """Bars of the given width, stamped on its multiples since the epoch; a window without open and close has none."""
    if not len(prints.time_ns):
        return BAR_SCHEMA.empty_table()
    window = prints.time_ns // (width_ms * NS_A_MS)
    starts = np.flatnonzero(np.concatenate(([True], window[1:] != window[:-1])))
    bar_of = np.cumsum(np.concatenate(([0], (window[1:] != window[:-1]).astype(np.int64))))

    volume = np.add.reduceat(np.where(prints.makes_volume, prints.size, 0), starts)
    value = np.add.reduceat(np.where(prints.makes_volume, prints.size * prints.price, 0), starts)
    count = np.add.reduceat(prints.makes_volume.astype(np.int64), starts)
    extreme = prints.makes_extremes | prints.makes_edges
    high = np.maximum.reduceat(np.where(extreme, prints.price, np.iinfo(np.int64).min), starts)
    low = np.minimum.reduceat(np.where(extreme, prints.price, np.iinfo(np.int64).max), starts)
    edges = np.flatnonzero(prints.makes_edges)
    open_, close = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    close[bar_of[edges]] = prints.price[edges]
    open_[bar_of[edges[::-1]]] = prints.price[edges[::-1]]
    exists = np.zeros(len(starts), np.bool_)
    exists[bar_of[edges]] = True
    vwap = np.divide(value, volume, out=np.zeros(len(starts)), where=volume > 0)
    return bar_table(
        t=(window[starts] * width_ms)[exists],
        ohlc=np.stack((open_, high, low, close))[:, exists] / PRICE_UNIT,
        volume=volume[exists] / VOLUME_UNIT,
        vwap=np.rint(vwap[exists]) / PRICE_UNIT,
        count=count[exists],
    )


def bars_of_values(time_ns: IntArray, value: NDArray[np.float64], width_ms: int) -> pa.Table:
    """Bars of an index: no volume, average or count."""
    if not len(time_ns):
        return BAR_SCHEMA.empty_table()
    window = time_ns // (width_ms * NS_A_MS)
    starts = np.flatnonzero(np.concatenate(([True], window[1:] != window[:-1])))
    ends = np.concatenate((starts[1:], [len(window)])) - 1
    high, low = np.maximum.reduceat(value, starts), np.minimum.reduceat(value, starts)
    return bar_table(t=window[starts] * width_ms, ohlc=np.stack((value[starts], high, low, value[ends])))


def bar_table(
    t: IntArray,
    ohlc: NDArray[np.float64],
    volume: NDArray[np.float64] | None = None,
    vwap: NDArray[np.float64] | None = None,
    count: IntArray | None = None,
) -> pa.Table:
    """Bars in the world's schema; what is None is null."""
    columns: dict[str, NDArray[np.generic] | None] = {"t": t, "v": volume, "vw": vwap, "n": count}
    columns |= dict(zip("ohlc", ohlc, strict=True))
    return pa.table(
        [
            pa.nulls(len(t), field.type) if columns[field.name] is None else pa.array(columns[field.name], field.type)
            for field in BAR_SCHEMA
        ],
        schema=BAR_SCHEMA,
    )
