"""A backfill may be killed at any instant and run again: the lake ends byte-equal, and little is asked twice.

The runs are real processes, forked from one that has everything imported, so that the kill falls into the work and not
into Python's start.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from simulation import Simulation, simulated, started

TABLES = ["stock_bars", "index_bars", "treasury_yields", "option_contracts", "option_bars"]
TICKERS = ["SPY", "I:VIX", "@chosen"]
SESSION = "2025-08-29"
WORKERS = 4
PATIENCE_S = 120
SEEDS, MORE_SEEDS = range(20), range(20, 120)


ARGUMENTS = ("backfill", "--tables", ",".join(TABLES), "--tickers", ",".join(TICKERS))
ARGUMENTS += ("--start", SESSION, "--end", SESSION)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("simulator"), "--session", SESSION) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def undisturbed(
    vendor: Simulation, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], Counter[tuple[object, object]], float]:
    """Files of an undisturbed run, what it asked, and how long it took in seconds."""
    for warm_up in (True, False):
        folder = tmp_path_factory.mktemp("undisturbed")
        before = len(vendor.requests())
        started = time.monotonic()
        child = _start(vendor, folder)
        child.join(PATIENCE_S)
        assert child.exitcode == 0
        if not warm_up:
            took = time.monotonic() - started
    return _files(folder / "lake" / "raw"), _asked(vendor, before), took


@pytest.mark.parametrize("seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.soak) for seed in MORE_SEEDS)])
@pytest.mark.timeout(300)
def test_a_killed_backfill_ends_like_an_undisturbed_one(
    seed: int,
    vendor: Simulation,
    undisturbed: tuple[dict[str, bytes], Counter[tuple[object, object]], float],
    tmp_path: Path,
) -> None:
    expected, asked_once, took_s = undisturbed
    before = len(vendor.requests())
    killed = _start(vendor, tmp_path)
    killed.join(random.Random(seed).uniform(0, took_s))
    killed.kill()
    killed.join(PATIENCE_S)

    again = _start(vendor, tmp_path)
    again.join(PATIENCE_S)

    assert again.exitcode == 0
    assert expected == _files(tmp_path / "lake" / "raw")
    twice = _asked(vendor, before) - asked_once
    assert twice.total() <= WORKERS, "at most one page again for each running task"
    assert not [path for path in (tmp_path / "lake").rglob("*") if path.name.startswith(".writing")]


def test_a_second_run_changes_no_byte(vendor: Simulation, tmp_path: Path) -> None:
    states = []
    for _ in range(2):
        child = _start(vendor, tmp_path)
        child.join(PATIENCE_S)
        assert child.exitcode == 0
        raw = tmp_path / "lake" / "raw"
        states.append({path: (path.read_bytes(), path.stat().st_mtime_ns) for path in raw.rglob("*.parquet")})

    assert states[0]
    assert states[0] == states[1]


def _start(vendor: Simulation, folder: Path) -> BaseProcess:
    env = vendor.environment(folder / "lake", XDG_STATE_HOME=str(folder))
    return started(*ARGUMENTS, env=env, folder=folder)


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _asked(vendor: Simulation, since: int) -> Counter[tuple[object, object]]:
    """Every page that was asked, how often; asking what time it is costs no page."""
    return Counter(
        (request["path"], request["query"])
        for request in vendor.requests()[since:]
        if request["path"] != "/v1/marketstatus/now"
    )
