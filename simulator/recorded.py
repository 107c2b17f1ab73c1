"""A recorded world: a folder of Parquet and JSON files in the vendor's own field names, served as it was recorded.

Every file but world.json may be missing, and so may columns that the vendor sends only at times. What is malformed is
found when the world is opened (schemas, key columns, JSON); the rows are read when the first request needs them. Files
are sorted once, stably, by ticker and time; a request then is a slice.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.plans import AssetClass, asset_of
from simulator.world import BAR_SCHEMA, BaseSpan

_FLOATS_OF_TICKS: Final = {"price", "size", "bid_price", "bid_size", "ask_price", "ask_size"}
_KEY_COLUMNS: Final = {
    "bars.parquet": ("ticker", "timespan", "t"),
    "trades.parquet": ("ticker", "sip_timestamp"),
    "quotes.parquet": ("ticker", "sip_timestamp"),
    "contracts.parquet": ("ticker", "underlying_ticker", "expiration_date"),
    "rates.parquet": ("date",),
    "dividends.parquet": ("ticker", "ex_dividend_date"),
    "splits.parquet": ("ticker", "execution_date"),
}
_INTEGER_KEYS: Final = {"t", "sip_timestamp"}
_DATE_COLUMN: Final = re.compile(r"(^|_)date$")


class WorldError(Exception):
    """A world that cannot be served: which file, and what is wrong with it."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(file, problem)
        self.file = file
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


class _Description(msgspec.Struct):
    underlying: str
    sessions: list[date]
    name: str | None = None


class _Series:
    """One file sorted by ticker (and span) and time, with the place of each ticker."""

    def __init__(self, table: pa.Table, time_column: str, codes: list[str]) -> None:
        keys = [_codes(table[name]) for name in codes]
        times = table[time_column].to_numpy()
        order = np.lexsort((times, *(values for values, _ in reversed(keys))))
        if not np.array_equal(order, np.arange(len(order))):
            table = table.take(pa.array(order))
            times = times[order]
        self._times = times
        self._rows = table.drop_columns(codes)
        self._spans: dict[tuple[str, ...], tuple[int, int]] = {}
        combined = np.zeros(len(order), dtype=np.int64)
        for values, names in keys:
            combined = combined * len(names) + values[order]
        starts = np.flatnonzero(np.diff(combined, prepend=-1))
        for first, after in pairwise([*starts, len(order)] if len(starts) else []):
            place = int(order[first])
            self._spans[tuple(names[values[place]] for values, names in keys)] = int(first), int(after)

    def tickers(self) -> set[str]:
        return {key[0] for key in self._spans}

    def between(self, key: tuple[str, ...], start: int, end: int) -> pa.Table:
        first, after = self._spans.get(key, (0, 0))
        times = self._times[first:after]
        low = first + int(np.searchsorted(times, start, side="left"))
        high = first + int(np.searchsorted(times, end, side="right"))
        return self._rows.slice(low, max(high - low, 0))


