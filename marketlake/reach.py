"""What the subscriptions to one topic have received, from the times of the frames on their connection.

Pure. By which rules a stretch begins and ends stands in :mod:`marketlake.coverage`, which tells what the recorder noted
between the frames.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketlake.feeds import Subscription, Topic, table_of
from marketlake.tables import Span

type Ints = NDArray[np.int64]

# https://massive.com/blog/aggregate-stream-optimizations: about two seconds, to let late trades in.
BAR_DELAY_NS: Final = 5_000_000_000
_MS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000
SPAN_NS: Final = {Span.SECOND: _SECOND_NS, Span.MINUTE: 60 * _SECOND_NS}


class Stretch(NamedTuple):
    """A half-open stretch of event time, ``start_ns <= t < end_ns``."""

    start_ns: int
    end_ns: int


class Received(NamedTuple):
    """A stretch of event time, and the first and the last file of the spool that it was read from."""

    start_ns: int
    end_ns: int
    first_file: int
    last_file: int


@dataclass(slots=True)
class Newest:
    """The two largest times that came: the second tells how far time has gone, since one may lie in the future."""

    highest_ns: int = 0
    second_ns: int = 0

    def take(self, times_ns: Ints) -> Ints:
        """How far time had gone before the first, and behind each."""
        highest = np.maximum.accumulate(np.concatenate([[self.highest_ns], times_ns]))
        second = np.maximum.accumulate(np.concatenate([[self.second_ns], np.minimum(highest[:-1], times_ns)]))
        self.highest_ns, self.second_ns = int(highest[-1]), int(second[-1])
        return second

    def leaps(self, times_ns: Ints, limit_ns: int) -> list[int]:
        """The places at which time went on for longer than a limit; what is 0 is passed by.

        What was sent meanwhile did not come.
        """
        places = np.flatnonzero(times_ns)
        second = self.take(times_ns[places])
        found = np.flatnonzero((np.diff(second) > limit_ns) & (second[:-1] > 0))
        return [int(places[number]) for number in found]


@dataclass(frozen=True, slots=True)
class Frames:
    """Some successive frames with when each was sent; ``due_ns`` is when that was at the latest.

    ``own`` holds the same of what a topic has in each, 0 where that is nothing.
    """

    sent_ns: Ints
    due_ns: Ints
    own: Mapping[Topic, tuple[Ints, Ints]]

    def part(self, chosen: slice | Ints) -> "Frames":
        """Some of them."""
        own = {topic: (sent_ns[chosen], due_ns[chosen]) for topic, (sent_ns, due_ns) in self.own.items()}
        return Frames(self.sent_ns[chosen], self.due_ns[chosen], own)

    def of(self, topic: Topic) -> tuple[Ints, Ints]:
        """When what they hold of a topic was sent, and when that was at the latest."""
        nothing = np.zeros_like(self.sent_ns)
        return self.own.get(topic, (nothing, nothing))


@dataclass(slots=True)
class Reach:
    """What the subscriptions to a topic that were confirmed together have received since."""

    topic: Topic
    limit_ns: int  # how long the topic may be silent
    subscriptions: set[Subscription]
    told_ns: int | None = None  # by the session's clock, behind the confirmation
    is_cut: bool = False  # whether something was lost since
    first_ns: list[int] = field(default_factory=list)  # when the first two frames had been sent at the latest
    own_first_ns: list[int] = field(default_factory=list)  # the same of those that hold the topic
    newest: Newest = field(default_factory=Newest)  # since the last cut or leap
    own_newest: Newest = field(default_factory=Newest)
    gone_on_to: Newest = field(default_factory=Newest)  # since the last cut
    own_gone_on_to: Newest = field(default_factory=Newest)
    listened_ns: int | None = None  # the beginning, before a leap
    files: tuple[int, int] | None = None

    def leaps(self, frames: Frames, feed_limit_ns: int) -> dict[int, bool]:
        """Where time leaped, and whether it was the topic's."""
        own_sent_ns, _ = frames.of(self.topic)
        of_feed = self.gone_on_to.leaps(frames.sent_ns, feed_limit_ns)
        of_topic = self.own_gone_on_to.leaps(own_sent_ns, self.limit_ns)
        return {place: place in of_topic for place in sorted({*of_feed, *of_topic})}

    def frames(self, frames: Frames, file: int) -> None:
        """Take further frames of a file."""
        if not frames.sent_ns.size:
            return
        own_sent_ns, own_due_ns = (times_ns[times_ns > 0] for times_ns in frames.of(self.topic))
        self.first_ns += frames.due_ns[: 2 - len(self.first_ns)].tolist()
        self.own_first_ns += own_due_ns[: 2 - len(self.own_first_ns)].tolist()
        self.newest.take(frames.sent_ns)
        self.own_newest.take(own_sent_ns)
        self.files = (self.files or (file, file))[0], file

    def tell(self, session_ns: int, file: int) -> None:
        """The session's clock tells this, behind the confirmation and what came since."""
        if not self.is_cut and self.told_ns is None:
            self.told_ns = session_ns
            self.files = self.files or (file, file)

    def leap(self) -> None:
        """Begin anew behind a time in which nothing came: whether something should have, the expected hours tell."""
        if self.listened_ns is None and len(self.first_ns) == 2:
            self.listened_ns = max(self.first_ns)
        self._begin()

    def cut(self) -> None:
        """Begin anew behind a loss."""
        self._begin()
        self.gone_on_to, self.own_gone_on_to = Newest(), Newest()
        self.listened_ns, self.told_ns, self.is_cut = None, None, True

    def _begin(self) -> None:
        self.first_ns, self.own_first_ns, self.newest, self.own_newest = [], [], Newest(), Newest()
        self.files = None

    def stretch_of(
        self, subscription: Subscription, hours: Stretch, *, with_topic: bool, trusts_clock: bool
    ) -> Received | None:
        """What has come; ``with_topic``: nothing behind the last of its own topic has."""
        if len(self.first_ns) < 2 or self.files is None:
            return None
        known_ns = max(self.first_ns)
        told_ns = [at_ns for at_ns in (self.listened_ns, self.told_ns if trusts_clock else None) if at_ns is not None]
        listened_ns = max(min(told_ns, default=known_ns), hours.start_ns)
        if listened_ns < known_ns <= hours.end_ns and known_ns - listened_ns <= self.limit_ns:
            known_ns = listened_ns - _MS
        listened_ns = min(listened_ns, known_ns)
        from_ns = self._from_ns(hours, listened_ns, known_ns)
        to_ns = self._to_ns(hours, listened_ns, from_ns, with_topic=with_topic)
        return _received(table_of(subscription)[1], from_ns, to_ns, self.files)

    # Outside of the expected hours a topic may stay away for any time: there its own frames tell, and nothing else.

    def _from_ns(self, hours: Stretch, listened_ns: int, known_ns: int) -> int:
        """Behind which instant all of the topic has come, of a feed that did so behind ``known_ns``."""
        if len(self.own_first_ns) < 2:
            return max(known_ns, hours.start_ns - _MS)
        own_ns = max(self.own_first_ns)
        is_stalled = _within(hours, listened_ns, own_ns) > self.limit_ns
        return max(known_ns, own_ns if is_stalled else min(hours.start_ns - _MS, own_ns))

    def _to_ns(self, hours: Stretch, listened_ns: int, from_ns: int, *, with_topic: bool) -> int:
        """Before which instant all of the topic has come."""
        own_ns, feed_ns = self.own_newest.second_ns, self.newest.second_ns
        last_ns = max(own_ns, from_ns)
        is_stalled = with_topic or _within(hours, max(own_ns, listened_ns), feed_ns) > self.limit_ns
        if is_stalled or last_ns < hours.start_ns - _MS:
            return min(feed_ns, last_ns)
        return min(feed_ns, max(last_ns, hours.end_ns))


