"""A thousand calls admitted through the file that the processes of a key share, far below their limit."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.baselines import rate_limit as baseline
from bench.harness import Comparison, compare
from marketlake.rate_limit import WINDOW_S, RateLimit

GOAL = 20.0
CALLS = 1_000
LIMIT = 60_000


def run() -> Comparison:
    with TemporaryDirectory() as folder:
        limit = RateLimit("a key", LIMIT, folder=Path(folder), sleep=time.sleep)
        file = Path(folder, "calls.json")

        def ours() -> None:
            for _ in range(CALLS):
                limit.acquire("GET /x", 0)

        def peer() -> None:
            file.unlink(missing_ok=True)
            for _ in range(CALLS):
                baseline.acquire(file, LIMIT, WINDOW_S)

        return compare(ours, peer, GOAL)
