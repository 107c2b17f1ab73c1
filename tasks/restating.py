"""Steps about what the vendor has corrected overnight."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from marketlake.backfill import Outcome, run_batch
from marketlake.consolidation import Choice, is_outdated
from marketlake.plan import Batch
from marketlake.restating import Restatement, Restating
from marketlake.tickers import Underlying
from tasks.alarms import Alarm, raise_alarm
from tasks.desk import desk, lake, settings
from tasks.orders import Order, read_order
from tasks.step import in_flow_run

_BARS: Final = ("stock_bars", "option_bars", "index_bars")


@dataclass(frozen=True, slots=True)
class Restated:
    """What asking for a batch again brought, and what it changed."""

    outcome: Outcome
    restatements: tuple[Restatement, ...]


@task(name="order corrections", cache_policy=NO_CACHE)
def order_corrections(session: date | None) -> Order:
    """The order for all bars of a session once more: of the newest one that is complete where none is given."""
    collected = [name for name in _BARS if name in settings().sources.tables]
    order = read_order.fn(collected, None, session, session, refresh=True)
    # The contracts stay those that were chosen.
    return replace(order, request=replace(order.request, tables=tuple(collected)))


@task(name="fetch again", task_run_name="{batch.title} again", cache_policy=NO_CACHE)
def fetch_again(batch: Batch) -> Restated:
    """Ask for a batch again, write down what that changes, and publish it."""
    at = desk()
    restating = Restating(at.lake)
    outcome = run_batch(batch, at, restate=restating)
    return Restated(outcome, tuple(restating.found))


def outdated_sessions(session: date) -> list[Choice]:
    """The consolidated sets of a session that were made from something else than the lake has now."""
    names = [Underlying.parse(name) for name in settings().sources.underlyings]
    at = lake()
    return [Choice(name.symbol, session) for name in names if is_outdated(at, name, session)]


def keep_restatements(session: date, found: Sequence[Restatement]) -> None:
    """Leave what was restated as a table artifact on the flow run, and tell of it where it is something."""
    count = sum(item.rows for item in found)
    said = f"{session}: {count} rows were corrected, in {len(found)} partitions."
    if found:
        facts: dict[str, str | int] = {"session": str(session), "rows": count, "partitions": len(found)}
        paths = "\n".join(item.path for item in found)
        raise_alarm(Alarm.BARS_CORRECTED, f"session.{session}", facts, what=said, cause=paths)
    if in_flow_run():
        rows = [item.as_json() for item in found] or [{"partition": "nothing was corrected"}]
        create_table_artifact(rows, key="restatement", description=said)
