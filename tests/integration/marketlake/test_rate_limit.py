"""One limit for all processes and threads of a key: real files and locks, real processes, and a clock that lies."""

import os
import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketlake.errors import RateLimited
from marketlake.rate_limit import WINDOW_S, RateLimit, boot_clock_ns, default_state_folder

KEY = "a-key-that-must-stand-nowhere"
NS = 1_000_000_000


class Clock:
    """A clock that moves only when somebody sleeps, or is moved."""

    def __init__(self, at_s: float = 10_000.0) -> None:
        self.ns = int(at_s * NS)

    def now(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += max(1, int(seconds * NS) + 1)


def limit_of(calls: int, folder: Path, clock: Clock, key: str = KEY, boot: str = "this boot") -> RateLimit:
    return RateLimit(key, calls, folder=folder, sleep=clock.sleep, clock_ns=clock.now, boot=boot)


def most_in_a_window(stamps: list[int], window_ns: int) -> int:
    """The largest number of stamps in any half-open window."""
    ordered = sorted(stamps)
    return max(bisect_left(ordered, start + window_ns) - index for index, start in enumerate(ordered))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.integers(1, 7), pauses=st.lists(st.floats(0, 40), min_size=1, max_size=60), data=st.data())
def test_no_window_ever_holds_more_calls_than_the_limit_and_no_call_waits_longer_than_it_must(
    calls: int, pauses: list[float], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clock, folder = Clock(), tmp_path_factory.mktemp("limit")
    sharers = [limit_of(calls, folder, clock) for _ in range(3)]
    admitted: list[int] = []
    window_ns = int(WINDOW_S * NS)
    for pause in pauses:
        clock.ns += int(pause * NS)
        wanted_at = clock.ns
        sharers[data.draw(st.integers(0, 2))].acquire("GET /x", 0)
        earliest = max(wanted_at, admitted[-calls] + window_ns if len(admitted) >= calls else 0)
        assert earliest <= clock.ns <= earliest + 2
        admitted.append(clock.ns)

    assert most_in_a_window(admitted, 60 * NS) <= calls


def test_processes_with_different_limits_keep_each_their_own_over_all_calls(tmp_path: Path) -> None:
    clock = Clock()
    wide, narrow = limit_of(10, tmp_path, clock), limit_of(2, tmp_path, clock)
    for _ in range(5):
        wide.acquire("GET /x", 0)
    before = clock.ns
    narrow.acquire("GET /x", 0)

    assert WINDOW_S == pytest.approx((clock.ns - before) / NS, abs=0.001)


def test_different_keys_do_not_wait_for_each_other(tmp_path: Path) -> None:
    clock = Clock()
    before = clock.ns
    for key in ("first-key", "second-key", "third-key"):
        limit_of(1, tmp_path, clock, key=key).acquire("GET /x", 0)

    assert before == clock.ns


def test_a_429_holds_everybody_back(tmp_path: Path) -> None:
    clock = Clock()
    one, other = limit_of(100, tmp_path, clock), limit_of(100, tmp_path, clock)
    one.hold_back(17)
    before = clock.ns
    other.acquire("GET /x", 120)

    assert pytest.approx(17, abs=0.001) == (clock.ns - before) / NS


def test_who_would_have_to_wait_beyond_their_patience_is_told_so_at_once(tmp_path: Path) -> None:
    clock = Clock()
    limit = limit_of(100, tmp_path, clock)
    limit.hold_back(121)
    before = clock.ns

    with pytest.raises(RateLimited, match="another 121 s"):
        limit.acquire("GET /x", 120)
    assert before == clock.ns


def test_a_shorter_hold_does_not_end_a_longer_one(tmp_path: Path) -> None:
    clock = Clock()
    limit = limit_of(100, tmp_path, clock)
    before = clock.ns
    limit.hold_back(30)
    limit.hold_back(1)
    limit.acquire("GET /x", 120)

    assert pytest.approx(30, abs=0.001) == (clock.ns - before) / NS


@pytest.mark.parametrize("back_s", [1, 59, 3_600, 9_000])
def test_a_clock_that_goes_back_costs_one_window_at_most(tmp_path: Path, back_s: int) -> None:
    clock = Clock()
    limit = limit_of(2, tmp_path, clock)
    limit.acquire("GET /x", 0)
    limit.acquire("GET /x", 0)
    limit.hold_back(5)
    clock.ns -= back_s * NS
    before = clock.ns
    limit.acquire("GET /x", 120)

    assert (clock.ns - before) / NS <= WINDOW_S + 5.001


def test_calls_before_a_restart_of_the_machine_count_until_they_must_be_over(tmp_path: Path) -> None:
    clock = Clock(500_000)
    limit_of(1, tmp_path, clock, boot="first").acquire("GET /x", 0)
    restarted = Clock(20)
    limit_of(1, tmp_path, restarted, boot="second").acquire("GET /x", 0)

    assert pytest.approx(WINDOW_S, abs=0.001) == restarted.ns / NS


def test_a_damaged_file_costs_nothing_once_the_machine_runs_for_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    limit = limit_of(3, tmp_path, clock)
    limit.acquire("GET /x", 0)
    for path in tmp_path.iterdir():
        path.write_bytes(b"not what it was")
    before = clock.ns
    limit.acquire("GET /x", 0)

    assert before == clock.ns


def test_the_key_stands_neither_in_the_name_nor_in_the_file(tmp_path: Path) -> None:
    limit_of(5, tmp_path / "state", Clock()).acquire("GET /x", 0)

    files = list((tmp_path / "state").iterdir())
    assert 1 == len(files)
    assert KEY not in str(files[0])
    assert KEY.encode() not in files[0].read_bytes()
    assert 0o600 == files[0].stat().st_mode & 0o777
    assert 0o700 == files[0].parent.stat().st_mode & 0o777


@pytest.mark.parametrize("calls", [0, -1, 10**9])
def test_a_limit_that_cannot_be_kept_is_refused(tmp_path: Path, calls: int) -> None:
    with pytest.raises(ValueError, match="calls_per_minute"):
        limit_of(calls, tmp_path, Clock())


def test_the_state_stands_where_the_user_keeps_it(tmp_path: Path) -> None:
    assert tmp_path / "marketlake" == default_state_folder({"XDG_STATE_HOME": str(tmp_path)})
    for unusable in ({}, {"XDG_STATE_HOME": "relative/path"}):
        assert Path.home() / ".local" / "state" / "marketlake" == default_state_folder(unusable)


class Stamped:
    """The boot clock, which remembers for each thread what it said last: what a call was admitted at."""

    def __init__(self) -> None:
        self._last = threading.local()

    def now(self) -> int:
        self._last.ns = boot_clock_ns()
        return self.admitted_ns

    @property
    def admitted_ns(self) -> int:
        ns: int = self._last.ns
        return ns


CHILD = """
import sys, time
from pathlib import Path
from marketlake.rate_limit import RateLimit, boot_clock_ns
folder, calls = Path(sys.argv[1]), int(sys.argv[2])
seen = []
def clock():
    seen.append(boot_clock_ns())
    return seen[-1]
limit = RateLimit("shared", 10, folder=folder, sleep=time.sleep, clock_ns=clock, window_s=0.5)
for _ in range(calls):
    limit.acquire("GET /x", 0)
    print(seen[-1], flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_real_processes_together_never_exceed_the_limit(tmp_path: Path) -> None:
    children = [start(CHILD, tmp_path, 12) for _ in range(4)]
    outputs = [child.communicate(timeout=60) for child in children]

    assert ["", "", "", ""] == [errors for _, errors in outputs]
    stamps = [int(line) for output, _ in outputs for line in output.split()]
    assert 48 == len(stamps)
    assert most_in_a_window(stamps, int(0.5 * NS)) <= 10


def test_threads_together_never_exceed_the_limit(tmp_path: Path) -> None:
    clock = Stamped()
    limit = RateLimit("shared", 5, folder=tmp_path, sleep=time.sleep, clock_ns=clock.now, window_s=0.3)

    def call(_: int) -> int:
        limit.acquire("GET /x", 0)
        return clock.admitted_ns

    with ThreadPoolExecutor(8) as threads:
        stamps = list(threads.map(call, range(16)))

    assert most_in_a_window(stamps, int(0.3 * NS)) <= 5
    assert len(set(stamps)) == 16


HOLDER = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(file, fcntl.LOCK_EX)
print("holding", flush=True)
time.sleep(600)
"""


def test_the_death_of_who_holds_the_lock_frees_everybody_else(tmp_path: Path) -> None:
    limit = RateLimit("shared", 100, folder=tmp_path, sleep=time.sleep)
    limit.acquire("GET /x", 0)
    holder = start(HOLDER, next(tmp_path.iterdir()))
    assert holder.stdout is not None
    assert "holding" == holder.stdout.readline().strip()
    waiting = threading.Thread(target=limit.acquire, args=("GET /x", 0))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "it waits for the lock"

    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate(timeout=30)
    waiting.join(10)
    assert not waiting.is_alive()


def test_who_is_killed_while_waiting_leaves_no_trace(tmp_path: Path) -> None:
    child = start(CHILD, tmp_path, 1_000)
    assert child.stdout is not None
    stamps = [int(child.stdout.readline()) for _ in range(10)]
    os.kill(child.pid, signal.SIGKILL)
    rest, _ = child.communicate(timeout=30)
    stamps += [int(line) for line in rest.split()]
    clock, waits = Stamped(), []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    RateLimit("shared", 10, folder=tmp_path, sleep=sleep, clock_ns=clock.now, window_s=0.5).acquire("GET /x", 0)
    stamps.append(clock.admitted_ns)

    assert most_in_a_window(stamps, int(0.5 * NS)) <= 10
    assert sum(waits) <= 0.5, "nobody waits longer than for the calls that were made"
