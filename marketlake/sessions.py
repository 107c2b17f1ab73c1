"""Which times are expected of which table: trading dates, hours, half days, expiries, and when a session is final.

The calendar comes from exchange_calendars (XNYS); everything about hours that it does not know (options, indices,
extended trading) stands here and nowhere else. Every instant is UTC; every date is a New York date.

Sources: Cboe's hours page (options on SPY and other broad ETFs, and index options, trade to 16:15, 13:15 on half days)
and Cboe's VIX methodology (values 03:15-09:15 and 09:30-16:15 New York).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from marketlake.errors import UsageError
from marketlake.tickers import AssetClass, OptionTicker

NEW_YORK: Final = ZoneInfo("America/New_York")

# Fixed bounds: left to itself the calendar reaches from 20 years before today's date, which would make it depend on
# the day on which it is built.
FIRST_DATE: Final = date(1995, 1, 3)
LAST_DATE: Final = date(2035, 12, 31)

PRE_MARKET_OPEN: Final = time(4)
POST_MARKET_AFTER_CLOSE: Final = timedelta(hours=4)
# Late reports of the extended session still arrive for some minutes.
SETTLING: Final = timedelta(minutes=5)
LATE_CLOSE: Final = timedelta(minutes=15)
SATURDAY: Final = 5
# Options on these trade a quarter of an hour beyond the shares' close (Cboe and NYSE Arca lists of broad-based ETFs).
LATE_CLOSING_ROOTS: Final = frozenset(
    "SPY QQQ IWM DIA EEM EFA FXI GLD SLV USO UNG TLT MDY OEF SMH KRE XRT VXX UVXY SVXY VIXY DBC DBO ASHR "
    "XLB XLE XLF XLI XLK XLP XLU XLV XLY "
    "SPX SPXW XSP NDX NDXP RUT RUTW DJX VIX VIXW".split()
)
VIX_EARLY_OPEN: Final = time(3, 15)
VIX_EARLY_CLOSE: Final = time(9, 15)


@dataclass(frozen=True, slots=True)
class Hours:
    """A half-open interval of time, ``start <= t < end``, UTC."""

    start: datetime
    end: datetime

    @property
    def minutes(self) -> int:
        """How many whole minutes the interval holds."""
        return int((self.end - self.start) / timedelta(minutes=1))

    @property
    def start_ns(self) -> int:
        """The start in nanoseconds since the epoch."""
        return to_ns(self.start)

    @property
    def end_ns(self) -> int:
        """The end in nanoseconds since the epoch."""
        return to_ns(self.end)

    def minute_starts_ns(self) -> NDArray[np.int64]:
        """The start of each minute, int64 nanoseconds since the epoch."""
        return np.arange(self.start_ns, self.end_ns, 60_000_000_000, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Calendar:
    dates: tuple[date, ...]
    position: dict[date, int]
    opens_ns: NDArray[np.int64]
    closes_ns: NDArray[np.int64]
    holidays: dict[date, str]


@cache
def _calendar() -> _Calendar:
    import exchange_calendars  # noqa: PLC0415 - 1.5 s that `marketlake --help` must not pay

    xnys = exchange_calendars.get_calendar("XNYS", start=FIRST_DATE.isoformat(), end=LAST_DATE.isoformat())
    dates = tuple(xnys.sessions.date)
    opens_ns, closes_ns = (times.dt.as_unit("ns").astype("int64").to_numpy() for times in (xnys.opens, xnys.closes))
    named = xnys.regular_holidays.holidays(FIRST_DATE, LAST_DATE, return_name=True)
    holidays = {day.date(): str(name) for day, name in named.items()}
    return _Calendar(dates, {day: index for index, day in enumerate(dates)}, opens_ns, closes_ns, holidays)


def to_ns(instant: datetime) -> int:
    """Nanoseconds since the epoch of an aware instant, exact to the microsecond that a datetime holds."""
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def new_york(day: date, at: time) -> datetime:
    """The UTC instant of a New York wall-clock time on a date."""
    return datetime.combine(day, at, tzinfo=NEW_YORK).astimezone(UTC)


def is_session(day: date) -> bool:
    """Whether the exchange trades on this date."""
    _require_known(day)
    return day in _calendar().position


def closure_of(day: date) -> str | None:
    """Why the exchange does not trade on a date: Sunday, Thanksgiving, an unscheduled closure; None where it does."""
    if is_session(day):
        return None
    if day.weekday() >= SATURDAY:
        return f"{day:%A}"
    return _calendar().holidays.get(day, "unscheduled closure")


def sessions_between(first: date, last: date) -> Sequence[date]:
    """The trading dates from ``first`` to ``last``, both included."""
    _require_known(first)
    _require_known(last)
    return tuple(day for day in _calendar().dates if first <= day <= last)


def require_session(day: date) -> date:
    """The same date.

    Raises:
        UsageError: the exchange does not trade on it; the message names the nearest sessions.
    """
    if is_session(day):
        return day
    message = f"{day} is no trading session: the nearest are {previous_session(day)} and {next_session(day)}"
    raise UsageError(message)


def previous_session(day: date) -> date:
    """The last trading date before a date."""
    _require_known(day)
    dates = _calendar().dates
    return _at(dates, int(np.searchsorted(np.asarray(dates, dtype="datetime64[D]"), np.datetime64(day))) - 1)


def next_session(day: date) -> date:
    """The first trading date after a date."""
    _require_known(day)
    dates = _calendar().dates
    return _at(dates, int(np.searchsorted(np.asarray(dates, dtype="datetime64[D]"), np.datetime64(day), side="right")))


def share_hours(session: date) -> Hours:
    """Regular hours of the shares: 09:30 to 16:00 New York, 13:00 on half days."""
    require_session(session)
    calendar = _calendar()
    place = calendar.position[session]
    return Hours(_from_ns(calendar.opens_ns[place]), _from_ns(calendar.closes_ns[place]))


def extended_share_hours(session: date) -> Hours:
    """From the pre-market's open at 04:00 to the end of the post-market, four hours after the close."""
    return Hours(new_york(session, PRE_MARKET_OPEN), share_hours(session).end + POST_MARKET_AFTER_CLOSE)


