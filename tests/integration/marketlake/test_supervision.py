"""A recorder's watcher and real processes: they die, hang, give up, and are left behind by other watchers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from marketlake.errors import RecorderFailed
from marketlake.recorder import Report
from marketlake.recorder_files import read_report, write_report
from marketlake.supervision import LOG_NAME, RecorderProcess, Watch

PATIENCE_S = 20
FINAL, PASSING = (2, 3), (4,)
REPORT = Report(
    at_ns=0, feed="stocks", pid=0, process="", connection=1, is_subscribed=True, reconnects=0, outcomes={},
    wanted=["AM.SPY"], refused=[], frames=7, bytes=1, events=1, frames_lost=0, bytes_lost=0, bytes_pending=0,
    synced_file=1, synced_offset=1, last_event_ns=None, lag_p50_ms=None, lag_p99_ms=None,
)  # fmt: skip

# Reports twice a second, as a recorder does; its argument says what else it does.
RECORDER = """
import os, signal, sys, time
from pathlib import Path
import msgspec
from marketlake.processes import ProcessIdentity
from marketlake.recorder import Report
from marketlake.recorder_files import write_report
folder, what = Path(sys.argv[1]), sys.argv[2]
if what == "wrong":
    print("marketlake: no key is set", file=sys.stderr); sys.exit(2)
if what == "dies at once":
    print("a defect", file=sys.stderr); sys.exit(1)
if what == "has no room" and not (folder / "room").exists():
    print("no space left", file=sys.stderr); sys.exit(4)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
report = msgspec.json.decode(os.environ["REPORT"], type=Report)
while True:
    me = ProcessIdentity.of_this_process()
    write_report(folder, msgspec.structs.replace(report, at_ns=time.time_ns(), pid=me.pid, process=me.slug))
    if what == "hangs":
        signal.pause()
    time.sleep(0.1)
"""


class Clock:
    """The machine's clock, and as much later as a test wants."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> int:
        return time.time_ns() + round(self.ahead_s * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def begin(tmp_path: Path, clock: Clock) -> Iterator[Callable[[str], RecorderProcess]]:
    begun = []

    def begin(what: str) -> RecorderProcess:
        command = [sys.executable, "-c", RECORDER, str(tmp_path), what]
        environment = {**os.environ, "REPORT": msgspec.json.encode(REPORT).decode()}
        recorder = RecorderProcess(command, environment, tmp_path, FINAL, PASSING, 3, clock)
        begun.append(recorder)
        return recorder

    yield begin
    for recorder in begun:
        recorder.stop()


def looked(recorder: RecorderProcess, until: Callable[[Report | None], bool]) -> Report | None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        report = recorder.look()
        if until(report):
            return report
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def is_up(report: Report | None) -> bool:
    return report is not None and time.time_ns() - report.at_ns < 10**9


def test_a_recorder_that_is_killed_is_started_again(begin: Callable[[str], RecorderProcess]) -> None:
    recorder = begin("records")
    first = looked(recorder, is_up)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)

    second = looked(recorder, lambda report: report is not None and report.pid != first.pid)

    assert second is not None
    assert 1 == recorder.restarts


def test_a_recorder_that_hangs_is_killed_and_started_again(
    begin: Callable[[str], RecorderProcess], clock: Clock
) -> None:
    recorder = begin("hangs")
    hung = looked(recorder, lambda report: report is not None)
    assert hung is not None
    clock.ahead_s = 16

    again = looked(recorder, lambda report: report is not None and report.pid != hung.pid)

    assert again is not None
    with pytest.raises(ProcessLookupError):
        os.kill(hung.pid, 0)


def test_one_that_cannot_succeed_ends_the_watch_with_its_last_words(begin: Callable[[str], RecorderProcess]) -> None:
    recorder = begin("wrong")

    with pytest.raises(RecorderFailed, match="no key is set") as caught:
        looked(recorder, lambda _: False)

    assert 2 == caught.value.exit_code
    assert LOG_NAME in str(caught.value)


def test_one_that_dies_at_once_again_and_again_ends_the_watch(begin: Callable[[str], RecorderProcess]) -> None:
    recorder = begin("dies at once")

    with pytest.raises(RecorderFailed, match="a defect"):
        looked(recorder, lambda _: False)

    assert 2 == recorder.restarts


