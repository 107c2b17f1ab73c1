"""The tables of the lake, each declared once: schema, key, order, folder, and who carries it.

What a value may be is the business of :mod:`expectations`; how a page becomes these columns, of
:mod:`marketlake.wire`; where the bytes lie, of :mod:`marketlake.lake`. A column that stands in the path (symbol,
underlying, session, year) does not stand in the file.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final, Self
from urllib.parse import quote, unquote

import pyarrow as pa

from marketlake.errors import UsageError
from marketlake.tickers import AssetClass

TIME: Final = pa.timestamp("ns", tz="UTC")
PRICE: Final = pa.float64()
STRIKE: Final = pa.decimal128(10, 3)
MOMENTUM_MINUTES: Final = (1, 5, 15, 30, 60)


class Layer(StrEnum):
    """How far a table is from what the vendor sent."""

    RAW = "raw"
    CONSOLIDATED = "consolidated"


class Owner(StrEnum):
    """What a partition's rows have in common besides their period; the name of the path's first key."""

    SYMBOL = "symbol"
    UNDERLYING = "underlying"
    NONE = ""


class Period(StrEnum):
    """The stretch of time that one partition holds; the name of the path's last key."""

    SESSION = "session"
    YEAR = "year"
    ALL = ""  # everything there is of an owner: a handful of rows a year


class Span(StrEnum):
    """The length of a bar."""

    SECOND = "second"
    MINUTE = "minute"
    DAY = "day"


class PriceSource(StrEnum):
    """Where an option's price of a minute came from."""

    QUOTE_MID = "quote_mid"
    LAST_TRADE = "last_trade"
    BAR_CLOSE = "bar_close"


class SentimentSource(StrEnum):
    """Whose word an article's sentiment is."""

    VENDOR = "vendor"  # about the ticker
    VADER = "vader"  # about the article: the vendor says nothing about the ticker


class Reason(StrEnum):
    """Why a row of option_minutes has no implied volatility; the first that applies, in this order."""

    EXPIRED = "expired"
    NOT_COLLECTED = "not_collected"
    NO_PRICE = "no_price"
    STALE_PRICE = "stale_price"
    NO_UNDERLYING_PRICE = "no_underlying_price"
    NO_RATE = "no_rate"
    BELOW_INTRINSIC = "below_intrinsic"
    ABOVE_MAXIMUM = "above_maximum"


class Carrier(StrEnum):
    """Who brings a column of a raw table."""

    REST = "rest"
    STREAM = "stream"
    BOTH = "both"
    NEITHER = "neither"  # made here, or null: siblings of one shape do not all have each column


class Refusal(StrEnum):
    """Why a listed contract was not chosen for a session."""

    NO_OPENING_PRICE = "no_opening_price"
    ADJUSTED = "adjusted"
    NOT_CALL_OR_PUT = "not_call_or_put"
    OTHER_EXPIRY = "other_expiry"
    STRIKE_OUT_OF_RANGE = "strike_out_of_range"
    BEYOND_LIMIT = "beyond_limit"


