"""Who is told to be recording, by the reports beside the spools alone."""

from datetime import date
from pathlib import Path

import pytest

from marketlake.recorder import Report
from marketlake.recorder_files import write_report
from marketlake.settings import Settings
from marketlake.spool import local_folder
from marketlake.tickers import AssetClass
from marketlake.watchdog import unheard_feeds

SESSION = date(2025, 8, 29)
NOW_NS = 1_756_475_000_000_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    known = Settings()
    return known.model_copy(update={"stream": known.stream.model_copy(update={"spool": str(tmp_path)})})


def report(settings: Settings, feed: AssetClass, *, age_s: int = 0, is_subscribed: bool = True) -> None:
    said = Report(
        at_ns=NOW_NS - age_s * 10**9, feed=feed, pid=1, process="1", connection=1, is_subscribed=is_subscribed,
        reconnects=3, outcomes={}, wanted=[], refused=[], frames=1, bytes=1, events=1, frames_lost=0, bytes_lost=0,
        bytes_pending=0, synced_file=1, synced_offset=8, last_event_ns=None, lag_p50_ms=None, lag_p99_ms=None,
    )  # fmt: skip
    write_report(local_folder(Path(settings.stream.spool), feed, SESSION), said)


def test_a_session_that_is_recorded_whole_has_nothing_unheard(settings: Settings) -> None:
    for feed in AssetClass:
        report(settings, feed, age_s=59)

    assert [] == unheard_feeds(settings, SESSION, NOW_NS)


def test_each_feed_that_is_not_recorded_is_named_with_why(settings: Settings) -> None:
    report(settings, AssetClass.STOCKS, age_s=61)
    report(settings, AssetClass.INDICES, is_subscribed=False)

    assert {
        "stocks: its recorder was last heard 61 s ago",
        "indices: its recorder runs and is not subscribed (3 reconnects so far)",
        "options: no recorder has reported",
    } == set(unheard_feeds(settings, SESSION, NOW_NS))


def test_a_feed_that_is_switched_off_is_not_missed(settings: Settings) -> None:
    streams = {feed.value: () for feed in AssetClass}
    off = settings.model_copy(update={"sources": settings.sources.model_copy(update={"streams": streams})})

    assert [] == unheard_feeds(off, SESSION, NOW_NS)