class RecordedWorld:
    """A folder of recorded rows as a world; raises WorldError on opening when the folder is malformed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        description = _read_description(folder)
        self.name = description.name or folder.name
        self.underlying = description.underlying
        self._sessions = sorted(description.sessions)
        for file in _KEY_COLUMNS:
            _check_key_columns(folder / file)
            _check_types(folder / file)
        self._articles = _read_news(folder / "news.json")

    @property
    def sessions(self) -> Sequence[date]:
        """The New York dates that the world names, oldest first."""
        return self._sessions

    def tickers(self, asset: AssetClass, day: date) -> Sequence[str]:  # noqa: ARG002 - quiet ones do no harm
        """What has any row on any date, and the underlying."""
        series = (self._bars, self._trades, self._quotes)
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
        series = (self._bars, self._trades, self._quotes)
        in_rows = {ticker for rows in series for ticker in rows.tickers()}
        return frozenset({self.underlying, *in_rows, *self._contracts["ticker"].to_pylist()})

    @cached_property
    def _news_tickers(self) -> list[str]:
        lists = (article.get("tickers") for _, article in self._articles)
        return sorted({str(ticker) for tickers in lists if isinstance(tickers, list) for ticker in tickers})

    @cached_property
    def _bars(self) -> _Series:
        table = self._read("bars.parquet")
        for field in BAR_SCHEMA:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        return _Series(table.select(["ticker", "timespan", *BAR_SCHEMA.names]), "t", ["ticker", "timespan"])

    @cached_property
    def _trades(self) -> _Series:
        return _Series(self._read("trades.parquet"), "sip_timestamp", ["ticker"])

    @cached_property
    def _quotes(self) -> _Series:
        return _Series(self._read("quotes.parquet"), "sip_timestamp", ["ticker"])

    @cached_property
    def _contracts(self) -> pa.Table:
        return self._read("contracts.parquet")

    @cached_property
    def _rates(self) -> pa.Table:
        return self._read("rates.parquet").sort_by("date")

    @cached_property
    def _dividends(self) -> pa.Table:
        return self._read("dividends.parquet").sort_by("ex_dividend_date")

    @cached_property
    def _splits(self) -> pa.Table:
        return self._read("splits.parquet").sort_by("execution_date")

    def _read(self, file: str) -> pa.Table:
        path = self._folder / file
        if not path.exists():
            names = _KEY_COLUMNS[file]
            return pa.table(
                {name: pa.array([], pa.int64() if name in _INTEGER_KEYS else pa.string()) for name in names}
            )
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise WorldError(path, f"cannot be read: {_one_line(error)}") from error
        columns = {name: _clean(path, name, table[name], _TYPES[file](name)) for name in table.column_names}
        return pa.table(columns)


def _read_description(folder: Path) -> _Description:
    path = folder / "world.json"
    if not folder.is_dir():
        raise WorldError(folder, "no such folder")
    try:
        description = msgspec.json.decode(path.read_bytes(), type=_Description)
    except FileNotFoundError as error:
        raise WorldError(path, "missing; a world is a folder with a world.json") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WorldError(path, _one_line(error)) from error
    if not description.sessions:
        raise WorldError(path, "`sessions` is empty; it takes at least one New York date")
    return description


def _check_key_columns(path: Path) -> None:
    """Reads the key columns alone: their absence, a wrong type or a null makes every answer from the file wrong."""
    if not path.exists():
        return
    wanted = _KEY_COLUMNS[path.name]
    try:
        names = pq.read_schema(path).names
        missing = [name for name in wanted if name not in names]
        if missing:
            raise WorldError(path, f"column {', '.join(missing)} is missing")
        table = pq.read_table(path, columns=list(wanted))
    except (OSError, pa.ArrowException) as error:
        raise WorldError(path, f"not a readable Parquet file: {_one_line(error)}") from error
    for name in wanted:
        expected = pa.int64() if name in _INTEGER_KEYS else pa.string()
        column = _clean(path, name, table[name], expected)
        if column.null_count:
            raise WorldError(path, f"column {name} has {column.null_count} nulls; every row needs one")
        if _DATE_COLUMN.search(name):
            _check_dates(path, name, column)
        if name == "timespan":
            unknown = set(column.unique().to_pylist()) - set(BaseSpan)
            if unknown:
                raise WorldError(path, f"column timespan holds {sorted(unknown)}; it takes {', '.join(BaseSpan)}")


def _check_types(path: Path) -> None:
    """Reads the columns that are not of the vendor's type: text in a price would fail only when someone asks for it."""
    if not path.exists():
        return
    try:
        others = {field.name: _TYPES[path.name](field.name) for field in pq.read_schema(path)}
        wrong = [field.name for field in pq.read_schema(path) if others[field.name] not in {None, field.type}]
        for name in wrong:
            _clean(path, name, pq.read_table(path, columns=[name])[name], others[name])
    except (OSError, pa.ArrowException) as error:
        raise WorldError(path, f"not a readable Parquet file: {_one_line(error)}") from error


