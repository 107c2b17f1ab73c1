"""Bring what was streamed into the lake, hold it against history, and fetch everything else that is missing."""

from datetime import date

from prefect import flow

from tasks.alerts import tell_slack
from tasks.batches import fetch_each
from tasks.healing import find_streams, heal_streams, unproved, wait_until_settled
from tasks.naming import named
from tasks.orders import read_order
from tasks.reports import BackfillReport, keep_backfill_report
from tasks.step import take


@flow(
    name="heal",
    flow_run_name=named("heal", "start", "end", between=" to "),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def heal(
    tables: list[str] | None = None,
    tickers: list[str] | None = None,
    start: date | None = None,
    end: date | None = None,
    *,
    refresh: bool = False,
    accept_short: bool = False,
    wait: bool = False,
) -> BackfillReport:
    """Leave no second of the expected sessions without a label.

    Args:
        tables: Which tables besides those that were streamed; those of config/sources.yaml when left out.
        tickers: SPY, I:VIX, O:… and @chosen or @all; the configured underlyings and indices when left out.
        start: The first session; the newest one that is complete at the vendor when left out.
        end: The last session; the same as the first when left out.
        refresh: Ask again for what the ledger already covers.
        accept_short: Take history for the truth where it lacks rows that were streamed, and quarantine those.
        wait: Begin once the vendor's history of these sessions is whole, and not before.
    """
    if wait:
        take(wait_until_settled, end or start)
    order = take(read_order, tables, tickers, start, end, refresh)
    report = BackfillReport(order.postponed)
    try:
        for outcome in heal_streams(take(find_streams, order.request), refresh=refresh, accept_short=accept_short):
            report = report.plus(outcome)
        # What history could not prove whole just now is not fetched behind the stream's back.
        for outcome in fetch_each(order, without=unproved(order.request, report.failed)):
            report = report.plus(outcome)
    finally:
        keep_backfill_report(report)
    report.raise_failures()
    return report
