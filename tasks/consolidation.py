"""Steps about the consolidated set of a session."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from expectations import check
from marketlake.consolidation import Choice, Consolidation, choose_session, run_session
from marketlake.logs import Heartbeat
from marketlake.tickers import Underlying
from tasks.desk import lake, now, run_id, settings


@task(name="choose sessions", cache_policy=NO_CACHE)
def choose_sessions(underlying: str | None, session: date | None) -> list[Choice]:
    """The session that was asked for, or the newest complete one in the lake, of each underlying that is meant."""
    names = (underlying,) if underlying else settings().sources.underlyings
    at = lake()
    return [choose_session(at, Underlying.parse(name), session) for name in names]


@task(name="consolidate session", task_run_name="{choice.underlying} {choice.session}", cache_policy=NO_CACHE)
def consolidate_choice(choice: Choice) -> Consolidation:
    """Read, align, price, check and publish both tables of a session, where there is one."""
    if choice.session is None:
        return Consolidation(choice.underlying, None, choice.reason)
    given = settings()
    facts = {"underlying": choice.underlying, "session": choice.session}
    with Heartbeat("consolidate", lambda: facts, every_s=given.logging.heartbeat_seconds):
        return run_session(
            Underlying.parse(choice.underlying),
            choice.session,
            lake(),
            settings=given,
            check=check,
            now=now,
            run_id=run_id(),
        )
