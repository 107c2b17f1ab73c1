"""A live session as a user would run it: a simulator whose clock is held until every recorder is subscribed."""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from multiprocessing.process import BaseProcess
from pathlib import Path

from simulation import PATIENCE_S, Simulation, started

from marketlake.recorder_files import read_report
from marketlake.spool import local_folder
from marketlake.tickers import AssetClass

LOOK_S = 0.05


def told(simulator: Simulation, path: str, body: Mapping[str, object]) -> dict[str, object]:
    """What the simulator's control address answers."""
    request = urllib.request.Request(f"{simulator.control}{path}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, object] = json.loads(answer.read())
    return found


@dataclass(frozen=True)
class Streams:
    """The ``stream`` flows of some feeds, running as processes."""

    simulator: Simulation
    processes: dict[str, BaseProcess]
    start: Callable[[str], BaseProcess]
    folder: Path
    spool: Path
    session: date

    def wait_until_subscribed(self) -> None:
        """Every recorder has its acknowledgements."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(self._is_subscribed(feed) for feed in self.processes):
            self.assert_alive()
            assert time.monotonic() < deadline, "the recorders do not subscribe"
            time.sleep(LOOK_S)

    def run(self, speed: float, patience_s: float = 600) -> dict[str, dict[str, int]]:
        """Let the clock run until all have ended; what each flow reports."""
        self.wait_until_subscribed()
        told(self.simulator, "/clock", {"speed": speed})
        return self.ended(patience_s)

    def ended(self, patience_s: float = 600) -> dict[str, dict[str, int]]:
        """What each flow reports in the end."""
        for feed, process in self.processes.items():
            process.join(patience_s)
            assert process.exitcode == 0, f"{feed}: {self._text(feed, 'stderr')}"
        return {feed: json.loads(self._text(feed, "stdout")) for feed in self.processes}

    def again(self, feed: str) -> None:
        """Kill a flow, and run it again: its recorder goes on meanwhile."""
        killed = self.processes[feed]
        killed.kill()
        killed.join(PATIENCE_S)
        self.processes[feed] = self.start(feed)

    def assert_alive(self) -> None:
        for feed, process in self.processes.items():
            assert process.is_alive(), f"{feed}: {self._text(feed, 'stderr')}"

    def recorder_kilobytes(self, feed: str) -> int | None:
        """The resident size of a feed's recorder; None while it has none."""
        report = read_report(local_folder(self.spool, AssetClass(feed), self.session))
        with suppress(FileNotFoundError, ProcessLookupError):
            if report is not None:
                found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{report.pid}/status").read_text())
                return int(found[1]) if found else None
        return None

    def _is_subscribed(self, feed: str) -> bool:
        report = read_report(local_folder(self.spool, AssetClass(feed), self.session))
        return report is not None and report.is_subscribed

    def _text(self, feed: str, name: str) -> str:
        return (self.folder / feed / name).read_text()


@contextmanager
def streaming(
    simulator: Simulation,
    feeds: Mapping[str, Sequence[str]],
    folder: Path,
    *,
    session: date,
    until: str,
    env: Mapping[str, str],
) -> Iterator[Streams]:
    """Streams of feeds, started in the order given, each with its subscriptions, until a New York time."""
    environment = {**env, "MARKETLAKE__STREAM__CLOCK": "vendor", "MARKETLAKE__STREAM__SPOOL": str(folder / "spool")}
    processes: dict[str, BaseProcess] = {}

    def start(feed: str) -> BaseProcess:
        (folder / feed).mkdir(parents=True, exist_ok=True)
        return started(
            "stream", "--feed", feed, "--session", str(session), "--subscribe", ",".join(feeds[feed]),
            "--until", f"{session}T{until}", "--json", env=environment, folder=folder / feed,
        )  # fmt: skip

    try:
        for feed in feeds:
            processes[feed] = start(feed)
        yield Streams(simulator, processes, start, folder, folder / "spool", session)
    finally:
        for process in processes.values():
            if process.is_alive():
                process.terminate()  # the flow stops its recorder
                process.join(PATIENCE_S)
