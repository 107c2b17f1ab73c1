"""The vendor's rows, each as the shape that its documentation gives: what is required, what may be absent, what fits.

A field that is not named here stays in the capture. How pages of them become columns is :mod:`marketlake.wire`'s.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from marketlake.asks import AskKind
from marketlake.tables import YIELD_MONTHS

NS_PER_MS: Final = 1_000_000
_INT64_MAX: Final = 2**63 - 1

# Times that a nanosecond column can hold; integers that are written as 1.7e18 are refused, because they lost digits.
Milliseconds = Annotated[int, Meta(ge=0, le=_INT64_MAX // NS_PER_MS)]
Nanoseconds = Annotated[int, Meta(ge=0, le=_INT64_MAX)]
Int64 = Annotated[int, Meta(ge=-_INT64_MAX, le=_INT64_MAX)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Instant = Annotated[datetime, Meta(tz=True)]
# decimal(10, 3): seven digits before the point, and no more than three behind it.
_STRIKE_STEP: Final = Decimal("0.001")
_STRIKE_LIMIT: Final = Decimal(10**7)

# What decoding raises: malformed JSON or a value of another type, text that is no UTF-8, nesting without end.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Bar(Struct, gc=False):
    """One aggregate bar; index bars carry no volume, vwap or count, and others may leave the last two out."""

    t: Milliseconds
    o: float
    h: float
    l: float  # noqa: E741 - the vendor's name
    c: float
    v: float | None = None
    vw: float | None = None
    n: Int64 | None = None


class Trade(Struct, gc=False):
    """One trade of /v3/trades."""

    sip_timestamp: Nanoseconds
    price: float
    size: float
    exchange: Int64
    participant_timestamp: Nanoseconds | None = None
    trf_timestamp: Nanoseconds | None = None
    trf_id: Int64 | None = None
    id: str | None = None
    sequence_number: Int64 | None = None
    decimal_size: str | None = None
    conditions: list[Int32] | None = None
    correction: Int64 | None = None
    tape: Int64 | None = None


class Quote(Struct, gc=False):
    """One quote of /v3/quotes."""

    sip_timestamp: Nanoseconds
    participant_timestamp: Nanoseconds | None = None
    trf_timestamp: Nanoseconds | None = None
    sequence_number: Int64 | None = None
    bid_price: float | None = None
    bid_size: float | None = None
    bid_exchange: Int64 | None = None
    ask_price: float | None = None
    ask_size: float | None = None
    ask_exchange: Int64 | None = None
    conditions: list[Int32] | None = None
    indicators: list[Int32] | None = None
    tape: Int64 | None = None


def _require_exact(strike: Decimal) -> None:
    """Refuse a strike that the column could only hold rounded."""
    if not strike.is_finite() or abs(strike) >= _STRIKE_LIMIT or strike % _STRIKE_STEP:
        message = f"{strike} does not fit decimal(10, 3)"
        raise ValueError(message)


class Contract(Struct, gc=False):
    """One option contract of the reference list; its strike is read from the digits of the JSON number."""

    ticker: str
    expiration_date: date
    strike_price: Decimal
    contract_type: str | None = None
    shares_per_contract: float | None = None
    exercise_style: str | None = None
    primary_exchange: str | None = None
    cfi: str | None = None
    correction: Int64 | None = None
    additional_underlyings: Raw = Raw(b"null")

    def __post_init__(self) -> None:
        """Refuse a strike that the column could only hold rounded."""
        _require_exact(self.strike_price)


class SnapshotDetails(Struct, gc=False):
    """Which contract a snapshot is of; its strike is read from the digits of the JSON number."""

    ticker: str
    expiration_date: date
    strike_price: Decimal
    contract_type: str | None = None
    exercise_style: str | None = None
    shares_per_contract: float | None = None

    def __post_init__(self) -> None:
        """Refuse a strike that the column could only hold rounded."""
        _require_exact(self.strike_price)


class SnapshotGreeks(Struct, gc=False):
    """The vendor's Greeks; none of a contract for which it cannot compute them."""

    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None


