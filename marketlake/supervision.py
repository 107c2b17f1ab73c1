"""A recorder process and whoever watches it: started, started again when it dies or hangs, taken over, stopped.

The watcher may itself be killed. Its recorder goes on then, and the next watcher takes it over: the report beside the
spool tells who records and when it was last alive, and the feed's lease keeps a second one out. What a recorder does is
told in :mod:`marketlake.recording`.
"""

import logging
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from marketlake.errors import RecorderFailed
from marketlake.processes import ProcessIdentity
from marketlake.recorder import Report
from marketlake.recorder_files import read_report

logger = logging.getLogger(__name__)

LOG_NAME: Final = "recorder.log"
_NS_PER_S: Final = 1_000_000_000
# A report is written twice a second.
_HUNG_NS: Final = 15 * _NS_PER_S
_START_NS: Final = 60 * _NS_PER_S  # a cold start on a busy machine takes seconds
_STOP_S: Final = 30.0
_LOOK_S: Final = 0.05
_BETWEEN_LOOKS_S: Final = 0.25
_QUIET_LOOKS: Final = 4  # two reports of the recorder
_MOST_LOOKS: Final = 40
# A recorder that lives shorter never recorded anything worth the name.
_SHORT_LIFE_NS: Final = 5 * _NS_PER_S
_REST_NS: Final = _NS_PER_S
_LONG_REST_NS: Final = 10 * _NS_PER_S
_TAIL_BYTES: Final = 4_096


