"""The Treasury yield curve: smooth curves around an invented path of the short rate, one a business day."""

from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.tseries.holiday import GoodFriday, USFederalHolidayCalendar

from simulator.synthetic.calendar import FIRST_DAY, LAST_DAY
from simulator.synthetic.draws import stream
from simulator.synthetic.path import FloatArray

TENOR_YEARS = {
    "yield_1_month": 1 / 12,
    "yield_3_month": 0.25,
    "yield_6_month": 0.5,
    "yield_1_year": 1.0,
    "yield_2_year": 2.0,
    "yield_3_year": 3.0,
    "yield_5_year": 5.0,
    "yield_7_year": 7.0,
    "yield_10_year": 10.0,
    "yield_20_year": 20.0,
    "yield_30_year": 30.0,
}
RATES_SCHEMA = pa.schema({"date": pa.string()} | dict.fromkeys(TENOR_YEARS, pa.float64()))

# The short rate's path in percent, straight between these days; the shape of the times, not their record.
_SHORT_RATE_DAYS = ("2013-01-01", "2015-12-15", "2018-12-15", "2019-12-15", "2020-03-15", "2022-03-15", "2023-08-01",
                    "2024-09-01", "2024-12-31", "2025-12-31", "2027-01-01", "2028-12-31")  # fmt: skip
_SHORT_RATE = (0.1, 0.2, 2.4, 1.6, 0.1, 0.3, 5.3, 5.2, 4.4, 3.9, 3.5, 3.4)
LONG_RATE = 4.3
LONG_RATE_WEIGHT = 0.55  # how far the far end stands from the short rate towards the long one
DECAY_YEARS = 2.5


class YieldCurves:
    """All curves of a seed, asked for by date."""

    def __init__(self, days: tuple[date, ...], percent: FloatArray) -> None:
        self.days = days
        self.percent = percent  # (days, tenors), in the order of TENOR_YEARS
        self._dates = np.array(days, "datetime64[D]")

    def table(self, first: date, last: date) -> pa.Table:
        """The curves dated in the closed range, in the vendor's field names."""
        rows = [i for i, day in enumerate(self.days) if first <= day <= last]
        columns = [pa.array([self.days[i].isoformat() for i in rows], pa.string())]
        columns += [pa.array(column) for column in self.percent[rows].T]
        return pa.table(columns, schema=RATES_SCHEMA)

    def continuous_rates(self, before: date, years: FloatArray) -> FloatArray:
        """Continuously compounded annual rates for the given tenors, from the newest curve dated before the day."""
        index = max(int(np.searchsorted(self._dates, np.datetime64(before))) - 1, 0)
        percent = np.interp(years, list(TENOR_YEARS.values()), self.percent[index])
        return np.asarray(np.log1p(percent / 100.0))


@lru_cache(maxsize=8)
def yield_curves(seed: int) -> YieldCurves:
    """The curves of every day on which the Treasury publishes one: weekdays but federal holidays and Good Friday."""
    holidays = set(USFederalHolidayCalendar().holidays(FIRST_DAY, LAST_DAY).date)
    good_fridays = set(GoodFriday.dates(pd.Timestamp(FIRST_DAY), pd.Timestamp(LAST_DAY)).date)
    span = (LAST_DAY - FIRST_DAY).days + 1
    days = [FIRST_DAY + timedelta(days=i) for i in range(span)]
    days = [day for day in days if day.weekday() < 5 and day not in holidays | good_fridays]

    ordinals = np.array([day.toordinal() for day in days], np.float64)
    known = [date.fromisoformat(day).toordinal() for day in _SHORT_RATE_DAYS]
    short = np.interp(ordinals, known, _SHORT_RATE)
    shocks = stream(seed, "yields").standard_normal((len(days), 2)) * (0.012, 0.045)
    wander = np.zeros((len(days), 2))
    for i in range(1, len(days)):
        wander[i] = 0.99 * wander[i - 1] + shocks[i]
    tenors = np.array(list(TENOR_YEARS.values()))
    near = np.exp(-tenors / DECAY_YEARS)
    far = short + LONG_RATE_WEIGHT * (LONG_RATE - short) + wander[:, 1]
    percent = near * (short + wander[:, 0])[:, None] + (1.0 - near) * far[:, None]
    percent += 0.015 * np.maximum(tenors - 7.0, 0.0)  # the far end asks a premium
    return YieldCurves(tuple(days), np.round(np.maximum(percent, 0.01), 2))
