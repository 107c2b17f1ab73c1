"""Rows to the stream's JSON objects: the vendor's short keys, times in milliseconds, absent keys for nulls.

Each event is encoded once, whoever listens. A value is written the same way whatever rows stand around it, so the bytes
of an event do not depend on how much was read at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from simulator.newyork import NS_PER_MS
from simulator.rows import column_values, row_type
from simulator.stream.topics import Topic

_ENCODER: Final = msgspec.json.Encoder()

Reader = Callable[[pa.ChunkedArray], Sequence[object]]


def _milliseconds(column: pa.ChunkedArray) -> Sequence[object]:
    """Nanoseconds cut, not rounded."""
    return column_values(pc.divide(column, NS_PER_MS))


def _size(column: pa.ChunkedArray) -> Sequence[object]:
    """Whole numbers where they are whole; sizes and volumes may have fractions."""
    if pa.types.is_floating(column.type):
        if not column.null_count and pc.all(pc.equal(pc.floor(column), column)).as_py():
            return column_values(column.cast(pa.int64()))
        return [int(v) if isinstance(v, float) and v.is_integer() else v for v in column_values(column)]
    return column_values(column)


def _decimal(column: pa.ChunkedArray) -> Sequence[object]:
    """The same as text, as the feed has its exact volumes since fractional trading reached it."""
    return [None if value is None else f"{Decimal(repr(value)):f}" for value in _size(column)]


def _list(column: pa.ChunkedArray) -> Sequence[object]:
    """Lists, left out where they are empty."""
    return [value or msgspec.UNSET for value in column_values(column)]


def _first(column: pa.ChunkedArray) -> Sequence[object]:
    """The first of each list: a quote's condition is one number on the stream and a list in REST."""
    return [value[0] if isinstance(value, list) and value else msgspec.UNSET for value in column_values(column)]


_PARTICIPANT_TIME: Final = "pt"  # which the stream has of shares alone
_TRADE: Final[Mapping[str, tuple[str, Reader]]] = {
    "x": ("exchange", column_values),
    "i": ("id", column_values),
    "z": ("tape", column_values),
    "p": ("price", column_values),
    "s": ("size", _size),
    "ds": ("decimal_size", column_values),
    "c": ("conditions", _list),
    "t": ("sip_timestamp", _milliseconds),
    "pt": ("participant_timestamp", _milliseconds),
    "q": ("sequence_number", column_values),
    "trfi": ("trf_id", column_values),
    "trft": ("trf_timestamp", _milliseconds),
}
_QUOTE: Final[Mapping[str, tuple[str, Reader]]] = {
    "bx": ("bid_exchange", column_values),
    "bp": ("bid_price", column_values),
    "bs": ("bid_size", _size),
    "ax": ("ask_exchange", column_values),
    "ap": ("ask_price", column_values),
    "as": ("ask_size", _size),
    "c": ("conditions", _first),
    "i": ("indicators", _list),
    "t": ("sip_timestamp", _milliseconds),
    "z": ("tape", column_values),
    "q": ("sequence_number", column_values),
}
_BAR: Final[Mapping[str, tuple[str, Reader]]] = {
    "v": ("v", _size),
    "dv": ("v", _decimal),
    "av": ("day_volume", _size),
    "dav": ("day_volume", _decimal),
    "op": ("day_open", column_values),
    "vw": ("vw", column_values),
    "o": ("o", column_values),
    "c": ("c", column_values),
    "h": ("h", column_values),
    "l": ("l", column_values),
    "a": ("day_vwap", column_values),
    "z": ("mean_size", column_values),
    "s": ("t", column_values),
    "e": ("end", column_values),
}
_VALUE: Final[Mapping[str, tuple[str, Reader]]] = {
    "val": ("value", column_values),
    "t": ("timestamp", _milliseconds),
}
_KEYS: Final = {
    Topic.TRADES: _TRADE,
    Topic.QUOTES: _QUOTE,
    Topic.SECONDS: _BAR,
    Topic.MINUTES: _BAR,
    Topic.VALUES: _VALUE,
}


def encode(topic: Topic, ticker: str, rows: pa.Table) -> list[bytes]:
    """One JSON object a row, in the rows' order.

    Rows of T and Q have v3 fields, of V a world's index values, of A and AM what ``published_bars`` gives.
    """
    if rows.num_rows == 0:
        return []
    names, values = [], []
    for key, (name, read) in _KEYS[topic].items():
        if key == _PARTICIPANT_TIME and ticker.startswith("O:"):
            continue
        if name in rows.column_names and rows[name].null_count < rows.num_rows:
            names.append(key)
            values.append(read(rows[name]))
    name_key = "T" if topic is Topic.VALUES else "sym"
    head = msgspec.json.encode({"ev": topic, name_key: ticker})[:-1] + b","
    lines = _ENCODER.encode_lines(list(map(row_type(tuple(names)), *values))).split(b"\n")
    return [head + line[1:] for line in lines[:-1]]
