"""Rows of many tickers as a world serves them: sorted once, so that a request is a slice; index values made of bars."""

from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.newyork import NS_PER_MS
from simulator.world import VALUE_SCHEMA

_VALUES_OF_A_BAR_NS: Final = [seconds * 1_000_000_000 for seconds in (2, 17, 32, 47)]
"""When in its minute the four values are published that a minute bar of an index stands for."""


class Series:
    """Rows sorted by ticker (and span) and time, with the place of each ticker."""

    def __init__(self, table: pa.Table, time_column: str, codes: list[str]) -> None:
        keys = [_codes(table[name]) for name in codes]
        times = table[time_column].to_numpy()
        order = np.lexsort((times, *(values for values, _ in reversed(keys))))
        if not np.array_equal(order, np.arange(len(order))):
            table = table.take(pa.array(order))
            times = times[order]
        self._times = times
        self._rows = table.drop_columns(codes)
        self._spans: dict[tuple[str, ...], tuple[int, int]] = {}
        combined = np.zeros(len(order), dtype=np.int64)
        for values, names in keys:
            combined = combined * len(names) + values[order]
        starts = np.flatnonzero(np.diff(combined, prepend=-1))
        for first, after in pairwise([*starts, len(order)] if len(starts) else []):
            place = int(order[first])
            self._spans[tuple(names[values[place]] for values, names in keys)] = int(first), int(after)

    def tickers(self) -> set[str]:
        """The tickers that have rows."""
        return {key[0] for key in self._spans}

    def between(self, key: tuple[str, ...], start: int, end: int) -> pa.Table:
        """The rows of a key with ``start <= time <= end``, without the key's columns."""
        first, after = self._spans.get(key, (0, 0))
        times = self._times[first:after]
        low = first + int(np.searchsorted(times, start, side="left"))
        high = first + int(np.searchsorted(times, end, side="right"))
        return self._rows.slice(low, max(high - low, 0))


def values_of_minutes(bars: pa.Table, start_ns: int, end_ns: int) -> pa.Table:
    """Values between two instants, of which each bar's open, high, low and close are those of its minute."""
    rises = pc.greater_equal(bars["c"], bars["o"])
    first, second = pc.if_else(rises, bars["l"], bars["h"]), pc.if_else(rises, bars["h"], bars["l"])
    value = np.stack([column.to_numpy() for column in (bars["o"], first, second, bars["c"])], axis=1).ravel()
    at = (bars["t"].to_numpy()[:, None] * NS_PER_MS + np.array(_VALUES_OF_A_BAR_NS)).ravel()
    keep = (at >= start_ns) & (at <= end_ns)
    return pa.table([at[keep], value[keep]], schema=VALUE_SCHEMA)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """Each value's rank among the column's sorted values, and those values."""
    names = sorted(column.unique().to_pylist())
    codes = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return codes.cast(pa.int64()).to_numpy(), names