class SnapshotDay(Struct, gc=False):
    """The bar of the last day on which the contract traded; empty where it did not."""

    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    vwap: float | None = None
    previous_close: float | None = None
    last_updated: Nanoseconds | None = None


class SnapshotQuote(Struct, gc=False):
    """The newest quote; only of plans with quotes."""

    bid: float | None = None
    bid_size: float | None = None
    bid_exchange: Int64 | None = None
    ask: float | None = None
    ask_size: float | None = None
    ask_exchange: Int64 | None = None
    last_updated: Nanoseconds | None = None


class SnapshotTrade(Struct, gc=False):
    """The newest trade; only of plans with trades, and where there ever was one."""

    price: float | None = None
    size: float | None = None
    exchange: Int64 | None = None
    conditions: list[Int32] | None = None
    sip_timestamp: Nanoseconds | None = None


class SnapshotUnderlying(Struct, gc=False):
    """The underlying at the same moment: a share has a price, an index a value; only of plans that have it."""

    price: float | None = None
    value: float | None = None
    last_updated: Nanoseconds | None = None


class Snapshot(Struct, gc=False):
    """One contract of a chain as it is now; all but what identifies it may be absent."""

    details: SnapshotDetails
    open_interest: float | None = None
    implied_volatility: float | None = None
    break_even_price: float | None = None
    greeks: SnapshotGreeks | None = None
    day: SnapshotDay | None = None
    last_quote: SnapshotQuote | None = None
    last_trade: SnapshotTrade | None = None
    underlying_asset: SnapshotUnderlying | None = None


class Publisher(Struct, gc=False):
    """Who published an article."""

    name: str | None = None


class Insight(Struct, gc=False):
    """What the vendor read out of an article about one ticker."""

    ticker: str
    sentiment: str | None = None
    sentiment_reasoning: str | None = None


class Article(Struct, gc=False):
    """One news article; ``published_utc`` has whole seconds in the vendor's samples."""

    id: str
    published_utc: Instant
    title: str
    tickers: list[str] | None = None
    author: str | None = None
    publisher: Publisher | None = None
    article_url: str | None = None
    description: str | None = None
    keywords: list[str] | None = None
    insights: list[Insight] | None = None


class Dividend(Struct, gc=False):
    """One cash dividend."""

    ticker: str
    ex_dividend_date: date
    cash_amount: float
    id: str | None = None
    declaration_date: date | None = None
    record_date: date | None = None
    pay_date: date | None = None
    currency: str | None = None
    frequency: Int64 | None = None
    dividend_type: str | None = None


class Split(Struct, gc=False):
    """One split: ``split_from`` old shares became ``split_to`` new ones."""

    ticker: str
    execution_date: date
    split_from: float
    split_to: float
    id: str | None = None


Curve = msgspec.defstruct(
    "Curve", [("date", date), *((name, float | None, None) for name in YIELD_MONTHS)], gc=False, module=__name__
)

# Fields that the vendor documents and that no table has.
_UNREAD: Final = {
    AskKind.BARS: {"otc"},
    AskKind.CONTRACTS: {"underlying_ticker"},
    AskKind.NEWS: {"image_url", "amp_url"},
}

ROW_TYPES: Final[dict[AskKind, type[Struct]]] = {
    AskKind.BARS: Bar,
    AskKind.TRADES: Trade,
    AskKind.QUOTES: Quote,
    AskKind.CONTRACTS: Contract,
    AskKind.SNAPSHOTS: Snapshot,
    AskKind.NEWS: Article,
    AskKind.DIVIDENDS: Dividend,
    AskKind.SPLITS: Split,
    AskKind.YIELDS: Curve,
}


def documented_fields(kind: AskKind) -> frozenset[str]:
    """The names of all fields that a row may have by the vendor's documentation, whether a table has them or not."""
    read = {field.encode_name for field in msgspec.structs.fields(ROW_TYPES[kind])}
    return frozenset(read | _UNREAD.get(kind, set()))