@dataclass(frozen=True, slots=True)
class Table:
    """One table. ``key`` identifies a row inside a partition; ``order`` is how a file is sorted."""

    name: str
    layer: Layer
    folder: str
    schema: pa.Schema
    key: tuple[str, ...]
    order: tuple[str, ...]
    owner: Owner
    period: Period
    time_column: str | None = None  # the instant that decides a row's session; None where a date or nothing does
    asset_class: AssetClass | None = None  # whose entitlement it needs; None for reference data
    null_in_key: frozenset[str] = frozenset()  # key columns in which null is a value: not every trade is of a TRF
    streamed: frozenset[str] = frozenset()  # columns that the stream carries, by the vendor's documentation
    not_rest: frozenset[str] = frozenset()  # columns that REST does not
    present_only: bool = False  # the vendor gives it as it is now, and has no history of it

    def __post_init__(self) -> None:
        unknown = (self.streamed | self.not_rest | set(self.key) | set(self.order)) - set(self.schema.names)
        if unknown:
            message = f"{self.name} has no column {', '.join(sorted(unknown))}"
            raise ValueError(message)

    def carrier(self, column: str) -> Carrier:
        """Who brings a column of a raw table."""
        if column in self.streamed:
            return Carrier.STREAM if column in self.not_rest else Carrier.BOTH
        return Carrier.NEITHER if column in self.not_rest else Carrier.REST

    def stream_step_ns(self, column: str) -> int:
        """The step in which the stream gives an instant: milliseconds where REST has nanoseconds; else 1, exact."""
        return 1_000_000 if column in self.streamed & _TO_THE_MILLISECOND else 1

    @property
    def over_rest(self) -> bool:
        """Whether it can be asked for: a raw table that more than the stream carries."""
        return self.layer is Layer.RAW and bool(set(self.schema.names) - self.not_rest)

    @property
    def path(self) -> str:
        """The folder under the lake's root, ``raw/stocks/bars``."""
        return f"{self.layer}/{self.folder}"


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One file of one table: ``owner`` is a symbol, an underlying or "", ``period`` a date, a year or ""."""

    table: str
    owner: str
    period: str

    @classmethod
    def of_session(cls, table: Table, owner: str, session: date) -> Self:
        """The partition in which a session's rows are found, whatever the table's period is."""
        periods = {Period.SESSION: session.isoformat(), Period.YEAR: str(session.year), Period.ALL: ""}
        return cls(table.name, owner if table.owner is not Owner.NONE else "", periods[table.period])

    @property
    def spec(self) -> Table:
        """The declaration of the partition's table."""
        return TABLES[self.table]

    @property
    def session(self) -> date:
        """The New York date of a session partition."""
        return date.fromisoformat(self.period)

    @property
    def keys(self) -> str:
        """The hive part of the path: ``symbol=I%3AVIX/session=2025-08-29``."""
        pairs = ((self.spec.owner, quote(self.owner, safe="")), (self.spec.period, self.period))
        return "/".join(f"{key}={value}" for key, value in pairs if key)

    @property
    def path(self) -> str:
        """Where the published file stands under the lake's root."""
        return f"{self.spec.path}/{self.keys}/data.parquet"

    @property
    def ledger_path(self) -> str:
        """Where the record that proves the file stands."""
        return f"ledger/{self.spec.layer}/{self.spec.folder}/{self.keys}/record.json"

    @property
    def quarantine_path(self) -> str:
        """Where the rows that a rule refused stand."""
        return f"quarantine/{self.spec.folder}/{self.keys}/data.parquet"

    @property
    def lease_path(self) -> str:
        """Where the writer's lease stands."""
        return f"ledger/{self.spec.layer}/{self.spec.folder}/{self.keys}/lease.json"

    @classmethod
    def from_path(cls, path: str) -> Self:
        """The partition of a path made by ``path``, ``ledger_path``, ``quarantine_path`` or ``lease_path``.

        Raises:
            UsageError: the path is none of the lake's.
        """
        *folders, _ = path.split("/")
        keys = dict(part.split("=", 1) for part in folders if "=" in part)
        folder = "/".join(part for part in folders if "=" not in part)
        for prefix in ("ledger/", "quarantine/"):
            folder = folder.removeprefix(prefix)
        for table in TABLES.values():
            if folder in {table.path, table.folder} and set(keys) == {table.owner, table.period} - {""}:
                return cls(table.name, unquote(keys.get(table.owner, "")), keys.get(table.period, ""))
        message = f"{path} is no path of the lake"
        raise UsageError(message)

    def __str__(self) -> str:
        return " ".join(part for part in (self.table, self.owner, self.period) if part)


def table_named(name: str) -> Table:
    """The declaration of a table.

    Raises:
        UsageError: there is no such table; the message lists them.
    """
    if name not in TABLES:
        message = f"there is no table {name!r}: choose from {', '.join(TABLES)}"
        raise UsageError(message)
    return TABLES[name]


