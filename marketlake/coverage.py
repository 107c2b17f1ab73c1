"""What a stream is known to have brought whole, what is expected of it, and what is missing between the two.

Pure. It is decided by event times and the order of the spool, and by no clock but the session's, whose readings are
records too: nothing is claimed at 1000x that would not be true at 1x. What came is the business of
:mod:`marketlake.frames`; how stretches are made of it, of :mod:`marketlake.reach`; filling what is missing, of the
healing; when rows are expected, of :mod:`marketlake.sessions`.

The vendor publishes in order, but for what it sends late or again (a bar that late trades changed, a late print). So
of two frames in a row at least one is taken to be on time, and of all frames of a connection all but one to have no
time that lies in the future:

- a stretch begins at the later of the first two frames on a connection after the subscription was confirmed, since a
  first frame may hold nothing but a bar that is sent again;
- it ends at the second largest publication time before the connection was closed, went silent, lost a frame, went on
  behind a leap of time that is longer than a silence may be, or the spool ends;
- a topic that stays away for longer than it may, while others come, ends at the second largest time of its own.

Within the expected hours a silence that is no longer than it may be is no loss, at the beginning as between two frames:
where the connection is known to have listened before the session opened, by a frame or by the session's clock, a
stretch begins with the opening. A machine's clock that is behind the events is not believed. Nothing but a frame that
came later tells that what was sent at the end has come: a connection may stand and bring nothing.

What the vendor published late, while nobody was connected, is found by the next day's fetch only.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from marketlake.feeds import Subscription, Topic
from marketlake.frames import UNKNOWN_EVENT, Chunk
from marketlake.ledger import Coverage, How
from marketlake.reach import BAR_DELAY_NS, Frames, Ints, Newest, Reach, Received, Stretch, joined
from marketlake.sessions import regular_hours
from marketlake.spool import Kind, Position, Record
from marketlake.tables import Table
from marketlake.tickers import AssetClass, OptionTicker

_FOR_EVER_NS: Final = 2**63 - 1
_SECOND_NS: Final = 1_000_000_000
# The vendor's clock tells whole seconds, and a machine's may be this far behind.
_CLOCK_STEP_NS: Final = 5 * _SECOND_NS
# How long before its publication what is of trades began at the earliest.
_OF_TRADES: Final = {Topic.TRADES: 0, Topic.SECONDS: _SECOND_NS, Topic.MINUTES: 60 * _SECOND_NS}
_BARS: Final = frozenset({Topic.SECONDS, Topic.MINUTES})
# Behind each of these nothing of the connection before can come any more.
_ENDS: Final = frozenset({"started", "connecting", "connected", "disconnected", "stopped"})


class _Event(msgspec.Struct):
    event: str = ""
    wanted: list[str] = []
    added: list[str] = []
    accepted: list[str] = []
    refused: list[str] = []
    dropped: list[str] = []
    topics: list[Topic] = []
    outcome: str = ""
    since_ns: int = 0
    until_ns: int = 0
    session_ns: int = 0


class StreamCoverage:
    """What the records of one feed prove to have been received, while they are read.

    ``is_whole`` answers, for the position of the last record of a file, whether nothing stands behind it that could
    not be read. ``limits_ns`` says for how long each topic may be silent, ``hours_of`` when something is expected of a
    subscription.
    """

    def __init__(
        self,
        is_whole: Callable[[Position], bool],
        limits_ns: Mapping[Topic, int],
        hours_of: Callable[[Subscription], Stretch],
    ) -> None:
        self._is_whole = is_whole
        self._limits_ns = limits_ns
        self._hours_of = cache(hours_of)
        self._last: Position | None = None
        self._live: list[Reach] = []
        self._found: dict[Subscription, list[Received]] = {}
        self._wanted: set[Subscription] = set()
        self._refused: set[Subscription] = set()
        self.drops_ns: list[int] = []  # to where the session had come, each time that something confirmed was lost
        self._newest = Newest()
        self._of_the_future = 0  # frames that came before the machine's clock says that they were sent
        self._halts: list[Received] = []
        self._halted: tuple[int, int] | None = None  # since when no trade comes, and the file that tells it

    def take(self, chunk: Chunk) -> None:
        """Read on. A frame with something that cannot be read counts as lost, one with an unknown kind of event not."""
        frames = _frames_of(chunk)
        broken = {int(chunk.record[item.event]) for item in chunk.undecodable if item.rule != UNKNOWN_EVENT}
        begin = 0
        for number, record in enumerate(chunk.records):
            is_other_file = self._last is not None and self._last.file != record.position.file
            if is_other_file or record.kind is Kind.EVENT or number in broken:
                self._frames(chunk, frames, begin, number)
                begin = number
                if is_other_file and self._last is not None and not self._is_whole(self._last):
                    self._cut()
                if record.kind is Kind.EVENT:
                    self._event(record)
                if number in broken:
                    self._cut()
                    begin = number + 1
            self._last = record.position
        self._frames(chunk, frames, begin, len(chunk.records))

    def stretches(self) -> dict[Subscription, tuple[Received, ...]]:
        """What has been received whole so far, in event time, by subscription."""
        found = {subscription: list(stretches) for subscription, stretches in self._found.items()}
        for reach in self._live:
            for subscription in reach.subscriptions:
                if stretch := self._stretch_of(reach, subscription):
                    found.setdefault(subscription, []).append(stretch)
        return {subscription: joined(found[subscription]) for subscription in sorted(found)}

    def wanted(self) -> frozenset[Subscription]:
        """What was asked for so far, whether any of it came or not; without what the plan does not have."""
        return frozenset(self._wanted - self._refused)

    def halts(self) -> tuple[Received, ...]:
        """When trading was halted on the feed, as its recorder saw it; one that did not end reaches to what came last.

        A halt ends with the first trade that came, and for a recorder that was killed with the last that it saw.
        """
        is_open = self._halted is not None and self._last is not None
        return joined([*self._halts, *([self._halt_until(self._newest.second_ns)] if is_open else [])])

    def _frames(self, chunk: Chunk, frames: Frames, begin: int, end: int) -> None:
        if begin == end:
            return
        if self._halted is not None:
            self._resume(chunk, begin, end)
        with_events = begin + np.flatnonzero(frames.sent_ns[begin:end])
        if not with_events.size:
            return
        file = chunk.records[begin].position.file
        frames = frames.part(with_events)
        self._newest.take(frames.sent_ns)
        if self._of_the_future < 2:
            received_ns = np.array([chunk.records[number].received_ns for number in with_events.tolist()])
            self._of_the_future += int(np.count_nonzero(frames.sent_ns > received_ns + _CLOCK_STEP_NS))
        feed_limit_ns = min((reach.limit_ns for reach in self._live if reach.subscriptions), default=_FOR_EVER_NS)
        for reach in self._live:
            done = 0
            for place, is_of_topic in reach.leaps(frames, feed_limit_ns).items():
                reach.frames(frames.part(slice(done, place)), file)
                self._settle(reach, reach.subscriptions, with_topic=is_of_topic)
                reach.leap()
                done = place
            reach.frames(frames.part(slice(done, None)), file)

    def _event(self, record: Record) -> None:
        said = msgspec.json.decode(record.payload, type=_Event)
        accepted = set(map(Subscription.parse, said.accepted))
        self._wanted |= accepted.union(map(Subscription.parse, [*said.wanted, *said.added]))
        self._refused = self._refused.union(map(Subscription.parse, said.refused)) - accepted
        self._trading(said, record.position.file)
        if said.event in _ENDS:
            if self._live and "stopped" not in (said.event, said.outcome):
                self.drops_ns.append(self._newest.second_ns)
            self._cut()
            self._live = []
        elif said.event == "frames_lost":
            self.drops_ns.append(self._newest.second_ns)
            self._cut()
        elif said.event == "silent":
            self._cut(frozenset(said.topics))
        elif said.event == "clock":
            for reach in self._live:
                reach.tell(said.session_ns + _CLOCK_STEP_NS, record.position.file)
        elif said.event == "changed":
            self._drop({Subscription.parse(text) for text in said.dropped})
        elif said.event == "subscribed":
            self._begin(accepted)

    def _trading(self, said: _Event, file: int) -> None:
        if said.event == "halted":
            self._halted = said.since_ns, file
        elif said.event == "resumed":
            self._end_halt(said.until_ns)
        elif said.event == "started":
            self._end_halt(self._newest.second_ns)

    def _begin(self, accepted: set[Subscription]) -> None:
        fresh = accepted - {subscription for reach in self._live for subscription in reach.subscriptions}
        for topic in sorted({item.topic for item in fresh}):
            own = {item for item in fresh if item.topic is topic}
            self._live.append(Reach(topic, self._limits_ns[topic], own))

    def _resume(self, chunk: Chunk, begin: int, end: int) -> None:
        """End a halt with what was traded in it, or behind it: a bar that began before it proves nothing."""
        since_ns, _ = self._halted or (0, 0)
        traded = [_FOR_EVER_NS]
        for rows in chunk.rows:
            if rows.topic in _OF_TRADES:
                record = chunk.record[rows.event]
                from_ns = chunk.published_ns[rows.event] - _OF_TRADES[rows.topic]
                found = from_ns[(record >= begin) & (record < end) & (from_ns > since_ns)]
                traded += [int(found.min())] if found.size else []
        if min(traded) < _FOR_EVER_NS:
            self._end_halt(min(traded))

    def _end_halt(self, until_ns: int) -> None:
        if self._halted is not None:
            self._halts.append(self._halt_until(until_ns))
            self._halted = None

    def _halt_until(self, until_ns: int) -> Received:
        since_ns, file = self._halted or (until_ns, 0)
        return Received(since_ns, until_ns, file, self._last.file if self._last is not None else file)

    def _cut(self, silent: frozenset[Topic] = frozenset()) -> None:
        for reach in self._live:
            self._settle(reach, reach.subscriptions, with_topic=reach.topic in silent)
            reach.cut()

    def _drop(self, dropped: set[Subscription]) -> None:
        for reach in self._live:
            self._settle(reach, reach.subscriptions & dropped)
            reach.subscriptions -= dropped

    def _settle(self, reach: Reach, subscriptions: set[Subscription], *, with_topic: bool = False) -> None:
        for subscription in subscriptions:
            if stretch := self._stretch_of(reach, subscription, with_topic=with_topic):
                self._found.setdefault(subscription, []).append(stretch)

    def _stretch_of(self, reach: Reach, subscription: Subscription, *, with_topic: bool = False) -> Received | None:
        trusts_clock, hours = self._of_the_future < 2, self._hours_of(subscription)
        return reach.stretch_of(subscription, hours, with_topic=with_topic, trusts_clock=trusts_clock)


def _frames_of(chunk: Chunk) -> Frames:
    """The largest times of each record's events; 0 where it has none."""
    due_ns, own = chunk.published_ns.copy(), {}
    for rows in chunk.rows:
        sent_ns = chunk.published_ns[rows.event]
        if rows.topic in _BARS:
            due_ns[rows.event] += BAR_DELAY_NS
        record = chunk.record[rows.event]
        own[rows.topic] = _largest(sent_ns, record, chunk), _largest(due_ns[rows.event], record, chunk)
    sent_by_record, due_by_record = (_largest(times, chunk.record, chunk) for times in (chunk.published_ns, due_ns))
    return Frames(sent_by_record, due_by_record, own)


def _largest(times_ns: Ints, record: Ints, chunk: Chunk) -> Ints:
    largest = np.zeros(len(chunk.records), dtype=np.int64)
    np.maximum.at(largest, record, times_ns)
    return largest


def union(stretches: Iterable[Stretch | Received]) -> tuple[Stretch, ...]:
    """The same time in as few stretches as possible, ascending."""
    joined: list[Stretch] = []
    for start_ns, end_ns, *_ in sorted(stretches):
        if joined and start_ns <= joined[-1].end_ns:
            joined[-1] = Stretch(joined[-1].start_ns, max(joined[-1].end_ns, end_ns))
        elif start_ns < end_ns:
            joined.append(Stretch(start_ns, end_ns))
    return tuple(joined)


def difference(expected: Stretch, known: Iterable[Stretch | Received]) -> tuple[Stretch, ...]:
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