@dataclass
class RecorderProcess:
    """The one recorder of a spool's folder.

    ``command`` and ``environment`` start it; an exit with one of ``final_exits`` means that starting it again would not
    help, with one of ``passing_exits`` that it will when something else has passed, such as a full disk. ``now_ns`` is
    the machine's clock.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    final_exits: Collection[int]
    passing_exits: Collection[int]
    most_short_lives: int
    now_ns: Callable[[], int]
    _child: subprocess.Popen[bytes] | None = None
    _starts: int = 0
    _started_ns: int = 0
    _short_lives: int = 0
    _rest_ns: int = _REST_NS

    @property
    def restarts(self) -> int:
        """How often it had to be started again."""
        return max(self._starts - 1, 0)

    def look(self) -> Report | None:
        """See that one records, and give its newest report; to be called every second or so.

        Raises:
            RecorderFailed: it ends again and again, or for a reason that stays.
        """
        report = read_report(self.folder)
        if self._child is None:
            if report is None or not ProcessIdentity.slug_lives_here(report.process):
                self._start()
            elif self.now_ns() > report.at_ns + _HUNG_NS:
                logger.error("a recorder that was left behind does not answer and is ended", extra={"pid": report.pid})
                _end(report.pid, signal.SIGKILL)
            return report
        code = self._child.poll()
        if code is not None:
            self._child = None
            self._judge(code)
        elif self._is_hung(report):
            logger.error("the recorder does not answer and is started again", extra={"pid": self._child.pid})
            self._child.kill()
        return report

    def last_report(self) -> Report | None:
        """What it told last."""
        return read_report(self.folder)

    def stop(self) -> None:
        """End it, also one that was taken over, and wait until everything is durable."""
        report = read_report(self.folder)
        child, self._child = self._child, None
        if child is not None:
            child.terminate()
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        elif report is not None and ProcessIdentity.slug_lives_here(report.process):
            self._stop_other(report)

    def _start(self) -> None:
        now_ns = self.now_ns()
        if self._starts and now_ns < self._started_ns + self._rest_ns:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOG_NAME).open("ab") as log:
            # A session of its own: who interrupts the watcher does not mean the recorder.
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._starts += 1
        self._started_ns = now_ns

    def _judge(self, code: int) -> None:
        last_words = self._last_words()
        is_passing = code in self.passing_exits
        self._rest_ns = _LONG_REST_NS if is_passing else _REST_NS
        is_short = not is_passing and self.now_ns() < self._started_ns + _SHORT_LIFE_NS
        self._short_lives = self._short_lives + 1 if is_short else 0
        if code in self.final_exits or self._short_lives >= self.most_short_lives:
            raise RecorderFailed(code, last_words, str(self.folder / LOG_NAME))
        logger.warning("the recorder ended and is started again: %s", last_words or f"exit {code}")

    def _last_words(self) -> str:
        """The last line that it wrote."""
        try:
            with (self.folder / LOG_NAME).open("rb") as log:
                log.seek(max(log.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1] if lines else ""

    def _is_hung(self, report: Report | None) -> bool:
        now_ns = self.now_ns()
        if report is None or report.at_ns < self._started_ns:
            return now_ns > self._started_ns + _START_NS
        return now_ns > report.at_ns + _HUNG_NS

    def _stop_other(self, report: Report) -> None:
        _end(report.pid, signal.SIGTERM)
        deadline_ns = self.now_ns() + int(_STOP_S * _NS_PER_S)
        while ProcessIdentity.slug_lives_here(report.process):
            if self.now_ns() >= deadline_ns:
                _end(report.pid, signal.SIGKILL)
            time.sleep(_LOOK_S)


class Watch:
    """Sees one feed through its session: a recorder is kept alive until the session's time is over.

    Looking after it is the business of a thread of its own: whoever asks :meth:`is_over` may be busy for minutes with
    what was recorded. ``session_now_ns`` tells the session's time, None where it cannot be had; ``ends_ns`` is when it
    is over.
    """

    def __init__(
        self,
        recorder: RecorderProcess,
        session_now_ns: Callable[[], int | None],
        ends_ns: int,
        sleep: Callable[[float], None],
    ) -> None:
        self.recorder = recorder
        self.report: Report | None = None
        self._drops_before = 0
        self._lost_before = 0
        self._not_given: set[str] = set()
        self._stop = threading.Event()
        self._looking: Future[None] | None = None
        self._session_now_ns = session_now_ns
        self._ends_ns = ends_ns
        self._sleep = sleep
        self._looks_behind_the_end = 0
        self._frames = -1

    @property
    def drops(self) -> int:
        """How often the connection was lost so far, with those that ended because a recorder died."""
        return self._drops_before + (self.report.reconnects if self.report is not None else 0)

    @property
    def frames_lost(self) -> int:
        """How many frames the disk could not take so far, of all recorders."""
        return self._lost_before + (self.report.frames_lost if self.report is not None else 0)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keep one recording while the block runs."""
        with ThreadPoolExecutor(1, thread_name_prefix="recorder watch") as pool:
            self._looking = pool.submit(self._look)
            try:
                yield
            finally:
                self._stop.set()

    def is_over(self) -> bool:
        """Wait a little; whether the session is over and what was sent of it is here.

        Raises:
            RecorderFailed: one that records cannot be kept alive.
        """
        self._sleep(_BETWEEN_LOOKS_S)
        if self._looking is not None and self._looking.done():
            self._looking.result()
        now_ns = self._session_now_ns()
        if now_ns is None or now_ns < self._ends_ns:
            return False
        # What was sent before the end may still be on its way; a feed that goes on for ever is not waited for.
        frames = self.report.frames if self.report is not None else 0
        is_quiet, self._frames = frames == self._frames, frames
        self._looks_behind_the_end = self._looks_behind_the_end + 1
        return (is_quiet and self._looks_behind_the_end > _QUIET_LOOKS) or self._looks_behind_the_end > _MOST_LOOKS

    def _look(self) -> None:
        while not self._stop.is_set():
            before, self.report = self.report, self.recorder.look()
            if before is not None and self.report is not None and self.report.pid != before.pid:
                self._drops_before += before.reconnects + 1
                self._lost_before += before.frames_lost
            if self.report is not None:
                self._notice(self.report, before)
            self._stop.wait(_BETWEEN_LOOKS_S)

    def _notice(self, report: Report, before: Report | None) -> None:
        """Say once what is not given, by topic, and when frames begin to be lost."""
        fresh = Counter(text.partition(".")[0] for text in set(report.refused) - self._not_given)
        self._not_given.update(report.refused)
        for topic, count in sorted(fresh.items()):
            logger.warning("the vendor does not give us %d subscriptions to %s: they are not recorded", count, topic)
        if report.frames_lost and (before is None or report.frames_lost > before.frames_lost):
            logger.warning("the disk of the spool is too slow: %d frames were lost so far", self.frames_lost)


def _end(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
