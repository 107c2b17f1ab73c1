"""What a running session has missed, asked for over REST as soon as the stream goes on behind it.

Whoever reads ``live/`` while a session runs finds the morning before a late start, and what a drop took, in
``filled=0930.parquet`` beside the windows. These rows are for the meantime: the vendor may still correct them, nothing
is proved by them, and the healing after the close asks again, publishes, and removes them. What cannot be had now is
asked for again later, and after the close at the latest.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.asks import Ask, bars_ask, part_of_ticks_ask, quotes_ask, so_far, trades_ask
from marketlake.coverage import difference
from marketlake.desk import Desk
from marketlake.errors import KeyRefused, MarketlakeError, is_transient
from marketlake.feeds import Subscription, Topic, table_of
from marketlake.reach import Received, Stretch
from marketlake.segments import Segments
from marketlake.sessions import NEW_YORK
from marketlake.tables import TABLES, Table
from marketlake.tickers import AssetClass, underlying_of_option
from marketlake.wire import parse

logger = logging.getLogger(__name__)

_NS_PER_S: Final = 1_000_000_000
# The vendor's history follows its stream by some seconds; what was not there is asked for again after the same time.
_SETTLE_NS: Final = 60 * _NS_PER_S


class Gap(NamedTuple):
    """A stretch of event time of which a subscription received nothing, or not everything."""

    subscription: Subscription
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Missed:
    """Gaps of one table that are due together."""

    feed: AssetClass
    table: str
    gaps: tuple[Gap, ...]

    @property
    def title(self) -> str:
        """What is filled, from when to when in New York: ``option_bars 09:30 to 11:04, 30 gaps``."""
        start, end = (
            datetime.fromtimestamp(at_ns // _NS_PER_S, NEW_YORK)
            for at_ns in (min(gap.start_ns for gap in self.gaps), max(gap.end_ns for gap in self.gaps))
        )
        return f"{self.table} {start:%H:%M} to {end:%H:%M}, {len(self.gaps)} gaps"


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of some gaps: rows kept, rows that a rule refused, and how many gaps are to be asked for again."""

    rows: int
    refused: int
    later: int
    paths: tuple[str, ...]


class Filling:
    """The gaps of one feed's session while it runs; one that is filled is not asked for again."""

    def __init__(self, segments: Segments, desk: Desk) -> None:
        self._segments = segments
        self._desk = desk
        self._done: set[Gap] = set()
        self._not_given: set[Subscription] = set()
        self._newest_ns = 0
        self._again_ns: dict[Gap, int] = {}

    def due(
        self, hours_of: Mapping[Subscription, Stretch], received: Mapping[Subscription, Sequence[Received]]
    ) -> Iterator[Missed]:
        """The gaps behind which the stream went on long enough ago for history to have them, by table.

        ``hours_of`` says when something is expected of each subscription, ``received`` what came of it whole.
        """
        self._newest_ns = max((item.end_ns for items in received.values() for item in items), default=0)
        by_table: dict[str, list[Gap]] = defaultdict(list)
        for subscription, stretches in sorted(received.items(), key=lambda item: str(item[0])):
            name = table_of(subscription)[0]
            if not stretches or not TABLES[name].over_rest or subscription in self._not_given:
                continue
            until = Stretch(
                hours_of[subscription].start_ns,
                min(hours_of[subscription].end_ns, max(item.start_ns for item in stretches)),
            )
            for missing in difference(until, stretches):
                gap = Gap(subscription, *missing)
                if gap not in self._done and self._newest_ns >= self._again_ns.get(gap, gap.end_ns + _SETTLE_NS):
                    by_table[name].append(gap)
        for name, gaps in sorted(by_table.items()):
            yield Missed(self._segments.feed, name, tuple(gaps))

    def fill(self, missed: Missed) -> Filled:
        """Ask for what was missed and keep it in ``live/``; what the vendor does not give now is due again later.

        Raises:
            KeyRefused: the vendor knows the key no more.
            LakeError: the lake cannot be written.
        """
        table = TABLES[missed.table]
        found, refused, done = [table.schema.empty_table()], 0, []
        for subscription, gaps in _by_subscription(missed.gaps):
            try:
                for ask, asked in self._asks(table, subscription, gaps):
                    rows = self._rows_of(ask)
                    verdict = self._desk.check(table, rows)
                    stays = np.ones(rows.num_rows, dtype=np.bool_)
                    stays[verdict.rows] = False
                    inside = _inside(table, rows, asked)
                    refused += int(np.count_nonzero(inside & ~stays))
                    found.append(rows.filter(pa.array(inside & stays)))
            except KeyRefused:
                raise
            except MarketlakeError as error:
                self._not_now(subscription, gaps, error)
            else:
                done += gaps
        rows = pa.concat_tables(found)
        paths = self._segments.keep_filled(table, rows, min(gap.start_ns for gap in missed.gaps))
        self._done.update(done)
        return Filled(rows.num_rows, refused, len(missed.gaps) - len(done), paths)

    def put_off(self, missed: Missed) -> None:
        """Let gaps be due again some time later."""
        self._again_ns |= dict.fromkeys(missed.gaps, self._newest_ns + _SETTLE_NS)

    def _asks(
        self, table: Table, subscription: Subscription, gaps: Sequence[Gap]
    ) -> Iterator[tuple[Ask, Sequence[Gap]]]:
        ticker, span = subscription.ticker, table_of(subscription)[1]
        session, page_size = self._segments.grid.session, self._desk.settings.sources.page_size
        owner = underlying_of_option(ticker) if table.asset_class is AssetClass.OPTIONS else ticker
        if span is not None:
            # A day of a ticker's bars is a page; bounds within a day would be snapped to something else by the vendor.
            yield bars_ask(table, owner, ticker, span, session, session, page_size), gaps
            return
        ticks_ask = trades_ask if subscription.topic is Topic.TRADES else quotes_ask
        day = ticks_ask(table, owner, ticker, session, page_size)
        for gap in gaps:
            yield part_of_ticks_ask(day, gap.start_ns, gap.end_ns), [gap]

    def _rows_of(self, ask: Ask) -> pa.Table:
        return pa.concat_tables([parse(ask, page.body).rows for page in self._desk.vendor.pages(so_far(ask))])

    def _not_now(self, subscription: Subscription, gaps: Sequence[Gap], error: MarketlakeError) -> None:
        if is_transient(error):
            logger.warning("what was missed of %s is asked for later: %s", subscription, error)
            self._again_ns |= dict.fromkeys(gaps, self._newest_ns + _SETTLE_NS)
        else:
            logger.warning("what was missed of %s is left to the healing: %s", subscription, error)
            self._not_given.add(subscription)


def _by_subscription(gaps: Iterable[Gap]) -> list[tuple[Subscription, list[Gap]]]:
    found: dict[Subscription, list[Gap]] = defaultdict(list)
    for gap in gaps:
        found[gap.subscription].append(gap)
    return list(found.items())


def _inside(table: Table, rows: pa.Table, gaps: Sequence[Gap]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows lie in any of the gaps."""
    times_ns = pc.cast(rows[table.time_column], pa.int64()).to_numpy()
    inside = np.zeros(rows.num_rows, dtype=np.bool_)
    for gap in gaps:
        inside |= (gap.start_ns <= times_ns) & (times_ns < gap.end_ns)
    return inside
