"""Record one feed through its session, and seal window after window as it goes."""

from datetime import date, datetime

from prefect import flow

from tasks.alerts import tell_slack
from tasks.naming import named
from tasks.step import take
from tasks.stream import (
    Choice,
    StreamReport,
    fill_each,
    open_filling,
    open_live,
    plan_stream,
    recorded,
    seal_each,
    tell_losses,
)


@flow(name="stream", flow_run_name=named("stream", "feed", "session"), on_failure=[tell_slack], on_crashed=[tell_slack])
def stream(
    feed: str,
    session: date | None = None,
    subscriptions: list[str] | None = None,
    until: datetime | None = None,
) -> StreamReport:
    """Keep a recorder alive until the session is over; what it records becomes segments, window by window.

    Args:
        feed: stocks, options or indices.
        session: Which session; today's when left out.
        subscriptions: AM.SPY, T.O:…, V.I:VIX; what config/sources.yaml switches on when left out.
        until: When to stop, in session time (New York where no offset is given); some minutes after the close when
            left out.
    """
    order = take(plan_stream, feed, session, subscriptions, until)
    report = StreamReport(order)
    if not order.wanted:
        return report
    live = open_live(order)
    filling, choice = open_filling(live), Choice(order)
    with recorded(order) as watch:
        while not watch.is_over():
            report = seal_each(live.advance(), live, report)
            report = fill_each(live, filling, report)
            choice.keep_up()
    report = seal_each(live.close(), live, report).recorded_by(watch)
    tell_losses(report)
    report.raise_failures()
    return report
