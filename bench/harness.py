"""How two ways of doing the same thing are timed."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True)
class Comparison:
    """Median seconds of both sides, and how many times faster ours is; the goal is the least acceptable ratio."""

    ours_s: tuple[float, ...]
    peer_s: tuple[float, ...]
    goal: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.peer_s) / statistics.median(self.ours_s)

    def as_json(self) -> dict[str, float]:
        return {
            "ours": round(statistics.median(self.ours_s), 6),
            "peer": round(statistics.median(self.peer_s), 6),
            "ratio": round(self.ratio, 2),
            "goal": self.goal,
            "ours_min": round(min(self.ours_s), 6),
            "ours_max": round(max(self.ours_s), 6),
            "peer_min": round(min(self.peer_s), 6),
            "peer_max": round(max(self.peer_s), 6),
        }


def compare(ours: Callable[[], object], peer: Callable[[], object], goal: float) -> Comparison:
    """Time both sides in turns after a warm round; imports and first calls stay outside the clock."""
    ours()
    peer()
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for is_ours, run in ((True, ours), (False, peer)):
            gc.collect()
            started = time.perf_counter()
            run()
            times[is_ours].append(time.perf_counter() - started)
    return Comparison(tuple(times[True]), tuple(times[False]), goal)
