"""From the frames of a stream to the columns of :mod:`marketlake.tables`: recorded bytes in, Arrow out, no IO.

A frame is one WebSocket message: a JSON array of events of several kinds and tickers. An event either has the shape
that the vendor documents or is handed back with the name of the reason and its raw text; nothing that a frame holds
ends in an exception. What an event is, msgspec says; where there are many, :mod:`marketlake.flat_json` makes the same
of the ordinary ones sooner. The shapes, and the columns that they become, are :mod:`marketlake.stream_events`'; which
window a row belongs to is the business of :mod:`marketlake.windows`, what was missed of :mod:`marketlake.coverage`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw, Struct
from numpy.typing import NDArray

from marketlake.feeds import Topic
from marketlake.spool import Kind, Position, Record
from marketlake.stream_events import (
    DECODERS,
    EVENTS_OF,
    SHAPES,
    columns_of,
    scanned_columns,
    table_of_events,
    tag_of,
)
from marketlake.tables import Table
from marketlake.tickers import AssetClass
from marketlake.vendor_rows import UNREADABLE
from marketlake.wire import MISSING_FIELD, NOT_AN_OBJECT, UNREADABLE_VALUE

if TYPE_CHECKING:
    from marketlake.flat_json import Scanned, Scanner

type Ints = NDArray[np.int64]

NOT_AN_ARRAY: Final = "not_an_array"
NO_EVENT: Final = "no_event"
UNKNOWN_EVENT: Final = "unknown_event"

# More than these do not stay in the processor's cache while they become columns, which halves the speed.
_EVENTS_PER_CHUNK: Final = 2_048
# Compiled decoding takes some thousand events at once, and is worth loading from about as many on.
_BATCH_BYTES: Final = 1 << 19
_WORTH_COMPILED_BYTES: Final = 1 << 16
_LEAST_OTHERS: Final = 16
_NO_EVENTS: Final = b"[]"


class _Unusable(Struct, gc=False):
    """Holds the place of an event that could not be read."""


class _Tag(Struct, gc=False):
    ev: str | msgspec.UnsetType = msgspec.UNSET


class _Ticker(Struct, gc=False):
    sym: str | None = None
    T: str | None = None


_RAW_EVENTS: Final = msgspec.json.Decoder(list[Raw])


@dataclass(frozen=True, slots=True)
class Undecodable:
    """What could not be read: its number in its chunk, its place in its frame's array, why, and its text as it came.

    A frame that is no array is one event. ``table`` and ``ticker`` are those that it would have been a row of, where
    that much can be read.
    """

    event: int
    position: Position
    element: int
    rule: str
    raw: str
    table: str | None = None
    ticker: str | None = None


@dataclass(frozen=True)
class TopicRows:
    """The rows of one topic in the order in which they came; ``event`` has the number of each in its chunk."""

    topic: Topic
    table: Table
    rows: pa.Table
    event: Ints


@dataclass(frozen=True)
class Chunk:
    """Some successive records, decoded; ``after`` is the position of the one before them.

    Every element of every array is one event; ``record`` (its number in ``records``), ``element`` (its place in the
    array) and ``published_ns`` (when the vendor would have sent it if nothing had held it up: a bar at its end) are by
    event. An event that is no row (status, passed over, undecodable) was published at 0.
    """

    after: Position | None
    records: Sequence[Record]
    rows: tuple[TopicRows, ...]
    published_ns: Ints
    record: Ints
    element: Ints
    undecodable: tuple[Undecodable, ...]


def decode(records: Iterable[Record], feed: AssetClass, after: Position | None = None) -> Iterator[Chunk]:
    """The records of a feed with their frames as columns, some thousand events at a time.

    ``after`` is the position behind which the records were read.
    """
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.payload)
        if size >= _BATCH_BYTES:
            yield from _decoded(batch, size, feed, after)
            after, batch, size = record.position, [], 0
    yield from _decoded(batch, size, feed, after)


def raw_text(frame: bytes, element: int) -> str:
    """The JSON text, as it came, of one event of a frame."""
    return _text(_RAW_EVENTS.decode(frame)[element])


def _decoded(records: Sequence[Record], size: int, feed: AssetClass, after: Position | None) -> Iterator[Chunk]:
    """Plain frames in one compiled pass where it is worth loading; all others as msgspec has them."""
    if size < _WORTH_COMPILED_BYTES:
        yield from _one_after_the_other(records, feed, after)
        return
    scanner = _scanner_of(feed)
    while records:
        plain = scanner.scan([record.payload if record.kind is Kind.FRAME else _NO_EVENTS for record in records])
        count = plain.objects.size
        if count:
            yield _scanned(plain, records[:count], feed, after)
            after = records[count - 1].position
        # One that is not plain seldom comes alone: acknowledgements, refusals, another sender's way of writing.
        others = records[count : count + _LEAST_OTHERS]
        yield from _one_after_the_other(others, feed, after)
        records = records[count + _LEAST_OTHERS :]
        if others:
            after = others[-1].position


@cache
def _scanner_of(feed: AssetClass) -> "Scanner":
    from marketlake.flat_json import Scanner  # noqa: PLC0415 - numba: half a second that few events are not worth

    return Scanner(EVENTS_OF[feed])


def _scanned(plain: "Scanned", records: Sequence[Record], feed: AssetClass, after: Position | None) -> Chunk:
    published_ns = np.zeros(plain.shape.size, dtype=np.int64)
    rows = []
    for shape, kind in enumerate(EVENTS_OF[feed]):
        numbers = np.flatnonzero(plain.shape == shape)
        if numbers.size:
            made, published = scanned_columns(kind, feed, plain.columns[shape])
            published_ns[numbers] = published
            rows.append(TopicRows(SHAPES[kind].topic, table_of_events(kind, feed), made, numbers))
    return _chunk_of(after, records, plain.objects, rows=rows, published_ns=published_ns)


def _chunk_of(
    after: Position | None,
    records: Sequence[Record],
    counts: Ints,
    *,
    rows: Sequence[TopicRows],
    published_ns: Ints,
    undecodable: Sequence[Undecodable] = (),
) -> Chunk:
    record = np.repeat(np.arange(counts.size), counts)
    return Chunk(
        after=after,
        records=records,
        rows=tuple(rows),
        published_ns=published_ns,
        record=record,
        element=np.arange(record.size) - (np.cumsum(counts) - counts)[record],
        undecodable=tuple(undecodable),
    )


def _one_after_the_other(records: Iterable[Record], feed: AssetClass, after: Position | None) -> Iterator[Chunk]:
    decoder = DECODERS[feed]
    chunk = _Gathering(feed, after)
    for record in records:
        events: list[Struct] = []
        if record.kind is Kind.FRAME:
            try:
                events = decoder.decode(record.payload)
            except UNREADABLE:
                events = chunk.one_by_one(record, decoder)
        chunk.records.append(record)
        chunk.counts.append(len(events))
        chunk.events += events
        if len(chunk.events) >= _EVENTS_PER_CHUNK:
            yield chunk.decoded()
            chunk = _Gathering(feed, record.position)
    if chunk.records:
        yield chunk.decoded()


class _Gathering:
    """A chunk while its frames are added."""

    def __init__(self, feed: AssetClass, after: Position | None) -> None:
        self.feed = feed
        self.after = after
        self.records: list[Record] = []
        self.counts: list[int] = []
        self.events: list[Struct] = []
        self.undecodable: list[Undecodable] = []

    def one_by_one(self, frame: Record, decoder: msgspec.json.Decoder[list[Struct]]) -> list[Struct]:
        """The events of a frame of which at least one cannot be read; that one's place is held."""
        try:
            raws = _RAW_EVENTS.decode(frame.payload)
        except UNREADABLE:
            text = _text(frame.payload)
            self.undecodable.append(Undecodable(len(self.events), frame.position, 0, NOT_AN_ARRAY, text))
            return [_Unusable()]
        events: list[Struct] = []
        for element, raw in enumerate(raws):
            try:
                events += decoder.decode(b"[%b]" % bytes(raw))
            except UNREADABLE:
                events.append(_Unusable())
                rule, table, ticker = _diagnosis(raw, self.feed)
                place = len(self.events) + element
                self.undecodable.append(Undecodable(place, frame.position, element, rule, _text(raw), table, ticker))
        return events

    def decoded(self) -> Chunk:
        kinds = [*map(type, self.events)]
        published_ns = np.zeros(len(self.events), dtype=np.int64)
        rows = []
        for kind in EVENTS_OF[self.feed]:
            is_kind = [other is kind for other in kinds]
            numbers = np.flatnonzero(is_kind)
            if numbers.size:
                made, published = columns_of(kind, self.feed, [*compress(self.events, is_kind)])
                published_ns[numbers] = published
                rows.append(TopicRows(SHAPES[kind].topic, table_of_events(kind, self.feed), made, numbers))
        counts = np.array(self.counts, dtype=np.int64)
        return _chunk_of(
            self.after,
            self.records,
            counts,
            rows=rows,
            published_ns=published_ns,
            undecodable=self.undecodable,
        )


