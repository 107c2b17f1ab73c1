"""What can be asked of the vendor: one logical question is one chain of pages.

Paths, parameters and ranges are made here, so that nothing else knows the vendor's spelling of them. Sending is
:mod:`marketlake.rest`'s, whether the pages add up is :mod:`marketlake.answers`'s question, and reading their rows
:mod:`marketlake.wire`'s.

Everything is asked unadjusted, rising in time, and by New York days. Bars take days as dates, because the vendor snaps
them to whole windows of the ticker's own calendar (an index's day starts at midnight in Chicago, and a bound in ms
would reach into the day before); trades, quotes and news take the first and last instant of the same days.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlencode

from marketlake.errors import UsageError
from marketlake.sessions import (
    FIRST_DATE,
    Hours,
    is_session,
    news_hours,
    previous_session,
    settled_at,
    whole_day,
)
from marketlake.tables import TABLES, Span, Table
from marketlake.tickers import AssetClass, Underlying, asset_class_of

# The largest pages that the vendor gives (protocol pages of each endpoint): fewer calls against the rate limit.
MAX_REFERENCE_PAGE: Final = 1_000
MAX_SNAPSHOT_PAGE: Final = 250
MAX_YIELDS_PAGE: Final = 50_000
# The pages of a chain show one moment only where they come together; SPY's forty take seconds.
LONGEST_SNAPSHOT: Final = timedelta(minutes=15)
_DAY: Final = timedelta(days=1)


class AskKind(StrEnum):
    """Which family of endpoints answers: it decides the row's shape and the order that pages must keep."""

    BARS = "bars"
    TRADES = "trades"
    QUOTES = "quotes"
    CONTRACTS = "contracts"
    SNAPSHOTS = "snapshots"
    NEWS = "news"
    DIVIDENDS = "dividends"
    SPLITS = "splits"
    YIELDS = "yields"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: ``first`` to ``last`` are the New York dates it is about, ``params`` are in the order sent.

    ``is_so_far``: it is about what there is at the moment, of a session that runs. Its answer is no answer to the same
    question about the whole session, whatever a clock says, and is asked for each time.
    """

    table: str
    owner: str
    ticker: str
    span: Span | None
    path: str
    params: tuple[tuple[str, str], ...]
    kind: AskKind
    first: date
    last: date
    is_so_far: bool = False

    @property
    def target(self) -> str:
        """Path and query of the first page."""
        return f"{self.path}?{urlencode(self.params)}"

    @property
    def key(self) -> str:
        """The name of the chain's folder: readable, and different for each different request."""
        digest = hashlib.sha256(self.target.encode()).hexdigest()[:12]
        parts = [quote(part, safe="") for part in (self.ticker, self.span or "") if part]
        return "-".join([*(parts or [self.kind.value]), digest, *(["so-far"] if self.is_so_far else [])])

    @property
    def folder(self) -> str:
        """Where the chain's pages are captured, under the lake's root."""
        owner = quote(self.owner, safe="") or "all"
        return f"capture/rest/{self.table}/{owner}/{self.first}_{self.last}/{self.key}"

    @property
    def adjustable(self) -> bool:
        """Whether the vendor could adjust the answer for splits, so that it has to say that it did not."""
        return self.kind is AskKind.BARS and asset_class_of(self.ticker) is not AssetClass.INDICES

    @property
    def within(self) -> timedelta | None:
        """The time within which all pages have to come, where they show the present; None where they show history."""
        return LONGEST_SNAPSHOT if self.kind is AskKind.SNAPSHOTS else None

    @property
    def hours(self) -> Hours | None:
        """The half-open interval in which every row's time must lie; None where rows carry dates or no time."""
        if self.kind is AskKind.NEWS:
            return _news_range(self.first, self.last)
        if self.kind in {AskKind.BARS, AskKind.TRADES, AskKind.QUOTES}:
            return Hours(whole_day(self.first).start, whole_day(self.last).end)
        return None


def final_at(ask: Ask, delay: timedelta = timedelta(0)) -> datetime:
    """From when on an answer says everything it ever will, late corrections aside; ``delay`` is the plan's."""
    if ask.kind is AskKind.NEWS:
        return _news_range(ask.first, ask.last).end + delay
    session = ask.last if is_session(ask.last) else previous_session(ask.last)
    return settled_at(session, delay)


def bars_ask(  # noqa: PLR0917 - all of them make the question, and their order is that of the vendor's path
    table: Table, owner: str, ticker: str, span: Span, first: date, last: date, page_size: int
) -> Ask:
    """Bars of one ticker and span from one New York date to another, both included."""
    _require(ticker, first, last)
    # The vendor does not offer `adjusted` for indices.
    adjusted = () if asset_class_of(ticker) is AssetClass.INDICES else (("adjusted", "false"),)
    return Ask(
        table=table.name,
        owner=owner,
        ticker=ticker,
        span=span,
        path=f"/v2/aggs/ticker/{ticker}/range/1/{span}/{first}/{last}",
        params=(*adjusted, ("sort", "asc"), ("limit", str(page_size))),
        kind=AskKind.BARS,
        first=first,
        last=last,
    )


def trades_ask(table: Table, owner: str, ticker: str, session: date, page_size: int) -> Ask:
    """Every trade of one ticker in the New York day of a session."""
    return _ticks_ask(table, owner, ticker, session, kind=AskKind.TRADES, page_size=page_size)


def quotes_ask(table: Table, owner: str, ticker: str, session: date, page_size: int) -> Ask:
    """Every quote of one ticker in the New York day of a session."""
    return _ticks_ask(table, owner, ticker, session, kind=AskKind.QUOTES, page_size=page_size)


