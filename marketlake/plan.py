"""What a backfill has to ask: from tables, tickers and dates to batches of partitions, less what the ledger covers.

Pure: the ledger is handed in as a function. Asking and writing is :mod:`marketlake.backfill`'s.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final, Self

from marketlake.errors import UsageError
from marketlake.ledger import Record
from marketlake.sessions import new_york, news_hours, settled_at, to_ns, whole_day
from marketlake.tables import TABLES, Layer, Owner, Partition, Period, Span, Table, table_named
from marketlake.tickers import INDEX_OF_ROOT, VIX, AssetClass, Underlying, asset_class_of, underlying_of_option

# A batch is what one task holds in memory: a month of 30 contracts, or one session of a whole chain.
CONTRACT_SESSIONS_PER_BATCH: Final = 2_000
# A Treasury curve is looked for this far back: the longest run of days without one is a long weekend.
CURVE_LOOKBACK: Final = timedelta(days=14)

RecordOf = Callable[[Partition], Record | None]


class Pick(StrEnum):
    """Which contracts of an underlying are meant where none are named."""

    NAMED = "named"
    CHOSEN = "@chosen"
    ALL = "@all"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, checked: tables in the order in which they have to be filled, and their tickers."""

    tables: tuple[str, ...]
    shares: tuple[str, ...]
    indices: tuple[str, ...]
    options: tuple[str, ...]
    underlyings: tuple[Underlying, ...]
    pick: Pick
    sessions: tuple[date, ...]
    known_ns: int  # the vendor's clock when the request was made, ns since the epoch
    refresh: bool = False  # ask again for what the ledger already covers

    def without(self, sessions: Collection[date]) -> Self:
        """The same request about fewer sessions."""
        return replace(self, sessions=tuple(day for day in self.sessions if day not in sessions))

    @classmethod
    def parse(
        cls,
        tables: Sequence[str],
        tickers: Sequence[str],
        sessions: Sequence[date],
        configured: Sequence[str],
        known_ns: int,
        *,
        refresh: bool = False,
    ) -> Self:
        """Sort names into what they mean.

        The underlyings of option tables and news are the given shares and indices and those of named contracts; without
        any, the ``configured`` ones. I:VIX underlies where it is configured, or where only option tables are asked for.
        SPX means I:SPX. An option table for
        which contracts have to be picked brings option_contracts with it.

        Raises:
            UsageError: an unknown table or ticker, or both @chosen and @all.
        """
        unknown = [name for name in tables if name not in FILL_ORDER]
        if unknown:
            message = f"{_not_fetched(table_named(unknown[0]))}: choose from {', '.join(FILL_ORDER)}"
            raise UsageError(message)
        picks = list(dict.fromkeys(Pick(text) for text in tickers if text.startswith("@") and text in set(Pick)))
        if len(picks) > 1:
            message = "give @chosen or @all, not both"
            raise UsageError(message)
        by_class: dict[AssetClass, list[str]] = {kind: [] for kind in AssetClass}
        named_tickers = (INDEX_OF_ROOT.get(text, text) for text in tickers if text not in picks)
        for ticker in dict.fromkeys(named_tickers):
            by_class[asset_class_of(ticker)].append(ticker)
        shares, indices = by_class[AssetClass.STOCKS], by_class[AssetClass.INDICES]
        options = by_class[AssetClass.OPTIONS]
        underlie = {Underlying.parse(text).price_ticker for text in configured}
        # The VIX stands among the tickers for its own bars, unless options are all that is asked for.
        only_options = all(TABLES[name].asset_class is AssetClass.OPTIONS for name in tables)
        levels = [name for name in indices if name != VIX or name in underlie or only_options]
        named = [underlying_of_option(ticker) for ticker in options]
        pick = picks[0] if picks else (Pick.NAMED if options else Pick.CHOSEN)
        # Contracts can only be picked among those that are known.
        needed = {"option_contracts"} if pick is not Pick.NAMED and not NEEDS_CONTRACTS.isdisjoint(tables) else set()
        candidates = [*shares, *levels, *named] or list(configured)
        return cls(
            tables=tuple(name for name in FILL_ORDER if name in {*tables, *needed}),
            shares=tuple(shares),
            indices=tuple(indices),
            options=tuple(options),
            underlyings=tuple(dict.fromkeys(Underlying.parse(text) for text in candidates)),
            pick=pick,
            sessions=tuple(sorted(set(sessions))),
            known_ns=known_ns,
            refresh=refresh,
        )


