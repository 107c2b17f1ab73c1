"""What is published when: the messages of a subscription between two simulated instants, read a stretch at a time.

Trades, quotes and index values are published at their own time; a bar two seconds after its end and again after each
late report (``simulator.revisions``). What goes to whom, and when on the wall clock, is decided in ``replay``.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulator import exchange_hours
from simulator.newyork import NS_PER_MS, IntArray, moment
from simulator.plans import AssetClass, asset_of
from simulator.revisions import WIDTH_MS, BarHistory, DayCache
from simulator.stream.messages import encode
from simulator.stream.topics import Subscription, Topic
from simulator.world import BaseSpan, World

_SPANS: Final = {Topic.SECONDS: BaseSpan.SECOND, Topic.MINUTES: BaseSpan.MINUTE}
_PRICE_DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class Published:
    """Messages in publishing order with their instants, ns since the epoch."""

    at_ns: IntArray
    messages: list[bytes]

    def between(self, after_ns: int, until_ns: int) -> "Published":
        """Those after one instant and not after the other."""
        first, end = np.searchsorted(self.at_ns, (after_ns, until_ns), side="right")
        return Published(self.at_ns[first:end], self.messages[first:end])


NOTHING: Final = Published(np.empty(0, np.int64), [])


class Sources:
    """The messages of one world. It reads the world and is to be asked where the world may be read."""

    def __init__(self, world: World, history: BarHistory) -> None:
        self._world = world
        self._days = DayCache(partial(published_bars, world, history))

    def tickers(self, market: AssetClass, subscription: Subscription, day: date) -> list[str]:
        """The tickers that a subscription stands for on a New York date; what a market does not know is silent."""
        ticker = subscription.ticker
        if subscription.is_for_all:
            return list(self._world.tickers(market, day))
        return [ticker] if asset_of(ticker) is market and self._world.knows(ticker) else []

    def read(self, topic: Topic, ticker: str, after_ns: int, until_ns: int) -> Published:
        """The messages after one instant and not after the other."""
        if topic in _SPANS:
            return self._bars(topic, ticker, after_ns, until_ns)
        if topic is Topic.VALUES:
            rows, time = self._world.index_values(ticker, after_ns + 1, until_ns), "timestamp"
        else:
            fetch = self._world.trades if topic is Topic.TRADES else self._world.quotes
            rows, time = fetch(ticker, after_ns + 1, until_ns), "sip_timestamp"
        if rows.num_rows == 0:
            return NOTHING
        return Published(rows[time].to_numpy(), encode(topic, ticker, rows))

    def _bars(self, topic: Topic, ticker: str, after_ns: int, until_ns: int) -> Published:
        parts = []
        day, last = moment(after_ns).date(), moment(until_ns).date()
        while day <= last:
            bars = self._days(ticker, _SPANS[topic], day)
            at_ns = bars["published_ns"].to_numpy()
            first, end = np.searchsorted(at_ns, (after_ns, until_ns), side="right").tolist()
            if end > first:
                parts.append(Published(at_ns[first:end], encode(topic, ticker, bars.slice(first, end - first))))
            day += timedelta(days=1)
        if not parts:
            return NOTHING
        return Published(
            np.concatenate([part.at_ns for part in parts]), [one for part in parts for one in part.messages]
        )


def published_bars(world: World, history: BarHistory, ticker: str, span: BaseSpan, day: date) -> pa.Table:
    """A New York date's published bars with what the stream tells of the day so far: volume, average, official open.

    The volume counts what has been published of this width, each bar with its newest revision; a day whose averages
    the world does not know in full has none. Before the opening there is no official open.
    """
    bars = history.of(ticker, span, day)
    ends = bars["t"].to_numpy() + WIDTH_MS[span]
    volume, value = _day_so_far(bars)
    count = bars["n"].cast(pa.float64()).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        average = np.round(value / volume, _PRICE_DECIMALS)
        mean_size = np.rint(bars["v"].to_numpy() / np.where(count > 0, count, np.nan))
    return (
        bars.append_column("end", pa.array(ends, pa.int64()))
        .append_column("day_volume", pa.array(volume, pa.float64(), from_pandas=True))
        .append_column("day_vwap", pa.array(average, pa.float64(), from_pandas=True))
        .append_column("mean_size", pa.array(mean_size, from_pandas=True).cast(pa.int64()))
        .append_column("day_open", _official_open(world, ticker, day, bars))
    )


def _day_so_far(bars: pa.Table) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Volume, and volume times price, of all that was published up to each bar."""
    volumes = bars["v"].to_numpy()
    values = np.where(volumes == 0, 0.0, volumes * bars["vw"].to_numpy())
    t = bars["t"].to_numpy()
    order = np.lexsort((np.arange(len(t)), t))
    is_again = t[order][1:] == t[order][:-1]

    def total(column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        replaced = np.zeros(len(t))
        replaced[order[1:][is_again]] = column[order[:-1][is_again]]
        return np.cumsum(column - replaced)

    return total(volumes), total(values)


def _official_open(world: World, ticker: str, day: date, bars: pa.Table) -> pa.Array:
    session = exchange_hours.regular_session(day)
    opens = None
    if session is not None:
        opens_ms, closes_ms = (at // NS_PER_MS for at in session)
        first = world.bars(ticker, BaseSpan.MINUTE, opens_ms, closes_ms - 1).slice(0, 1)["o"].to_pylist()
        opens = first[0] if first else None
    if session is None or opens is None:
        return pa.nulls(bars.num_rows, pa.float64())
    is_open = bars["t"].to_numpy() >= session[0] // NS_PER_MS
    return pa.array(np.where(is_open, opens, np.nan), from_pandas=True)
