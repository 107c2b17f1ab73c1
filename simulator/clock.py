"""The simulated now that REST and the stream share.

The clock stands still unless a speed is given; the control address may set it, move it on or let it run. Wall time
comes in as a function, so that a test owns it.
"""

from collections.abc import Callable
from datetime import datetime

from simulator.newyork import NEW_YORK, NS_PER_S, moment


class SimulatedClock:
    """An instant that runs at ``speed`` simulated seconds a wall second; speed 0 is a clock that stands."""

    def __init__(self, start_ns: int, speed: float, wall_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns
        self._set_at_ns = start_ns
        self._wall_at_set_ns = wall_ns()
        self._speed = speed

    @property
    def speed(self) -> float:
        """Simulated seconds a wall second."""
        return self._speed

    def now_ns(self) -> int:
        """The simulated now, nanoseconds since the epoch."""
        return self._set_at_ns + int((self._wall_ns() - self._wall_at_set_ns) * self._speed)

    def move_to(self, now_ns: int) -> None:
        """Sets the simulated now; it runs on from there at the speed it had."""
        self._set_at_ns = now_ns
        self._wall_at_set_ns = self._wall_ns()

    def advance(self, seconds: float) -> None:
        """Moves the simulated now on, or back when negative."""
        self.move_to(self.now_ns() + int(seconds * NS_PER_S))

    def run_at(self, speed: float) -> None:
        """Changes the speed from now on; 0 stops the clock."""
        self.move_to(self.now_ns())
        self._speed = speed

    def iso(self) -> str:
        """The simulated now as ISO 8601 with the New York offset."""
        return moment(self.now_ns()).isoformat()


def parse_instant_ns(text: str) -> int:
    """Nanoseconds of an ISO 8601 time, read as New York time where it names no zone; ValueError when it is none."""
    when = datetime.fromisoformat(text)
    aware = when if when.tzinfo is not None else when.replace(tzinfo=NEW_YORK)
    return int(aware.timestamp()) * NS_PER_S + aware.microsecond * 1000
