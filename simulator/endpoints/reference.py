"""Reference data: ticker details, corporate actions, Treasury yields, conditions and exchanges."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from simulator.asks import Ask
from simulator.filters import FieldType, Listing, day_bounds, list_page
from simulator.newyork import day_bounds_ms
from simulator.plans import AssetClass, asset_of
from simulator.reference_tables import CONDITIONS, EXCHANGES
from simulator.replies import NotFound, Reply, page, single
from simulator.view import View
from simulator.world import BaseSpan

_DIVIDEND_FIELDS: Final = {
    "ticker": FieldType.TEXT,
    "ex_dividend_date": FieldType.DAY,
    "record_date": FieldType.DAY,
    "declaration_date": FieldType.DAY,
    "pay_date": FieldType.DAY,
    "cash_amount": FieldType.NUMBER,
    "frequency": FieldType.INTEGER,
    "dividend_type": FieldType.TEXT,
}
DIVIDENDS: Final = Listing(
    fields=_DIVIDEND_FIELDS,
    default_limit=10,
    maximum_limit=1000,
    sorts=("ex_dividend_date", "pay_date", "declaration_date", "record_date", "cash_amount", "ticker"),
    default_order="desc",
)
STOCKS_DIVIDENDS: Final = Listing(
    fields=_DIVIDEND_FIELDS | {"distribution_type": FieldType.TEXT},
    default_limit=100,
    maximum_limit=5000,
    sorts=("ticker", "ex_dividend_date", "pay_date", "declaration_date", "record_date", "cash_amount"),
    takes_dotted_sort=True,
)
_SPLIT_FIELDS: Final = {"ticker": FieldType.TEXT, "execution_date": FieldType.DAY}
SPLITS: Final = Listing(
    fields=_SPLIT_FIELDS,
    default_limit=10,
    maximum_limit=1000,
    sorts=("execution_date", "ticker"),
    default_order="desc",
)
STOCKS_SPLITS: Final = Listing(
    fields=_SPLIT_FIELDS | {"adjustment_type": FieldType.TEXT},
    default_limit=100,
    maximum_limit=5000,
    sorts=("ticker", "execution_date"),
    takes_dotted_sort=True,
)
YIELDS: Final = Listing(
    fields={"date": FieldType.DAY},
    default_limit=100,
    maximum_limit=50_000,
    sorts=("date",),
    default_order="desc",
)
CONDITION_LIST: Final = Listing(
    fields={"asset_class": FieldType.TEXT, "id": FieldType.INTEGER},
    default_limit=10,
    maximum_limit=1000,
    sorts=("asset_class", "id", "type", "name"),
)
_DISTRIBUTIONS: Final = {"CD": "recurring", "SC": "special", "LT": "supplemental", "ST": "supplemental"}


def ticker_details(ask: Ask, view: View) -> Reply:
    """``/v3/reference/tickers/{ticker}``: what is always there; companies' own fields are in no world."""
    ticker = ask.values["ticker"]
    ask.day("date")
    asset = asset_of(ticker)
    if asset is AssetClass.OPTIONS or not view.world.knows(ticker):
        raise NotFound(f"Ticker {ticker}")
    result: dict[str, object] = {
        "ticker": ticker,
        "name": ticker.removeprefix("I:"),
        "market": str(asset),
        "locale": "us",
        "active": True,
        "currency_name": "usd",
    }
    if asset is AssetClass.STOCKS:
        result |= {"ticker_root": ticker, "primary_exchange": "ARCX"} if ticker == "SPY" else {"ticker_root": ticker}
    return single(result, ask.request_id, "OK")


def dividends(ask: Ask, view: View) -> Reply:
    """``/v3/reference/dividends``; newest ex-date first."""
    return list_page(ask, DIVIDENDS, _of_tickers(ask, view, view.dividends), "OK")


def stocks_dividends(ask: Ask, view: View) -> Reply:
    """``/stocks/v1/dividends``: the successor, with split-adjusted amounts and the factor for historical prices."""
    table = _of_tickers(ask, view, lambda ticker: _adjusted_dividends(view, ticker))
    return list_page(ask, STOCKS_DIVIDENDS, table, "OK")


def splits(ask: Ask, view: View) -> Reply:
    """``/v3/reference/splits``; newest first."""
    table = _of_tickers(ask, view, view.splits)
    if ask.text("reverse_split") is not None and table.num_rows:
        is_reverse = pc.greater(table["split_from"], table["split_to"])
        table = table.filter(is_reverse if ask.flag("reverse_split", default=True) else pc.invert(is_reverse))
    return list_page(ask, SPLITS, table, "OK")


def stocks_splits(ask: Ask, view: View) -> Reply:
    """``/stocks/v1/splits``: the successor, with the factor for historical prices."""
    return list_page(ask, STOCKS_SPLITS, _of_tickers(ask, view, lambda t: _adjusted_splits(view, t)), "OK")


