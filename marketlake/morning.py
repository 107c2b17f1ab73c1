"""Whether there is a session today, and from when to when: what a morning decides before any feed is opened.

Pure. The exchange's calendar decides; the vendor's list of coming holidays is heard too, because a closure of the last
days (a state funeral, a storm) is in no calendar that was installed before.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from marketlake.sessions import NEW_YORK, Hours, closure_of, share_hours

_EXCHANGE: Final = "NYSE"


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """A date on which an exchange does not keep its usual hours; ``closes`` is UTC, None where it does not open."""

    day: date
    exchange: str
    name: str
    closes: datetime | None


@dataclass(frozen=True, slots=True)
class Morning:
    """What is decided for a date: its regular hours, or why there are none.

    ``doubt`` says in what the vendor disagrees with the calendar, where the calendar is followed all the same.
    """

    day: date
    hours: Hours | None
    reason: str
    doubt: str | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether there is nothing to record of it any more."""
        return self.hours is None or now >= self.hours.end


def morning_of(day: date, special: Iterable[SpecialDay]) -> Morning:
    """The decision for a New York date; ``special`` is what the vendor says of coming days."""
    closure = closure_of(day)
    told = next((item for item in special if (item.day, item.exchange) == (day, _EXCHANGE)), None)
    if closure is not None:
        return Morning(day, None, f"market closed: {closure}")
    if told is not None and told.closes is None:
        reason = (
            f"market closed: {told.name}, says the vendor; the calendar does not know it: update exchange_calendars"
        )
        return Morning(day, None, reason)
    hours = share_hours(day)
    doubt = None
    if told is not None and told.closes != hours.end:
        theirs, ours = _clock(told.closes), _clock(hours.end)
        doubt = f"the vendor says that it closes at {theirs} ({told.name}), the calendar says {ours}"
    return Morning(day, hours, f"session from {_clock(hours.start)} to {_clock(hours.end)} New York", doubt)


def _clock(instant: datetime | None) -> str:
    return f"{instant.astimezone(NEW_YORK):%H:%M}" if instant is not None else "never"
