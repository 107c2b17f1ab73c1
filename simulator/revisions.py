"""How the bars of a day became what they are: each bar as first published, and again after each late report.

A bar is published a little after its window has ended, to let slow reports in. A trade that is reported more than ten
seconds after it was made stands in the bar of its own time; when that bar was out already, the bar is published again
with the trade in it, up to a quarter of an hour later. What comes later still is in history alone. The last revision
of a bar is the world's bar, to the last digit. Reports of options are not late, index values not reported. What a
message looks like is the stream's matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from simulator import exchange_hours
from simulator.conditions import Effect, effect_of
from simulator.newyork import NS_PER_MS, NS_PER_S, IntArray, date_of_ms, day_bounds_ms
from simulator.plans import AssetClass, asset_of
from simulator.world import BAR_SCHEMA, BaseSpan, World

PUBLISHING_DELAY_NS: Final = 2 * NS_PER_S
_KEPT_LARGE_DAYS: Final = 32  # of some megabytes each
_KEPT_SMALL_DAYS: Final = 2400  # of some ten kilobytes: a connection may have two widths of a thousand contracts
LATE_NS: Final = 10 * NS_PER_S
LATEST_NS: Final = 15 * 60 * NS_PER_S
WIDTH_MS: Final = {BaseSpan.SECOND: 1000, BaseSpan.MINUTE: 60_000}
REVISION_SCHEMA: Final = BAR_SCHEMA.append(pa.field("published_ns", pa.int64()))
_PRICE_DECIMALS: Final = 4
_VOLUME_TOLERANCE: Final = 1e-6
_MakeDay = Callable[[str, BaseSpan, date], pa.Table]
_BAR_FIELDS: Final = ("o", "h", "l", "c", "v", "vw", "n")

Flags = npt.NDArray[np.bool_]
Bar = tuple[float | None, ...]
"""The values of a bar in the order of its fields; a world may know no average and no count."""


@dataclass(frozen=True, slots=True)
class _Reports:
    """A day's trades by the time that decides their bar, ns."""

    rows: pa.Table
    made_ns: IntArray
    reported_ns: IntArray
    is_late: Flags


class DayCache:
    """Tables of a ticker's second or minute bars by New York date; those asked for last are kept."""

    def __init__(self, make: _MakeDay) -> None:
        self._large, self._small = (lru_cache(maxsize=kept)(make) for kept in (_KEPT_LARGE_DAYS, _KEPT_SMALL_DAYS))

    def __call__(self, ticker: str, span: BaseSpan, day: date) -> pa.Table:
        """The table of a date, made when it is not kept."""
        is_large = span is BaseSpan.SECOND and asset_of(ticker) is not AssetClass.OPTIONS
        return (self._large if is_large else self._small)(ticker, span, day)


