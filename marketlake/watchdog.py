"""Whether a session is being recorded, asked from outside of everything that should be recording it.

A scheduler that has stopped starts nothing that could say so. This looks only at the recorders' own reports beside
their spools, with the calendar of the installed package: no server, no vendor, no lake.
"""

from datetime import date
from pathlib import Path
from typing import Final

from marketlake.processes import ProcessIdentity
from marketlake.recorder_files import read_report
from marketlake.settings import Settings
from marketlake.spool import local_folder
from marketlake.tickers import AssetClass

_NS_PER_S: Final = 1_000_000_000
# A recorder reports twice a second.
_STALE_NS: Final = 60 * _NS_PER_S


def is_being_recorded(settings: Settings, feed: AssetClass, session: date) -> bool:
    """Whether a process of this machine writes a feed's spool."""
    report = read_report(local_folder(Path(settings.stream.spool), feed, session))
    return report is not None and ProcessIdentity.slug_lives_here(report.process)


def unheard_feeds(settings: Settings, session: date, now_ns: int) -> list[str]:
    """One sentence for each feed that is switched on and that no recorder of this machine reports to be recording.

    ``now_ns`` is the machine's clock, nanoseconds since the epoch.
    """
    found = []
    for feed in AssetClass:
        if not settings.sources.streams.get(feed.value):
            continue
        report = read_report(local_folder(Path(settings.stream.spool), feed, session))
        if report is None:
            found.append(f"{feed}: no recorder has reported")
        elif now_ns - report.at_ns > _STALE_NS:
            found.append(f"{feed}: its recorder was last heard {(now_ns - report.at_ns) // _NS_PER_S} s ago")
        elif not report.is_subscribed:
            found.append(f"{feed}: its recorder runs and is not subscribed ({report.reconnects} reconnects so far)")
    return found
