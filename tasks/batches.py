"""Steps about batches of raw partitions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake.backfill import Outcome, pending_batches, run_batch
from marketlake.plan import NEEDS_CONTRACTS, Batch, Request
from marketlake.snapshots import take_snapshot
from marketlake.tables import TABLES
from tasks.desk import desk
from tasks.orders import Order
from tasks.progress import Progress
from tasks.step import Failure, take, take_each


@task(name="plan batches", task_run_name="plan {table_name}", cache_policy=NO_CACHE)
def plan_batches(request: Request, table_name: str) -> Sequence[Batch]:
    """What one table of a request still needs."""
    return list(pending_batches(request, table_name, desk()))


@task(name="fetch batch", task_run_name="{batch.title}", cache_policy=NO_CACHE)
def fetch_batch(batch: Batch) -> Outcome:
    """Ask for one batch and publish its partitions."""
    run = take_snapshot if TABLES[batch.table].present_only else run_batch
    return run(batch, desk())


def fetch_each(order: Order, *, without: Mapping[str, Collection[date]] | None = None) -> Iterator[Outcome | Failure]:
    """Fetch what an order still needs, table by table, and give what becomes of each batch as it comes.

    ``without`` names sessions that are left alone, by table. Where a session's contracts cannot be had, neither can
    what needs them.
    """
    without, chosen_for = without or {}, order.request
    with Progress("backfill", len(order.request.tables)) as progress:
        for table in order.request.tables:
            request = chosen_for if table in NEEDS_CONTRACTS else order.request
            batches = take(plan_batches, request.without(without.get(table, ())), table)
            progress.expect(table, len(batches))
            for outcome in take_each(fetch_batch, batches, order.workers):
                if isinstance(outcome, Failure) and outcome.table == "option_contracts":
                    chosen_for = chosen_for.without(outcome.sessions)
                progress.advance(outcome)
                yield outcome