def tables_without_tickers(request: Request) -> list[str]:
    """The requested tables about which nothing was named, so that nothing would be asked."""
    named = {AssetClass.STOCKS: request.shares, AssetClass.INDICES: request.indices}
    return [
        name
        for name in request.tables
        if TABLES[name].owner is Owner.SYMBOL and not _owners(TABLES[name], request, named)
    ]


def _owners(table: Table, request: Request, named: Mapping[AssetClass, Sequence[str]]) -> Sequence[str]:
    if table.asset_class is not None:
        return named[table.asset_class]
    return [*request.shares, *(item.symbol for item in request.underlyings if item.asset_class is AssetClass.STOCKS)]


# What only the present has cannot wait. Of the rest, what a later table needs comes first: the chosen contracts need
# the opening price, the option tables the contracts.
FILL_ORDER: Final = (
    "option_snapshots",
    "stock_bars",
    "index_bars",
    "treasury_yields",
    "dividends",
    "splits",
    "news",
    "stock_trades",
    "stock_quotes",
    "option_contracts",
    "option_bars",
    "option_trades",
    "option_quotes",
)
NEEDS_CONTRACTS: Final = frozenset({"option_bars", "option_trades", "option_quotes"})


@dataclass(frozen=True, slots=True)
class Want:
    """One thing to ask: a ticker (and span, for bars) from one date to another, both included."""

    ticker: str
    span: Span | None
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Batch:
    """Partitions of one table and owner that are fetched, checked and published together."""

    table: str
    owner: str
    partitions: tuple[Partition, ...]
    wants: tuple[Want, ...]
    refresh: bool = False  # what was captured before does not do

    @property
    def sessions(self) -> tuple[date, ...]:
        """The sessions that it is about; none for reference data."""
        return tuple(item.session for item in self.partitions if item.spec.period is Period.SESSION)

    @property
    def title(self) -> str:
        """What it holds, for a person: ``stock_bars SPY 2025-08-01 to 2025-08-29``."""
        periods = [partition.period for partition in self.partitions if partition.period]
        stretch = f"{periods[0]} to {periods[-1]}" if len(periods) > 1 else "".join(periods)
        return " ".join(part for part in (self.table, self.owner, stretch) if part)


@dataclass(frozen=True, slots=True)
class Sources:
    """The settings that shape a plan: bar spans by table, and how many days one batch may hold."""

    spans: Mapping[str, tuple[Span, ...]]
    chunk_days: int


def covered_range(partition: Partition, known_ns: int) -> tuple[int, int]:
    """The range, in ns, that a complete answer for a partition covers.

    What goes on after the session (news until midnight, reference data) is covered as far as the vendor's clock stood
    when it was asked, ``known_ns``.
    """
    spec = partition.spec
    if spec.period is Period.SESSION:
        if spec.name == "news":
            hours = news_hours(partition.session)
            return hours.start_ns, min(hours.end_ns, known_ns)
        hours = whole_day(partition.session)
        return hours.start_ns, hours.end_ns
    if spec.period is Period.YEAR:
        year = int(partition.period)
        return new_year_ns(year), min(new_year_ns(year + 1), known_ns)
    return 0, known_ns


def batches_of(
    request: Request,
    table_name: str,
    record_of: RecordOf,
    contracts_of: Callable[[Underlying, date], Sequence[str]],
    sources: Sources,
) -> Iterator[Batch]:
    """The batches that one table of a request still needs, oldest first; none where the ledger covers everything.

    ``contracts_of`` gives the contracts that an underlying's partition holds on a session, after the request's pick.
    """
    table = table_named(table_name)
    if not table.over_rest:
        raise UsageError(_not_fetched(table))
    if request.refresh:
        found = _batches_of(request, table, lambda _: None, contracts_of, sources)
        yield from (replace(batch, refresh=True) for batch in found)
    else:
        yield from _batches_of(request, table, record_of, contracts_of, sources)


def _not_fetched(table: Table) -> str:
    made = "is made by consolidate" if table.layer is Layer.CONSOLIDATED else "comes over the stream alone"
    return f"{table.name} {made}, not fetched"


def _batches_of(
    request: Request,
    table: Table,
    known: RecordOf,
    contracts_of: Callable[[Underlying, date], Sequence[str]],
    sources: Sources,
) -> Iterator[Batch]:
    if table.name == "treasury_yields":
        yield from _yield_batches(table, request.sessions, known)
    elif table.period is Period.ALL:
        yield from _whole_history_batches(table, request, known)
    elif table.owner is Owner.SYMBOL:
        symbols = request.shares if table.asset_class is AssetClass.STOCKS else request.indices
        for symbol in symbols:
            of_symbol = dict.fromkeys(request.sessions, (symbol,))
            yield from _session_batches(table, symbol, of_symbol, known, sources, known_ns=request.known_ns)
    else:
        for underlying in request.underlyings:
            if table.name in NEEDS_CONTRACTS:
                tickers: dict[date, tuple[str, ...]] = {
                    day: _contracts(request, underlying, day, contracts_of) for day in request.sessions
                }
            else:
                tickers = dict.fromkeys(request.sessions, (underlying.symbol,))
            yield from _session_batches(table, underlying.symbol, tickers, known, sources, known_ns=request.known_ns)


