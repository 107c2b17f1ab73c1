"""The simulated now that REST and the stream share.

The clock stands still unless a speed is given; the control address may set it, move it on or let it run. It never goes
past the limit that the stream gives it: REST shows nothing that the stream is far from having sent. Wall time comes in
as a function, so that a test owns it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from simulator.newyork import NEW_YORK, NS_PER_S, moment

FASTEST: Final = 1e6
"""The highest speed, simulated seconds a wall second: a session within a tenth of one."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Where the clock was when it was last touched; replaced as a whole, for readers on other threads."""

    set_at_ns: int
    wall_at_set_ns: int
    speed: float
    limit_ns: int | None

    def at(self, wall_ns: int) -> int:
        now_ns = self.set_at_ns + int((wall_ns - self.wall_at_set_ns) * self.speed)
        return now_ns if self.limit_ns is None else min(now_ns, self.limit_ns)


class SimulatedClock:
    """An instant that runs at ``speed`` simulated seconds a wall second; speed 0 is a clock that stands."""

    def __init__(self, start_ns: int, speed: float, wall_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns
        self._run = _Run(start_ns, wall_ns(), speed, None)

    @property
    def speed(self) -> float:
        """Simulated seconds a wall second."""
        return self._run.speed

    def now_ns(self) -> int:
        """The simulated now, nanoseconds since the epoch."""
        return self._run.at(self._wall_ns())

    def move_to(self, now_ns: int) -> None:
        """Sets the simulated now; it runs on from there at the speed it had, without a limit."""
        self._run = _Run(now_ns, self._wall_ns(), self._run.speed, None)

    def run_at(self, speed: float) -> None:
        """Changes the speed from now on; 0 stops the clock."""
        wall_ns = self._wall_ns()
        self._run = replace(self._run, set_at_ns=self._run.at(wall_ns), wall_at_set_ns=wall_ns, speed=speed)

    def allow_until(self, limit_ns: int | None) -> None:
        """Sets how far the clock may run, None for any distance; what it stood at an earlier limit is not caught up.

        The clock never runs backwards: a limit that it has passed already stops it where it is.
        """
        wall_ns = self._wall_ns()
        now_ns = self._run.at(wall_ns)
        limit_ns = None if limit_ns is None else max(limit_ns, now_ns)
        self._run = _Run(now_ns, wall_ns, self._run.speed, limit_ns)

    def iso(self) -> str:
        """The simulated now as ISO 8601 with the New York offset."""
        return moment(self.now_ns()).isoformat()


def parse_instant_ns(text: str) -> int:
    """Nanoseconds of an ISO 8601 time, read as New York time where it names no zone; ValueError when it is none."""
    when = datetime.fromisoformat(text)
    aware = when if when.tzinfo is not None else when.replace(tzinfo=NEW_YORK)
    return int(aware.timestamp()) * NS_PER_S + aware.microsecond * 1000
