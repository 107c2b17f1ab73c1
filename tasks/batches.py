"""Steps about batches of raw partitions."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake.backfill import Outcome, pending_batches, run_batch
from marketlake.plan import Batch, Request
from tasks.desk import desk


@task(name="plan batches", task_run_name="plan {table_name}", cache_policy=NO_CACHE)
def plan_batches(request: Request, table_name: str) -> Sequence[Batch]:
    """What one table of a request still needs."""
    return list(pending_batches(request, table_name, desk()))


@task(name="fetch batch", task_run_name="{batch.title}", cache_policy=NO_CACHE)
def fetch_batch(batch: Batch) -> Outcome:
    """Ask for one batch and publish its partitions."""
    return run_batch(batch, desk())
