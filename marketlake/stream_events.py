"""The vendor's events on the stream, each as the shape that its documentation gives, and the columns that it becomes.

The siblings of REST are in :mod:`marketlake.vendor_rows`. How frames are taken apart into events, and what becomes of
one that is not as documented, is the business of :mod:`marketlake.frames`. A key that is not named here stays in the
capture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from msgspec.structs import astuple
from numpy.typing import NDArray

from marketlake.feeds import Topic
from marketlake.tables import TABLES, TIME, Span, Table
from marketlake.tickers import AssetClass
from marketlake.vendor_rows import NS_PER_MS, Int32, Int64, Milliseconds

type Ints = NDArray[np.int64]


class Trade(Struct, gc=False, tag_field="ev", tag="T"):
    """One trade; its instants are milliseconds, as all of the stream's are."""

    sym: str
    t: Milliseconds
    x: Int64
    p: float
    s: float
    pt: Milliseconds | None = None
    trft: Milliseconds | None = None
    trfi: Int64 | None = None
    i: str | None = None
    q: Int64 | None = None
    ds: str | None = None
    c: list[Int32] | None = None
    z: Int64 | None = None


class Quote(Struct, gc=False, tag_field="ev", tag="Q", rename={"as_": "as"}):
    """One change of the best bid and offer; a side that is missing is 0."""

    sym: str
    t: Milliseconds
    q: Int64 | None = None
    bp: float | None = None
    bs: float | None = None
    bx: Int64 | None = None
    ap: float | None = None
    as_: float | None = None
    ax: Int64 | None = None
    c: Int32 | list[Int32] | None = None  # one code where REST has a list
    i: list[Int32] | None = None
    z: Int64 | None = None


class Second(Struct, gc=False, tag_field="ev", tag="A"):
    """A bar of a second, sent about two seconds after its end, and again where late trades change it."""

    sym: str
    s: Milliseconds
    o: float
    h: float
    l: float  # noqa: E741 - the vendor's name
    c: float
    e: Milliseconds
    v: float | None = None
    vw: float | None = None  # of the bar; ``a`` is of the day


class Minute(Second, gc=False, tag_field="ev", tag="AM"):
    """A bar of a minute, otherwise the same."""


class Value(Struct, gc=False, tag_field="ev", tag="V"):
    """One value of an index; the vendor calls its ticker ``T`` here."""

    T: str
    t: Milliseconds
    val: float


class Status(Struct, gc=False, tag_field="ev", tag="status"):
    """What the vendor says about the connection: no row."""


class LimitUpLimitDown(Struct, gc=False, tag_field="ev", tag="LULD"):
    """Price bands of a share: no row."""


class Imbalance(Struct, gc=False, tag_field="ev", tag="NOI"):
    """Order imbalance before an auction: no row."""


class FairMarketValue(Struct, gc=False, tag_field="ev", tag="FMV"):
    """The vendor's own estimate of a price: no row."""


type _Made = Callable[[Sequence[Any]], pa.Array]


def _of(kind: pa.DataType) -> _Made:
    return lambda values: pa.array(values, kind)


def _instants(values: Sequence[int | None]) -> pa.Array:
    if None in values:
        return pc.multiply(pa.array(values, pa.int64()), NS_PER_MS).view(TIME)
    return pa.array(np.array(values, dtype=np.int64) * NS_PER_MS).view(TIME)


def _one_or_more(values: Sequence[int | list[int] | None]) -> pa.Array:
    if set(map(type, values)) == {int}:
        return pa.ListArray.from_arrays(np.arange(len(values) + 1, dtype=np.int32), pa.array(values, pa.int32()))
    return pa.array([[code] if isinstance(code, int) else code for code in values], _CODES)