def _contracts(
    request: Request, underlying: Underlying, session: date, contracts_of: Callable[[Underlying, date], Sequence[str]]
) -> tuple[str, ...]:
    named = [ticker for ticker in request.options if underlying_of_option(ticker) == underlying.symbol]
    listed = () if request.pick is Pick.NAMED else contracts_of(underlying, session)
    return tuple(dict.fromkeys([*named, *listed]))


def _session_batches(
    table: Table,
    owner: str,
    tickers: Mapping[date, Collection[str]],
    record_of: RecordOf,
    sources: Sources,
    *,
    known_ns: int,
) -> Iterator[Batch]:
    spans = sources.spans.get(table.name, ()) if "span" in table.key else (None,)
    one_session = table.time_column == "sip_timestamp" or table.name in {"option_contracts", "option_snapshots"}
    for sessions in _chunks(tickers, 1 if one_session else sources.chunk_days):
        missing: dict[tuple[str, Span | None], list[date]] = {}
        for session in sessions:
            partition = Partition.of_session(table, owner, session)
            record = record_of(partition)
            start_ns, end_ns = covered_range(partition, known_ns)
            for ticker in tickers[session]:
                for span in spans:
                    if record is None or not record.covers(ticker, span, start_ns, end_ns):
                        missing.setdefault((ticker, span), []).append(session)
        wants = [
            Want(ticker, span, run[0], run[-1])
            for (ticker, span), days in missing.items()
            for run in _runs(days, sessions)
        ]
        if wants:
            touched = sorted({day for days in missing.values() for day in days})
            partitions = tuple(Partition.of_session(table, owner, day) for day in touched)
            yield Batch(table.name, owner, partitions, tuple(wants))


def _yield_batches(table: Table, sessions: Sequence[date], record_of: RecordOf) -> Iterator[Batch]:
    # A curve dated before the session is used, so the days that matter end the day before it.
    days = {day - back for day in sessions for back in (timedelta(days=1), CURVE_LOOKBACK)}
    for year in sorted({day.year for day in days}):
        partition = Partition(table.name, "", str(year))
        # A curve is published on the evening of its day: only who asked after that day can know it.
        last = max(day for day in days if day.year == year)
        needed = to_ns(new_york(last + timedelta(days=1), time(0)))
        record = record_of(partition)
        if record is None or not record.covers("", None, new_year_ns(year), needed):
            yield Batch(table.name, "", (partition,), (Want("", None, date(year, 1, 1), date(year, 12, 31)),))


def _whole_history_batches(table: Table, request: Request, record_of: RecordOf) -> Iterator[Batch]:
    if not request.sessions:
        return
    needed = to_ns(settled_at(request.sessions[-1]))
    owners = [item.symbol for item in request.underlyings if item.asset_class is AssetClass.STOCKS]
    for owner in dict.fromkeys([*request.shares, *owners]):
        partition = Partition(table.name, owner, "")
        record = record_of(partition)
        if record is None or not record.covers(owner, None, 0, needed):
            yield Batch(
                table.name, owner, (partition,), (Want(owner, None, request.sessions[0], request.sessions[-1]),)
            )


def new_year_ns(year: int) -> int:
    """The first instant of a year in New York, ns since the epoch."""
    return to_ns(new_york(date(year, 1, 1), time(0)))


def _chunks(tickers: Mapping[date, Collection[str]], days: int) -> Iterator[tuple[date, ...]]:
    chunk: list[date] = []
    contracts = 0
    for session in sorted(tickers):
        longer = chunk and (session - chunk[0]).days >= days
        if longer or (chunk and contracts + len(tickers[session]) > CONTRACT_SESSIONS_PER_BATCH):
            yield tuple(chunk)
            chunk, contracts = [], 0
        chunk.append(session)
        contracts += len(tickers[session])
    if chunk:
        yield tuple(chunk)


def _runs(days: Sequence[date], sessions: Sequence[date]) -> Iterator[list[date]]:
    """Split dates into stretches without a session between them that is not asked for."""
    place = {session: index for index, session in enumerate(sessions)}
    for _, run in groupby(enumerate(days), key=lambda item: place[item[1]] - item[0]):
        yield [day for _, day in run]
