"""The morning after: what the vendor has corrected since the evening."""

from datetime import date

from prefect import flow

from marketlake.restating import Restatement
from tasks.alerts import tell_slack
from tasks.batches import plan_batches
from tasks.consolidation import consolidate_choice
from tasks.naming import named
from tasks.reports import BackfillReport, keep_consolidation
from tasks.restating import Restated, fetch_again, keep_restatements, order_corrections, outdated_sessions
from tasks.step import take, take_each


@flow(
    name="heal",
    flow_run_name=named("corrections of", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def next_day(session: date | None = None) -> list[Restatement]:
    """Fetch the bars of a session again, write down which rows changed from what to what, and consolidate again.

    Args:
        session: Which session; the newest one that is complete at the vendor when left out.
    """
    order = take(order_corrections, session)
    session = order.only_session()
    report = BackfillReport(order.postponed)
    restatements: list[Restatement] = []
    for table in order.request.tables:
        for found in take_each(fetch_again, take(plan_batches, order.request, table), order.workers):
            report = report.plus(found.outcome if isinstance(found, Restated) else found)
            restatements += found.restatements if isinstance(found, Restated) else ()
    restatements.sort(key=lambda item: item.path)
    keep_restatements(session, restatements)
    report.raise_failures()
    for choice in outdated_sessions(session):
        keep_consolidation(take(consolidate_choice, choice))
    return restatements
