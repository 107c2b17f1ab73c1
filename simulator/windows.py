"""The windows of longer bars: where each starts, where the next one starts, and making bars of base bars.

All of it is New York time. Minutes and hours are counted from midnight, so hours are clock hours; windows of several
hours are off the wall clock by one for the rest of the two Sundays a year when it changes. Weeks begin on Sunday;
months, quarters and years are the calendar's. A multiplier counts windows from midnight within a day and from 1970
(weeks: its first Sunday) beyond, so that a window does not depend on the range asked for. Paging is in ``bar_pages``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulator.newyork import HOUR_MS, IntArray, local_days, midnights_ms
from simulator.world import BAR_SCHEMA, BaseSpan

_FIRST_SUNDAY: Final = 3  # 1970-01-04, in days since 1970-01-01


class Timespan(StrEnum):
    """The window sizes the vendor offers."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


_BASE: Final = {
    Timespan.SECOND: BaseSpan.SECOND,
    Timespan.MINUTE: BaseSpan.MINUTE,
    Timespan.HOUR: BaseSpan.MINUTE,
}
_CLOCK_MS: Final = {Timespan.SECOND: 1000, Timespan.MINUTE: 60_000, Timespan.HOUR: HOUR_MS}
_MONTHS: Final = {Timespan.MONTH: 1, Timespan.QUARTER: 3, Timespan.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of ``multiplier`` times ``timespan``."""

    timespan: Timespan
    multiplier: int

    @property
    def base(self) -> BaseSpan:
        """The bars these windows are made of."""
        return _BASE.get(self.timespan, BaseSpan.DAY)

    @property
    def is_base(self) -> bool:
        """Whether a window is a base bar, which is then served as it is."""
        return self.multiplier == 1 and self.timespan == str(self.base)

    def starts(self, t_ms: IntArray) -> IntArray:
        """The start of the window that holds each instant, ms since the epoch."""
        if self.timespan in _CLOCK_MS:
            since_midnight = t_ms - midnights_ms(local_days(t_ms))
            return t_ms - since_midnight % (self.multiplier * _CLOCK_MS[self.timespan])
        return midnights_ms(self._first_days(local_days(t_ms)))

    def next_start(self, start_ms: int) -> int:
        """The start of the window after the one that starts at ``start_ms``."""
        day = local_days(np.array([start_ms]))
        if self.timespan in _CLOCK_MS:
            midnight = int(midnights_ms(day + 1)[0])
            return min(start_ms + self.multiplier * _CLOCK_MS[self.timespan], midnight)
        return int(midnights_ms(self._first_days(self._first_days(day) + self._longest_days()))[0])

    def _first_days(self, days: IntArray) -> IntArray:
        if self.timespan in _MONTHS:
            months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
            size = self.multiplier * _MONTHS[self.timespan]
            first = (months // size * size).astype("datetime64[M]").astype("datetime64[D]")
            return first.astype(np.int64)
        if self.timespan is Timespan.WEEK:
            size = 7 * self.multiplier
            return (days - _FIRST_SUNDAY) // size * size + _FIRST_SUNDAY
        return days // self.multiplier * self.multiplier

    def _longest_days(self) -> int:
        """Days from a window's first day that surely lie in the next window, and not beyond it."""
        if self.timespan in _MONTHS:
            return round(30.4375 * self.multiplier * _MONTHS[self.timespan]) + 3
        return self.multiplier * (7 if self.timespan is Timespan.WEEK else 1)


def aggregate(base: pa.Table, starts: IntArray, stamp_shift_ms: int) -> pa.Table:
    """One bar for each run of equal ``starts``: first open, last close, sums of volume and count, vwap by volume.

    ``stamp_shift_ms`` moves the stamps: an index's days begin at midnight in Chicago, an hour after New York's.
    """
    if base.num_rows == 0:
        return base
    first = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
    last = np.append(first[1:], len(starts)) - 1
    volumes, vwaps = _floats(base, "v"), _floats(base, "vw")
    total = _sums(volumes, first)
    # A bar without volume weighs nothing; one with volume and no vwap leaves the window's vwap unknown.
    turnover = np.add.reduceat(np.where(volumes == 0, 0.0, volumes * vwaps), first)
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = turnover / total
    columns = {
        "t": starts[first] + stamp_shift_ms,
        "o": _floats(base, "o")[first],
        "h": np.fmax.reduceat(_floats(base, "h"), first),
        "l": np.fmin.reduceat(_floats(base, "l"), first),
        "c": _floats(base, "c")[last],
        "v": total,
        "vw": vwap,
        "n": _sums(_floats(base, "n"), first),
    }
    arrays = [pa.array(columns[f.name], from_pandas=True).cast(f.type) for f in BAR_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=BAR_SCHEMA)


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = table[name].cast(pa.float64()).to_numpy()
    return values


def _sums(values: npt.NDArray[np.float64], first: IntArray) -> npt.NDArray[np.float64]:
    """Sums of the known values of each window; NaN where none is known."""
    known = np.add.reduceat(~np.isnan(values), first)
    totals: npt.NDArray[np.float64] = np.where(known > 0, np.add.reduceat(np.nan_to_num(values), first), np.nan)
    return totals
