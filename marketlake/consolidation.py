"""Consolidate a session of the lake: choose it, gather its raw partitions, check and publish the two tables.

What the rows are is :mod:`marketlake.consolidate`'s, which is pure; what may pass comes in as a function.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from marketlake.checks import Check, flag_counts
from marketlake.consolidate import Inputs, contracts_with_data, market_minutes, option_minutes
from marketlake.errors import CheckFailed, UsageError
from marketlake.lake import QUARANTINE, Lake
from marketlake.ledger import Operational
from marketlake.plan import CURVE_LOOKBACK, covered_range, new_year_ns
from marketlake.sessions import index_hours, previous_session, require_session, whole_day
from marketlake.settings import Settings
from marketlake.tables import TABLES, Owner, Partition, Span
from marketlake.tickers import VIX, AssetClass, Underlying

_PRICE_TABLES: Final = (("option_bars", Span.MINUTE), ("option_quotes", None), ("option_trades", None))


@dataclass(frozen=True, slots=True)
class Choice:
    """The session to consolidate, or why there is none."""

    underlying: str
    session: date | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """One consolidated table of the session, as it stands in the lake."""

    table: str
    rows: int
    path: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Consolidation:
    """What consolidating did: the tables published, and how many option minutes have which reason."""

    underlying: str
    session: date | None
    nothing_to_do: str = ""
    published: tuple[Published, ...] = ()
    priced: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The same under the names of the command line's --json."""
        return {
            "underlying": self.underlying,
            "session": self.session.isoformat() if self.session else None,
            "nothing_to_do": self.nothing_to_do or None,
            "published": [
                {"table": item.table, "rows": item.rows, "path": item.path, "content_hash": item.content_hash}
                for item in self.published
            ],
            "priced": self.priced,
            "reasons": dict(self.reasons),
        }


def choose_session(lake: Lake, underlying: Underlying, session: date | None) -> Choice:
    """The session asked for, or the newest one of whose underlying the lake holds the minute bars.

    Raises:
        UsageError: the date asked for is no trading session.
    """
    if session is not None:
        return Choice(underlying.symbol, require_session(session))
    # No clock is asked: the ledger covers a session's minutes only after the vendor's clock said that it was over.
    for partition in sorted(lake.partitions(TABLES[_bars_of(underlying)], underlying.price_ticker), reverse=True):
        if _has_minutes(lake, partition, underlying):
            return Choice(underlying.symbol, partition.session)
    reason = f"the lake holds no complete session of {underlying.price_ticker}: run `marketlake backfill` first"
    return Choice(underlying.symbol, None, reason)


def is_outdated(lake: Lake, underlying: Underlying, session: date) -> bool:
    """Whether a session was consolidated from something else than its partitions are by now."""
    for name in ("market_minutes", "option_minutes"):
        record = lake.record(Partition.of_session(TABLES[name], underlying.symbol, session))
        for path, content in record.inputs if record is not None else ():
            now = lake.record(Partition.from_path(path))
            if now is None or now.content_hash != content:
                return True
    return False


def run_session(
    underlying: Underlying,
    session: date,
    lake: Lake,
    *,
    settings: Settings,
    check: Check,
    now: Callable[[], datetime],
    run_id: str,
) -> Consolidation:
    """Make and publish market_minutes and option_minutes of a session from what the lake holds.

    Raises:
        UsageError: the underlying has no minute bar in the session.
        CheckFailed: a row or a table breaks a rule; that table is not published.
        LeaseHeld: another process is consolidating the session.
        RecordMismatch: a raw file is not the one that its record proves.
    """
    gathered = _Gathered.of(lake, underlying, session)
    market = market_minutes(gathered.inputs, session, settings.consolidation)
    options = option_minutes(gathered.inputs, session, settings.consolidation)
    published = []
    for name, rows in (("market_minutes", market), ("option_minutes", options)):
        table = TABLES[name]
        partition = Partition.of_session(table, underlying.symbol, session)
        verdict = check(table, rows)
        if verdict.failed or verdict.rules:
            raise CheckFailed(str(partition), (*verdict.failed, *sorted(set(verdict.rules))))
        ttl = timedelta(minutes=settings.lake.lease_minutes)
        with lake.lease(partition, owner=run_id, now=now, ttl=ttl):
            record = lake.publish(
                partition,
                rows,
                coverage=(),
                quarantined=QUARANTINE[name].empty_table(),
                flags=flag_counts(table, rows),
                inputs=gathered.provenance,
                operational=Operational(run_id, now().isoformat()),
            )
        published.append(Published(name, record.rows, partition.path, record.content_hash))
    reasons = Counter(options["reason"].drop_null().to_pylist())
    priced = options.num_rows - reasons.total()
    return Consolidation(underlying.symbol, session, "", tuple(published), priced, dict(sorted(reasons.items())))


