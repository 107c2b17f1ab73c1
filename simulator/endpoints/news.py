"""News by published time; its cursor is JSON, unlike the other families'."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from simulator import cursors
from simulator.asks import Ask, parse_day, parse_integer
from simulator.newyork import DAY_MS, NS_PER_MS
from simulator.replies import BadParameter, Reply, page
from simulator.view import View

Article = dict[str, object]

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 1000
_LAST_MS: Final = 2**52
_LONGEST_STEP_MS: Final = 92 * DAY_MS
_ORDERS: Final = {"asc": "ascending", "desc": "descending"}
_COMPARE: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "": lambda ticker, bound: ticker == bound,
    ".gte": lambda ticker, bound: ticker >= bound,
    ".gt": lambda ticker, bound: ticker > bound,
    ".lte": lambda ticker, bound: ticker <= bound,
    ".lt": lambda ticker, bound: ticker < bound,
    ".any_of": lambda ticker, bound: ticker in bound.split(","),
}


class _Place(msgspec.Struct):
    """The cursor: the query, and after which millisecond and how many articles of it to go on."""

    limit: int
    sort: str
    order: str
    ticker: dict[str, str]
    published_utc: dict[str, str]
    search_after: tuple[Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)], Annotated[int, msgspec.Meta(ge=0)]]


def news(ask: Ask, view: View) -> Reply:
    """``/v2/reference/news``; newest first unless asked otherwise."""
    cursor = ask.text("cursor")
    ask, after = (ask, None) if cursor is None else _resume(ask, cursor)
    limit = ask.limit(DEFAULT_LIMIT, MAX_LIMIT)
    order = ask.choice("order", ("asc", "desc", *_ORDERS.values()), "desc").removesuffix("ending")
    ask.choice("sort", ("published_utc",), "published_utc")
    start_ms, end_ms = _published_range(ask)
    served = 0
    if after is not None:
        at_ms, served = after
        start_ms, end_ms = (start_ms, at_ms) if order == "desc" else (at_ms, end_ms)
    end_ms = min(end_ms, view.now_ns // NS_PER_MS)
    found = _articles(ask, view, (start_ms, end_ms), served + limit + 1, descending=order == "desc")
    shown = found[served : served + limit]
    next_url = None
    if served + limit < len(found):
        last_ms = shown[-1][0]
        served_then = sum(1 for at, _ in found[: served + limit] if at == last_ms)
        next_url = ask.next_url(_cursor(ask, limit, order, (last_ms, served_then)))
    return page([article for _, article in shown], ask.request_id, "OK", next_url, with_count=True)


def published_ms(article: Article) -> int:
    """An article's published time, ms since the epoch."""
    return _instant_ms(str(article["published_utc"]))


def _articles(
    ask: Ask, view: View, bounds_ms: tuple[int, int], need: int, *, descending: bool
) -> list[tuple[int, Article]]:
    """The first articles of a range that the query is about: ``need`` of them or more, or all there are."""
    start_ms, end_ms = bounds_ms
    step_ms = DAY_MS
    found: list[tuple[int, Article]] = []
    if not _are_meant(ask, view.news_tickers()):
        # Nothing is found in all the years that a made-up market would make to search them.
        return found
    while start_ms <= end_ms and len(found) < need:
        if descending:
            window = max(start_ms, end_ms - step_ms + 1), end_ms
            end_ms -= step_ms
        else:
            window = start_ms, min(end_ms, start_ms + step_ms - 1)
            start_ms += step_ms
        about = [(published_ms(article), article) for article in view.news(*window) if _is_about(ask, article)]
        found += sorted(about, key=lambda item: item[0], reverse=descending)
        step_ms = min(2 * step_ms, _LONGEST_STEP_MS)
    return found


def _resume(ask: Ask, cursor: str) -> tuple[Ask, tuple[int, int]]:
    try:
        place = msgspec.json.decode(cursors.decode_text(cursor), type=_Place)
    except msgspec.DecodeError as error:
        raise BadParameter("cursor", cursor, "a cursor given by next_url") from error
    query = {"limit": str(place.limit), "sort": place.sort, "order": place.order}
    for name, bounds in (("ticker", place.ticker), ("published_utc", place.published_utc)):
        query |= {name if kind == "eq" else f"{name}.{kind}": bound for kind, bound in bounds.items()}
    return replace(ask, query=query), place.search_after


def _cursor(ask: Ask, limit: int, order: str, after: tuple[int, int]) -> str:
    bounds: dict[str, dict[str, str]] = {}
    for field in ("ticker", "published_utc"):
        names = {suffix: ask.text(field + suffix) for suffix in _COMPARE}
        bounds[field] = {suffix.removeprefix(".") or "eq": text for suffix, text in names.items() if text is not None}
    place = _Place(limit, "published_utc", _ORDERS[order], bounds["ticker"], bounds["published_utc"], after)
    return cursors.encode_text(msgspec.json.encode(place).decode())


def _is_about(ask: Ask, article: Article) -> bool:
    listed = article.get("tickers")
    return _are_meant(ask, [str(ticker) for ticker in listed] if isinstance(listed, list) else [])


def _are_meant(ask: Ask, tickers: Sequence[str]) -> bool:
    """Whether tickers together pass every filter of the query; each filter takes any of them."""
    for suffix, compare in _COMPARE.items():
        bound = ask.text(f"ticker{suffix}")
        if bound is not None and not any(compare(ticker, bound) for ticker in tickers):
            return False
    return True


def _published_range(ask: Ask) -> tuple[int, int]:
    """Inclusive milliseconds; a date is a whole UTC day."""
    start, end = 0, _LAST_MS
    for suffix in ("", ".gte", ".gt", ".lte", ".lt"):
        text = ask.text(f"published_utc{suffix}")
        if text is None:
            continue
        first, last = _bounds_ms(f"published_utc{suffix}", text)
        if suffix in {"", ".gte"}:
            start = max(start, first)
        if suffix == ".gt":
            start = max(start, last + 1)
        if suffix in {"", ".lte"}:
            end = min(end, last)
        if suffix == ".lt":
            end = min(end, first - 1)
    return start, end


def _bounds_ms(name: str, text: str) -> tuple[int, int]:
    if text.isdigit():
        exact = parse_integer(name, text)
        return exact, exact
    if "T" not in text:
        day = datetime.combine(parse_day(name, text), datetime.min.time(), UTC)
        return int(day.timestamp() * 1000), int((day + timedelta(days=1)).timestamp() * 1000) - 1
    try:
        exact = _instant_ms(text)
    except ValueError as error:
        raise BadParameter(name, text, "a date or an RFC 3339 time") from error
    return exact, exact


def _instant_ms(text: str) -> int:
    when = datetime.fromisoformat(text)
    return int((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp() * 1000)
