"""What the windows of a running session do to its recording, and a failing lake to them: nothing that lasts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_feeds import told
from simulation import Simulation, marketlake, simulated
from storms import BEGIN_S, SESSION, write_world
from stream_records import recording_of

from marketlake.errors import StoreUnavailable
from marketlake.live import LiveSession, lateness_of
from marketlake.processes import ProcessIdentity
from marketlake.recorder import Report
from marketlake.recorder_files import read_report
from marketlake.segments import Segments
from marketlake.settings import Settings
from marketlake.silence import silence_limits_ns
from marketlake.spool import Spool, local_folder
from marketlake.spool_writing import SpoolWriter
from marketlake.store import LocalStore
from marketlake.tickers import AssetClass
from marketlake.windows import Grid
from tasks.stream import StreamOrder, StreamReport, seal_each

PATIENCE_S = 60
BROKEN = """
from datetime import date
from tasks.stream import plan_stream, recorded
with recorded(plan_stream.fn("stocks", date.fromisoformat("SESSION"), ["AM.SPY"], None)) as watch:
    while watch.report is None or not watch.report.is_subscribed:
        watch.is_over()
    raise ZeroDivisionError("a defect in a window")
""".replace("SESSION", str(SESSION))


WATCHED = """
from datetime import date
from tasks.stream import plan_stream, recorded
with recorded(plan_stream.fn("stocks", date.fromisoformat("SESSION"), ["AM.SPY"], None)) as watch:
    while True:
        watch.is_over()
""".replace("SESSION", str(SESSION))


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("exchange")
    with simulated(write_world(folder / "world"), folder) as simulation:
        told(simulation, "/clock", {"pause": True, "set": f"{SESSION}T09:29:55"})
        yield simulation


def test_a_defect_in_a_window_does_not_stop_the_recording(exchange: Simulation, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    own = {"MARKETLAKE__STREAM__SPOOL": str(spool), "MARKETLAKE__STREAM__CLOCK": "vendor"}
    env = exchange.environment(tmp_path / "lake", **own, XDG_STATE_HOME=str(tmp_path / "state"))
    folder = local_folder(spool, AssetClass.STOCKS, SESSION)

    broken = subprocess.run(
        [sys.executable, "-c", BROKEN], env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )

    assert "a defect in a window" in broken.stderr
    assert "goes on by itself" in broken.stderr + broken.stdout
    left = reported(folder, lambda report: report.at_ns > time.time_ns() - 10**9)
    assert ProcessIdentity.slug_lives_here(left.process)
    until = ("--until", f"{SESSION}T09:29:50")
    again = marketlake(
        "stream", "--feed", "stocks", "--session", str(SESSION), "--subscribe", "AM.SPY,T.SPY", *until, env=env
    )
    assert again.returncode == 0, again.stderr
    last = read_report(folder)
    assert last is not None
    assert left.pid == last.pid, "the next run takes it over, and stops it"
    assert ["AM.SPY", "T.SPY"] == last.wanted, "with what is wanted now"
    assert not ProcessIdentity.slug_lives_here(left.process)


def test_a_recorder_that_is_killed_is_started_again_within_two_seconds(
    exchange: Simulation, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The quicker of two counts, and what it takes to be up: other tests may be running on this machine."""
    spool = tmp_path / "spool"
    own = {"MARKETLAKE__STREAM__SPOOL": str(spool), "MARKETLAKE__STREAM__CLOCK": "vendor"}
    env = exchange.environment(tmp_path / "lake", **own, XDG_STATE_HOME=str(tmp_path / "state"))
    folder = local_folder(spool, AssetClass.STOCKS, SESSION)
    started_s: list[float] = []
    subscribed_s: list[float] = []
    with subprocess.Popen([sys.executable, "-c", WATCHED], env=env) as watching:
        try:
            report = reported(folder, lambda report: report.is_subscribed)
            for _ in range(2):
                os.kill(report.pid, signal.SIGKILL)
                killed_s, killed = time.clock_gettime(time.CLOCK_BOOTTIME), report.pid
                report = reported(folder, lambda report, killed=killed: report.pid != killed and report.is_subscribed)
                subscribed_s.append(time.clock_gettime(time.CLOCK_BOOTTIME) - killed_s)
                started_s.append(_started_s(report.pid) - killed_s)
        finally:
            watching.send_signal(signal.SIGINT)  # it stops its recorder

    took = " and ".join(
        f"{start:.1f} s, subscribed after {up:.1f} s" for start, up in zip(started_s, subscribed_s, strict=True)
    )
    record_property("found", f"recorder killed: started again after {took}")
    assert min(started_s) < 2


def _started_s(pid: int) -> float:
    """When a process was started, in seconds since the machine was."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def reported(folder: Path, is_so: object) -> Report:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        report = read_report(folder)
        if report is not None and is_so(report):  # type: ignore[operator]
            return report
        time.sleep(0.05)
    raise AssertionError("no recorder reports")


class _FullDisk(LocalStore):
    """A store that has no room for the first segment of trades, so many times."""

    failures = 0

    def write(self, path: str, data: bytes) -> None:
        if path.startswith("live/stocks/trades") and self.failures:
            self.failures -= 1
            raise StoreUnavailable(path, "no space left on device")
        super().write(path, data)


@pytest.mark.parametrize(("failures", "failed"), [(1, 0), (2, 0), (99, 3)])
def test_a_window_that_could_not_be_kept_is_kept_when_there_is_room_again(
    failures: int, failed: int, tmp_path: Path
) -> None:
    folder = local_folder(tmp_path / "spool", AssetClass.STOCKS, SESSION)
    writer = SpoolWriter(folder, after=0, sync_s=0.01, most_pending_bytes=2**20)
    trade = {"ev": "T", "sym": "SPY", "x": 11, "z": 2, "p": 500.25, "s": 1}
    frames = [[trade | {"t": (BEGIN_S + 60 * n) * 1_000, "q": n, "i": f"t{n}"}] for n in range(45)]
    for record in recording_of(frames).records:
        writer.append(record.received_ns, record.kind, record.payload)
    writer.close()
    store = _FullDisk(tmp_path / "lake")
    store.failures = failures
    settings = Settings()
    limits_ns = silence_limits_ns(AssetClass.STOCKS, settings.stream)
    segments = Segments(store, AssetClass.STOCKS, Grid(SESSION, 15))
    live = LiveSession(
        Spool(tmp_path / "spool", AssetClass.STOCKS, SESSION, store), segments, lateness_of(settings), limits_ns
    )
    report = StreamReport(StreamOrder(AssetClass.STOCKS, SESSION, ("T.SPY",), (0, 0), 0))

    report = seal_each(live.advance(), live, report)  # type: ignore[arg-type]
    report = seal_each(live.close(), live, report)  # type: ignore[arg-type]

    assert failed == len(report.failed)
    assert 45 - 15 * failed == sum(window.stored for window in report.windows)
    assert 3 - failed == len(list((tmp_path / "lake/live/stocks/trades").rglob("window=*.parquet")))
