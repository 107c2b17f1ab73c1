"""Steps that turn what a person asked for into an order: checked tables, tickers and complete sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from marketlake.backfill import expected_batches
from marketlake.errors import UsageError
from marketlake.plan import Request, tables_without_tickers
from marketlake.preview import Preview, preview_of
from marketlake.sessions import newest_settled_session, sessions_between, settled_at, to_ns
from tasks.desk import desk


@dataclass(frozen=True, slots=True)
class Order:
    """A request that can be carried out now, and the sessions that have to wait because they are not over."""

    request: Request
    postponed: tuple[date, ...]
    workers: int
    delay: timedelta  # by which the plan's data is late

    def only_session(self) -> date:
        """The one session of an order about one.

        Raises:
            UsageError: that session is not over yet at the vendor.
        """
        if not self.request.sessions:
            session = self.postponed[0]
            over = settled_at(session, self.delay)
            message = f"{session} is not over yet at the vendor: ask from {over:%Y-%m-%d %H:%M} UTC on"
            raise UsageError(message)
        return self.request.sessions[0]


@task(name="read order", cache_policy=NO_CACHE)
def read_order(
    tables: Sequence[str] | None,
    tickers: Sequence[str] | None,
    start: date | None,
    end: date | None,
    refresh: bool,
) -> Order:
    """Sort an order out by the vendor's clock (docs/adr/0004)."""
    at = desk()
    vendor_now = at.vendor.server_time()
    delay = timedelta(minutes=at.settings.vendor.delay_minutes)
    sources = at.settings.sources
    ready, postponed = complete_sessions(start, end, vendor_now, delay)
    request = Request.parse(
        tables or sources.tables,
        tickers or [*sources.underlyings, *sources.indices],
        ready,
        sources.underlyings,
        to_ns(vendor_now),
        refresh=refresh,
    )
    empty = tables_without_tickers(request) if tables else []
    if empty:
        message = f"nothing is named that {', '.join(empty)} could be about: give a share (SPY) or an index (I:VIX)"
        raise UsageError(message)
    return Order(request, postponed, sources.workers, delay)


def complete_sessions(
    start: date | None, end: date | None, vendor_now: datetime, delay: timedelta
) -> tuple[tuple[date, ...], tuple[date, ...]]:
    """The sessions of a range that are complete at the vendor, and those that are not yet.

    Raises:
        UsageError: the range is empty, or holds no session.
    """
    first = start or newest_settled_session(vendor_now, delay)
    last = end or first
    if last < first:
        message = f"the range ends on {last}, before it starts on {first}"
        raise UsageError(message)
    sessions = sessions_between(first, last)
    if not sessions:
        message = f"there is no trading session from {first} to {last}"
        raise UsageError(message)
    ready = tuple(day for day in sessions if settled_at(day, delay) <= vendor_now)
    return ready, tuple(day for day in sessions if day not in set(ready))


@task(name="preview order", cache_policy=NO_CACHE)
def preview_order(
    tables: Sequence[str] | None,
    tickers: Sequence[str] | None,
    start: date | None,
    end: date | None,
    refresh: bool,
) -> Preview:
    """What an order would cost; asks the vendor for nothing but the time.

    Contracts that have not been discovered yet are counted as if as many as the settings allow were chosen,
    or as many as SPY has were listed.
    """
    at = desk()
    order = read_order.fn(tables, tickers, start, end, refresh)
    found = ((table, list(expected_batches(order.request, table, at))) for table in order.request.tables)
    return preview_of(found, at.settings.sources.page_size, at.settings.vendor.calls_per_minute)
