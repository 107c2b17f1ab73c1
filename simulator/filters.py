"""List endpoints over small tables: the vendor's filter suffixes, sorting, and pages by position.

A position is a safe cursor here because the table behind it is the same for every page of a chain: its rows are
finished facts, in an order that only the query decides. Trades and quotes page by time, in ``endpoints.ticks``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from simulator.asks import Ask, parse_day, parse_integer
from simulator.replies import BadParameter, Reply, page
from simulator.rows import render_rows

Value = str | int | float | bool

_COMPARE: Final[dict[str, Callable[[pa.ChunkedArray, Value], pa.ChunkedArray]]] = {
    "": pc.equal,
    ".gte": pc.greater_equal,
    ".gt": pc.greater,
    ".lte": pc.less_equal,
    ".lt": pc.less,
}


class FieldType(StrEnum):
    """How a filter's text is read."""

    TEXT = "text"
    DAY = "a date as YYYY-MM-DD"
    NUMBER = "a number"
    INTEGER = "a whole number"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list endpoint takes: filters by field, page sizes, sort columns; the first sort is the default."""

    fields: dict[str, FieldType]
    default_limit: int
    maximum_limit: int
    sorts: Sequence[str]
    default_order: str = "asc"
    takes_dotted_sort: bool = False  # ``sort=ticker.asc``, the newer form


def list_page(
    ask: Ask,
    listing: Listing,
    table: pa.Table,
    status: str,
    *,
    render: Callable[[pa.Table], Sequence[object]] = render_rows,
    with_count: bool = False,
) -> Reply:
    """The page of a table that a request asks for: filtered, sorted, cut; ``render`` makes the page's rows alone."""
    column, order = _sort(ask, listing)
    limit = ask.limit(listing.default_limit, listing.maximum_limit)
    served = ask.served()
    kept = filter_table(ask, listing.fields, table)
    if column in kept.column_names:
        kept = kept.take(pc.sort_indices(kept, [(column, "ascending" if order == "asc" else "descending")]))
    rows = kept.slice(served, limit)
    next_url = None
    if served + limit < kept.num_rows:
        sort = f"{column}.{order}" if listing.takes_dotted_sort else column
        place = {"ap": str(served + limit), "as": "", "limit": str(limit), "order": order, "sort": sort}
        next_url = ask.next_page(place)
    return page(render(rows), ask.request_id, status, next_url, with_count=with_count)


def filter_table(ask: Ask, fields: dict[str, FieldType], table: pa.Table) -> pa.Table:
    """The rows that pass every filter of the request; a row without the field passes none on it."""
    for name, kind in fields.items():
        for suffix, compare in _COMPARE.items():
            text = ask.text(name + suffix)
            if text is not None:
                value = _value(name + suffix, text, kind)
                table = (
                    table.slice(0, 0) if name not in table.column_names else table.filter(compare(table[name], value))
                )
        texts = ask.text(f"{name}.any_of")
        if texts is not None:
            values = [_value(f"{name}.any_of", text.strip(), kind) for text in texts.split(",")]
            wanted = pa.array(values, table.schema.field(name).type) if name in table.column_names else None
            table = table.slice(0, 0) if wanted is None else table.filter(pc.is_in(table[name], value_set=wanted))
    return table


def day_bounds(ask: Ask, name: str) -> tuple[date | None, date | None]:
    """The widest range of dates that the filters on a field can let through."""
    exact, above, below = ask.day(name), ask.day(f"{name}.gt"), ask.day(f"{name}.lt")
    lows = [exact, ask.day(f"{name}.gte"), above and above + timedelta(days=1)]
    highs = [exact, ask.day(f"{name}.lte"), below and below - timedelta(days=1)]
    return max(filter(None, lows), default=None), min(filter(None, highs), default=None)


def _sort(ask: Ask, listing: Listing) -> tuple[str, str]:
    if listing.takes_dotted_sort:
        text = ask.text("sort") or f"{listing.sorts[0]}.{listing.default_order}"
        column, _, order = text.partition(".")
        order = order or listing.default_order
        if column not in listing.sorts or order not in {"asc", "desc"}:
            raise BadParameter("sort", text, f"one of {', '.join(listing.sorts)} with .asc or .desc")
        return column, order
    column = ask.choice("sort", listing.sorts, listing.sorts[0])
    return column, ask.choice("order", ("asc", "desc"), listing.default_order)


def _value(name: str, text: str, kind: FieldType) -> Value:
    if kind is FieldType.DAY:
        return parse_day(name, text).isoformat()
    if kind is FieldType.INTEGER:
        return parse_integer(name, text)
    if kind is FieldType.NUMBER:
        try:
            return float(text)
        except ValueError as error:
            raise BadParameter(name, text, kind) from error
    return text
