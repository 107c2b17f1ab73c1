"""Turn a session's raw tables into its consolidated set."""

from datetime import date

from prefect import flow

from marketlake.consolidation import Consolidation
from marketlake.errors import MarketlakeError
from tasks.alerts import tell_slack
from tasks.consolidation import choose_sessions, consolidate_choice
from tasks.naming import named
from tasks.reports import keep_consolidation, raise_failures
from tasks.step import take


@flow(
    name="consolidate",
    flow_run_name=named("consolidate", "underlying", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def consolidate(underlying: str | None = None, session: date | None = None) -> list[Consolidation]:
    """Align, price, compute, check and publish one session, of one underlying or of each.

    Args:
        underlying: SPY, or an index such as I:SPX; all configured ones when left out.
        session: Which session; the newest complete one in the lake when left out.
    """
    results, failed = [], []
    for choice in take(choose_sessions, underlying, session):
        try:
            result = take(consolidate_choice, choice)
        except MarketlakeError as error:
            failed.append((f"{choice.underlying} {choice.session}", error))
            continue
        keep_consolidation(result)
        results.append(result)
    raise_failures(failed, done=len(results))
    return results
