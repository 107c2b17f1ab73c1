"""What can be told of a stream without parsing it: how much came, how late, of which topics, up to which event time.

Pure, and cheap enough for every message: the messages are searched, and only a sample is looked at closely. What they
hold is the business of :mod:`marketlake.frames`.
"""

import re
from collections import deque
from collections.abc import Collection
from typing import Final, NamedTuple

from marketlake.feeds import Topic

_NS_PER_MS: Final = 1_000_000
# The vendor's objects are flat: each brace that opens begins an event.
_EVENT: Final = b"{"
_TOPIC: Final = re.compile(rb'"ev"\s*:\s*"(\w+)"')
_TIME: Final = re.compile(rb'"t"\s*:\s*(\d{1,15})\b')
_END: Final = re.compile(rb'"e"\s*:\s*(\d{1,15})\b')
_OF_TOPIC: Final = {topic: re.compile(rb'"ev"\s*:\s*"%s"' % topic.encode()) for topic in Topic}
_BARS: Final = frozenset({Topic.SECONDS, Topic.MINUTES})
_WORDS: Final = {topic.encode(): topic for topic in Topic}
# Two hundred samples a second tell a percentile, and cost nothing.
_BETWEEN_SAMPLES_NS: Final = 5 * _NS_PER_MS
_WINDOW_NS: Final = 60_000_000_000


class Lag(NamedTuple):
    """How long after their event time messages came, over the last minute; milliseconds."""

    p50_ms: float
    p99_ms: float


def last_event_ns(message: bytes) -> int | None:
    """When the last event of a message was published: its time, for bars their end; None where it tells none."""
    last = message[message.rfind(_EVENT) :]
    word = _TOPIC.search(last)
    topic = _WORDS.get(word[1]) if word is not None else None
    if topic is None:
        return None
    found = (_END if topic in _BARS else _TIME).search(last)
    return int(found[1]) * _NS_PER_MS if found is not None else None


class Pulse:
    """Counts of a stream, and a sample of its lag."""

    def __init__(self, *, delay_ns: int = 0) -> None:
        self.frames = 0
        self.bytes = 0
        self.events = 0
        self._delay_ns = delay_ns
        self._unheard: list[Topic] = []
        self._heard: set[Topic] = set()
        self._last_message: bytes = b""
        self._last_event_ns: int | None = None
        self._next_sample_ns = 0
        self._samples: deque[tuple[int, int]] = deque()

    def beat(self, received_ns: int, message: bytes) -> None:
        """A message came."""
        self.frames += 1
        self.bytes += len(message)
        self.events += message.count(_EVENT)
        self._last_message = message
        if self._unheard:
            self._listen(message)
        if received_ns >= self._next_sample_ns:
            self._next_sample_ns = received_ns + _BETWEEN_SAMPLES_NS
            self._sample(received_ns, message)

    def heard(self, wanted: Collection[Topic]) -> set[Topic]:
        """The topics that were heard since this was asked the last time, and were among those wanted then."""
        heard, self._heard = self._heard, set()
        self._unheard = list(wanted)
        return heard

    def news_ns(self) -> int | None:
        """The event time of the newest message since this was asked before; None where it tells none.

        What was the last event before a handshake may lie far back, and is no news.
        """
        found, self._last_message = last_event_ns(self._last_message), b""
        if found is not None:
            self._last_event_ns = found
        return found

    def last_event_ns(self) -> int | None:
        """The event time of the newest message that tells one."""
        found = last_event_ns(self._last_message)
        if found is not None:
            self._last_event_ns = found
        return self._last_event_ns

    def lag(self, now_ns: int) -> Lag | None:
        """The lag of the last minute, without the plan's own delay; None where nothing came."""
        self._forget(now_ns)
        if not self._samples:
            return None
        lags = sorted(lag_ns for _, lag_ns in self._samples)
        median, late = (lags[min(len(lags) - 1, len(lags) * percent // 100)] for percent in (50, 99))
        return Lag(median / _NS_PER_MS, late / _NS_PER_MS)

    def _listen(self, message: bytes) -> None:
        # A topic is looked for until it is heard: in a busy stream almost never.
        for topic in self._unheard[:]:
            if _OF_TOPIC[topic].search(message):
                self._unheard.remove(topic)
                self._heard.add(topic)

    def _sample(self, received_ns: int, message: bytes) -> None:
        event_ns = last_event_ns(message)
        if event_ns is not None:
            self._last_event_ns = event_ns
            self._samples.append((received_ns, received_ns - event_ns - self._delay_ns))
            self._forget(received_ns)

    def _forget(self, now_ns: int) -> None:
        while self._samples and self._samples[0][0] < now_ns - _WINDOW_NS:
            self._samples.popleft()
