"""Bring history into the lake: any tables, tickers and range, going on where the ledger ends."""

from datetime import date

from prefect import flow

from tasks.alerts import tell_slack
from tasks.batches import fetch_each
from tasks.naming import named
from tasks.orders import read_order
from tasks.reports import BackfillReport, keep_backfill_report
from tasks.step import take


@flow(
    name="backfill",
    flow_run_name=named("backfill", "start", "end", between=" to "),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def backfill(
    tables: list[str] | None = None,
    tickers: list[str] | None = None,
    start: date | None = None,
    end: date | None = None,
    refresh: bool = False,
) -> BackfillReport:
    """Fetch what the lake does not hold yet.

    Args:
        tables: Which tables, such as stock_bars; those of config/sources.yaml when left out.
        tickers: SPY, I:VIX, O:… and @chosen or @all; the configured underlyings and indices when left out.
        start: The first session; the newest one that is complete at the vendor when left out.
        end: The last session; the same as the first when left out.
        refresh: Ask again for what the ledger already covers.
    """
    order = take(read_order, tables, tickers, start, end, refresh)
    report = BackfillReport(order.postponed)
    try:
        for outcome in fetch_each(order):
            report = report.plus(outcome)
    finally:
        keep_backfill_report(report)
    report.raise_failures()
    return report
