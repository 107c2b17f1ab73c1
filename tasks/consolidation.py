"""Steps about the consolidated set of a session."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from expectations import check
from marketlake.consolidation import Choice, Consolidation, choose_session, run_session
from marketlake.logs import Heartbeat
from marketlake.tickers import Underlying
from tasks.desk import lake, now, run_id, settings


@task(name="choose session", cache_policy=NO_CACHE)
def newest_session(underlying: str | None, session: date | None) -> Choice:
    """The session that was asked for, or the newest complete one in the lake."""
    given = settings()
    return choose_session(lake(), Underlying.parse(underlying or given.sources.underlyings[0]), session)


@task(name="consolidate session", task_run_name="{underlying} {session}", cache_policy=NO_CACHE)
def consolidate_session(underlying: str, session: date) -> Consolidation:
    """Read, align, price, check and publish both tables of a session."""
    given = settings()
    facts = {"underlying": underlying, "session": session}
    with Heartbeat("consolidate", lambda: facts, every_s=given.logging.heartbeat_seconds):
        return run_session(
            Underlying.parse(underlying), session, lake(), settings=given, check=check, now=now, run_id=run_id()
        )
