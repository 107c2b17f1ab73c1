"""Trades and quotes: v3 lists by SIP time, and the newest of each in the older short names."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa

from simulator.asks import Ask, parse_day, parse_integer
from simulator.newyork import NS_PER_MS, NS_PER_S, day_bounds_ms, rfc3339_ns
from simulator.plans import asset_of
from simulator.reading import Fetch, read_backward, read_forward
from simulator.replies import BadParameter, NotFound, Reply, page, single
from simulator.rows import render_rows, row_dicts
from simulator.view import View

DEFAULT_LIMIT: Final = 1000
MAX_LIMIT: Final = 50_000
_STEP_NS: Final = 3_600 * NS_PER_S
_LONGEST_STEP_NS: Final = 31 * 24 * _STEP_NS
_BEYOND_NS: Final = 2**62

_LAST_TRADE_NAMES: Final = {
    "price": "p",
    "size": "s",
    "decimal_size": "ds",
    "sip_timestamp": "t",
    "participant_timestamp": "y",
    "trf_timestamp": "f",
    "sequence_number": "q",
    "exchange": "x",
    "id": "i",
    "conditions": "c",
    "trf_id": "r",
    "tape": "z",
    "correction": "e",
}
_LAST_QUOTE_NAMES: Final = {
    "bid_price": "p",
    "bid_size": "s",
    "bid_exchange": "x",
    "ask_price": "P",
    "ask_size": "S",
    "ask_exchange": "X",
    "sip_timestamp": "t",
    "participant_timestamp": "y",
    "trf_timestamp": "f",
    "sequence_number": "q",
    "conditions": "c",
    "indicators": "i",
    "tape": "z",
}


def trades(ask: Ask, view: View) -> Reply:
    """``/v3/trades/{ticker}``."""
    ticker = ask.values["ticker"]
    return _tick_page(ask, view, lambda start, end: view.trades(ticker, start, end))


def quotes(ask: Ask, view: View) -> Reply:
    """``/v3/quotes/{ticker}``."""
    ticker = ask.values["ticker"]
    return _tick_page(ask, view, lambda start, end: view.quotes(ticker, start, end))


def last_trade(ask: Ask, view: View) -> Reply:
    """``/v2/last/trade/{ticker}``."""
    return _last(ask, view, view.last_trade, _LAST_TRADE_NAMES, "Last trade")


def last_quote(ask: Ask, view: View) -> Reply:
    """``/v2/last/nbbo/{ticker}``: lower case is the bid, upper case the ask."""
    return _last(ask, view, view.last_quote, _LAST_QUOTE_NAMES, "Last quote")


def parse_timestamp_ns(name: str, text: str) -> tuple[int, int]:
    """First and last nanosecond of what a ``timestamp`` filter names: a New York day, an integer, an RFC 3339 time."""
    if text.lstrip("-").isdigit():
        exact = parse_integer(name, text)
        return exact, exact
    if "T" not in text:
        first_ms, last_ms = day_bounds_ms(parse_day(name, text))
        return first_ms * NS_PER_MS, (last_ms + 1) * NS_PER_MS - 1
    whole, dot, rest = text.partition(".")
    digits = rest.rstrip("Z") if dot else ""
    try:
        seconds = datetime.fromisoformat(f"{whole.rstrip('Z')}+00:00").timestamp()
        exact = int(seconds) * NS_PER_S + int(digits.ljust(9, "0")[:9])
    except ValueError as error:
        raise BadParameter(name, text, "a date, nanoseconds, or a time as 2024-12-20T14:30:00.000000001Z") from error
    return exact, exact


def _tick_page(ask: Ask, view: View, fetch: Fetch) -> Reply:
    asset = asset_of(ask.values["ticker"])
    limit = ask.limit(DEFAULT_LIMIT, MAX_LIMIT)
    order = ask.choice("order", ("asc", "desc"), "desc")
    ask.choice("sort", ("timestamp",), "timestamp")
    start, end = _range_ns(ask)
    # ``ap`` is how many rows of the nanosecond where the last page ended were served: rows may share a time.
    served = ask.served()
    read = read_backward if order == "desc" else read_forward
    end_seen = min(end, view.horizon_ns(asset))
    ticks = read(fetch, start, end_seen, served + limit + 1, step=_STEP_NS, longest_step=_LONGEST_STEP_NS)
    if order == "desc":
        first = max(ticks.num_rows - served - limit, 0)
        rows = ticks.slice(first, max(ticks.num_rows - served - first, 0))
        rows = rows.take(pa.array(np.arange(rows.num_rows)[::-1]))
        has_more = first > 0
    else:
        rows = ticks.slice(served, limit)
        has_more = ticks.num_rows > served + limit
    next_url = None
    if has_more:
        times = ticks["sip_timestamp"].to_numpy()
        seen = times[-served - limit :] if order == "desc" else times[: served + limit]
        last = int(seen[0] if order == "desc" else seen[-1])
        bounds = {
            "timestamp.gte": start if order == "desc" else last,
            "timestamp.lte": last if order == "desc" else end,
        }
        next_url = _next_ticks(ask, limit, order, int((seen == last).sum()), bounds)
    return page(render_rows(rows), ask.request_id, view.status(asset), next_url)


def _range_ns(ask: Ask) -> tuple[int, int]:
    """The inclusive range that all ``timestamp`` filters leave."""
    start, end = 0, _BEYOND_NS  # stays so where a side is open
    readers: dict[str, Callable[[int, int], tuple[int, int]]] = {
        "": lambda first, last: (first, last),
        ".gte": lambda first, _: (first, _BEYOND_NS),
        ".gt": lambda _, last: (last + 1, _BEYOND_NS),
        ".lte": lambda _, last: (0, last),
        ".lt": lambda first, _: (0, first - 1),
    }
    for suffix, reader in readers.items():
        text = ask.text(f"timestamp{suffix}")
        if text is not None:
            low, high = reader(*parse_timestamp_ns(f"timestamp{suffix}", text))
            start, end = max(start, low), min(end, high)
    return start, end


def _next_ticks(ask: Ask, limit: int, order: str, served: int, bounds: dict[str, int]) -> str:
    query = {"ap": str(served), "as": "", "limit": str(limit), "order": order, "sort": "timestamp"}
    query |= {name: rfc3339_ns(bound) for name, bound in bounds.items() if 0 < bound < _BEYOND_NS}
    return ask.next_page_of(query)


def _last(ask: Ask, view: View, newest: Callable[[str], pa.Table], names: dict[str, str], what: str) -> Reply:
    ticker = ask.values["ticker"]
    rows = row_dicts(newest(ticker))
    if not rows:
        raise NotFound(f"{what} for {ticker}")
    result = {"T": ticker} | {names[name]: value for name, value in rows[0].items() if name in names}
    return single(result, ask.request_id, view.status(asset_of(ticker)))
