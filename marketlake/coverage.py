"""What a stream is known to have brought whole, what is expected of it, and what is missing between the two.

Pure. It is decided by event times and the order of the spool alone, never by a clock, so that a session recorded at
1000x is covered as one at 1x. What came is the business of :mod:`marketlake.frames`; filling what is missing, of the
healing; when rows are expected, of :mod:`marketlake.sessions`.

The vendor publishes in order, but for what it sends late or again (a bar that late trades changed, a late print). So
of two frames in a row at least one is taken to be on time, and of all frames of a connection all but one to have no
time that lies in the future:

- a stretch begins at the later of the first two frames on a connection after the subscription was confirmed, since a
  first frame may hold nothing but a bar that is sent again;
- it ends at the second largest publication time before the connection was closed, went silent, lost a frame, went on
  behind a leap of time that is longer than a silence may be, or the spool ends; of a topic that stalled alone, where
  it was heard last.

What the vendor published late, while nobody was connected, is found by the next day's fetch only.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from marketlake.feeds import Subscription, Topic, table_of
from marketlake.frames import UNKNOWN_EVENT, Chunk
from marketlake.ledger import Coverage, How
from marketlake.sessions import regular_hours
from marketlake.spool import Kind, Position, Record
from marketlake.tables import Span, Table
from marketlake.tickers import AssetClass, OptionTicker

type Ints = NDArray[np.int64]

# https://massive.com/blog/aggregate-stream-optimizations: about two seconds, to let late trades in.
BAR_DELAY_NS: Final = 5_000_000_000
_MS: Final = 1_000_000
_FOR_EVER_NS: Final = 2**63 - 1
_SECOND_NS: Final = 1_000_000_000
_SPAN_NS: Final = {Span.SECOND: _SECOND_NS, Span.MINUTE: 60 * _SECOND_NS}
_BARS: Final = frozenset({Topic.SECONDS, Topic.MINUTES})
_OF_TRADES: Final = _BARS | {Topic.TRADES}
# Behind each of these nothing of the connection before can come any more.
_ENDS: Final = frozenset({"started", "connecting", "connected", "disconnected", "stopped"})
_CUTS: Final = frozenset({"frames_lost", "silent"})


class Stretch(NamedTuple):
    """A half-open stretch of event time, ``start_ns <= t < end_ns``."""

    start_ns: int
    end_ns: int


class _Event(msgspec.Struct):
    event: str = ""
    wanted: list[str] = []
    added: list[str] = []
    accepted: list[str] = []
    refused: list[str] = []
    dropped: list[str] = []
    topics: list[str] = []
    since_ns: int = 0
    until_ns: int = 0


@dataclass(slots=True)
class _Reach:
    """What subscriptions that were confirmed together have received since."""

    subscriptions: set[Subscription]
    first_ns: list[int] = field(
        default_factory=list
    )  # the first two frames, each by when it had been sent at the latest
    highest_ns: int = 0
    second_ns: int = 0
    gone_on_to_ns: tuple[int, int] = (0, 0)  # the two largest times, whatever was cut

    def leaps(self, sent_ns: Ints, limit_ns: int) -> list[int]:
        """The frames with which time went on for longer than a limit: what was sent meanwhile did not come.

        The second largest time tells it, so that one frame whose time lies in the future is no leap.
        """
        highest_ns, second_ns = self.gone_on_to_ns
        highest = np.maximum.accumulate(np.concatenate([[highest_ns], sent_ns]))
        second = np.maximum.accumulate(np.concatenate([[second_ns], np.minimum(highest[:-1], sent_ns)]))
        self.gone_on_to_ns = int(highest[-1]), int(second[-1])
        return [int(place) for place in np.flatnonzero((np.diff(second) > limit_ns) & (second[:-1] > 0))]

    def cut(self) -> None:
        self.first_ns, self.highest_ns, self.second_ns = [], 0, 0

    def frames(self, sent_ns: Ints, due_ns: Ints) -> None:
        missing = 2 - len(self.first_ns)
        self.first_ns += due_ns[:missing].tolist()
        largest = np.sort(np.concatenate([sent_ns, [self.highest_ns, self.second_ns]]))
        self.highest_ns, self.second_ns = int(largest[-1]), int(largest[-2])

    def stretch_of(self, subscription: Subscription) -> Stretch | None:
        if len(self.first_ns) < 2:
            return None
        from_ns, to_ns = max(self.first_ns), self.second_ns
        _, span = table_of(subscription)
        if span is None:
            found = Stretch(from_ns + _MS, to_ns)
        else:
            width = _SPAN_NS[span]
            # A bar comes after its end: it came to us if it ended after the connection was there.
            found = Stretch(-(-from_ns // width) * width - width, (to_ns - BAR_DELAY_NS) // width * width)
        return found if found.start_ns < found.end_ns else None


class StreamCoverage:
    """What the records of one feed prove to have been received, while they are read.

    ``is_whole`` answers, for the position of the last record of a file, whether nothing stands behind it that could
    not be read. ``limits_ns`` says for how long each topic may be silent.
    """

    def __init__(self, is_whole: Callable[[Position], bool], limits_ns: Mapping[Topic, int]) -> None:
        self._is_whole = is_whole
        self._limits_ns = limits_ns
        self._last: Position | None = None
        self._live: list[_Reach] = []
        self._found: dict[Subscription, list[Stretch]] = {}
        self._wanted: set[Subscription] = set()
        self._refused: set[Subscription] = set()
        self._halts: dict[int, int] = {}  # from when to when no trade came, while all else did
        self._heard_ns: dict[Topic, int] = {}

    def take(self, chunk: Chunk) -> None:
        """Read on. A frame with something that cannot be read counts as lost, one with an unknown kind of event not."""
        due_ns = chunk.published_ns.copy()
        for rows in chunk.rows:
            if rows.topic in _BARS:
                due_ns[rows.event] += BAR_DELAY_NS
        sent_by_record, due_by_record = (_largest(times, chunk) for times in (chunk.published_ns, due_ns))
        broken = {int(chunk.record[item.event]) for item in chunk.undecodable if item.rule != UNKNOWN_EVENT}
        begin = 0
        for number, record in enumerate(chunk.records):
            is_other_file = self._last is not None and self._last.file != record.position.file
            if is_other_file or record.kind is Kind.EVENT or number in broken:
                self._frames(sent_by_record[begin:number], due_by_record[begin:number])
                begin = number
                if is_other_file and self._last is not None and not self._is_whole(self._last):
                    self._cut()
                if record.kind is Kind.EVENT:
                    self._event(record, chunk, number)
                if number in broken:
                    self._cut()
                    begin = number + 1
            self._last = record.position
        self._frames(sent_by_record[begin:], due_by_record[begin:])
        self._hear(chunk, len(chunk.records))
        self._end_halts(chunk)

    def stretches(self) -> dict[Subscription, tuple[Stretch, ...]]:
        """What has been received whole so far, in event time, by subscription."""
        found = {subscription: list(stretches) for subscription, stretches in self._found.items()}
        for reach in self._live:
            for subscription in reach.subscriptions:
                if stretch := reach.stretch_of(subscription):
                    found.setdefault(subscription, []).append(stretch)
        return {subscription: union(found[subscription]) for subscription in sorted(found)}

    def wanted(self) -> frozenset[Subscription]:
        """What was asked for so far, whether any of it came or not; without what the plan does not have."""
        return frozenset(self._wanted - self._refused)

    def halts(self) -> tuple[Stretch, ...]:
        """When trading was halted on the feed, as its recorder saw it; a halt that did not end reaches for ever."""
        return union(Stretch(since_ns, until_ns) for since_ns, until_ns in self._halts.items())

    def _frames(self, sent_ns: Ints, due_ns: Ints) -> None:
        with_events = sent_ns > 0
        sent_ns, due_ns = sent_ns[with_events], due_ns[with_events]
        if not sent_ns.size:
            return
        for reach in self._live:
            limit_ns = min((self._limits_ns[item.topic] for item in reach.subscriptions), default=_FOR_EVER_NS)
            begin = 0
            for leap in reach.leaps(sent_ns, limit_ns):
                reach.frames(sent_ns[begin:leap], due_ns[begin:leap])
                self._settle(reach, reach.subscriptions)
                reach.cut()
                begin = leap
            reach.frames(sent_ns[begin:], due_ns[begin:])

    def _hear(self, chunk: Chunk, before: int) -> None:
        """Note when each topic was heard last, in the records of a chunk before one of them."""
        for rows in chunk.rows:
            times_ns = chunk.published_ns[rows.event[chunk.record[rows.event] < before]]
            if times_ns.size:
                self._heard_ns[rows.topic] = max(int(times_ns.max()), self._heard_ns.get(rows.topic, 0))

    def _end_halts(self, chunk: Chunk) -> None:
        """A halt that nobody saw end, because its recorder died, ends with the next trade."""
        for since_ns, until_ns in self._halts.items():
            if until_ns != _FOR_EVER_NS:
                continue
            for rows in chunk.rows:
                if rows.topic in _OF_TRADES:
                    times_ns = rows.rows[rows.table.time_column].cast(pa.int64()).to_numpy()
                    later_ns = times_ns[times_ns > since_ns]
                    if later_ns.size:
                        self._halts[since_ns] = min(self._halts[since_ns], int(later_ns.min()))

    def _event(self, record: Record, chunk: Chunk, number: int) -> None:
        said = msgspec.json.decode(record.payload, type=_Event)
        self._wanted.update(map(Subscription.parse, [*said.wanted, *said.added]))
        self._refused.update(map(Subscription.parse, said.refused))
        if said.event in _ENDS:
            self._cut()
            self._live = []
        elif said.event in _CUTS:
            self._cut()
            self._hear(chunk, number)
            self._take_back({Topic(text) for text in said.topics})
        elif said.event == "halted":
            self._halts[said.since_ns] = _FOR_EVER_NS
        elif said.event == "resumed":
            self._halts[said.since_ns] = min(self._halts.get(said.since_ns, said.until_ns), said.until_ns)
        elif said.event == "changed":
            self._drop({Subscription.parse(text) for text in said.dropped})
        elif said.event == "subscribed":
            known = {subscription for reach in self._live for subscription in reach.subscriptions}
            if fresh := {Subscription.parse(text) for text in said.accepted} - known:
                self._live.append(_Reach(fresh))

    def _cut(self) -> None:
        for reach in self._live:
            self._settle(reach, reach.subscriptions)
            reach.cut()

    def _take_back(self, stalled: set[Topic]) -> None:
        """Claim nothing of topics that had stalled behind what was heard of them last."""
        for subscription, stretches in self._found.items():
            if subscription.topic in stalled:
                heard_ns = self._heard_ns.get(subscription.topic, 0)
                kept = (Stretch(item.start_ns, min(item.end_ns, heard_ns)) for item in stretches)
                self._found[subscription] = [item for item in kept if item.start_ns < item.end_ns]

    def _drop(self, dropped: set[Subscription]) -> None:
        for reach in self._live:
            self._settle(reach, reach.subscriptions & dropped)
            reach.subscriptions -= dropped

    def _settle(self, reach: _Reach, subscriptions: set[Subscription]) -> None:
        for subscription in subscriptions:
            if stretch := reach.stretch_of(subscription):
                self._found.setdefault(subscription, []).append(stretch)


def _largest(times_ns: Ints, chunk: Chunk) -> Ints:
    """The largest time of each record's events; 0 where it has none."""
    largest = np.zeros(len(chunk.records), dtype=np.int64)
    np.maximum.at(largest, chunk.record, times_ns)
    return largest


