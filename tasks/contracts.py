"""Steps about choosing a session's contracts."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake.discover import Selection, choose_again
from marketlake.tickers import Underlying
from tasks.desk import desk


@task(name="choose contracts", task_run_name="choose {underlying} {session}", cache_policy=NO_CACHE)
def choose_contracts(underlying: str, session: date) -> Selection:
    """Apply the rule of choice to the contracts in the lake, and publish them where it changed anything."""
    return choose_again(Underlying.parse(underlying), session, desk())
