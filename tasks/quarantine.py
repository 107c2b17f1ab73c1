"""Steps about refused rows."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake import healing
from marketlake.backfill import Replay
from marketlake.quarantine import partition_named
from tasks.desk import desk


@task(name="replay quarantine", task_run_name="{table} {owner} {session}", cache_policy=NO_CACHE)
def replay(table: str, owner: str, session: date) -> Replay:
    """Judge the captured rows of one partition again by today's rules."""
    return healing.replay(partition_named(table, owner, session), desk())