_BARS = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("span", pa.string(), nullable=False),
        pa.field("start", TIME, nullable=False),
        pa.field("open", PRICE, nullable=False),
        pa.field("high", PRICE, nullable=False),
        pa.field("low", PRICE, nullable=False),
        pa.field("close", PRICE, nullable=False),
        pa.field("volume", pa.float64()),  # fractional since 2026; null for an index
        pa.field("vwap", PRICE),
        pa.field("trades", pa.int64()),
    ]
)
_TRADES = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("sip_timestamp", TIME, nullable=False),
        pa.field("participant_timestamp", TIME),
        pa.field("trf_timestamp", TIME),
        pa.field("trf_id", pa.int64()),
        pa.field("exchange", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("sequence_number", pa.int64()),
        pa.field("price", PRICE, nullable=False),
        pa.field("size", pa.float64(), nullable=False),
        pa.field("decimal_size", pa.string()),
        pa.field("conditions", pa.list_(pa.int32())),
        pa.field("correction", pa.int64()),
        pa.field("tape", pa.int64()),
    ]
)
_QUOTES = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("sip_timestamp", TIME, nullable=False),
        pa.field("participant_timestamp", TIME),
        pa.field("trf_timestamp", TIME),
        pa.field("sequence_number", pa.int64()),
        pa.field("bid_price", PRICE),  # 0 where the side is missing, as the vendor gives it
        pa.field("bid_size", pa.float64()),
        pa.field("bid_exchange", pa.int64()),
        pa.field("ask_price", PRICE),
        pa.field("ask_size", pa.float64()),
        pa.field("ask_exchange", pa.int64()),
        pa.field("conditions", pa.list_(pa.int32())),
        pa.field("indicators", pa.list_(pa.int32())),
        pa.field("tape", pa.int64()),
    ]
)
_VALUES = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        pa.field("value", PRICE, nullable=False),
    ]
)
_CONTRACTS = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("expiry", pa.date32(), nullable=False),
        pa.field("strike", STRIKE, nullable=False),
        pa.field("right", pa.string()),  # null where the vendor says "other"
        pa.field("shares_per_contract", pa.float64()),
        pa.field("exercise_style", pa.string()),
        pa.field("primary_exchange", pa.string()),
        pa.field("cfi", pa.string()),
        pa.field("correction", pa.int64()),
        pa.field("additional_underlyings", pa.string()),  # JSON as sent; only adjusted contracts have it
        pa.field("chosen", pa.bool_(), nullable=False),
        pa.field("rank", pa.int32()),  # position in the order of choice; null where refused before ordering
        pa.field("refusal", pa.string()),
        pa.field("opening_price", PRICE),
        pa.field("opening_price_source", pa.string()),
    ]
)
# Bare names of Greeks and volatility are those that are computed here; these are the vendor's own.
_SNAPSHOTS = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("expiry", pa.date32(), nullable=False),
        pa.field("strike", STRIKE, nullable=False),
        pa.field("right", pa.string()),  # null where the vendor says "other"
        pa.field("exercise_style", pa.string()),
        pa.field("shares_per_contract", pa.float64()),
        pa.field("open_interest", pa.float64()),
        pa.field("vendor_implied_volatility", pa.float64()),  # a year
        pa.field("vendor_delta", pa.float64()),
        pa.field("vendor_gamma", pa.float64()),
        pa.field("vendor_theta_per_day", pa.float64()),
        pa.field("vendor_vega_per_point", pa.float64()),  # per 0.01 of volatility
        pa.field("break_even_price", PRICE),
        pa.field("open", PRICE),
        pa.field("high", PRICE),
        pa.field("low", PRICE),
        pa.field("close", PRICE),
        pa.field("volume", pa.float64()),
        pa.field("vwap", PRICE),
        pa.field("previous_close", PRICE),
        pa.field("day_updated", TIME),
        pa.field("bid_price", PRICE),
        pa.field("bid_size", pa.float64()),
        pa.field("bid_exchange", pa.int64()),
        pa.field("ask_price", PRICE),
        pa.field("ask_size", pa.float64()),
        pa.field("ask_exchange", pa.int64()),
        pa.field("quote_updated", TIME),
        pa.field("trade_price", PRICE),
        pa.field("trade_size", pa.float64()),
        pa.field("trade_exchange", pa.int64()),
        pa.field("trade_conditions", pa.list_(pa.int32())),
        pa.field("trade_sip_timestamp", TIME),
        pa.field("underlying_price", PRICE),
        pa.field("underlying_updated", TIME),
    ]
)
_NEWS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("published", TIME, nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("author", pa.string()),
        pa.field("publisher", pa.string()),
        pa.field("article_url", pa.string()),
        pa.field("description", pa.string()),
        pa.field("keywords", pa.list_(pa.string())),
        pa.field("sentiment", pa.string(), nullable=False),  # positive, neutral, negative
        pa.field("sentiment_source", pa.string(), nullable=False),
        pa.field("sentiment_reasoning", pa.string()),
        pa.field("sentiment_compound", pa.float64()),  # VADER's score, -1 to 1
    ]
)
_DIVIDENDS = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("ex_dividend_date", pa.date32(), nullable=False),
        pa.field("declaration_date", pa.date32()),
        pa.field("record_date", pa.date32()),
        pa.field("pay_date", pa.date32()),
        pa.field("cash_amount", pa.float64(), nullable=False),
        pa.field("currency", pa.string()),
        pa.field("frequency", pa.int64()),
        pa.field("dividend_type", pa.string()),
    ]
)
_SPLITS = pa.schema(
    [
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("execution_date", pa.date32(), nullable=False),
        pa.field("split_from", pa.float64(), nullable=False),
        pa.field("split_to", pa.float64(), nullable=False),
    ]
)
# Months of maturity, by the vendor's column name: US Treasury par yields, percent a year, bond-equivalent.
YIELD_MONTHS: Final = {
    "yield_1_month": 1,
    "yield_3_month": 3,
    "yield_6_month": 6,
    "yield_1_year": 12,
    "yield_2_year": 24,
    "yield_3_year": 36,
    "yield_5_year": 60,
    "yield_7_year": 84,
    "yield_10_year": 120,
    "yield_20_year": 240,
    "yield_30_year": 360,
}
_YIELDS = pa.schema(
    [pa.field("date", pa.date32(), nullable=False), *(pa.field(name, pa.float64()) for name in YIELD_MONTHS)]
)
_MARKET_MINUTES = pa.schema(
    [
        pa.field("minute", TIME, nullable=False),
        pa.field("open", PRICE),
        pa.field("high", PRICE),
        pa.field("low", PRICE),
        pa.field("close", PRICE),
        pa.field("volume", pa.float64()),
        pa.field("vwap", PRICE),
        pa.field("trades", pa.int64()),
        pa.field("last_price", PRICE),  # the last close known at the end of the minute
        pa.field("last_price_age_s", pa.float64()),
        pa.field("vix", PRICE),
        pa.field("vix_age_s", pa.float64()),
        pa.field("news_count_60m", pa.int32()),
        pa.field("news_sentiment_60m", pa.float64()),  # mean of -1, 0, 1 over articles that have one
        pa.field("session_vwap", PRICE),
        pa.field("rsi_14", pa.float64()),
        pa.field("macd_12_26_9", pa.float64()),
        pa.field("macd_signal_12_26_9", pa.float64()),
        pa.field("macd_histogram_12_26_9", pa.float64()),
        pa.field("bollinger_lower_20_2", PRICE),
        pa.field("bollinger_middle_20_2", PRICE),
        pa.field("bollinger_upper_20_2", PRICE),
        pa.field("atr_14", PRICE),
        pa.field("momentum_returns", pa.list_(pa.float64(), len(MOMENTUM_MINUTES))),
    ]
)
_OPTION_MINUTES = pa.schema(
    [
        pa.field("minute", TIME, nullable=False),
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("expiry", pa.date32(), nullable=False),
        pa.field("strike", STRIKE, nullable=False),
        pa.field("right", pa.string(), nullable=False),
        pa.field("open", PRICE),
        pa.field("high", PRICE),
        pa.field("low", PRICE),
        pa.field("close", PRICE),
        pa.field("volume", pa.float64()),
        pa.field("bid_price", PRICE),
        pa.field("ask_price", PRICE),
        pa.field("bid_size", pa.float64()),
        pa.field("ask_size", pa.float64()),
        pa.field("quote_age_s", pa.float64()),
        pa.field("underlying_price", PRICE),
        pa.field("underlying_age_s", pa.float64()),
        pa.field("vix", PRICE),
        pa.field("vix_age_s", pa.float64()),
        pa.field("option_price", PRICE),
        pa.field("price_source", pa.string()),
        pa.field("price_age_s", pa.float64()),
        pa.field("years_to_expiry", pa.float64()),  # of 365 days, from the end of the minute
        pa.field("rate", pa.float64()),  # continuously compounded, a year
        pa.field("dividends_present_value", PRICE),
        pa.field("implied_volatility", pa.float64()),  # a year
        pa.field("delta", pa.float64()),
        pa.field("gamma", pa.float64()),
        pa.field("vega_per_point", pa.float64()),  # per 0.01 of volatility
        pa.field("theta_per_day", pa.float64()),  # per calendar day
        pa.field("rho_per_point", pa.float64()),  # per 0.01 of rate
        pa.field("reason", pa.string()),
    ]
)

