"""Bars: custom windows, grouped daily, previous close, open and close of a day."""

from collections.abc import Callable
from datetime import date, time
from typing import Final

import numpy as np
import pyarrow as pa

from simulator import cursors
from simulator.asks import Ask, parse_day, parse_integer
from simulator.bar_pages import page_of_bars
from simulator.newyork import (
    HOUR_MS,
    NS_PER_MS,
    date_of_ms,
    day_bounds_ms,
    instant_ns,
    local_days,
    midnight_ms,
)
from simulator.plans import AssetClass, asset_of
from simulator.replies import BadParameter, NotFound, Refusal, Reply
from simulator.rows import render_rows
from simulator.view import View
from simulator.windows import Timespan, Windows, aggregate
from simulator.world import BaseSpan

DEFAULT_LIMIT: Final = 5000
MAX_LIMIT: Final = 50_000
_OFFICIAL_CLOSE: Final = time(16)


def custom_bars(ask: Ask, view: View) -> Reply:
    """``/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}``."""
    ticker = ask.values["ticker"]
    asset = asset_of(ticker)
    windows = _windows(ask)
    start_ms = _bound_ms(ask, "from", lambda bounds: bounds[0])
    end_ms = _bound_ms(ask, "to", lambda bounds: bounds[1])
    if end_ms < start_ms:
        raise BadParameter("to", ask.values["to"], "a time at or after 'from'")
    view.check_history(asset, start_ms * NS_PER_MS)
    descending = ask.choice("sort", ("asc", "desc"), "asc") == "desc"
    is_adjusted = ask.flag("adjusted", default=True) and asset is AssetClass.STOCKS
    page = page_of_bars(
        lambda start, end: view.bars(ticker, windows.base, start, end),
        windows,
        start_ms,
        max(start_ms, min(end_ms, view.horizon_ns(asset) // NS_PER_MS)),
        ask.limit(DEFAULT_LIMIT, MAX_LIMIT),
        descending=descending,
    )
    base = adjust_for_splits(page.base, view, ticker) if is_adjusted else page.base
    stamp_shift = HOUR_MS if asset is AssetClass.INDICES and windows.base is BaseSpan.DAY else 0
    bars = base if windows.is_base else aggregate(base, page.starts, stamp_shift)
    if descending:
        bars = bars.take(pa.array(np.arange(bars.num_rows)[::-1]))
    next_url = None if page.resume_ms is None else _next_bars(ask, page.resume_ms, descending=descending)
    document = _bars_document(ask, view, bars)
    document["queryCount"] = base.num_rows
    if next_url is not None:
        document["next_url"] = next_url
    return Reply(document, bars.num_rows, next_url)


def grouped_daily(ask: Ask, view: View) -> Reply:
    """``/v2/aggs/grouped/locale/us/market/stocks/{date}``: every share's bar of a day that is over, stamped 16:00."""
    day = parse_day("date", ask.values["date"])
    view.check_history(AssetClass.STOCKS, midnight_ms(day) * NS_PER_MS)
    rows: list[dict[str, object]] = []
    for ticker in view.tickers() if view.is_over(day, AssetClass.STOCKS) else ():
        if asset_of(ticker) is AssetClass.STOCKS:
            bars = view.bars(ticker, BaseSpan.DAY, *day_bounds_ms(day))
            rows += _closing_rows(ticker, adjust_for_splits(bars, view, ticker) if _adjusted(ask) else bars)
    document: dict[str, object] = {
        "queryCount": len(rows),
        "resultsCount": len(rows),
        "adjusted": _adjusted(ask),
        "status": view.status(AssetClass.STOCKS),
        "request_id": ask.request_id,
    }
    if rows:
        document |= {"results": rows, "count": len(rows)}
    return Reply(document, len(rows))


def previous_close(ask: Ask, view: View) -> Reply:
    """``/v2/aggs/ticker/{ticker}/prev``: the last finished day before today, as a list of one row."""
    ticker = ask.values["ticker"]
    bars = view.previous_day(ticker)
    rows = _closing_rows(ticker, adjust_for_splits(bars, view, ticker) if _adjusted(ask) else bars)
    document: dict[str, object] = {
        "ticker": ticker,
        "queryCount": len(rows),
        "resultsCount": len(rows),
        "status": view.status(asset_of(ticker)),
        "request_id": ask.request_id,
    }
    if asset_of(ticker) is not AssetClass.INDICES:
        document["adjusted"] = _adjusted(ask)
    if rows:
        document |= {"results": rows, "count": len(rows)}
    return Reply(document, len(rows))


def open_close(ask: Ask, view: View) -> Reply:
    """``/v1/open-close/{ticker}/{date}``: a flat object; a day that is not over has none."""
    ticker = ask.values["ticker"]
    day = parse_day("date", ask.values["date"])
    asset = asset_of(ticker)
    view.check_history(asset, midnight_ms(day) * NS_PER_MS)
    bars = view.bars(ticker, BaseSpan.DAY, *day_bounds_ms(day))
    if bars.num_rows == 0 or not view.is_over(day, asset):
        raise NotFound(f"Data for {ticker} on {day}")
    bar = (adjust_for_splits(bars, view, ticker) if _adjusted(ask) else bars).slice(bars.num_rows - 1).to_pylist()[0]
    document: dict[str, object] = {
        "status": view.status(asset),
        "from": f"{day}T00:00:00.000Z" if asset is AssetClass.INDICES else day.isoformat(),
        "symbol": ticker,
        "open": bar["o"],
        "high": bar["h"],
        "low": bar["l"],
        "close": bar["c"],
    }
    if asset is not AssetClass.INDICES:
        document["volume"] = bar["v"]
    document |= _extended_prices(view, ticker, day)
    return Reply(document, 1)


def adjust_for_splits(bars: pa.Table, view: View, ticker: str) -> pa.Table:
    """Bars before a split in the shares of after it: prices times from/to, volume times to/from."""
    splits = view.splits(ticker) if asset_of(ticker) is AssetClass.STOCKS else None
    if splits is None or splits.num_rows == 0 or bars.num_rows == 0:
        return bars
    factor = np.ones(bars.num_rows)
    days = local_days(bars["t"].to_numpy())
    for split in splits.to_pylist():
        executed = (date.fromisoformat(split["execution_date"]) - date(1970, 1, 1)).days
        factor[days < executed] *= split["split_from"] / split["split_to"]
    if (factor == 1).all():
        return bars
    columns = {name: bars[name] for name in bars.column_names}
    for name in ("o", "h", "l", "c", "vw"):
        columns[name] = pa.array(bars[name].to_numpy() * factor, from_pandas=True)
    columns["v"] = pa.array(bars["v"].to_numpy() / factor, from_pandas=True)
    return pa.table(columns, schema=bars.schema)


def _windows(ask: Ask) -> Windows:
    text = ask.values["timespan"]
    if text not in set(Timespan):
        raise BadParameter("timespan", text, f"one of {', '.join(Timespan)}")
    multiplier = parse_integer("multiplier", ask.values["multiplier"])
    if not 1 <= multiplier <= MAX_LIMIT:
        raise BadParameter("multiplier", ask.values["multiplier"], f"between 1 and {MAX_LIMIT}")
    return Windows(Timespan(text), multiplier)


def _bound_ms(ask: Ask, name: str, of_day: Callable[[tuple[int, int]], int]) -> int:
    text = ask.values[name]
    try:
        if "-" in text.removeprefix("-"):
            return of_day(day_bounds_ms(parse_day(name, text)))
        bound = parse_integer(name, text)
        date_of_ms(bound)
    except (Refusal, ValueError, OverflowError, OSError) as error:
        raise BadParameter(name, text, "a date as YYYY-MM-DD or a time in Unix milliseconds") from error
    return bound


def _next_bars(ask: Ask, resume_ms: int, *, descending: bool) -> str:
    """The next page's address: the path's ``from`` (``to`` when descending) is rewritten, the cursor keeps the rest."""
    head, start, end = ask.path.rsplit("/", 2)
    path = f"{head}/{start}/{resume_ms}" if descending else f"{head}/{resume_ms}/{end}"
    query = {name: ask.query[name] for name in ("adjusted", "limit", "sort") if ask.text(name)}
    query.setdefault("limit", str(DEFAULT_LIMIT))
    query.setdefault("sort", "asc")
    return ask.next_url(cursors.encode(query), path)


def _bars_document(ask: Ask, view: View, bars: pa.Table) -> dict[str, object]:
    """The envelope of custom bars; ``results`` and ``count`` are missing when there are none."""
    ticker = ask.values["ticker"]
    document: dict[str, object] = {"ticker": ticker, "queryCount": 0, "resultsCount": bars.num_rows}
    if asset_of(ticker) is not AssetClass.INDICES:
        document["adjusted"] = _adjusted(ask)
    if bars.num_rows:
        document["results"] = render_rows(bars)
    document |= {"status": view.status(asset_of(ticker)), "request_id": ask.request_id}
    if bars.num_rows:
        document["count"] = bars.num_rows
    return document


def _adjusted(ask: Ask) -> bool:
    return ask.flag("adjusted", default=True)


def _closing_rows(ticker: str, bars: pa.Table) -> list[dict[str, object]]:
    """Day bars with their ticker, stamped 16:00 New York of their date."""
    rows = []
    for bar in bars.to_pylist():
        stamp = instant_ns(date_of_ms(bar["t"]), _OFFICIAL_CLOSE) // NS_PER_MS
        rows.append({"T": ticker} | {name: v for name, v in bar.items() if v is not None} | {"t": stamp})
    return rows


def _extended_prices(view: View, ticker: str, day: date) -> dict[str, object]:
    """``preMarket`` and ``afterHours`` of a share, where minutes outside the regular session tell them."""
    if asset_of(ticker) is not AssetClass.STOCKS:
        return {}
    opens_ms, closes_ms = instant_ns(day, time(9, 30)) // NS_PER_MS, instant_ns(day, time(16)) // NS_PER_MS
    early = view.bars(ticker, BaseSpan.MINUTE, midnight_ms(day), opens_ms - 1)
    late = view.bars(ticker, BaseSpan.MINUTE, closes_ms, day_bounds_ms(day)[1])
    prices: dict[str, object] = {}
    if early.num_rows:
        prices["preMarket"] = early["o"][0].as_py()
    if late.num_rows:
        prices["afterHours"] = late["c"][late.num_rows - 1].as_py()
    return prices
