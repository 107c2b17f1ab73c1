"""Turn one session's raw tables into its consolidated set."""

from datetime import date

from prefect import flow

from marketlake.consolidation import Consolidation
from tasks.alerts import tell_slack
from tasks.consolidation import consolidate_session, newest_session
from tasks.reports import keep_consolidation
from tasks.step import take


@flow(
    name="consolidate",
    flow_run_name="consolidate {underlying} {session}",
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def consolidate(underlying: str | None = None, session: date | None = None) -> Consolidation:
    """Align, price, compute, check and publish one session.

    Args:
        underlying: SPY, or an index such as I:SPX; the first configured one when left out.
        session: Which session; the newest complete one in the lake when left out.
    """
    choice = take(newest_session, underlying, session)
    if choice.session is None:
        result = Consolidation(choice.underlying, None, choice.reason)
    else:
        result = take(consolidate_session, choice.underlying, choice.session)
    keep_consolidation(result)
    return result
