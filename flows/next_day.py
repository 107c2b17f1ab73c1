"""The morning after: what the vendor has corrected since the evening, and the news that came then."""

from datetime import date

from prefect import flow

from marketlake.restating import Restatement
from tasks.alerts import tell_slack
from tasks.naming import named
from tasks.reports import BackfillReport, keep_consolidation
from tasks.restating import (
    Restated,
    consolidate_outdated,
    fetch_each_again,
    fetch_evening_news,
    find_published_bars,
    keep_restatements,
)
from tasks.step import Failure, take


@flow(
    name="heal",
    flow_run_name=named("corrections of", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def next_day(session: date | None = None) -> list[Restatement]:
    """Fetch the bars of a session again, write down which rows changed from what to what, and consolidate again.

    The news of the evening, which belong to the session until midnight, are fetched too.

    Args:
        session: Which session; the newest one that is complete at the vendor when left out.
    """
    corrections = take(find_published_bars, session)
    report = BackfillReport(())
    restatements: list[Restatement] = []
    for found in fetch_each_again(corrections):
        report = report.plus(found.outcome if isinstance(found, Restated) else found)
        restatements += found.restatements if isinstance(found, Restated) else ()
    restatements.sort(key=lambda item: item.path)
    keep_restatements(corrections, restatements)
    # What could be corrected is followed, whatever became of the rest.
    for made in consolidate_outdated(corrections.session):
        if isinstance(made, Failure):
            report = report.plus(made)
        else:
            keep_consolidation(made)
    for outcome in fetch_evening_news(corrections):
        report = report.plus(outcome)
    report.raise_failures()
    return restatements