def _diagnosis(raw: Raw, feed: AssetClass) -> tuple[str, str | None, str | None]:
    """Why an event cannot be read, and the table and ticker that it is about where that much can be."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Raw])
        tag = msgspec.json.decode(raw, type=_Tag).ev
    except msgspec.ValidationError:
        return (UNREADABLE_VALUE if bytes(raw).startswith(b"{") else NOT_AN_OBJECT), None, None
    except UNREADABLE:
        return UNREADABLE_VALUE, None, None
    if tag is msgspec.UNSET:
        return NO_EVENT, None, None
    kind = next((kind for kind in EVENTS_OF[feed] if tag_of(kind) == tag), None)
    if kind is None:
        return UNKNOWN_EVENT, None, None
    required = [field.encode_name for field in msgspec.structs.fields(kind) if field.required]
    missing = any(name not in fields or bytes(fields[name]) == b"null" for name in required)
    return MISSING_FIELD if missing else UNREADABLE_VALUE, table_of_events(kind, feed).name, _ticker_of(raw)


def _ticker_of(raw: Raw) -> str | None:
    try:
        names = msgspec.json.decode(raw, type=_Ticker)
    except UNREADABLE:
        return None
    return names.sym or names.T


def _text(raw: Raw | bytes) -> str:
    # Bytes that are no UTF-8 are shown as \\xNN: what is quarantined has to be legible, the spool keeps the bytes.
    return bytes(raw).decode(errors="backslashreplace")
