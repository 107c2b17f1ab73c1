"""Steps about what the vendor has corrected overnight."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from marketlake.backfill import Outcome
from marketlake.consolidation import Choice, Consolidation, is_outdated
from marketlake.errors import MarketlakeError
from marketlake.plan import Batch
from marketlake.restating import Restatement, ask_again, published_bars
from marketlake.sessions import next_session
from marketlake.tickers import Underlying
from tasks.alarms import Alarm, raise_alarm
from tasks.batches import fetch_each
from tasks.consolidation import consolidate_choice
from tasks.desk import desk, lake, settings
from tasks.orders import read_order
from tasks.step import Failure, in_flow_run, take, take_each

logger = logging.getLogger(__name__)

_BARS: Final = ("stock_bars", "option_bars", "index_bars")


@dataclass(frozen=True, slots=True)
class Restated:
    """What asking for a batch again brought, and what it changed."""

    outcome: Outcome
    restatements: tuple[Restatement, ...]


@dataclass(frozen=True, slots=True)
class Corrections:
    """What is asked again of a session, and why nothing is where that is so."""

    session: date
    batches: tuple[Batch, ...]
    nothing_to_do: str = ""


@task(name="find published bars", cache_policy=NO_CACHE)
def find_published_bars(session: date | None) -> Corrections:
    """The published bars of a session, to be asked again: of the newest one that is complete where none is given.

    Raises:
        UsageError: the session is not over yet at the vendor.
    """
    at = desk()
    sources = at.settings.sources
    collected = [name for name in _BARS if name in sources.tables]
    day = read_order.fn(collected, None, session, session, refresh=True).only_session()
    batches = published_bars(at.lake, day, collected, sources.underlyings, sources.indices)
    missing = f"the lake holds no bars of {day} that could be corrected: run `marketlake heal --start {day}` first"
    return Corrections(day, tuple(batches), "" if batches else missing)


@task(name="fetch again", task_run_name="{batch.title} again", cache_policy=NO_CACHE)
def fetch_again(batch: Batch) -> Restated:
    """Ask for a batch again, write down what that changes, and publish it."""
    return Restated(*ask_again(batch, desk()))


def fetch_each_again(corrections: Corrections) -> Iterator[Restated | Failure]:
    """Ask for each partition again, some at once."""
    return take_each(fetch_again, corrections.batches, settings().sources.workers)


def fetch_evening_news(corrections: Corrections) -> Iterator[Outcome | Failure]:
    """Ask for the news that came after the healing; a session of which the lake holds nothing is left alone."""
    if corrections.batches and "news" in settings().sources.tables:
        day = corrections.session
        yield from fetch_each(read_order.fn(["news"], None, day, day, refresh=False))


def consolidate_outdated(session: date) -> Iterator[Consolidation | Failure]:
    """Consolidate again what was made from something else than the lake has now; a failure ends its session only.

    The session after it uses its last VIX.
    """
    at = lake()
    for name in settings().sources.underlyings:
        for day in (session, next_session(session)):
            if not is_outdated(at, Underlying.parse(name), day):
                continue
            try:
                yield take(consolidate_choice, Choice(Underlying.parse(name).symbol, day))
            except MarketlakeError as error:
                yield Failure("market_minutes", f"consolidate {name} {day}", (day,), error)


def keep_restatements(corrections: Corrections, found: Sequence[Restatement]) -> None:
    """Leave what was restated as a table artifact on the flow run, and tell of it where it is something."""
    session, count = corrections.session, sum(item.rows for item in found)
    said = f"{session}: {count} rows were corrected, in {len(found)} partitions."
    if corrections.nothing_to_do:
        said = f"Nothing to do: {corrections.nothing_to_do}"
        logger.info("%s", said)
    if found:
        facts: dict[str, str | int] = {"session": str(session), "rows": count, "partitions": len(found)}
        paths = "\n".join(item.path for item in found)
        raise_alarm(Alarm.BARS_CORRECTED, f"session.{session}", facts, what=said, cause=paths)
    if in_flow_run():
        rows = [item.as_json() for item in found] or [{"partition": "nothing was corrected"}]
        create_table_artifact(rows, key="restatement", description=said)
