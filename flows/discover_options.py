"""Choose a session's contracts: those listed as of it, near its opening price."""

from datetime import date

from prefect import flow

from marketlake.discover import Selection
from marketlake.tickers import AssetClass
from tasks.alerts import tell_slack
from tasks.batches import fetch_batch, plan_batches
from tasks.contracts import choose_contracts, is_running, order_contracts, wait_for_opening_price
from tasks.morning import options_are_wanted, start_feed
from tasks.naming import named
from tasks.progress import Progress
from tasks.reports import BackfillReport, keep_selection
from tasks.step import in_flow_run, take, take_each


@flow(
    name="discover-options",
    flow_run_name=named("contracts of", "underlying", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def discover_options(underlying: str = "SPY", session: date | None = None) -> Selection:
    """Fetch the contracts of a session and choose among them; of one that is running, as soon as its price is known.

    Args:
        underlying: SPY, or an index such as I:SPX.
        session: Which session; the newest one that is complete at the vendor when left out.
    """
    order = take(order_contracts, underlying, session)
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
    is_live = is_running(session)
    opening = take(wait_for_opening_price, underlying, session) if is_live else None
    selection = take(choose_contracts, underlying, session, opening)
    keep_selection(selection)
    if is_live and in_flow_run() and options_are_wanted():
        take(start_feed, AssetClass.OPTIONS, session)
    return selection