def test_one_that_has_no_room_is_started_again_until_there_is_some(
    begin: Callable[[str], RecorderProcess], clock: Clock, tmp_path: Path
) -> None:
    recorder = begin("has no room")

    def later(report: Report | None) -> bool:
        clock.ahead_s += 1
        if recorder.restarts == 6:
            (tmp_path / "room").touch()
        return report is not None

    assert looked(recorder, later)
    assert 6 <= recorder.restarts


def test_a_recorder_that_was_left_behind_is_taken_over_and_stopped(
    begin: Callable[[str], RecorderProcess], tmp_path: Path
) -> None:
    environment = {**os.environ, "REPORT": msgspec.json.encode(REPORT).decode()}
    left = subprocess.Popen([sys.executable, "-c", RECORDER, str(tmp_path), "records"], env=environment)
    reaper = threading.Thread(target=left.wait)  # init would, had its watcher died: a zombie looks alive
    reaper.start()
    deadline = time.monotonic() + PATIENCE_S
    while read_report(tmp_path) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    recorder = begin("records")

    for _ in range(20):
        report = recorder.look()
        assert report is not None
        assert left.pid == report.pid
        time.sleep(0.02)
    recorder.stop()

    reaper.join(PATIENCE_S)
    assert 0 == left.returncode


def test_a_recorder_that_was_left_behind_and_hangs_is_ended_and_another_begins(
    begin: Callable[[str], RecorderProcess], clock: Clock, tmp_path: Path
) -> None:
    environment = {**os.environ, "REPORT": msgspec.json.encode(REPORT).decode()}
    left = subprocess.Popen([sys.executable, "-c", RECORDER, str(tmp_path), "hangs"], env=environment)
    reaper = threading.Thread(target=left.wait)
    reaper.start()
    first = come(lambda: read_report(tmp_path))
    recorder = begin("records")

    assert first == recorder.look(), "it may be slow"
    clock.ahead_s = 30
    assert looked(recorder, lambda report: report is not None and report.pid != left.pid)

    reaper.join(PATIENCE_S)
    assert -signal.SIGKILL == left.returncode


def test_the_report_of_one_that_is_gone_keeps_nobody_from_recording(
    begin: Callable[[str], RecorderProcess], tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_report(tmp_path, msgspec.structs.replace(REPORT, at_ns=time.time_ns(), pid=gone.pid))

    assert looked(begin("records"), lambda report: report is not None and report.pid != gone.pid)


@pytest.mark.parametrize(
    ("frames", "looks"), [([5] * 60, 5), (list(range(60)), 41)], ids=["quiet behind the end", "goes on for ever"]
)
def test_a_watch_is_over_when_the_session_is_and_nothing_comes_or_it_has_waited(
    frames: list[int], looks: int, begin: Callable[[str], RecorderProcess]
) -> None:
    reports, times = iter(frames), iter([None, 99, *[100] * 100])

    def look(_: float) -> None:
        watch.report = msgspec.structs.replace(REPORT, frames=next(reports))

    watch = Watch(begin("records"), lambda: next(times), 100, look)

    assert [False, False] == [watch.is_over(), watch.is_over()]
    assert looks == next(number for number in range(1, 100) if watch.is_over())


def test_a_recorder_is_looked_after_while_its_watcher_is_busy(begin: Callable[[str], RecorderProcess]) -> None:
    watch = Watch(begin("records"), lambda: None, 100, lambda _: None)
    with watch.looking():
        first = come(lambda: watch.report)
        os.kill(first.pid, signal.SIGKILL)

        second = come(lambda: watch.report if watch.report is not None and watch.report.pid != first.pid else None)

    assert not watch.is_over()
    assert 1 == watch.recorder.restarts
    assert first.reconnects + 1 + second.reconnects == watch.drops, "a recorder that died has lost its connection"


def test_a_recorder_that_cannot_succeed_is_told_to_its_watcher(begin: Callable[[str], RecorderProcess]) -> None:
    watch = Watch(begin("wrong"), lambda: None, 100, time.sleep)
    over = (watch.is_over() for _ in range(PATIENCE_S * 4))

    with watch.looking(), pytest.raises(RecorderFailed, match="no key is set"):
        any(over)


def come[T](look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that")
