"""From the vendor's JSON to the columns of :mod:`marketlake.tables`: bytes in, Arrow out, no IO.

Whether a page belongs to a complete answer is :mod:`marketlake.answers`' question; what a value may be, the
expectations'. Here a row either has the shape that the vendor documents or is handed back as unparsed, with the name of
the reason and its raw text; one such row does not spoil its page. The shapes are :mod:`marketlake.vendor_rows`'.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw, Struct

from marketlake.asks import Ask, AskKind
from marketlake.errors import BrokenAnswer
from marketlake.sentiment import score
from marketlake.sessions import to_ns
from marketlake.tables import TABLES, TIME, SentimentSource
from marketlake.tickers import Right
from marketlake.vendor_rows import NS_PER_MS, ROW_TYPES, UNREADABLE, Article, Bar, Contract, Insight, Snapshot

if TYPE_CHECKING:
    from marketlake.flat_json import Scanner

Positions = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Rows = Sequence[Any]  # structs of one of the row types below
type Values = Sequence[Any] | Positions | pa.Array | str | bool | None  # one value: of every row

NOT_AN_OBJECT: Final = "not_an_object"
MISSING_FIELD: Final = "missing_field"
UNREADABLE_VALUE: Final = "unreadable_value"
NO_TICKER: Final = "no_ticker"


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A row that has not the shape it was promised: where it stood in ``results``, why, and its text as it came."""

    position: int
    rule: str
    raw: str


@dataclass(frozen=True)
class Parsed:
    """The rows of a page in the declared schema, in page order; ``positions`` has the place in ``results`` of each.

    Every place in ``results`` is in ``positions`` or in ``unparsed`` and never in both. Only news repeats a position:
    one article is a row a ticker.
    """

    rows: pa.Table
    positions: Positions
    unparsed: tuple[Unparsed, ...]


def parse(ask: Ask, body: bytes) -> Parsed:
    """Read the rows of one page.

    Raises:
        BrokenAnswer: the body is no JSON object whose ``results`` is a list; a page that was accepted never is that.
    """
    results = _results_of(ask.target, body)
    if ask.kind in _COMPILED and len(results) >= _WORTH_COMPILED_BYTES:
        plain = _scanner_of(ask.kind).scan([results])
        if plain.objects.size:
            values, size = _COMPILED[ask.kind](ask, plain.columns[0]), int(plain.objects[0])
            return Parsed(_table_of(ask, values, size), np.arange(size), ())
    rows, positions, unparsed = _decode(results, ask.kind)
    if ask.kind is AskKind.NEWS:
        values, positions, unparsed = _explode(rows, positions, unparsed, results)
    else:
        values = _COLUMNS[ask.kind](ask, rows)
    return Parsed(
        _table_of(ask, values, len(positions)),
        np.asarray(positions, dtype=np.int64),
        tuple(sorted(unparsed, key=lambda row: row.position)),
    )


def raw_texts(body: bytes, positions: Iterable[int]) -> list[str]:
    """The JSON text, as it came, of the rows of a page at ``positions``."""
    rows = _RAW_ROWS.decode(_results_of("a captured page", body))
    return [_text(rows[position]) for position in positions]


class _Envelope(Struct, gc=False):
    """What surrounds the rows of a page; ``results`` are left as they came."""

    results: Raw | msgspec.UnsetType = msgspec.UNSET


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_RAW_ROWS: Final = msgspec.json.Decoder(list[Raw])
_ROWS: Final = {kind: msgspec.json.Decoder(list[row]) for kind, row in ROW_TYPES.items()}  # type: ignore[valid-type]
_ROW: Final = {kind: msgspec.json.Decoder(row) for kind, row in ROW_TYPES.items()}


def _results_of(request: str, body: bytes) -> bytes:
    try:
        results = _ENVELOPE.decode(body).results
    except UNREADABLE as error:
        raise BrokenAnswer(request, f"the page is no JSON object: {error}") from None
    if results is msgspec.UNSET:
        return b"[]"
    text = bytes(results)
    if not text.startswith(b"["):
        raise BrokenAnswer(request, "the results of the page are no list")
    return text


@cache
def _scanner_of(kind: AskKind) -> "Scanner":
    from marketlake.flat_json import Scanner  # noqa: PLC0415 - numba: half a second that a short page is not worth

    return Scanner([ROW_TYPES[kind]])


def _table_of(ask: Ask, values: Mapping[str, Values], rows: int) -> pa.Table:
    schema = TABLES[ask.table].schema
    return pa.Table.from_arrays([_array(values[field.name], field.type, rows) for field in schema], schema=schema)


def _decode(results: bytes, kind: AskKind) -> tuple[Rows, list[int] | range, list[Unparsed]]:
    """All rows at once, which is ten times faster; one by one only where one of them has not its shape."""
    try:
        rows: Rows = _ROWS[kind].decode(results)
    except UNREADABLE:
        return _decode_one_by_one(results, kind)
    return rows, range(len(rows)), []


