"""A recorded world: a folder of Parquet and JSON files in the vendor's own field names, served as it was recorded.

Every file but world.json may be missing, and so may columns that the vendor sends only at times. What is malformed is
found when the world is opened (schemas, key columns, JSON); the rows are read when the first request needs them. Files
are sorted once, stably, by ticker and time; a request then is a slice.
"""

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from simulator.newyork import NS_PER_MS
from simulator.plans import AssetClass, asset_of
from simulator.recorded_files import (
    KEY_COLUMNS,
    check_key_columns,
    check_types,
    read_description,
    read_news,
    read_table,
)
from simulator.series import Series, values_of_minutes
from simulator.world import BAR_SCHEMA, VALUE_SCHEMA, BaseSpan


class RecordedWorld:
    """A folder of recorded rows as a world; raises WorldError on opening when the folder is malformed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        description = read_description(folder)
        self.name = description.name or folder.name
        self.underlying = description.underlying
        self._sessions = sorted(description.sessions)
        for file in KEY_COLUMNS:
            check_key_columns(folder / file)
            check_types(folder / file)
        self._articles = read_news(folder / "news.json")

    @property
    def sessions(self) -> Sequence[date]:
        """The New York dates that the world names, oldest first."""
        return self._sessions

    def tickers(self, asset: AssetClass, day: date) -> Sequence[str]:  # noqa: ARG002 - quiet ones do no harm
        """What has any row on any date, and the underlying."""
        series = (self._bars, self._trades, self._quotes, self._values)
        found = {ticker for rows in series for ticker in rows.tickers()} | {self.underlying}
        return sorted(ticker for ticker in found if asset_of(ticker) is asset)

    def underlyings(self) -> Sequence[str]:
        """The underlyings of the recorded contracts, as the contracts name them."""
        return sorted(set(self._contracts["underlying_ticker"].to_pylist()))

    def knows(self, ticker: str) -> bool:
        """Whether any file has the ticker."""
        return ticker in self._known

    def bars(self, ticker: str, span: BaseSpan, start_ms: int, end_ms: int) -> pa.Table:
        """Recorded bars; nothing is derived."""
        return self._bars.between((ticker, str(span)), start_ms, end_ms)

    def trades(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Recorded trades by SIP time, then by recorded order."""
        return self._trades.between((ticker,), start_ns, end_ns)

    def quotes(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Recorded quotes by SIP time, then by recorded order."""
        return self._quotes.between((ticker,), start_ns, end_ns)

    def index_values(self, ticker: str, start_ns: int, end_ns: int) -> pa.Table:
        """Recorded values; where there are none, four for each minute bar: its open, its extremes, its close."""
        if ticker in self._values.tickers():
            return self._values.between((ticker,), start_ns, end_ns)
        if asset_of(ticker) is not AssetClass.INDICES:
            return VALUE_SCHEMA.empty_table()
        return values_of_minutes(
            self.bars(ticker, BaseSpan.MINUTE, start_ns // NS_PER_MS - 60_000, end_ns // NS_PER_MS), start_ns, end_ns
        )

    def contracts(
        self, underlying: str, as_of: date, *, expired: bool, expiry_from: date | None, expiry_to: date | None
    ) -> pa.Table:
        """Recorded contracts that expire on ``as_of`` or later, or those that had expired before it."""
        expiries = self._contracts["expiration_date"]
        keep = pc.equal(self._contracts["underlying_ticker"], underlying)
        alive = pc.greater_equal(expiries, as_of.isoformat())
        keep = pc.and_(keep, pc.invert(alive) if expired else alive)
        if expiry_from is not None:
            keep = pc.and_(keep, pc.greater_equal(expiries, expiry_from.isoformat()))
        if expiry_to is not None:
            keep = pc.and_(keep, pc.less_equal(expiries, expiry_to.isoformat()))
        return self._contracts.filter(keep)

    def news(self, start_ms: int, end_ms: int) -> Sequence[dict[str, object]]:
        """Recorded articles by published time."""
        return [article for published_ms, article in self._articles if start_ms <= published_ms <= end_ms]

    def news_tickers(self) -> Sequence[str]:
        """What the recorded articles name."""
        return self._news_tickers

    def treasury_yields(self, first: date, last: date) -> pa.Table:
        """Recorded yields, oldest first."""
        dates = self._rates["date"]
        within = pc.and_(pc.greater_equal(dates, first.isoformat()), pc.less_equal(dates, last.isoformat()))
        return self._rates.filter(within)

    def dividends(self, ticker: str) -> pa.Table:
        """Recorded dividends, oldest ex-date first."""
        return self._dividends.filter(pc.equal(self._dividends["ticker"], ticker))

    def splits(self, ticker: str) -> pa.Table:
        """Recorded splits, oldest first."""
        return self._splits.filter(pc.equal(self._splits["ticker"], ticker))

    @cached_property
    def _known(self) -> frozenset[str]:
        series = (self._bars, self._trades, self._quotes, self._values)
        in_rows = {ticker for rows in series for ticker in rows.tickers()}
        return frozenset({self.underlying, *in_rows, *self._contracts["ticker"].to_pylist()})

    @cached_property
    def _news_tickers(self) -> list[str]:
        lists = (article.get("tickers") for _, article in self._articles)
        return sorted({str(ticker) for tickers in lists if isinstance(tickers, list) for ticker in tickers})

    @cached_property
    def _bars(self) -> Series:
        table = read_table(self._folder, "bars.parquet")
        for field in BAR_SCHEMA:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        return Series(table.select(["ticker", "timespan", *BAR_SCHEMA.names]), "t", ["ticker", "timespan"])

    @cached_property
    def _trades(self) -> Series:
        return Series(read_table(self._folder, "trades.parquet"), "sip_timestamp", ["ticker"])

    @cached_property
    def _quotes(self) -> Series:
        return Series(read_table(self._folder, "quotes.parquet"), "sip_timestamp", ["ticker"])

    @cached_property
    def _values(self) -> Series:
        table = read_table(self._folder, "index_values.parquet")
        return Series(table.select(["ticker", *VALUE_SCHEMA.names]), "timestamp", ["ticker"])

    @cached_property
    def _contracts(self) -> pa.Table:
        return read_table(self._folder, "contracts.parquet")

    @cached_property
    def _rates(self) -> pa.Table:
        return read_table(self._folder, "rates.parquet").sort_by("date")

    @cached_property
    def _dividends(self) -> pa.Table:
        return read_table(self._folder, "dividends.parquet").sort_by("ex_dividend_date")

    @cached_property
    def _splits(self) -> pa.Table:
        return read_table(self._folder, "splits.parquet").sort_by("execution_date")
