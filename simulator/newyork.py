"""New York time: dates, midnights and offsets, for single instants and for arrays.

Which dates are sessions and when they open and close is the exchange's matter and lives in ``exchange_hours``.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

NEW_YORK: Final = ZoneInfo("America/New_York")
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
_EPOCH: Final = date(1970, 1, 1)


def instant_ns(day: date, at: time) -> int:
    """Nanoseconds since the epoch of a New York wall-clock time."""
    return int(datetime.combine(day, at, NEW_YORK).timestamp()) * NS_PER_S + at.microsecond * 1000


def midnight_ms(day: date) -> int:
    """Milliseconds since the epoch of New York midnight at the start of a date."""
    return instant_ns(day, time()) // NS_PER_MS


def day_bounds_ms(day: date) -> tuple[int, int]:
    """First and last millisecond of a New York date (23 or 25 hours apart when the clocks change)."""
    return midnight_ms(day), midnight_ms(day + timedelta(days=1)) - 1


def date_of_ms(t_ms: int) -> date:
    """The New York date of an instant in milliseconds."""
    return moment(t_ms * NS_PER_MS).date()


def moment(t_ns: int) -> datetime:
    """The instant as a New York datetime, cut to microseconds."""
    seconds, rest = divmod(t_ns, NS_PER_S)
    return datetime.fromtimestamp(seconds, UTC).astimezone(NEW_YORK).replace(microsecond=rest // 1000)


def rfc3339_ns(t_ns: int) -> str:
    """The instant in UTC with nine decimals, ``2024-12-20T14:30:00.000000001Z``."""
    seconds, rest = divmod(t_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def offsets_ms(t_ms: IntArray) -> IntArray:
    """What to add to UTC to get New York wall time, for each instant.

    New York changes its clocks on a whole UTC hour, so one look-up an hour is exact.
    """
    hours, place = np.unique(t_ms // HOUR_MS, return_inverse=True)
    per_hour = np.fromiter((_offset_ms(int(hour) * 3600) for hour in hours), dtype=np.int64, count=len(hours))
    return per_hour[place]


def local_days(t_ms: IntArray) -> IntArray:
    """New York dates as days since 1970-01-01."""
    return (t_ms + offsets_ms(t_ms)) // DAY_MS


def midnights_ms(days: IntArray) -> IntArray:
    """New York midnights of dates given as days since 1970-01-01."""
    unique, place = np.unique(days, return_inverse=True)
    stamps = (midnight_ms(_EPOCH + timedelta(days=int(day))) for day in unique)
    return np.fromiter(stamps, dtype=np.int64, count=len(unique))[place]


def _offset_ms(epoch_s: int) -> int:
    offset = datetime.fromtimestamp(epoch_s, NEW_YORK).utcoffset() or timedelta()
    return offset // timedelta(milliseconds=1)
