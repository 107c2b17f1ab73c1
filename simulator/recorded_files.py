"""The files of a recorded world: what each must hold, how it is read, and what is wrong with it.

What is malformed is named with its file in one line. How rows are served is in ``recorded``.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.world import BAR_SCHEMA, VALUE_SCHEMA, BaseSpan

_FLOATS_OF_TICKS: Final = {"price", "size", "bid_price", "bid_size", "ask_price", "ask_size"}
KEY_COLUMNS: Final = {
    "bars.parquet": ("ticker", "timespan", "t"),
    "trades.parquet": ("ticker", "sip_timestamp"),
    "quotes.parquet": ("ticker", "sip_timestamp"),
    "index_values.parquet": ("ticker", "timestamp", "value"),
    "contracts.parquet": ("ticker", "underlying_ticker", "expiration_date"),
    "rates.parquet": ("date",),
    "dividends.parquet": ("ticker", "ex_dividend_date"),
    "splits.parquet": ("ticker", "execution_date"),
}
_INTEGER_KEYS: Final = {"t", "sip_timestamp", "timestamp"}
_FLOAT_KEYS: Final = {"value"}
_DATE_COLUMN: Final = re.compile(r"(^|_)date$")


class WorldError(Exception):
    """A world that cannot be served: which file, and what is wrong with it."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(file, problem)
        self.file = file
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


class Description(msgspec.Struct):
    """What world.json says."""

    underlying: str
    sessions: list[date]
    name: str | None = None


def read_table(folder: Path, file: str) -> pa.Table:
    """A file's rows in the vendor's types; its key columns without rows where there is no such file."""
    path = folder / file
    if not path.exists():
        names = KEY_COLUMNS[file]
        return pa.table({name: pa.array([], _key_type(name)) for name in names})
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise WorldError(path, f"cannot be read: {_one_line(error)}") from error
    columns = {name: _clean(path, name, table[name], _TYPES[file](name)) for name in table.column_names}
    return pa.table(columns)


def read_description(folder: Path) -> Description:
    """The world.json of a folder."""
    path = folder / "world.json"
    if not folder.is_dir():
        raise WorldError(folder, "no such folder")
    try:
        description = msgspec.json.decode(path.read_bytes(), type=Description)
    except FileNotFoundError as error:
        raise WorldError(path, "missing; a world is a folder with a world.json") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WorldError(path, _one_line(error)) from error
    if not description.sessions:
        raise WorldError(path, "`sessions` is empty; it takes at least one New York date")
    return description


def check_key_columns(path: Path) -> None:
    """Reads the key columns alone: their absence, a wrong type or a null makes every answer from the file wrong."""
    if not path.exists():
        return
    wanted = KEY_COLUMNS[path.name]
    try:
        names = pq.read_schema(path).names
        missing = [name for name in wanted if name not in names]
        if missing:
            raise WorldError(path, f"column {', '.join(missing)} is missing")
        table = pq.read_table(path, columns=list(wanted))
    except (OSError, pa.ArrowException) as error:
        raise WorldError(path, f"not a readable Parquet file: {_one_line(error)}") from error
    for name in wanted:
        column = _clean(path, name, table[name], _key_type(name))
        if column.null_count:
            raise WorldError(path, f"column {name} has {column.null_count} nulls; every row needs one")
        if _DATE_COLUMN.search(name):
            _check_dates(path, name, column)
        if name == "timespan":
            unknown = set(column.unique().to_pylist()) - set(BaseSpan)
            if unknown:
                raise WorldError(path, f"column timespan holds {sorted(unknown)}; it takes {', '.join(BaseSpan)}")


def _key_type(name: str) -> pa.DataType:
    if name in _FLOAT_KEYS:
        return pa.float64()
    return pa.int64() if name in _INTEGER_KEYS else pa.string()


def check_types(path: Path) -> None:
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


def _value_type(name: str) -> pa.DataType | None:
    """The type of an index value's field; None keeps what was recorded."""
    return _key_type(name) if name in {"ticker", *VALUE_SCHEMA.names} else None


def _reference_type(name: str) -> pa.DataType | None:
    """The vendor's type of a reference field; None keeps what was recorded."""
    if name.endswith("ticker") or _DATE_COLUMN.search(name):
        return pa.string()
    return pa.float64() if name in {"strike_price", "cash_amount"} or name.startswith("yield_") else None


_TYPES: Final[dict[str, Callable[[str], pa.DataType | None]]] = {
    "bars.parquet": _bar_type,
    "trades.parquet": _tick_type,
    "quotes.parquet": _tick_type,
    "index_values.parquet": _value_type,
    "contracts.parquet": _reference_type,
    "rates.parquet": _reference_type,
    "dividends.parquet": _reference_type,
    "splits.parquet": _reference_type,
}


def read_news(path: Path) -> list[tuple[int, dict[str, object]]]:
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
