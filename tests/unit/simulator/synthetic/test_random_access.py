"""A date gives the same rows alone, after everything else, in any order and in any process."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pytest

from simulator.synthetic import SyntheticWorld
from simulator.world import BaseSpan

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DAYS = [date(2015, 1, 2), date(2024, 3, 11), date(2024, 11, 29), date(2025, 8, 29), date(2027, 12, 31)]
TICKERS = ["SPY", "AAPL", "I:VIX", "I:SPX", "O:SPY250919C00600000"]

PROGRAM = """
import sys
from datetime import date
sys.path[:0] = sys.argv[1:2]
from test_random_access import fingerprint
from simulator.synthetic import SyntheticWorld
world = SyntheticWorld(trades_per_minute=15.0)
for what in sys.argv[2:]:
    print(what, fingerprint(world, what))
"""


def digest(*parts: object) -> str:
    sums = hashlib.sha256()
    for part in parts:
        if isinstance(part, pa.Table):
            sums.update(repr(part.to_pydict()).encode())
        else:
            sums.update(repr(part).encode())
    return sums.hexdigest()


def fingerprint(world: SyntheticWorld, what: str) -> str:
    """A hash of everything that a world gives for ``ticker@date``."""
    ticker, _, text = what.partition("@")
    day = date.fromisoformat(text)
    # From 04:00 UTC for 25 hours: a window that holds the New York date whatever the clocks do.
    start = (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_MS + 4 * HOUR_MS
    end = start + 25 * HOUR_MS - 1
    return digest(
        *(world.bars(ticker, span, start, end) for span in BaseSpan),
        world.trades(ticker, start * 10**6, end * 10**6),
        world.quotes(ticker, start * 10**6, end * 10**6),
        world.contracts("SPY", day, expired=False, expiry_from=day, expiry_to=day),
        world.news(start, end),
        world.treasury_yields(day, day),
        world.dividends(ticker),
    )


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return [f"{ticker}@{day}" for day in DAYS for ticker in TICKERS]


@pytest.fixture(scope="module")
def answers(quiet_world: SyntheticWorld, questions: list[str]) -> dict[str, str]:
    return {what: fingerprint(quiet_world, what) for what in questions}


def test_another_order_and_other_questions_between_change_nothing(
    answers: dict[str, str], questions: list[str], at: Callable[..., int]
) -> None:
    world = SyntheticWorld(trades_per_minute=15.0)
    shuffled = random.Random(3).sample(questions, len(questions))
    world.bars("QQQ", BaseSpan.DAY, at(date(2018, 1, 2)), at(date(2018, 12, 31)))

    assert {what: fingerprint(world, what) for what in shuffled} == answers


def test_another_process_gives_the_same_rows_for_few_dates_alone(answers: dict[str, str]) -> None:
    asked = ["O:SPY250919C00600000@2025-08-29", "SPY@2024-11-29"]
    here = os.path.dirname(__file__)  # noqa: PTH120 - becomes an argument of a process
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, here, *asked],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert dict(line.split() for line in run.stdout.splitlines()) == {what: answers[what] for what in asked}


def test_another_seed_is_another_market_on_the_same_calendar(at: Callable[..., int]) -> None:
    window = at(date(2025, 8, 29), "09:30"), at(date(2025, 8, 29), "15:59")
    ours, other = (SyntheticWorld(seed=seed).bars("SPY", BaseSpan.MINUTE, *window) for seed in (7, 8))

    assert ours["t"] == other["t"]
    assert ours["c"] != other["c"]