class BarHistory:
    """The revisions of a world's bars, of which the newest days asked for are kept."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._days = DayCache(partial(bar_revisions, world))

    def of(self, ticker: str, span: BaseSpan, day: date) -> pa.Table:
        """The revisions of a New York date, in REVISION_SCHEMA and publishing order."""
        return self._days(ticker, span, day)

    def known_at(self, ticker: str, span: BaseSpan, bars: pa.Table, now_ns: int) -> pa.Table:
        """The bars as they were known: a report that has not come yet has changed nothing."""
        horizon_ms = (now_ns - LATEST_NS) // NS_PER_MS - WIDTH_MS[span]
        if asset_of(ticker) is not AssetClass.STOCKS or bars.num_rows == 0 or bars["t"][-1].as_py() < horizon_ms:
            return bars
        settled = bars.filter(pc.less(bars["t"], horizon_ms))
        days = {date_of_ms(t) for t in (horizon_ms, bars["t"][-1].as_py())}
        revisions = pa.concat_tables([self.of(ticker, span, day) for day in sorted(days)])
        starts, published = revisions["t"].to_numpy(), revisions["published_ns"].to_numpy()
        # REST has a bar as soon as it has ended, two seconds before the stream; what comes later comes to both at once.
        is_first = published == (starts + WIDTH_MS[span]) * NS_PER_MS + PUBLISHING_DELAY_NS
        is_wanted = (starts >= horizon_ms) & np.isin(starts, bars["t"].to_numpy())
        seen = revisions.filter(pa.array(is_wanted & (is_first | (published <= now_ns)))).drop_columns(["published_ns"])
        newest = {row["t"]: row for row in seen.to_pylist()}
        recent = pa.Table.from_pylist([newest[t] for t in sorted(newest)], schema=BAR_SCHEMA)
        return pa.concat_tables([settled, recent])


def bar_revisions(world: World, ticker: str, span: BaseSpan, day: date) -> pa.Table:
    """The published second or minute bars of a New York date in REVISION_SCHEMA, in publishing order."""
    bars = world.bars(ticker, span, *day_bounds_ms(day))
    width_ms = WIDTH_MS[span]
    published = (bars["t"].to_numpy() + width_ms) * NS_PER_MS + PUBLISHING_DELAY_NS
    first = bars.append_column(REVISION_SCHEMA.field("published_ns"), pa.array(published, pa.int64()))
    if asset_of(ticker) is not AssetClass.STOCKS or bars.num_rows == 0:
        return first
    again = _revised(first, _reports(world, ticker, day), width_ms, exchange_hours.regular_session(day))
    if not again:
        return first
    kept = first.filter(pa.array(~np.isin(first["t"].to_numpy(), list(again))))
    rows = [row for rows in again.values() for row in rows]
    revised = pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), REVISION_SCHEMA, strict=True)],
        schema=REVISION_SCHEMA,
    )
    return pa.concat_tables([kept, revised]).sort_by([("published_ns", "ascending"), ("t", "ascending")])


def _reports(world: World, ticker: str, day: date) -> _Reports:
    first_ms, last_ms = day_bounds_ms(day)
    rows = world.trades(ticker, first_ms * NS_PER_MS, (last_ms + 1) * NS_PER_MS - 1)
    reported = rows["sip_timestamp"].to_numpy()
    made = reported
    if "participant_timestamp" in rows.column_names:
        own = rows["participant_timestamp"].fill_null(0).to_numpy()
        made = np.where((own > 0) & (reported - own > LATE_NS), own, reported)
    order = np.argsort(made, kind="stable")
    made, reported = made[order], reported[order]
    return _Reports(rows.take(pa.array(order)), made, reported, (made < reported) & (reported - made <= LATEST_NS))


def _revised(
    first: pa.Table, reports: _Reports, width_ms: int, session_ns: tuple[int, int] | None
) -> dict[int, list[tuple[object, ...]]]:
    """The rows of each bar that was published more than once, or later than others, by its start in ms."""
    width_ns = width_ms * NS_PER_MS
    window = reports.made_ns // width_ns * width_ns
    comes_after = reports.is_late & (reports.reported_ns > window + width_ns + PUBLISHING_DELAY_NS)
    starts = first["t"].to_numpy()
    revised = {}
    for start_ns in np.unique(window[comes_after]).tolist():
        place = int(np.searchsorted(starts, start_ns // NS_PER_MS))
        if place == len(starts) or starts[place] * NS_PER_MS != start_ns:
            continue
        bar = tuple(first.slice(place, 1).to_pylist()[0][name] for name in _BAR_FIELDS)
        low, high = np.searchsorted(reports.made_ns, (start_ns, start_ns + width_ns))
        is_regular = session_ns is not None and session_ns[0] <= start_ns < session_ns[1]
        versions = _versions(reports, slice(int(low), int(high)), comes_after, is_regular=is_regular)
        due = start_ns + width_ns + PUBLISHING_DELAY_NS
        if versions and _agree(versions[-1][1], bar):
            versions[-1] = versions[-1][0], bar
            revised[start_ns // NS_PER_MS] = [
                (start_ns // NS_PER_MS, *values, max(published, due)) for published, values in versions
            ]
    return revised


def _versions(reports: _Reports, window: slice, comes_after: Flags, *, is_regular: bool) -> list[tuple[int, Bar]]:
    """What a window's trades come to when its bar is due (published 0) and after each later report that changes it."""
    rows = reports.rows.slice(window.start, window.stop - window.start)
    reported, after = reports.reported_ns[window], comes_after[window]
    conditions = rows["conditions"].to_pylist() if "conditions" in rows.column_names else [None] * rows.num_rows
    effects = [effect_of(codes, is_regular=is_regular) for codes in conditions]
    prices, sizes = rows["price"].to_pylist(), rows["size"].to_pylist()
    versions: list[tuple[int, Bar]] = []
    for until in (0, *np.unique(reported[after]).tolist()):
        counted = np.flatnonzero(~after | (reported <= until)).tolist()
        bar = _bar([(prices[i], sizes[i], effects[i]) for i in counted])
        if bar is not None and (not versions or bar != versions[-1][1]):
            versions.append((until, bar))
    return versions


def _bar(trades: Sequence[tuple[float, float, Effect]]) -> Bar | None:
    """The bar of trades in the order in which they were made; none where no trade makes open and close."""
    edges = [price for price, _, effect in trades if effect.on_edges]
    if not edges:
        return None
    extremes = [price for price, _, effect in trades if effect.on_edges or effect.on_extremes]
    counted = [(price, size) for price, size, effect in trades if effect.on_volume]
    volume = sum(size for _, size in counted)
    vwap = round(sum(price * size for price, size in counted) / volume, _PRICE_DECIMALS) if volume else None
    return edges[0], max(extremes), min(extremes), edges[-1], volume, vwap, len(counted)


def _agree(made: Bar, served: Bar) -> bool:
    """Whether trades come to the world's bar; where they do not, they cannot tell what it was before."""
    *prices, volume, _, count = made
    *served_prices, served_volume, _, served_count = served
    is_same_volume = (
        volume is not None and served_volume is not None and abs(volume - served_volume) < _VOLUME_TOLERANCE
    )
    return prices == served_prices and is_same_volume and served_count in {None, count}
