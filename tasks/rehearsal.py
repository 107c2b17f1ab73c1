"""A few minutes of a session as if they were live: the simulated exchange runs, drops us, and stands still again."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import date, datetime
from datetime import time as clock_time
from pathlib import Path
from typing import Final

from marketlake.errors import UsageError
from marketlake.recorder_files import read_report
from marketlake.sessions import NEW_YORK
from marketlake.spool import local_folder
from marketlake.tickers import AssetClass
from tasks.desk import settings
from tasks.stream import StreamReport

FROM, UNTIL = clock_time(9, 59), clock_time(10, 10)
SPEED: Final = 60
DROPS = (
    {"name": "shares are closed", "stream": {"market": "stocks"}, "when": "10:03:00", "do": {"action": "close"}},
    {
        "name": "indices are cut within a frame",
        "stream": {"market": "indices"},
        "when": "10:07:00",
        "do": {"action": "abort_in_frame"},
    },
)
_PATIENCE_S: Final = 90
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Exchange:
    """The simulated exchange's control address."""

    control: str

    def session(self) -> date:
        """The trading date on its clock."""
        return self.now().date()

    def now(self) -> datetime:
        """What its clock shows, New York's time."""
        return datetime.fromisoformat(str(self._ask("GET", "/state")["clock"])).astimezone(NEW_YORK)

    def turn_clock(self, change: Mapping[str, object]) -> None:
        """Set it, let it run, or hold it: ``set``, ``speed``, ``pause``."""
        self._ask("POST", "/clock", change)

    def rehearse(self, record: Callable[[AssetClass, date, datetime], StreamReport]) -> list[StreamReport]:
        """Go back to the morning, let the feeds be recorded for ten minutes with two drops, and return to the evening.

        Raises:
            UsageError: the recorders do not come up.
        """
        evening, session = str(self._ask("GET", "/state")["clock"]), self.session()
        feeds = (AssetClass.STOCKS, AssetClass.INDICES)
        self._ask("POST", "/clock", {"pause": True, "set": f"{session}T{FROM}"})
        for drop in DROPS:
            self._ask("POST", "/faults", {**drop, "when": {"at": f"{session}T{drop['when']}"}})
        until = datetime.combine(session, UNTIL, NEW_YORK)
        # Each feed is a flow run of its own, and both are part of this one.
        with ThreadPoolExecutor(len(feeds)) as pool:
            runs = [pool.submit(copy_context().run, record, feed, session, until) for feed in feeds]
            _wait_until_recorded(feeds, session, lambda: any(run.done() for run in runs))
            self._ask("POST", "/clock", {"speed": SPEED})
            reports = [run.result() for run in runs]
        self._ask("DELETE", "/faults")
        self._ask("POST", "/clock", {"pause": True, "set": evening})
        return reports

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data, method=method)  # noqa: S310 - our own process
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310
            found: dict[str, object] = json.loads(answer.read())
        return found


def _wait_until_recorded(feeds: Sequence[AssetClass], session: date, has_ended: Callable[[], bool]) -> None:
    folders = [local_folder(Path(settings().stream.spool), feed, session) for feed in feeds]
    deadline = time.monotonic() + _PATIENCE_S
    while not all(report is not None and report.is_subscribed for report in map(read_report, folders)):
        if has_ended():
            return  # with an error of its own, which says more
        if time.monotonic() > deadline:
            message = f"the recorders do not come up: look at the logs in {settings().stream.spool}"
            raise UsageError(message)
        time.sleep(_LOOK_S)
