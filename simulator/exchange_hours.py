"""When the exchange is open: sessions, half days and holidays, from the published calendar of the NYSE.

The calendar library takes a second to load, so it is imported by the first question and not by the process's start.
"""

import warnings
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from simulator.newyork import NEW_YORK, NS_PER_S, instant_ns, moment

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

PRE_MARKET_OPENS: Final = time(4)
POST_MARKET_HOURS: Final = timedelta(hours=4)
_REGULAR_CLOSE: Final = time(16)


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """A weekday on which the exchange is closed, or closes early."""

    day: date
    name: str
    session_ns: tuple[int, int] | None


@lru_cache(maxsize=4096)
def regular_session(day: date) -> tuple[int, int] | None:
    """Opening and closing instant of a date's regular session in ns; None where there is no session."""
    calendar = _calendar(day.year)
    label = day.isoformat()
    if not calendar.is_session(label):
        return None
    opens, closes = calendar.session_open(label), calendar.session_close(label)
    return int(opens.timestamp()) * NS_PER_S, int(closes.timestamp()) * NS_PER_S


def on_or_before(day: date) -> date:
    """The newest date with a session that is not after a date."""
    while regular_session(day) is None:
        day -= timedelta(days=1)
    return day


def market_phase(now_ns: int) -> tuple[str, bool, bool]:
    """The market's word (``open``, ``extended-hours``, ``closed``), and whether it is early or after hours."""
    day = moment(now_ns).date()
    session = regular_session(day)
    if session is None:
        return "closed", False, False
    opens, closes = session
    if opens <= now_ns < closes:
        return "open", False, False
    if instant_ns(day, PRE_MARKET_OPENS) <= now_ns < opens:
        return "extended-hours", True, False
    if closes <= now_ns < closes + int(POST_MARKET_HOURS.total_seconds()) * NS_PER_S:
        return "extended-hours", False, True
    return "closed", False, False


def special_days(after: date, until: date) -> list[SpecialDay]:
    """Closed weekdays and early closes after one date up to another, in order."""
    names = _holiday_names(after.year) | _holiday_names(until.year)
    found = []
    day = after
    while day < until:
        day += timedelta(days=1)
        session = regular_session(day)
        if session is None:
            if day.weekday() < 5:
                found.append(SpecialDay(day, names.get(day, "Special closing"), None))
        elif datetime.fromtimestamp(session[1] // NS_PER_S, NEW_YORK).time() < _REGULAR_CLOSE:
            found.append(SpecialDay(day, names.get(day, "Early close"), session))
    return found


def regular_sessions(first: date, last: date) -> list[tuple[date, int, int]]:
    """Date, opening and closing instant in ns of every regular session between two dates, in one question."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = _library_calendar(first, last).schedule
    days = [stamp.date() for stamp in schedule.index]
    opens, closes = ([int(stamp.timestamp()) * NS_PER_S for stamp in schedule[name]] for name in ("open", "close"))
    return list(zip(days, opens, closes, strict=True))


@lru_cache(maxsize=64)
def _calendar(year: int) -> "ExchangeCalendar":
    # Some days more on either side: the calendar refuses questions before its first and after its last session.
    return _library_calendar(date(year - 1, 12, 15), date(year + 1, 1, 15))


def _library_calendar(first: date, last: date) -> "ExchangeCalendar":
    with warnings.catch_warnings():
        # The library uses what the installed pandas deprecates; nothing here can change that.
        warnings.simplefilter("ignore")
        from exchange_calendars import get_calendar  # noqa: PLC0415 - a second of import that most runs never need

        return get_calendar("XNYS", start=first, end=last)


@lru_cache(maxsize=64)
def _holiday_names(year: int) -> dict[date, str]:
    calendar = _calendar(year)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, last = f"{year}-01-01", f"{year}-12-31"
        named = [calendar.regular_holidays.holidays(first, last, return_name=True)]
        named += [early.holidays(first, last, return_name=True) for _, early in calendar.special_closes]
    return {stamp.date(): str(name) for series in named for stamp, name in series.items()}
