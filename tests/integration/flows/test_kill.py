"""A backfill may be killed at any instant and run again: the lake ends byte-equal, and little is asked twice.

The runs are real processes, forked from one that has everything imported, so that the kill falls into the work and not
into Python's start.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from simulation import KILLED_AT_SYNC, Simulation, simulated, started

TABLES = ["stock_bars", "index_bars", "treasury_yields", "option_contracts", "option_bars"]
TICKERS = ["SPY", "I:VIX", "@chosen"]
SESSION = "2025-08-29"
WORKERS = 4
PATIENCE_S = 120
SEEDS, MORE_SEEDS = range(10), range(10, 60)


ARGUMENTS = ("backfill", "--tables", ",".join(TABLES), "--tickers", ",".join(TICKERS))
ARGUMENTS += ("--start", SESSION, "--end", SESSION)
# A few contracts are asked for in the same way as thirty.
SMALL = {"MARKETLAKE__SELECTION__LIMIT": "6"}


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("simulator"), "--session", SESSION) as simulation:
        yield simulation


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nobody kills leaves and asks."""

    raw: dict[str, bytes]
    files: int  # in the whole lake
    asked: Counter[tuple[object, object]]
    requests: int  # the question for the vendor's time among them


@pytest.fixture(scope="module")
def undisturbed(vendor: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    before = len(vendor.requests())
    child = _start(vendor, folder)
    child.join(PATIENCE_S)
    assert child.exitcode == 0
    lake = folder / "lake"
    return Undisturbed(_files(lake / "raw"), len(_files(lake)), _asked(vendor, before), len(vendor.requests()) - before)


def _kill_at_a_page(seed: int, vendor: Simulation, undisturbed: Undisturbed, folder: Path) -> BaseProcess:
    """Killed while the vendor keeps it waiting for a page, and while its other tasks work."""
    page = random.Random(seed).randint(1, undisturbed.requests)
    vendor.misbehave({"when": {"nth": page}, "do": {"action": "hang"}})
    child = _start(vendor, folder)
    deadline = time.monotonic() + PATIENCE_S
    while not vendor.struck():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.kill()
    child.join(PATIENCE_S)
    vendor.misbehave()
    return child


def _kill_at_a_write(seed: int, vendor: Simulation, undisturbed: Undisturbed, folder: Path) -> BaseProcess:
    """Killed before a file, or the folder that got it, is made durable: each of the files takes one of both."""
    child = _start(vendor, folder, **{KILLED_AT_SYNC: str(random.Random(seed).randint(1, 2 * undisturbed.files))})
    child.join(PATIENCE_S)
    return child


@pytest.mark.parametrize("seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.soak) for seed in MORE_SEEDS)])
@pytest.mark.parametrize("kill", [_kill_at_a_page, _kill_at_a_write])
@pytest.mark.timeout(300)
def test_a_killed_backfill_ends_like_an_undisturbed_one(
    kill: Callable[[int, Simulation, Undisturbed, Path], BaseProcess],
    seed: int,
    vendor: Simulation,
    undisturbed: Undisturbed,
    tmp_path: Path,
) -> None:
    before = len(vendor.requests())
    killed = kill(seed, vendor, undisturbed, tmp_path)

    assert killed.exitcode == -signal.SIGKILL
    again = _start(vendor, tmp_path)
    again.join(PATIENCE_S)

    assert again.exitcode == 0
    assert undisturbed.raw == _files(tmp_path / "lake" / "raw")
    twice = _asked(vendor, before) - undisturbed.asked
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


def _start(vendor: Simulation, folder: Path, **more: str) -> BaseProcess:
    env = vendor.environment(folder / "lake", XDG_STATE_HOME=str(folder), **SMALL, **more)
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
