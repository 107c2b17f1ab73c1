"""Choose a session's contracts: those listed as of it, near its opening price."""

from datetime import date

from prefect import flow

from marketlake.discover import Selection
from tasks.alerts import tell_slack
from tasks.batches import fetch_batch, plan_batches
from tasks.contracts import choose_contracts
from tasks.naming import named
from tasks.orders import read_order
from tasks.progress import Progress
from tasks.reports import BackfillReport, keep_selection
from tasks.step import take, take_each


@flow(
    name="discover-options",
    flow_run_name=named("contracts of", "underlying", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def discover_options(underlying: str = "SPY", session: date | None = None) -> Selection:
    """Fetch the contracts of a session and choose among them.

    Args:
        underlying: SPY, or an index such as I:SPX.
        session: Which session; the newest one that is complete at the vendor when left out.
    """
    order = take(read_order, ["option_contracts"], [underlying], session, session, refresh=False)
    session = order.only_session()
    report = BackfillReport(order.postponed)
    with Progress("discover", len(order.request.tables)) as progress:
        for table in order.request.tables:
            batches = take(plan_batches, order.request, table)
            progress.expect(table, len(batches))
            for outcome in take_each(fetch_batch, batches, order.workers):
                report = report.plus(outcome)
                progress.advance(outcome)
    report.raise_failures()
    selection = take(choose_contracts, underlying, session)
    keep_selection(selection)
    return selection