_STOCKS, _OPTIONS, _INDICES = AssetClass.STOCKS, AssetClass.OPTIONS, AssetClass.INDICES
_BY_SYMBOL, _BY_UNDERLYING = Owner.SYMBOL, Owner.UNDERLYING
_BAR_KEY = ("ticker", "span", "start")
_SIP_ORDER = ("ticker", "sip_timestamp", "sequence_number")

_TO_THE_MILLISECOND = frozenset({"sip_timestamp", "participant_timestamp", "trf_timestamp", "event_time"})
_OF_A_SHARES_BAR = frozenset({"volume", "vwap", "trades"})
_OF_A_SHARES_TRADE = frozenset({"trf_timestamp", "trf_id", "id", "decimal_size", "tape"})
_OF_A_SHARES_QUOTE = frozenset({"participant_timestamp", "trf_timestamp", "conditions", "indicators", "tape"})
_STREAMED_BAR = frozenset(_BARS.names) - {"trades"}
_STREAMED_TRADE = frozenset(_TRADES.names) - {"correction"}
_STREAMED_QUOTE = frozenset(_QUOTES.names) - {"participant_timestamp", "trf_timestamp"}

_ALL = (
    Table(
        "stock_bars",
        Layer.RAW,
        "stocks/bars",
        _BARS,
        _BAR_KEY,
        _BAR_KEY,
        _BY_SYMBOL,
        Period.SESSION,
        "start",
        _STOCKS,
        streamed=_STREAMED_BAR,
    ),
    Table(
        "stock_trades",
        Layer.RAW,
        "stocks/trades",
        _TRADES,
        ("ticker", "exchange", "trf_id", "id"),
        (*_SIP_ORDER, "exchange", "trf_id", "id"),
        _BY_SYMBOL,
        Period.SESSION,
        "sip_timestamp",
        _STOCKS,
        frozenset({"trf_id"}),
        streamed=_STREAMED_TRADE,
    ),
    Table(
        "stock_quotes",
        Layer.RAW,
        "stocks/quotes",
        _QUOTES,
        ("ticker", "sequence_number"),
        _SIP_ORDER,
        _BY_SYMBOL,
        Period.SESSION,
        "sip_timestamp",
        _STOCKS,
        streamed=_STREAMED_QUOTE,
    ),
    Table(
        "index_bars",
        Layer.RAW,
        "indices/bars",
        _BARS,
        _BAR_KEY,
        _BAR_KEY,
        _BY_SYMBOL,
        Period.SESSION,
        "start",
        _INDICES,
        streamed=_STREAMED_BAR - _OF_A_SHARES_BAR,
        not_rest=_OF_A_SHARES_BAR,
    ),
    Table(
        "index_values",
        Layer.RAW,
        "indices/values",
        _VALUES,
        ("ticker", "event_time"),
        ("ticker", "event_time"),
        _BY_SYMBOL,
        Period.SESSION,
        "event_time",
        _INDICES,
        streamed=frozenset(_VALUES.names),
        not_rest=frozenset(_VALUES.names),
    ),
    Table(
        "option_bars",
        Layer.RAW,
        "options/bars",
        _BARS,
        _BAR_KEY,
        _BAR_KEY,
        _BY_UNDERLYING,
        Period.SESSION,
        "start",
        _OPTIONS,
        streamed=_STREAMED_BAR,
    ),
    Table(
        "option_trades",
        Layer.RAW,
        "options/trades",
        _TRADES,
        ("ticker", "sequence_number"),
        _SIP_ORDER,
        _BY_UNDERLYING,
        Period.SESSION,
        "sip_timestamp",
        _OPTIONS,
        streamed=_STREAMED_TRADE - _OF_A_SHARES_TRADE - {"participant_timestamp"},
        not_rest=_OF_A_SHARES_TRADE,
    ),
    Table(
        "option_quotes",
        Layer.RAW,
        "options/quotes",
        _QUOTES,
        ("ticker", "sequence_number"),
        _SIP_ORDER,
        _BY_UNDERLYING,
        Period.SESSION,
        "sip_timestamp",
        _OPTIONS,
        streamed=_STREAMED_QUOTE - _OF_A_SHARES_QUOTE,
        not_rest=_OF_A_SHARES_QUOTE,
    ),
    Table(
        "option_contracts",
        Layer.RAW,
        "options/contracts",
        _CONTRACTS,
        ("ticker",),
        ("expiry", "strike", "ticker"),
        _BY_UNDERLYING,
        Period.SESSION,
        None,
        _OPTIONS,
        not_rest=frozenset({"chosen", "rank", "refusal", "opening_price", "opening_price_source"}),
    ),
    Table(
        "option_snapshots",
        Layer.RAW,
        "options/snapshots",
        _SNAPSHOTS,
        ("ticker",),
        ("ticker",),
        _BY_UNDERLYING,
        Period.SESSION,
        None,
        _OPTIONS,
        present_only=True,
    ),
    Table(
        "news",
        Layer.RAW,
        "news",
        _NEWS,
        ("id", "ticker"),
        ("published", "id", "ticker"),
        _BY_UNDERLYING,
        Period.SESSION,
        "published",
    ),
    Table(
        "dividends",
        Layer.RAW,
        "reference/dividends",
        _DIVIDENDS,
        ("ticker", "ex_dividend_date", "dividend_type", "id"),  # two of one type may go ex on one day
        ("ex_dividend_date", "dividend_type", "id"),
        _BY_SYMBOL,
        Period.ALL,
        null_in_key=frozenset({"id"}),
    ),
    Table(
        "splits",
        Layer.RAW,
        "reference/splits",
        _SPLITS,
        ("ticker", "execution_date"),
        ("execution_date",),
        _BY_SYMBOL,
        Period.ALL,
    ),
    Table(
        "treasury_yields",
        Layer.RAW,
        "reference/treasury_yields",
        _YIELDS,
        ("date",),
        ("date",),
        Owner.NONE,
        Period.YEAR,
    ),
    Table(
        "market_minutes",
        Layer.CONSOLIDATED,
        "market_minutes",
        _MARKET_MINUTES,
        ("minute",),
        ("minute",),
        _BY_UNDERLYING,
        Period.SESSION,
    ),
    Table(
        "option_minutes",
        Layer.CONSOLIDATED,
        "option_minutes",
        _OPTION_MINUTES,
        ("minute", "ticker"),
        ("ticker", "minute"),
        _BY_UNDERLYING,
        Period.SESSION,
    ),
)

TABLES: Final = {table.name: table for table in _ALL}