def union(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """The same time in as few stretches as possible, ascending."""
    joined: list[Stretch] = []
    for start_ns, end_ns in sorted(stretches):
        if joined and start_ns <= joined[-1].end_ns:
            joined[-1] = Stretch(joined[-1].start_ns, max(joined[-1].end_ns, end_ns))
        elif start_ns < end_ns:
            joined.append(Stretch(start_ns, end_ns))
    return tuple(joined)


def difference(expected: Stretch, known: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """What of the expected time is not known, ascending."""
    gaps = []
    reached = expected.start_ns
    for start_ns, end_ns in union(known):
        if start_ns >= expected.end_ns:
            break
        if start_ns > reached:
            gaps.append(Stretch(reached, start_ns))
        reached = max(reached, end_ns)
    if reached < expected.end_ns:
        gaps.append(Stretch(reached, expected.end_ns))
    return tuple(gaps)


def expected_of(table: Table, ticker: str, session: date) -> Stretch:
    """The time of a session in which something is expected of a ticker: its regular hours."""
    asset_class = table.asset_class or AssetClass.STOCKS
    root = OptionTicker.parse(ticker).root if asset_class is AssetClass.OPTIONS else ticker
    hours = regular_hours(asset_class, root, session)
    return Stretch(hours.start_ns, hours.end_ns)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A stretch of expected time and how it is known what happened in it; None: it is not."""

    stretch: Stretch
    how: How | None


def labelled(expected: Stretch, coverage: Iterable[Coverage]) -> tuple[Labelled, ...]:
    """All of the expected time, ascending, each stretch with its label; gaps with None.

    ``coverage`` is of one ticker and span. Where several labels apply the first in the order of :class:`How` is given.
    """
    places = {how: place for place, how in enumerate(How)}
    items = sorted(coverage, key=lambda item: places[item.how])
    edges = {expected.start_ns, expected.end_ns}
    edges |= {edge for item in items for edge in (item.start_ns, item.end_ns)}
    ordered = sorted(edge for edge in edges if expected.start_ns <= edge <= expected.end_ns)
    found: list[Labelled] = []
    for start_ns, end_ns in pairwise(ordered):
        how = next((item.how for item in items if item.start_ns <= start_ns and end_ns <= item.end_ns), None)
        if found and found[-1].how is how:
            found[-1] = Labelled(Stretch(found[-1].stretch.start_ns, end_ns), how)
        else:
            found.append(Labelled(Stretch(start_ns, end_ns), how))
    return tuple(found)


def seconds_by_label(expected: Stretch, coverage: Iterable[Coverage]) -> Mapping[How | None, int]:
    """How many whole seconds of the expected time carry each label; together they are all of its seconds.

    A second that changes its label carries the later one, and none where any of it is a gap.
    """
    counts: dict[How | None, int] = {}
    parts = labelled(expected, coverage)
    seconds = range(expected.start_ns, expected.end_ns, _SECOND_NS)
    hows = np.zeros(len(seconds), dtype=np.int64)
    names: list[How | None] = [None, *How]
    # Gaps last: they take a second that is theirs in part.
    for part in sorted(parts, key=lambda part: part.how is None):
        first = (part.stretch.start_ns - expected.start_ns) // _SECOND_NS
        last = -(-(part.stretch.end_ns - expected.start_ns) // _SECOND_NS)
        hows[first:last] = names.index(part.how)
    for number, count in zip(*np.unique(hows, return_counts=True), strict=True):
        counts[names[int(number)]] = int(count)
    return counts
