"""What a morning decides, against the exchange's own list of holidays and early closes, 2023 to 2026."""

from datetime import UTC, date, datetime, timedelta

import pytest

from marketlake.morning import SpecialDay, morning_of
from marketlake.sessions import NEW_YORK

# https://www.nyse.com/markets/hours-calendars, and the exchange's notices of closures that were not planned.
CLOSED = {
    2023: "01-02 01-16 02-20 04-07 05-29 06-19 07-04 09-04 11-23 12-25",
    2024: "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25",
    2025: "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
}
EARLY = (
    "2023-07-03 2023-11-24 2024-07-03 2024-11-29 2024-12-24 2025-07-03 2025-11-28 2025-12-24 2026-11-27 2026-12-24"
).split()
# Sundays on which New York's clocks change: summer time lasts from the first to the second.
SUMMER = {
    2023: ("2023-03-12", "2023-11-05"),
    2024: ("2024-03-10", "2024-11-03"),
    2025: ("2025-03-09", "2025-11-02"),
    2026: ("2026-03-08", "2026-11-01"),
}


@pytest.mark.parametrize("year", CLOSED)
def test_every_morning_of_a_year_is_decided_as_the_exchange_does(year: int) -> None:
    closed = {date.fromisoformat(f"{year}-{text}") for text in CLOSED[year].split()}
    begins, ends = (date.fromisoformat(text) for text in SUMMER[year])
    for number in range(365 + (year == 2024)):
        day = date(year, 1, 1) + timedelta(days=number)
        morning = morning_of(day, [])
        if day.weekday() >= 5 or day in closed:
            assert morning.hours is None, day
            assert morning.reason.startswith("market closed: ")
            continue
        opens_utc = 13 if begins <= day < ends else 14
        closes = 13 if str(day) in EARLY else 16
        assert morning.hours is not None, day
        assert datetime(day.year, day.month, day.day, opens_utc, 30, tzinfo=UTC) == morning.hours.start
        assert (closes, 0) == (morning.hours.end.astimezone(NEW_YORK).hour, morning.hours.end.minute)


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("2024-11-28", "market closed: Thanksgiving"),
        ("2025-08-30", "market closed: Saturday"),
        ("2025-08-31", "market closed: Sunday"),
        ("2025-01-09", "market closed: unscheduled closure"),
        ("2025-08-29", "session from 09:30 to 16:00 New York"),
        ("2024-11-29", "session from 09:30 to 13:00 New York"),
    ],
)
def test_the_reason_is_said(day: str, reason: str) -> None:
    assert reason == morning_of(date.fromisoformat(day), []).reason


def test_a_closure_that_only_the_vendor_knows_is_believed() -> None:
    day = date(2026, 12, 1)
    told = [SpecialDay(day, "OTC", "Something else", None), SpecialDay(day, "NYSE", "A Day of Mourning", None)]

    morning = morning_of(day, told)

    assert morning.hours is None
    assert "A Day of Mourning, says the vendor" in morning.reason
    assert morning_of(day, told[:1]).hours is not None, "another exchange's holiday is none of ours"


def test_an_early_close_that_only_the_vendor_knows_is_a_doubt() -> None:
    day = date(2026, 12, 1)
    told = SpecialDay(day, "NYSE", "A Storm", datetime(2026, 12, 1, 18, tzinfo=UTC))

    morning = morning_of(day, [told])

    assert morning.hours is not None
    assert "the vendor says that it closes at 13:00 (A Storm), the calendar says 16:00" == morning.doubt


def test_an_early_close_that_both_know_is_none() -> None:
    day = date(2024, 11, 29)
    told = SpecialDay(day, "NYSE", "Thanksgiving", datetime(2024, 11, 29, 18, tzinfo=UTC))

    assert morning_of(day, [told]).doubt is None