@dataclass(frozen=True, slots=True)
class _Gathered:
    inputs: Inputs
    provenance: tuple[tuple[str, str], ...]  # path and content hash of each partition read

    @classmethod
    def of(cls, lake: Lake, underlying: Underlying, session: date) -> "_Gathered":
        read: list[tuple[str, str]] = []

        def table(name: str, owner: str, day: date = session, *, known_until: int | None = None) -> pa.Table | None:
            """The rows of a partition; None where it is not in the lake, or was asked too early to say everything."""
            partition = Partition.of_session(TABLES[name], owner, day)
            record = lake.record(partition)
            if record is None:
                return None
            if known_until is not None:
                ticker = owner if partition.spec.owner is not Owner.NONE else ""
                if not record.covers(ticker, None, covered_range(partition, known_until)[0], known_until):
                    return None
            rows = lake.read(partition, verify=True)
            if rows is not None:
                read.append((partition.path, record.content_hash))
            return rows

        def both(name: str, owner: str, other: date) -> pa.Table | None:
            found = [rows for rows in (table(name, owner, other), table(name, owner)) if rows is not None]
            return pa.concat_tables(found) if found else None

        symbol = underlying.symbol
        before = previous_session(session)
        bars, quotes, trades = (table(f"option_{kind}", symbol) for kind in ("bars", "quotes", "trades"))
        contracts = table("option_contracts", symbol)
        if contracts is None and any(rows is not None and rows.num_rows for rows in (bars, quotes, trades)):
            message = (
                f"the lake holds options of {symbol} on {session} and not their contracts: "
                f"run `marketlake discover --underlying {underlying.price_ticker} --session {session}`"
            )
            raise UsageError(message)
        watched = None if contracts is None else _watched(contracts, bars, quotes, trades)
        day_before, midnight_ns = session - timedelta(days=1), whole_day(session).start_ns
        yields = [
            table("treasury_yields", "", date(year, 1, 1), known_until=min(midnight_ns, new_year_ns(year + 1)))
            for year in sorted({(session - CURVE_LOOKBACK).year, day_before.year})
        ]
        curves = [rows for rows in yields if rows is not None]
        last_minute_ns = index_hours(session).end_ns
        share = underlying.asset_class is AssetClass.STOCKS
        inputs = Inputs(
            underlying=underlying,
            underlying_bars=table(_bars_of(underlying), underlying.price_ticker),
            vix_bars=both("index_bars", VIX, before),
            contracts=watched,
            option_bars=bars,
            option_quotes=quotes,
            option_trades=trades,
            news=table("news", symbol, known_until=last_minute_ns),
            # A curve that is missing at the end would let an older one stand for it.
            yields=pa.concat_tables(curves) if len(curves) == len(yields) else None,
            dividends=table("dividends", symbol, known_until=midnight_ns) if share else None,
            not_collected=frozenset() if watched is None else _not_collected(lake, symbol, session, watched),
        )
        return cls(inputs, tuple(sorted(read)))


def _watched(contracts: pa.Table, *data: pa.Table | None) -> pa.Table:
    """The chosen contracts, and those of which the lake holds a row."""
    with_data = contracts_with_data(contracts, *data)
    chosen = contracts.filter(contracts["chosen"])
    wanted = pa.chunked_array([*with_data["ticker"].chunks, *chosen["ticker"].chunks], pa.string())
    return contracts.filter(pc.is_in(contracts["ticker"], value_set=wanted.unique()))


def _not_collected(lake: Lake, symbol: str, session: date, contracts: pa.Table) -> frozenset[str]:
    """The contracts of which no source of prices is covered for all of the session."""
    missing = set(contracts["ticker"].to_pylist())
    for name, span in _PRICE_TABLES:
        partition = Partition.of_session(TABLES[name], symbol, session)
        if (record := lake.record(partition)) is not None:
            start_ns, end_ns = covered_range(partition, 0)
            missing -= {ticker for ticker in missing if record.covers(ticker, span, start_ns, end_ns)}
    return frozenset(missing)


def _bars_of(underlying: Underlying) -> str:
    return "index_bars" if underlying.asset_class is AssetClass.INDICES else "stock_bars"


def _has_minutes(lake: Lake, partition: Partition, underlying: Underlying) -> bool:
    record = lake.record(partition)
    return (
        record is not None
        and record.rows > 0
        and record.covers(underlying.price_ticker, Span.MINUTE, *covered_range(partition, 0))
    )
