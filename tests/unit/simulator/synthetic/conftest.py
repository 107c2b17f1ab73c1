"""Worlds that the tests of the synthetic market share; what they give is immutable."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from simulator.synthetic import SyntheticWorld

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="session")
def world() -> SyntheticWorld:
    return SyntheticWorld()


@pytest.fixture(scope="session")
def quiet_world() -> SyntheticWorld:
    """The same market with a tenth of the trades, for tests that walk over every trade in plain Python."""
    return SyntheticWorld(trades_per_minute=15.0)


@pytest.fixture(scope="session")
def at() -> Callable[..., int]:
    """Milliseconds since the epoch of a New York wall time: ``at(date(2025, 8, 29), "09:30")``."""

    def instant(day: date, wall: str = "00:00") -> int:
        return int(datetime.combine(day, time.fromisoformat(wall), NEW_YORK).astimezone(UTC).timestamp() * 1000)

    return instant
