"""A lake as a world: the sessions that are stored under its ``raw/`` folder, in the vendor's field names again.

A partition is read when a question first needs it, and a few are kept, so a year of a lake costs no more than a day.
The files' own layout is all that is known here: hive folders, one ``data.parquet`` each, times in nanoseconds. What the
lake does not hold (trades nobody asked for, index values of a session that was not recorded live) is not served, but
for index values, which minute bars stand in for as in a recorded world.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.newyork import NS_PER_MS, date_of_ms
from simulator.plans import AssetClass, asset_of
from simulator.recorded_files import WorldError
from simulator.series import Series, values_of_minutes
from simulator.world import BAR_SCHEMA, VALUE_SCHEMA, BaseSpan

_KEPT_PARTITIONS: Final = 64
_LAST_DAY: Final = date(2100, 1, 1)
_BAR_NAMES: Final = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw", "trades": "n"}


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the lake's folders under ``raw/``, and how its rows become the vendor's."""

    folder: str
    key: str  # of the hive folder that names whose rows these are
    time: str
    codes: tuple[str, ...]
    translate: Callable[[pa.Table], pa.Table]


def is_lake(folder: Path) -> bool:
    """Whether a folder is a lake and not a recorded world."""
    return (folder / "raw").is_dir()


class LakeWorld:
    """A folder with ``raw/``; raises WorldError where no session is stored in it."""

    def __init__(self, folder: Path) -> None:
        self._raw = folder / "raw"
        self.name = folder.resolve().name
        self._sessions = sorted({date.fromisoformat(day) for day in self._periods("*/*/*", "session")})
        if not self._sessions:
            raise WorldError(self._raw, "no session is stored here")
        self._owners = cache(self._list_owners)
        optioned = self._owners("options", "underlying")
        shares = self._owners("stocks", "symbol")
        self.underlying = next(iter([*sorted(optioned & shares), *sorted(optioned), *sorted(shares), "SPY"]))
        self._series = lru_cache(maxsize=_KEPT_PARTITIONS)(self._read_series)

    @property
    def sessions(self) -> Sequence[date]:
        """The New York dates that any table has, oldest first."""
        return self._sessions

    def knows(self, ticker: str) -> bool:
        """Whether the ticker has rows in any session; a contract also when it is stored as one."""
        if asset_of(ticker) is not AssetClass.OPTIONS:
            return ticker in self._owners(asset_of(ticker), "symbol")
        return ticker in self._contract_tickers or any(ticker in self._traded(day) for day in self._untold)

    def tickers(self, asset: AssetClass, day: date) -> Sequence[str]:
        """Shares and indices of any session; contracts that have rows on the date."""
        if asset is AssetClass.OPTIONS:
            return sorted(self._traded(day))
        return sorted(self._owners(asset, "symbol"))

    def underlyings(self) -> Sequence[str]:
        """Whose options are stored."""
        return sorted(self._owners("options", "underlying"))

    def bars(self, ticker: str, span: BaseSpan, start_ms: int, end_ms: int) -> pa.Table:
        """Stored bars."""
        partitions = self._partitions("bars", ticker, start_ms, end_ms)
        rows = [series.between((ticker, str(span)), start_ms, end_ms) for series in partitions]
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *rows])

    def trades(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Stored trades by SIP time."""
        return self._ticks("trades", ticker, start_ns, end_ns)

    def quotes(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Stored quotes by SIP time."""
        return self._ticks("quotes", ticker, start_ns, end_ns)

    def index_values(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Stored values; where an index has none at all, four for each stored minute bar."""
        if asset_of(ticker) is not AssetClass.INDICES:
            return VALUE_SCHEMA.empty_table()
        if (self._raw / "indices/values" / f"symbol={quote(ticker, safe='')}").is_dir():
            partitions = self._partitions("values", ticker, start_ns // NS_PER_MS, end_ns // NS_PER_MS)
            rows = [series.between((ticker,), start_ns, end_ns) for series in partitions]
            return pa.concat_tables([VALUE_SCHEMA.empty_table(), *rows])
        minutes = self.bars(ticker, BaseSpan.MINUTE, start_ns // NS_PER_MS - 60_000, end_ns // NS_PER_MS)
        return values_of_minutes(minutes, start_ns, end_ns)

    def contracts(
        self, underlying: str, as_of: date, *, expired: bool, expiry_from: date | None, expiry_to: date | None
    ) -> pa.Table:
        """Stored contracts that expire on ``as_of`` or later, or those that had expired before it."""
        table = self._contracts
        alive = pc.greater_equal(table["expiration_date"], as_of.isoformat())
        keep = pc.and_(pc.equal(table["underlying_ticker"], underlying), pc.invert(alive) if expired else alive)
        first, last = expiry_from or date.min, expiry_to or _LAST_DAY
        keep = pc.and_(keep, pc.greater_equal(table["expiration_date"], first.isoformat()))
        return table.filter(pc.and_(keep, pc.less_equal(table["expiration_date"], last.isoformat())))

    def news(self, start_ms: int, end_ms: int) -> Sequence[dict[str, object]]:
        """Stored articles by published time."""
        return [article for at_ms, article in self._articles if start_ms <= at_ms <= end_ms]

    def news_tickers(self) -> Sequence[str]:
        """What the stored articles name."""
        lists = (article["tickers"] for _, article in self._articles)
        return sorted({str(ticker) for tickers in lists if isinstance(tickers, list) for ticker in tickers})

    def treasury_yields(self, first: date, last: date) -> pa.Table:
        """Stored yields, oldest first."""
        table = self._reference("treasury_yields", "date")
        dates = table["date"]
        within = pc.and_(pc.greater_equal(dates, first.isoformat()), pc.less_equal(dates, last.isoformat()))
        return table.filter(within).sort_by("date")

    def dividends(self, ticker: str) -> pa.Table:
        """Stored dividends of a ticker."""
        table = self._reference("dividends", "ex_dividend_date")
        return table.filter(pc.equal(table["ticker"], ticker)).sort_by("ex_dividend_date")

    def splits(self, ticker: str) -> pa.Table:
        """Stored splits of a ticker."""
        table = self._reference("splits", "execution_date")
        return table.filter(pc.equal(table["ticker"], ticker)).sort_by("execution_date")

    def _periods(self, pattern: str, key: str) -> set[str]:
        return {unquote(path.name.removeprefix(f"{key}=")) for path in self._raw.glob(f"{pattern}/{key}=*")}

    def _list_owners(self, asset: str, key: str) -> set[str]:
        return self._periods(f"{asset}/*", key)

    def _partitions(self, table: str, ticker: str, start_ms: int, end_ms: int) -> list[Series]:
        """The stored sessions of a ticker whose New York dates a range touches."""
        asset = asset_of(ticker)
        owners = sorted(self._owners(asset, "underlying")) if asset is AssetClass.OPTIONS else [ticker]
        first, last = (date_of_ms(min(max(at_ms, 0), _LAST_MS)) for at_ms in (start_ms, end_ms))
        days = [day for day in self._sessions if first <= day <= last]
        found = (self._series(asset, table, owner, day) for day in days for owner in owners)
        return [series for series in found if series is not None]

    def _ticks(self, table: str, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        nothing: pa.Table = pa.table({"sip_timestamp": pa.array([], pa.int64())})
        if asset_of(ticker) is AssetClass.INDICES:
            return nothing
        partitions = self._partitions(table, ticker, start_ns // NS_PER_MS, end_ns // NS_PER_MS)
        rows = [series.between((ticker,), start_ns, end_ns) for series in partitions]
        return pa.concat_tables(rows) if rows else nothing

    def _read_series(self, asset: AssetClass, table: str, owner: str, day: date) -> Series | None:
        kind = _KINDS[asset, table]
        path = self._raw / kind.folder / f"{kind.key}={quote(owner, safe='')}" / f"session={day}" / "data.parquet"
        if not path.exists():
            return None
        return Series(kind.translate(_read(path)), kind.time, list(kind.codes))

    def _traded(self, day: date) -> set[str]:
        """The contracts that have rows on a date."""
        series = (
            self._series(AssetClass.OPTIONS, table, owner, day)
            for table in ("bars", "trades", "quotes")
            for owner in self.underlyings()
        )
        return {ticker for rows in series if rows is not None for ticker in rows.tickers()}

    @cached_property
    def _untold(self) -> list[date]:
        """Sessions with option rows and no contracts; where contracts are stored, they are all there is."""
        told = {date.fromisoformat(day) for day in self._periods("options/contracts/*", "session")}
        return [day for day in self._sessions if day not in told]

    @cached_property
    def _contract_tickers(self) -> frozenset[str]:
        return frozenset(self._contracts["ticker"].to_pylist())

    @cached_property
    def _contracts(self) -> pa.Table:
        """Each contract once, as its last session has it."""
        newest: dict[str, dict[str, object]] = {}
        for path in sorted((self._raw / "options/contracts").glob("underlying=*/session=*/data.parquet")):
            owner = unquote(path.parents[1].name.removeprefix("underlying="))
            for row in _read(path).to_pylist():
                newest[row["ticker"]] = {
                    "ticker": row["ticker"],
                    "underlying_ticker": owner,
                    "contract_type": row["right"] or "other",
                    "expiration_date": row["expiry"].isoformat(),
                    "strike_price": float(row["strike"]),
                    **{name: row.get(name) for name in _CONTRACT_FIELDS},
                    "additional_underlyings": msgspec.json.decode(row.get("additional_underlyings") or b"null"),
                }
        if not newest:
            names = ("ticker", "underlying_ticker", "expiration_date")
            return pa.table({name: pa.array([], pa.string()) for name in names})
        return pa.Table.from_pylist([newest[ticker] for ticker in sorted(newest)])

    @cached_property
    def _articles(self) -> list[tuple[int, dict[str, object]]]:
        """Articles by published ms: what the lake has a row a ticker of is one article again."""
        articles: dict[str, tuple[int, dict[str, object]]] = {}
        for path in sorted((self._raw / "news").glob("underlying=*/session=*/data.parquet")):
            table = _read(path)
            table = table.set_column(
                table.schema.get_field_index("published"), "published", table["published"].cast(pa.int64())
            )
            for row in table.to_pylist():
                article = _article(row)
                _, known = articles.setdefault(row["id"], (row["published"] // NS_PER_MS, article))
                _merge(known, article)
        return sorted(articles.values(), key=lambda one: one[0])

    def _reference(self, table: str, date_column: str) -> pa.Table:
        paths = sorted((self._raw / "reference" / table).rglob("data.parquet"))
        if not paths:
            return pa.table({name: pa.array([], pa.string()) for name in ("ticker", date_column)})
        rows = pa.concat_tables([_read(path) for path in paths], promote_options="default")
        dates = [field.name for field in rows.schema if pa.types.is_date(field.type)]
        for name in dates:
            rows = rows.set_column(rows.schema.get_field_index(name), name, pc.strftime(rows[name], format="%Y-%m-%d"))
        return rows


_CONTRACT_FIELDS: Final = ("shares_per_contract", "exercise_style", "primary_exchange", "cfi", "correction")
_LAST_MS: Final = 4_102_444_800_000


def _read(path: Path) -> pa.Table:
    """One file, without the columns that its folders would add."""
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise WorldError(path, f"not a readable Parquet file: {' '.join(str(error).split())}") from error


def _bars(rows: pa.Table) -> pa.Table:
    columns = {
        "ticker": rows["ticker"],
        "timespan": rows["span"],
        "t": pc.divide(rows["start"].cast(pa.int64()), NS_PER_MS),
    }
    columns |= {short: rows[name] for name, short in _BAR_NAMES.items()}
    return pa.table(columns).select(["ticker", "timespan", *BAR_SCHEMA.names])


def _ticks(rows: pa.Table) -> pa.Table:
    columns = {}
    for name in rows.column_names:
        column = rows[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        elif pa.types.is_list(column.type):
            column = column.cast(pa.list_(pa.int64()))
        columns[name] = column
    return pa.table(columns)


def _values(rows: pa.Table) -> pa.Table:
    return pa.table(
        {"ticker": rows["ticker"], "timestamp": rows["event_time"].cast(pa.int64()), "value": rows["value"]}
    )


def _article(row: dict[str, object]) -> dict[str, object]:
    """An article of one of its rows; a null field is left out."""
    published = row["published"]
    seconds = published // 1_000_000_000 if isinstance(published, int) else 0
    article = {
        "id": row["id"],
        "title": row["title"],
        "author": row["author"],
        "published_utc": pc.strftime(pa.scalar(seconds, pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%SZ").as_py(),
        "article_url": row["article_url"],
        "description": row["description"],
        "keywords": row["keywords"],
        "publisher": None if row["publisher"] is None else {"name": row["publisher"]},
        "tickers": [row["ticker"]],
    }
    # What marketlake made of it itself, no vendor ever said.
    if row["sentiment"] is not None and row.get("sentiment_source", "vendor") == "vendor":
        insight = {"ticker": row["ticker"], "sentiment": row["sentiment"]}
        article["insights"] = [insight | {"sentiment_reasoning": row["sentiment_reasoning"]}]
    return {name: value for name, value in article.items() if value is not None}


def _merge(known: dict[str, object], other: dict[str, object]) -> None:
    """Adds another row's ticker and insight to an article."""
    for name in ("tickers", "insights"):
        mine, theirs = known.get(name, []), other.get(name, [])
        if isinstance(mine, list) and isinstance(theirs, list) and (mine or theirs):
            known[name] = mine + [one for one in theirs if one not in mine]


_BARS_BY: Final = ("ticker", "timespan")
_KINDS: Final = {
    (AssetClass.STOCKS, "bars"): _Kind("stocks/bars", "symbol", "t", _BARS_BY, _bars),
    (AssetClass.STOCKS, "trades"): _Kind("stocks/trades", "symbol", "sip_timestamp", ("ticker",), _ticks),
    (AssetClass.STOCKS, "quotes"): _Kind("stocks/quotes", "symbol", "sip_timestamp", ("ticker",), _ticks),
    (AssetClass.OPTIONS, "bars"): _Kind("options/bars", "underlying", "t", _BARS_BY, _bars),
    (AssetClass.OPTIONS, "trades"): _Kind("options/trades", "underlying", "sip_timestamp", ("ticker",), _ticks),
    (AssetClass.OPTIONS, "quotes"): _Kind("options/quotes", "underlying", "sip_timestamp", ("ticker",), _ticks),
    (AssetClass.INDICES, "bars"): _Kind("indices/bars", "symbol", "t", _BARS_BY, _bars),
    (AssetClass.INDICES, "values"): _Kind("indices/values", "symbol", "timestamp", ("ticker",), _values),
}
