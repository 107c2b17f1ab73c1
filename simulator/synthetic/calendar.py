"""The trading days of the synthetic market by number, and the hours of each; which days those are is the exchange's.

Hours of shares stand here because every other market's hours follow from them; what trades in which of those hours is
decided where that market is made (indices.py, option_market.py).
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from functools import cache

from simulator import exchange_hours
from simulator.newyork import HOUR_MS, NS_PER_MS, date_of_ms, midnight_ms

FIRST_DAY = date(2013, 1, 2)
LAST_DAY = date(2028, 12, 29)
# Contracts listed on the last day expire up to two years after it.
LAST_EXPIRY_DAY = date(2031, 6, 30)

MINUTE_MS = 60_000
PRE_MARKET_HOUR = 4
_LOWEST_MS, _HIGHEST_MS = midnight_ms(date(1990, 1, 1)), midnight_ms(date(2100, 1, 1))


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day; all instants in milliseconds since the epoch."""

    day: date
    index: int  # position among all sessions of the calendar
    midnight_ms: int  # 00:00 New York
    open_ms: int  # 09:30 New York
    close_ms: int  # 16:00 New York, 13:00 on a half day

    @property
    def pre_market_ms(self) -> int:
        """04:00 New York: the first minute in which shares trade."""
        return self.midnight_ms + PRE_MARKET_HOUR * HOUR_MS

    @property
    def post_market_end_ms(self) -> int:
        """20:00 New York, 17:00 on a half day: shares trade until just before."""
        return self.close_ms + 4 * HOUR_MS

    @property
    def chicago_midnight_ms(self) -> int:
        """00:00 Chicago, the stamp of an index's daily bar."""
        return self.midnight_ms + HOUR_MS

    @property
    def minutes(self) -> int:
        """Minutes from the pre-market's first to the post-market's last."""
        return (self.post_market_end_ms - self.pre_market_ms) // MINUTE_MS

    @property
    def open_minute(self) -> int:
        """Index of the 09:30 minute, counted from 04:00."""
        return (self.open_ms - self.pre_market_ms) // MINUTE_MS

    @property
    def close_minute(self) -> int:
        """Index of the first minute after the regular session, counted from 04:00."""
        return (self.close_ms - self.pre_market_ms) // MINUTE_MS


class TradingCalendar:
    """All sessions from FIRST_DAY to LAST_EXPIRY_DAY; the market has rows up to LAST_DAY, expiries may lie beyond."""

    def __init__(self, sessions: tuple[Session, ...]) -> None:
        self.sessions = sessions
        self._days = [session.day for session in sessions]
        self._by_day = {session.day: session for session in sessions}
        self.traded = sessions[: bisect_right(self._days, LAST_DAY)]

    def on(self, day: date) -> Session | None:
        """The session of that day, or None when the exchange is closed."""
        return self._by_day.get(day)

    def count_before(self, day: date) -> int:
        """How many sessions lie before that day: the index of the first one on or after it."""
        return bisect_left(self._days, day)

    def count_through(self, day: date) -> int:
        """How many sessions lie on or before that day."""
        return bisect_right(self._days, day)

    def on_or_before(self, day: date) -> Session:
        """The newest session that is not after the day; the day lies in the calendar."""
        return self.sessions[self.count_through(day) - 1]

    def on_or_after(self, day: date) -> Session:
        """The oldest session that is not before the day; the day lies in the calendar."""
        return self.sessions[self.count_before(day)]

    def overlapping(self, start_ms: int, end_ms: int) -> tuple[Session, ...]:
        """The traded sessions whose New York dates the closed range touches."""
        if start_ms > end_ms:
            return ()
        first, last = new_york_day(start_ms), new_york_day(end_ms)
        return self.traded[self.count_before(first) : self.count_through(last)]


def new_york_day(at_ms: int) -> date:
    """The New York date of an instant, clamped to years that a date can hold."""
    return date_of_ms(min(max(at_ms, _LOWEST_MS), _HIGHEST_MS))


@cache
def new_york_calendar() -> TradingCalendar:
    """The exchange's sessions over fixed years, whatever today is."""
    sessions = exchange_hours.regular_sessions(FIRST_DAY, LAST_EXPIRY_DAY)
    return TradingCalendar(
        tuple(
            Session(day, index, midnight_ms(day), open_ns // NS_PER_MS, close_ns // NS_PER_MS)
            for index, (day, open_ns, close_ns) in enumerate(sessions)
        )
    )