def so_far(ask: Ask) -> Ask:
    """The same about what there is of it at the moment."""
    return replace(ask, is_so_far=True)


def part_of_ticks_ask(ask: Ask, start_ns: int, end_ns: int) -> Ask:
    """The same trades or quotes of a part of the day, ``start_ns <= t < end_ns``."""
    bounds = {"timestamp.gte": str(start_ns), "timestamp.lt": str(end_ns)}
    return replace(ask, params=tuple((name, bounds.get(name, value)) for name, value in ask.params))


def contracts_ask(underlying: Underlying, session: date, *, expired: bool = False) -> Ask:
    """The contracts that were listed on a session and had not expired before it.

    ``expired`` asks for the other half of the vendor's reading of that day: contracts that expire on the session itself
    and that the vendor already counts among the expired ones. A past session needs both answers, since it is not
    documented on which side of ``expired`` an expiry date falls.
    """
    bound = ("expiration_date", session.isoformat()) if expired else ("expiration_date.gte", session.isoformat())
    return Ask(
        table=TABLES["option_contracts"].name,
        owner=underlying.symbol,
        ticker=underlying.symbol,
        span=None,
        path="/v3/reference/options/contracts",
        params=(
            ("underlying_ticker", underlying.symbol),
            ("as_of", session.isoformat()),
            bound,
            ("expired", str(expired).lower()),
            ("order", "asc"),
            ("sort", "ticker"),
            ("limit", str(MAX_REFERENCE_PAGE)),
        ),
        kind=AskKind.CONTRACTS,
        first=session,
        last=session,
    )


def snapshots_ask(underlying: Underlying, session: date, page_size: int) -> Ask:
    """Every listed contract of an underlying as it is now, which the caller knows to be the end of ``session``.

    The vendor takes no date here: asked at any other time, it gives another session's values.
    """
    return Ask(
        table=TABLES["option_snapshots"].name,
        owner=underlying.symbol,
        ticker=underlying.symbol,
        span=None,
        path=f"/v3/snapshot/options/{underlying.price_ticker}",
        params=(("order", "asc"), ("sort", "ticker"), ("limit", str(min(page_size, MAX_SNAPSHOT_PAGE)))),
        kind=AskKind.SNAPSHOTS,
        first=session,
        last=session,
    )


def news_ask(underlying: Underlying, first: date, last: date) -> Ask:
    """Articles that name an underlying, from the end of the day of the session before ``first`` to that of ``last``."""
    _require(underlying.price_ticker, first, last)
    hours = _news_range(first, last)
    return Ask(
        table=TABLES["news"].name,
        owner=underlying.symbol,
        ticker=underlying.price_ticker,
        span=None,
        path="/v2/reference/news",
        params=(
            ("ticker", underlying.price_ticker),
            ("published_utc.gte", _rfc3339(hours.start)),
            ("published_utc.lt", _rfc3339(hours.end)),
            ("order", "asc"),
            ("sort", "published_utc"),
            ("limit", str(MAX_REFERENCE_PAGE)),
        ),
        kind=AskKind.NEWS,
        first=first,
        last=last,
    )


def dividends_ask(ticker: str, last: date) -> Ask:
    """Every dividend of a share that the vendor knows; the answer is needed as it stood at the end of ``last``."""
    return _history_ask(AskKind.DIVIDENDS, "/v3/reference/dividends", "ex_dividend_date", ticker, last)


def splits_ask(ticker: str, last: date) -> Ask:
    """Every split of a share that the vendor knows; the answer is needed as it stood at the end of ``last``."""
    return _history_ask(AskKind.SPLITS, "/v3/reference/splits", "execution_date", ticker, last)


def treasury_yields_ask(year: int) -> Ask:
    """The Treasury's par yields of each business day of a year."""
    first, last = date(year, 1, 1), date(year, 12, 31)
    return Ask(
        table=TABLES["treasury_yields"].name,
        owner="",
        ticker="",
        span=None,
        path="/fed/v1/treasury-yields",
        params=(
            ("date.gte", first.isoformat()),
            ("date.lte", last.isoformat()),
            ("order", "asc"),
            ("sort", "date"),
            ("limit", str(MAX_YIELDS_PAGE)),
        ),
        kind=AskKind.YIELDS,
        first=first,
        last=last,
    )


def _ticks_ask(table: Table, owner: str, ticker: str, session: date, *, kind: AskKind, page_size: int) -> Ask:
    _require(ticker, session, session)
    day = whole_day(session)
    return Ask(
        table=table.name,
        owner=owner,
        ticker=ticker,
        span=None,
        path=f"/v3/{kind}/{ticker}",
        params=(
            ("timestamp.gte", str(day.start_ns)),
            ("timestamp.lt", str(day.end_ns)),
            ("order", "asc"),
            ("sort", "timestamp"),
            ("limit", str(page_size)),
        ),
        kind=kind,
        first=session,
        last=session,
    )


def _history_ask(kind: AskKind, path: str, sort: str, ticker: str, last: date) -> Ask:
    _require(ticker, FIRST_DATE, last)
    return Ask(
        table=TABLES[kind].name,
        owner=ticker,
        ticker=ticker,
        span=None,
        path=path,
        params=(("ticker", ticker), ("order", "asc"), ("sort", sort), ("limit", str(MAX_REFERENCE_PAGE))),
        kind=kind,
        first=FIRST_DATE,
        last=last,
    )


def _news_range(first: date, last: date) -> Hours:
    return Hours(news_hours(first).start, whole_day(last).end)


def _rfc3339(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _require(ticker: str, first: date, last: date) -> None:
    asset_class_of(ticker)  # refuses what could leave the path of a request or a file
    if first > last:
        message = f"the range of {ticker} runs backwards: {first} to {last}"
        raise UsageError(message)