def option_hours(root: str, session: date) -> Hours:
    """Hours of the options of a root (SPY, SPXW, AAPL): to 16:15 for broad ETFs and indices, else to the close."""
    regular = share_hours(session)
    late = root.rstrip("0123456789") in LATE_CLOSING_ROOTS
    return Hours(regular.start, regular.end + LATE_CLOSE) if late else regular


def index_hours(session: date) -> Hours:
    """Hours in which an index is expected to have values: the regular session and a quarter of an hour."""
    regular = share_hours(session)
    return Hours(regular.start, regular.end + LATE_CLOSE)


def early_index_hours(session: date) -> Hours:
    """VIX's early session, 03:15 to 09:15 New York."""
    return Hours(new_york(session, VIX_EARLY_OPEN), new_york(session, VIX_EARLY_CLOSE))


def regular_hours(asset_class: AssetClass, root: str, session: date) -> Hours:
    """The hours in which rows of an asset class are expected; rows outside are facts and are only flagged."""
    if asset_class is AssetClass.STOCKS:
        return share_hours(session)
    if asset_class is AssetClass.OPTIONS:
        return option_hours(root, session)
    return index_hours(session)


def whole_day(session: date) -> Hours:
    """The New York calendar day of a session: rows belong to the session in whose day they fall."""
    return Hours(new_york(session, time(0)), new_york(session + timedelta(days=1), time(0)))


def news_hours(session: date) -> Hours:
    """From the end of the previous session's day to the end of this one's: a weekend's news belongs to Monday."""
    return Hours(new_york(previous_session(session) + timedelta(days=1), time(0)), whole_day(session).end)


def settled_at(session: date, delay: timedelta = timedelta(0)) -> datetime:
    """When history of a session is complete at the vendor: after the post-market, plus the plan's delay."""
    return extended_share_hours(session).end + SETTLING + delay


def snapshot_hours(session: date, delay: timedelta = timedelta(0)) -> Hours:
    """When the vendor's present is a session's end: from its settlement until the next pre-market opens.

    Empty, its end before its start, where a plan's delay is as long as the night.
    """
    return Hours(settled_at(session, delay), new_york(next_session(session), PRE_MARKET_OPEN))


def newest_settled_session(now: datetime, delay: timedelta = timedelta(0)) -> date:
    """The newest session whose history is complete at ``now``."""
    day = now.astimezone(NEW_YORK).date()
    if is_session(day) and settled_at(day, delay) <= now:
        return day
    return previous_session(day)


def expiry_instant(contract: OptionTicker) -> datetime:
    """When a contract's time value ends: the shares' close on its expiry date, or the session before a closed date.

    Physical and PM-settled contracts are exercised against the close at 16:00 (13:00 on half days), although some go on
    trading for a quarter of an hour. The monthly root SPX settles against the opening prints instead.
    """
    day = contract.expiry if is_session(contract.expiry) else previous_session(contract.expiry)
    hours = share_hours(day)
    return hours.start if contract.root in {"SPX", "NDX", "RUT", "VIX", "VIXW"} else hours.end


def session_dates_of(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """The New York date of each instant: ``timestamp[ns, UTC]`` in, ``date32`` out."""
    local = pc.local_timestamp(times.cast(pa.timestamp("ns", tz="America/New_York")))
    return pc.floor_temporal(local, unit="day").cast(pa.date32())


def _from_ns(instant_ns: np.int64) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(instant_ns) // 1_000)


def _at(dates: Sequence[date], place: int) -> date:
    if not 0 <= place < len(dates):
        message = f"the calendar ends there: it reaches from {FIRST_DATE} to {LAST_DATE}"
        raise UsageError(message)
    return dates[place]


def _require_known(day: date) -> None:
    if not FIRST_DATE <= day <= LAST_DATE:
        message = f"{day} is outside the calendar, which reaches from {FIRST_DATE} to {LAST_DATE}"
        raise UsageError(message)