def _decode_one_by_one(results: bytes, kind: AskKind) -> tuple[Rows, list[int], list[Unparsed]]:
    rows: list[Struct] = []
    positions: list[int] = []
    unparsed: list[Unparsed] = []
    for position, raw in enumerate(_RAW_ROWS.decode(results)):
        try:
            rows.append(_ROW[kind].decode(raw))
            positions.append(position)
        except UNREADABLE:
            unparsed.append(Unparsed(position, _rule_of(raw, ROW_TYPES[kind]), _text(raw)))
    return rows, positions, unparsed


def _rule_of(raw: Raw, row: type[Struct]) -> str:
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Raw])
    except msgspec.ValidationError:
        return NOT_AN_OBJECT
    except UNREADABLE:
        return UNREADABLE_VALUE
    required = [field.encode_name for field in msgspec.structs.fields(row) if field.required]
    missing = any(name not in fields or bytes(fields[name]) == b"null" for name in required)
    return MISSING_FIELD if missing else UNREADABLE_VALUE


def _text(raw: Raw) -> str:
    # Bytes that are no UTF-8 are shown as \\xNN: a quarantined row has to be legible, the page keeps the bytes.
    return bytes(raw).decode(errors="backslashreplace")


def _array(values: Values, kind: pa.DataType, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    if isinstance(values, str | bool):
        return pa.repeat(pa.scalar(values, kind), rows)
    if isinstance(values, pa.Array):
        return values.view(kind)
    if kind == TIME:
        return pa.array(values, pa.int64()).cast(TIME)
    return pa.array(values, kind)


def _bar_columns(ask: Ask, rows: Sequence[Bar]) -> dict[str, Values]:
    return {
        "ticker": ask.ticker,
        "span": ask.span,
        "start": np.fromiter((row.t for row in rows), np.int64, len(rows)) * NS_PER_MS,
        **{name: list(map(attrgetter(field), rows)) for name, field in _FIELDS_OF_BARS.items()},
    }


def _scanned_bars(ask: Ask, fields: Mapping[str, pa.Array]) -> dict[str, Values]:
    start = pc.multiply(fields["t"], NS_PER_MS)
    columns = {name: fields[field] for name, field in _FIELDS_OF_BARS.items()}
    return {"ticker": ask.ticker, "span": ask.span, "start": start, **columns}


def _tick_columns(ask: Ask, rows: Rows) -> dict[str, Values]:
    """Trades and quotes: the columns have the vendor's names."""
    names = [name for name in TABLES[ask.table].schema.names if name != "ticker"]
    return {"ticker": ask.ticker, **_same_named(names, rows)}


def _scanned_ticks(ask: Ask, fields: Mapping[str, pa.Array]) -> dict[str, Values]:
    return {**fields, "ticker": ask.ticker}


def _named_columns(ask: Ask, rows: Rows) -> dict[str, Values]:
    """Dividends, splits and yields: the columns have the vendor's names."""
    return _same_named(TABLES[ask.table].schema.names, rows)


def _same_named(names: Iterable[str], rows: Rows) -> dict[str, Values]:
    return {name: list(map(attrgetter(name), rows)) for name in names}


def _contract_columns(_: Ask, rows: Sequence[Contract]) -> dict[str, Values]:
    same = ("ticker", "shares_per_contract", "exercise_style", "primary_exchange", "cfi", "correction")
    return {
        **_same_named(same, rows),
        "expiry": [row.expiration_date for row in rows],
        "strike": [row.strike_price for row in rows],
        "right": [row.contract_type if row.contract_type in _RIGHTS else None for row in rows],
        "additional_underlyings": [_compact(row.additional_underlyings) for row in rows],
        # Which contracts are chosen is decided over all pages, in marketlake.selection.
        "chosen": False,
        "rank": None,
        "refusal": None,
        "opening_price": None,
        "opening_price_source": None,
    }


def _snapshot_columns(_: Ask, rows: Sequence[Snapshot]) -> dict[str, Values]:
    own = ("open_interest", "break_even_price")
    values: dict[str, Values] = {
        **_same_named(own, rows),
        "vendor_implied_volatility": [row.implied_volatility for row in rows],
        "right": [row.details.contract_type if row.details.contract_type in _RIGHTS else None for row in rows],
        # A share has a price, an index a value.
        "underlying_price": [_first_of(row.underlying_asset, "price", "value") for row in rows],
    }
    for part, fields in _FIELDS_OF_SNAPSHOTS.items():
        for name, field in fields.items():
            values[name] = [_first_of(getattr(row, part), field) for row in rows]
    return values


def _first_of(part: Struct | None, *fields: str) -> Any:
    """The first of some fields that a part of a row has; None where it has none, or is not there itself."""
    values = () if part is None else (getattr(part, field) for field in fields)
    return next((value for value in values if value is not None), None)


def _compact(raw: Raw) -> str | None:
    # Formatting keeps the digits of the numbers; decoding and encoding again would not.
    text = msgspec.json.format(bytes(raw), indent=-1).decode(errors="backslashreplace")
    return None if text == "null" else text


def _explode(
    articles: Sequence[Article], places: Sequence[int], unparsed: list[Unparsed], results: bytes
) -> tuple[dict[str, Values], list[int], list[Unparsed]]:
    """One row an article and ticker that it names, in the order in which the article names them."""
    pairs: list[tuple[Article, str, Insight | None]] = []
    positions: list[int] = []
    for position, article in zip(places, articles, strict=True):
        insights = {insight.ticker: insight for insight in article.insights or ()}
        tickers = dict.fromkeys([*(article.tickers or ()), *insights])
        if not tickers:
            raw = _RAW_ROWS.decode(results)[position]
            unparsed.append(Unparsed(position, NO_TICKER, _text(raw)))
        pairs.extend((article, ticker, insights.get(ticker)) for ticker in tickers)
        positions.extend([position] * len(tickers))
    rows = [article for article, _, _ in pairs]
    judged = [_sentiment_of(article, insight) for article, _, insight in pairs]
    values: dict[str, Values] = {
        **_same_named(("id", "title", "author", "article_url", "description", "keywords"), rows),
        "ticker": [ticker for _, ticker, _ in pairs],
        "published": [to_ns(article.published_utc) for article in rows],
        "publisher": [article.publisher.name if article.publisher else None for article in rows],
        **{name: [getattr(item, name) for item in judged] for name in _Sentiment._fields},
    }
    return values, positions, unparsed


class _Sentiment(NamedTuple):
    """The columns of a row of news that say how it sounds."""

    sentiment: str
    sentiment_source: SentimentSource
    sentiment_reasoning: str | None = None
    sentiment_compound: float | None = None


def _sentiment_of(article: Article, insight: Insight | None) -> _Sentiment:
    """The vendor's word about the ticker, else VADER's about the article."""
    if insight is not None and insight.sentiment is not None:
        return _Sentiment(insight.sentiment, SentimentSource.VENDOR, insight.sentiment_reasoning)
    scored = score(article.title, article.description)
    return _Sentiment(scored.sentiment, SentimentSource.VADER, None, scored.compound)


_FIELDS_OF_BARS: Final = {
    "open": "o",
    "high": "h",
    "low": "l",
    "close": "c",
    "volume": "v",
    "vwap": "vw",
    "trades": "n",
}
# By part of a snapshot: our columns, and the vendor's fields that they come from.
_FIELDS_OF_SNAPSHOTS: Final = {
    "details": {
        "ticker": "ticker",
        "expiry": "expiration_date",
        "strike": "strike_price",
        "exercise_style": "exercise_style",
        "shares_per_contract": "shares_per_contract",
    },
    "greeks": {
        "vendor_delta": "delta",
        "vendor_gamma": "gamma",
        "vendor_theta_per_day": "theta",
        "vendor_vega_per_point": "vega",
    },
    "day": {
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "volume": "volume",
        "vwap": "vwap",
        "previous_close": "previous_close",
        "day_updated": "last_updated",
    },
    "last_quote": {
        "bid_price": "bid",
        "bid_size": "bid_size",
        "bid_exchange": "bid_exchange",
        "ask_price": "ask",
        "ask_size": "ask_size",
        "ask_exchange": "ask_exchange",
        "quote_updated": "last_updated",
    },
    "last_trade": {
        "trade_price": "price",
        "trade_size": "size",
        "trade_exchange": "exchange",
        "trade_conditions": "conditions",
        "trade_sip_timestamp": "sip_timestamp",
    },
    "underlying_asset": {"underlying_updated": "last_updated"},
}
_WORTH_COMPILED_BYTES: Final = 1 << 16
_RIGHTS: Final = frozenset(Right)
_COLUMNS: Final[dict[AskKind, Callable[[Ask, Any], dict[str, Values]]]] = {
    AskKind.BARS: _bar_columns,
    AskKind.TRADES: _tick_columns,
    AskKind.QUOTES: _tick_columns,
    AskKind.CONTRACTS: _contract_columns,
    AskKind.SNAPSHOTS: _snapshot_columns,
    AskKind.DIVIDENDS: _named_columns,
    AskKind.SPLITS: _named_columns,
    AskKind.YIELDS: _named_columns,
}
_COMPILED: Final[dict[AskKind, Callable[[Ask, Mapping[str, pa.Array]], dict[str, Values]]]] = {
    AskKind.BARS: _scanned_bars,
    AskKind.TRADES: _scanned_ticks,
    AskKind.QUOTES: _scanned_ticks,
}
