"""Steps that bring a session's stream to its end: windows sealed, partitions held against history, gaps filled."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake.backfill import Outcome
from marketlake.errors import KeyRefused, MarketlakeError
from marketlake.healing import (
    Streamed,
    batch_of,
    finish_stream,
    heal_partition,
    leave_spool,
    publish_streamed,
    stream_lease,
    unhealed_feeds,
)
from marketlake.plan import Request
from marketlake.sessions import require_session, settled_at
from marketlake.tables import TABLES, Partition
from marketlake.tickers import AssetClass
from marketlake.watchdog import is_being_recorded
from tasks.desk import desk
from tasks.step import Failure, take
from tasks.stream import seal_window

_LONGEST_WAIT_S: Final = 60.0
_RECORDERS_PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class StreamOf:
    """One feed's session whose stream has not been published yet."""

    feed: AssetClass
    session: date


@task(name="wait until settled", task_run_name="wait for the end of {session}", cache_policy=NO_CACHE)
def wait_until_settled(session: date | None) -> None:
    """Wait until the vendor's history of a session is whole, by the vendor's clock, and its recorders have ended.

    Of no session, do not wait.
    """
    at = desk()
    if session is None:
        return
    over = settled_at(require_session(session), timedelta(minutes=at.settings.vendor.delay_minutes))
    while (now := at.vendor.server_time()) < over:
        remaining_s = (over - now).total_seconds()
        time.sleep(min(remaining_s, _LONGEST_WAIT_S if at.settings.stream.clock == "machine" else 1.0))
    # Of a session that is replayed a thousand times as fast, what follows the close may still be under way.
    deadline = time.monotonic() + _RECORDERS_PATIENCE_S
    while time.monotonic() < deadline and any(is_being_recorded(at.settings, feed, session) for feed in AssetClass):
        time.sleep(1.0)


@task(name="find streams", cache_policy=NO_CACHE)
def find_streams(request: Request) -> Sequence[StreamOf]:
    """The sessions of a request that were recorded, or should have been, and are not in the lake yet."""
    at = desk()
    return [StreamOf(feed, session) for session in request.sessions for feed in unhealed_feeds(at, session)]


@task(name="finish stream", task_run_name="finish {of.feed} {of.session}", cache_policy=NO_CACHE)
def finish(of: StreamOf) -> Streamed:
    """Seal what is left of a session's stream, and bring its spool into the lake."""
    return finish_stream(of.feed, of.session, desk(), seal_window.fn)


@task(name="heal partition", task_run_name="heal {partition}", cache_policy=NO_CACHE)
def heal(partition: Partition, streamed: Streamed, refresh: bool, accept_short: bool) -> Outcome:
    """Publish one partition of a session's stream, whole."""
    at = desk()
    if not partition.spec.over_rest:
        return publish_streamed(partition, streamed, at)
    batch = batch_of(partition, streamed, at, refresh=refresh)
    return heal_partition(batch, streamed, at, accept_short=accept_short)


def heal_streams(streams: Sequence[StreamOf], *, refresh: bool, accept_short: bool) -> Iterator[Outcome | Failure]:
    """Bring each recorded session into the lake, one partition after the other; a failure ends its partition only."""
    at = desk()
    for of in streams:
        try:
            with stream_lease(of.feed, of.session, at) as require_held:
                streamed = take(finish, of)
                is_whole = True
                for found in _heal_each(streamed, require_held, refresh=refresh, accept_short=accept_short):
                    is_whole &= isinstance(found, Outcome)
                    yield found
                if is_whole:
                    require_held()
                    leave_spool(streamed, at)
        except KeyRefused:
            raise
        except MarketlakeError as error:
            yield Failure(of.feed, f"{of.feed} {of.session}", (of.session,), error)


def _heal_each(
    streamed: Streamed, require_held: Callable[[], None], *, refresh: bool, accept_short: bool
) -> Iterator[Outcome | Failure]:
    for partition in streamed.partitions:
        try:
            require_held()
            yield take(heal, partition, streamed, refresh, accept_short)
        except KeyRefused:
            raise
        except MarketlakeError as error:
            yield Failure(partition.table, f"heal {partition}", (streamed.session,), error)


def unproved(request: Request, failed: Sequence[Failure]) -> dict[str, set[date]]:
    """By table, the sessions that history could not prove whole just now; a failure is about a table or a feed.

    What only the present has does not wait for a feed: it is never streamed, and tomorrow it is gone.
    """
    return {
        name: {day for item in failed if item.table in {name, TABLES[name].asset_class} for day in item.sessions}
        for name in request.tables
        if not TABLES[name].present_only
    }