def treasury_yields(ask: Ask, view: View) -> Reply:
    """``/fed/v1/treasury-yields``; newest first."""
    first, last = day_bounds(ask, "date")
    return list_page(ask, YIELDS, view.treasury_yields(first or date.min, last or date.max), "OK")


def conditions(ask: Ask, _: View) -> Reply:
    """``/v3/reference/conditions``."""
    data_type, sip = ask.text("data_type"), ask.text("sip")
    rows = [
        row
        for row in CONDITIONS
        if (data_type is None or data_type in row.data_types) and (sip is None or sip in row.sip_mapping)
    ]
    table = pa.table(
        {
            "asset_class": pa.array([row.asset_class for row in rows], pa.string()),
            "id": pa.array([row.id for row in rows], pa.int64()),
            "type": pa.array([row.type for row in rows], pa.string()),
            "name": pa.array([row.name for row in rows], pa.string()),
            "place": pa.array(range(len(rows)), pa.int64()),
        }
    )
    return list_page(
        ask, CONDITION_LIST, table, "OK", render=lambda p: [rows[i] for i in p["place"].to_pylist()], with_count=True
    )


def exchanges(ask: Ask, _: View) -> Reply:
    """``/v3/reference/exchanges``; not paged."""
    asset, locale = ask.text("asset_class"), ask.text("locale")
    rows = [
        row
        for row in EXCHANGES
        if (asset is None or row.asset_class == asset) and (locale is None or row.locale == locale)
    ]
    return page(rows, ask.request_id, "OK", None, with_count=True)


def _of_tickers(ask: Ask, view: View, of: Callable[[str], pa.Table]) -> pa.Table:
    """The rows of the ticker that is asked for, else of every share."""
    exact = ask.text("ticker")
    tickers = [exact] if exact else [t for t in view.tickers() if asset_of(t) is AssetClass.STOCKS]
    tables = [of(ticker) for ticker in tickers]
    filled = [table for table in tables if table.num_rows]
    if not filled:
        return tables[0] if tables else pa.table({"ticker": pa.array([], pa.string())})
    return pa.concat_tables(filled, promote_options="default")


def _adjusted_dividends(view: View, ticker: str) -> pa.Table:
    table = view.dividends(ticker)
    if table.num_rows == 0:
        return table
    table = table.sort_by("ex_dividend_date")
    rows = table.select(["ex_dividend_date", "cash_amount"]).to_pylist()
    by_split = _split_factors(view, ticker, [row["ex_dividend_date"] for row in rows])
    steps = [_price_step(view, ticker, row["ex_dividend_date"], row["cash_amount"]) for row in rows]
    if "dividend_type" in table.column_names:
        kinds = [_DISTRIBUTIONS.get(kind, "unknown") for kind in table["dividend_type"].to_pylist()]
        table = table.drop_columns(["dividend_type"]).append_column("distribution_type", pa.array(kinds))
    amounts = [row["cash_amount"] * factor for row, factor in zip(rows, by_split, strict=True)]
    table = table.append_column("split_adjusted_cash_amount", pa.array(amounts, pa.float64()))
    return table.append_column("historical_adjustment_factor", pa.array(_running_product(steps), pa.float64()))


def _adjusted_splits(view: View, ticker: str) -> pa.Table:
    table = view.splits(ticker)
    if table.num_rows == 0:
        return table
    table = table.sort_by("execution_date")
    ratios = [row["split_from"] / row["split_to"] for row in table.to_pylist()]
    kinds = ["reverse_split" if ratio > 1 else "forward_split" for ratio in ratios]
    table = table.append_column("adjustment_type", pa.array(kinds, pa.string()))
    return table.append_column("historical_adjustment_factor", pa.array(_running_product(list(ratios)), pa.float64()))


def _price_step(view: View, ticker: str, ex_date: str, amount: float) -> float | None:
    """One less the dividend's share of the last close before it; None where that close is not recorded."""
    ex_day = date.fromisoformat(ex_date)
    start_ms, _ = day_bounds_ms(ex_day - timedelta(days=7))
    bars = view.bars(ticker, BaseSpan.DAY, start_ms, day_bounds_ms(ex_day)[0] - 1)
    close = bars["c"][bars.num_rows - 1].as_py() if bars.num_rows else None
    return 1 - amount / close if close else None


def _running_product(steps: list[float | None]) -> list[float | None]:
    """For each step the product of it and all later ones; None from the newest unknown step back."""
    products: list[float | None] = []
    running: float | None = 1.0
    for step in reversed(steps):
        running = None if running is None or step is None else running * step
        products.append(running)
    return products[::-1]


def _split_factors(view: View, ticker: str, days: list[str]) -> list[float]:
    ratios = [(row["execution_date"], row["split_from"] / row["split_to"]) for row in view.splits(ticker).to_pylist()]
    factors = []
    for day in days:
        factor = 1.0
        for executed, ratio in ratios:
            factor *= ratio if executed > day else 1.0
        factors.append(factor)
    return factors