_CODES = pa.list_(pa.int32())
_TEXT, _NUMBER, _WHOLE, _LIST = _of(pa.string()), _of(pa.float64()), _of(pa.int64()), _of(_CODES)
_BAR_COLUMNS: Final[Mapping[str, tuple[str, _Made]]] = {
    "sym": ("ticker", _TEXT),
    "s": ("start", _instants),
    "o": ("open", _NUMBER),
    "h": ("high", _NUMBER),
    "l": ("low", _NUMBER),
    "c": ("close", _NUMBER),
    "v": ("volume", _NUMBER),
    "vw": ("vwap", _NUMBER),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How the events of a topic become rows: by the vendor's key, the column and how it is made."""

    topic: Topic
    folder: str
    published: str  # the key of the instant at which the vendor would publish it if nothing held it up
    columns: Mapping[str, tuple[str, _Made]]
    span: Span | None = None


SHAPES: Final[Mapping[type[Struct], Shape]] = {
    Trade: Shape(
        Topic.TRADES,
        "trades",
        "t",
        {
            "sym": ("ticker", _TEXT),
            "t": ("sip_timestamp", _instants),
            "pt": ("participant_timestamp", _instants),
            "trft": ("trf_timestamp", _instants),
            "trfi": ("trf_id", _WHOLE),
            "x": ("exchange", _WHOLE),
            "i": ("id", _TEXT),
            "q": ("sequence_number", _WHOLE),
            "p": ("price", _NUMBER),
            "s": ("size", _NUMBER),
            "ds": ("decimal_size", _TEXT),
            "c": ("conditions", _LIST),
            "z": ("tape", _WHOLE),
        },
    ),
    Quote: Shape(
        Topic.QUOTES,
        "quotes",
        "t",
        {
            "sym": ("ticker", _TEXT),
            "t": ("sip_timestamp", _instants),
            "q": ("sequence_number", _WHOLE),
            "bp": ("bid_price", _NUMBER),
            "bs": ("bid_size", _NUMBER),
            "bx": ("bid_exchange", _WHOLE),
            "ap": ("ask_price", _NUMBER),
            "as_": ("ask_size", _NUMBER),
            "ax": ("ask_exchange", _WHOLE),
            "c": ("conditions", _one_or_more),
            "i": ("indicators", _LIST),
            "z": ("tape", _WHOLE),
        },
    ),
    Second: Shape(Topic.SECONDS, "bars", "e", _BAR_COLUMNS, Span.SECOND),
    Minute: Shape(Topic.MINUTES, "bars", "e", _BAR_COLUMNS, Span.MINUTE),
    Value: Shape(
        Topic.VALUES, "values", "t", {"T": ("ticker", _TEXT), "t": ("event_time", _instants), "val": ("value", _NUMBER)}
    ),
}
PASSED_OVER: Final = (Status, LimitUpLimitDown, Imbalance, FairMarketValue)
_TABLES_BY_FOLDER: Final = {table.folder: table for table in TABLES.values()}


def _decoder(*shapes: type[Struct]) -> msgspec.json.Decoder[list[Struct]]:
    union = shapes[0]
    for shape in (*shapes[1:], *PASSED_OVER):
        union |= shape  # type: ignore[assignment]
    return msgspec.json.Decoder(list[union])  # type: ignore[valid-type]


_OF_TAPES: Final = (Trade, Quote, Second, Minute)
EVENTS_OF: Final[Mapping[AssetClass, tuple[type[Struct], ...]]] = {
    AssetClass.STOCKS: _OF_TAPES,
    AssetClass.OPTIONS: _OF_TAPES,
    AssetClass.INDICES: (Value, Second, Minute),
}
DECODERS: Final = {feed: _decoder(*shapes) for feed, shapes in EVENTS_OF.items()}


def live_schema(table: Table) -> pa.Schema:
    """The columns of a table as the stream fills them: the declared ones, null where REST alone carries a column.

    Raises:
        ValueError: the stream does not carry a column that may not be null.
    """
    lacking = [field.name for field in table.schema if not field.nullable and field.name not in table.streamed]
    if lacking:
        message = f"{table.name} cannot be made from the stream: it lacks {', '.join(lacking)}"
        raise ValueError(message)
    return table.schema


def columns_of(kind: type[Struct], feed: AssetClass, events: Sequence[Struct]) -> tuple[pa.Table, Ints]:
    """Events of one kind as rows of their table, and when each was published, nanoseconds since the epoch."""
    size = len(events)
    values = dict(zip(kind.__struct_fields__, zip(*map(astuple, events), strict=True), strict=True))
    columns = {
        name: make(values[key])
        for key, (name, make) in SHAPES[kind].columns.items()
        # Most optional keys are in none of the events, and counting costs as much as making the column.
        if values[key][0] is not None or values[key].count(None) < size
    }
    return _rows_of(kind, feed, columns, size), np.array(values[SHAPES[kind].published], dtype=np.int64) * NS_PER_MS


def scanned_columns(kind: type[Struct], feed: AssetClass, values: Mapping[str, pa.Array]) -> tuple[pa.Table, Ints]:
    """The same of events whose fields are columns already, by their names in the shape."""
    shape = SHAPES[kind]
    published_ns = values[shape.published].to_numpy() * NS_PER_MS
    columns = {
        name: pc.multiply(values[key], NS_PER_MS).view(TIME) if make is _instants else values[key]
        for key, (name, make) in shape.columns.items()
    }
    return _rows_of(kind, feed, columns, published_ns.size), published_ns


def _rows_of(kind: type[Struct], feed: AssetClass, columns: dict[str, pa.Array], size: int) -> pa.Table:
    span, schema = SHAPES[kind].span, live_schema(table_of_events(kind, feed))
    if span is not None:
        columns["span"] = pa.repeat(pa.scalar(span.value), size)
    arrays = [columns[name] if name in columns else pa.nulls(size, schema.field(name).type) for name in schema.names]
    return pa.Table.from_arrays(arrays, schema=schema)


def table_of_events(kind: type[Struct], feed: AssetClass) -> Table:
    """The table that a feed's events of one kind are rows of."""
    return _TABLES_BY_FOLDER[f"{feed}/{SHAPES[kind].folder}"]


def tag_of(kind: type[Struct]) -> str:
    """What the vendor writes in ``ev``."""
    return str(kind.__struct_config__.tag)