def _within(hours: Stretch, from_ns: int, to_ns: int) -> int:
    """How much of the time between two instants lies in the expected hours."""
    return max(0, min(to_ns, hours.end_ns) - max(from_ns, hours.start_ns))


def _received(span: Span | None, from_ns: int, to_ns: int, files: tuple[int, int]) -> Received | None:
    """The event time of all that was published behind one instant and before another."""
    if span is None:
        found = Stretch(from_ns + _MS, to_ns)
    else:
        width = SPAN_NS[span]
        # A bar comes after its end: it came to us if it ended after the connection was there.
        found = Stretch(-(-from_ns // width) * width - width, (to_ns - BAR_DELAY_NS) // width * width)
    return Received(*found, *files) if found.start_ns < found.end_ns else None


def joined(items: Iterable[Received]) -> tuple[Received, ...]:
    """The same time in as few stretches as possible, each with the files of all that it was made from."""
    found: list[Received] = []
    for item in sorted(items):
        if found and item.start_ns <= (last := found[-1]).end_ns:
            end_ns = max(last.end_ns, item.end_ns)
            files = min(last.first_file, item.first_file), max(last.last_file, item.last_file)
            found[-1] = Received(last.start_ns, end_ns, *files)
        elif item.start_ns < item.end_ns:
            found.append(item)
    return tuple(found)