def _check_dates(path: Path, name: str, column: pa.ChunkedArray) -> None:
    for text in column.unique().to_pylist():
        try:
            date.fromisoformat(text)
        except ValueError as error:
            raise WorldError(path, f"column {name} holds {text!r}, which is not a date as YYYY-MM-DD") from error


def _clean(path: Path, name: str, column: pa.ChunkedArray, expected: pa.DataType | None) -> pa.ChunkedArray:
    """The column in the type that the vendor's field has; NaN, which JSON cannot say, is a null."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_temporal(column.type) and not pa.types.is_integer(expected or pa.string()):
        column = pc.strftime(column, format="%Y-%m-%d")
    if expected is None and pa.types.is_large_string(column.type):
        expected = pa.string()
    if expected is not None and column.type != expected:
        if pa.types.is_string(expected) != _is_text(column.type) and not pa.types.is_null(column.type):
            raise WorldError(path, f"column {name} is {column.type}, not {expected}")
        try:
            column = column.cast(expected)
        except pa.ArrowException as error:
            raise WorldError(path, f"column {name} is {column.type}, not {expected}: {_one_line(error)}") from error
    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def _bar_type(name: str) -> pa.DataType | None:
    """The type of a bar's column; None keeps what was recorded."""
    if name in {"ticker", "timespan"}:
        return pa.string()
    return BAR_SCHEMA.field(name).type if name in BAR_SCHEMA.names else None


def _tick_type(name: str) -> pa.DataType | None:
    """The vendor's type of a trade's or quote's field; None keeps what was recorded."""
    if name in _FLOATS_OF_TICKS:
        return pa.float64()
    if name in {"ticker", "id", "decimal_size"}:
        return pa.string()
    if name in {"conditions", "indicators"}:
        return pa.list_(pa.int64())
    is_integer = name.endswith(("_timestamp", "exchange")) or name in {
        "sequence_number",
        "tape",
        "trf_id",
        "correction",
    }
    return pa.int64() if is_integer else None


def _reference_type(name: str) -> pa.DataType | None:
    """The vendor's type of a reference field; None keeps what was recorded."""
    if name.endswith("ticker") or _DATE_COLUMN.search(name):
        return pa.string()
    return pa.float64() if name in {"strike_price", "cash_amount"} or name.startswith("yield_") else None


_TYPES: Final[dict[str, Callable[[str], pa.DataType | None]]] = {
    "bars.parquet": _bar_type,
    "trades.parquet": _tick_type,
    "quotes.parquet": _tick_type,
    "contracts.parquet": _reference_type,
    "rates.parquet": _reference_type,
    "dividends.parquet": _reference_type,
    "splits.parquet": _reference_type,
}


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """Each value's rank among the column's sorted values, and those values."""
    names = sorted(column.unique().to_pylist())
    codes = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return codes.cast(pa.int64()).to_numpy(), names


def _read_news(path: Path) -> list[tuple[int, dict[str, object]]]:
    """Articles by published ms, oldest first; a bare list, an answer of the vendor, or a list of such answers."""
    if not path.exists():
        return []
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WorldError(path, f"not JSON: {_one_line(error)}") from error
    return sorted(((_published_ms(path, article), article) for article in _articles(path, content)), key=lambda a: a[0])


def _articles(path: Path, content: object) -> list[dict[str, object]]:
    if isinstance(content, dict) and "results" in content:
        return _articles(path, content["results"] or [])
    if isinstance(content, list) and all(isinstance(item, dict) for item in content):
        if content and all("results" in item for item in content):
            return [article for answer in content for article in _articles(path, answer)]
        return content
    raise WorldError(path, "neither a list of articles nor an object with `results`")


def _published_ms(path: Path, article: dict[str, object]) -> int:
    text = article.get("published_utc")
    try:
        when = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        when = None
    if when is None:
        raise WorldError(path, f"article {article.get('id')!r} has published_utc {text!r}, which is not a time")
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
